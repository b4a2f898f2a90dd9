//! `notify-api list`: what is pending, delivered or failed, and why.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use notify_api::{Client, ClientError, ListOptions, Listed, State, Timestamp};
use url::Url;

use crate::{
    cli::{List, Refusal},
    config::Config,
    reach,
};

/// Rows in one call, at most.
const PAGE: usize = 1_000;

/// Longer endpoints are cut.
const ENDPOINT_CHARS: usize = 60;

/// Prints what is asked for, the newest first; nothing if there is nothing.
pub(crate) fn run(asked: &List, config: &Config) -> Result<ExitCode, Refusal> {
    let client = reach::client(config, asked.url.as_deref())?;
    let options = ListOptions {
        state: asked.state.map(State::from),
        r#type: asked.r#type.clone(),
        since: asked.since,
        ..ListOptions::default()
    };
    let left = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let mut table = Table::default();
    for page in pages(&client, options, left) {
        let page = match page {
            Ok(page) => page,
            Err(error) => return Ok(reach::failed(&error)),
        };
        let printed = if asked.json { lines(&page) } else { table.print(&page) };
        match printed {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            printed => printed.map_err(|error| format!("cannot print: {error}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Page after page until there are no more, or none is left to ask for.
pub(crate) fn pages(
    client: &Client,
    mut options: ListOptions,
    mut left: usize,
) -> impl Iterator<Item = Result<Vec<Listed>, ClientError>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over || left == 0 {
            return None;
        }
        options.limit = Some(PAGE.min(left));
        let page = client.list(&options).map(|listing| {
            left = left.saturating_sub(listing.items.len());
            is_over = listing.next.is_none();
            options.after = listing.next;
            listing.items
        });
        is_over |= page.is_err();
        Some(page)
    })
}

/// One line of JSON each, as the server tells it.
fn lines(items: &[Listed]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for item in items {
        let json = serde_json::to_string(item).map_err(io::Error::other)?;
        let is_safe = |c: &char| c.is_ascii() || is_harmless(*c);
        let mut line = String::with_capacity(json.len());
        for c in json.chars() {
            match is_safe(&c) {
                true => line.push(c),
                false => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line += &format!("\\u{unit:04x}"))
                }
            }
        }
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// Columns as wide as the longest of the first page.
#[derive(Default)]
pub(crate) struct Table(Option<Vec<usize>>);

impl Table {
    pub(crate) fn print(&mut self, items: &[Listed]) -> io::Result<()> {
        const HEAD: [&str; 7] = ["TIME", "STATE", "TRIED", "TYPE", "ENDPOINT", "ID", "RESPONSE"];
        if items.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<[String; 7]> = items.iter().map(row).collect();
        if self.0.is_none() {
            rows.insert(0, HEAD.map(str::to_owned));
        }
        let widths = self.0.get_or_insert_with(|| {
            let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            (0..HEAD.len() - 1).map(width).collect()
        });
        let mut out = io::stdout().lock();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths.iter()) {
                line += &format!("{cell:width$}  ");
            }
            line += &row[HEAD.len() - 1];
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    }
}

fn row(item: &Listed) -> [String; 7] {
    let state = match item.state {
        State::Pending => "pending",
        State::Success => "delivered",
        State::Failed => "failed",
    };
    [
        time(item.create_at),
        state.into(),
        item.tried.to_string(),
        harmless(&item.r#type),
        shortened(&harmless(&without_password(&item.endpoint))),
        harmless(item.id.as_str()),
        item.response.as_deref().map(harmless).unwrap_or_default(),
    ]
}

fn time(at: Timestamp) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    match u64::try_from(at.as_secs()) {
        Ok(secs) if secs < YEAR_10000 => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(secs)).to_string()
        }
        _ => at.to_string(),
    }
}

/// A table lands in mails and in the scrollback.
fn without_password(endpoint: &str) -> String {
    match Url::parse(endpoint) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let masked = url.set_username("***").and_then(|()| url.set_password(None));
            masked.map_or_else(|()| "***".into(), |()| url.into())
        }
        _ => endpoint.into(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ENDPOINT_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

/// Without what a terminal obeys to, or what turns the writing around: a receiver chooses these texts.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmless(c) {
            true => harmless.push(c),
            false => harmless.extend(c.escape_debug()),
        }
    }
    harmless
}

fn is_harmless(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_obey() {
        assert_eq!(harmless("plain 'text' \"é\" \u{1F980} \\"), "plain 'text' \"é\" \u{1F980} \\");
        assert_eq!(
            harmless("\x1b[2J\r\n\0\u{9b}31m\u{202e}\u{7f}"),
            "\\u{1b}[2J\\r\\n\\0\\u{9b}31m\\u{202e}\\u{7f}"
        );
        assert_eq!(shortened(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }

    #[test]
    fn passwords_are_masked() {
        for (endpoint, shown) in [
            ("https://me:hush@example.com/a?b", "https://***@example.com/a?b"),
            ("https://hush@example.com", "https://***@example.com/"),
            ("https://:hush@example.com", "https://***@example.com/"),
            ("http://example.com", "http://example.com"),
            ("me", "me"),
            ("0912345678,+886987654321", "0912345678,+886987654321"),
            ("", ""),
        ] {
            assert_eq!(without_password(endpoint), shown);
        }
    }

    #[test]
    fn times_are_readable_whatever_they_are() {
        for (secs, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_577_412, "2026-11-25T03:30:12Z"),
            (-1, "-1"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(time(Timestamp::from_secs(secs)), shown);
        }
    }
}
