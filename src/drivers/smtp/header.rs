//! Text and mailboxes in headers: RFC 5322 where it is plain, RFC 2047 where not.
//!
//! Whoever reads the header gets the very same text back; a text that looks
//! encoded already, or has spaces that folding would swallow, is encoded too.

use base64::{Engine, prelude::BASE64_STANDARD};
use lettre::message::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Mailbox;

/// The longest line of a header that is folded, in characters (RFC 5322 wants 78).
const MAX_LINE: usize = 76;

/// Bytes in an encoded word: 52 characters in base64, 64 with what surrounds
/// them, so that there is room for the header's name in a line.
const MAX_ENCODED: usize = 39;

/// Characters in a quoted one, likewise.
const MAX_QUOTED: usize = 54;

/// What RFC 2231 has encoded, and a little more.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A header whose value is encoded and folded.
pub(super) fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), value.clone(), value)
}

/// A text as the value of the header `name`.
pub(super) fn text(name: &str, text: &str) -> String {
    if is_plain(text) { folded(text, name.len() + 2) } else { encoded_words(text) }
}

/// A plain text, broken between words so that no line is too long; the first
/// one begins at `column`.
fn folded(text: &str, mut column: usize) -> String {
    let mut folded = String::with_capacity(text.len());
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            if column + 1 + word.len() > MAX_LINE {
                folded.push_str("\r\n");
                column = 0;
            }
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += word.len();
    }
    folded
}

/// Mailboxes as the value of a header, each on a line of its own.
pub(super) fn mailboxes<'a>(mailboxes: impl IntoIterator<Item = &'a Mailbox>) -> String {
    mailboxes.into_iter().map(mailbox).collect::<Vec<_>>().join(",\r\n ")
}

fn mailbox(mailbox: &Mailbox) -> String {
    let address = mailbox.address();
    let name = mailbox.name();
    if name.is_empty() {
        return address.to_owned();
    }
    // The widest header that mailboxes stand in.
    let column = "From: ".len();
    let phrase = if !is_plain(name) {
        encoded_words(name)
    } else if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ') {
        folded(name, column)
    } else {
        folded(&format!("\"{}\"", escaped(name)), column)
    };
    format!("{phrase}\r\n <{address}>")
}

/// Whether a text is read back as it is, and can be folded.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && !text.contains("=?")
        && text.split(' ').all(|word| !word.is_empty() && word.len() < MAX_LINE - 10)
}

/// Encoded words, each on a line of its own: the breaks between them don't
/// count. One is better than several, since parsers (Python's is one) take the
/// breaks within a name for spaces.
fn encoded_words(text: &str) -> String {
    if text.len() > MAX_ENCODED {
        let quoted =
            utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace('%', "=").replace("=20", "_");
        if quoted.len() <= MAX_QUOTED {
            return format!("=?utf-8?Q?{quoted}?=");
        }
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = MAX_ENCODED.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// A parameter of a header, on a line of its own: quoted where it is plain,
/// RFC 2231 where not.
pub(super) fn parameter(name: &str, value: &str) -> String {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if value.bytes().all(is_plain) && !value.contains("=?") && value.len() < MAX_LINE - name.len() - 10 {
        return format!(";\r\n {name}=\"{}\"", escaped(value));
    }
    let mut sections = vec![String::new()];
    for char in value.chars() {
        let encoded = utf8_percent_encode(char.encode_utf8(&mut [0; 4]), PARAMETER).to_string();
        // Each one stands for itself: no character is torn apart.
        if sections.last().is_some_and(|section| section.len() + encoded.len() > MAX_ENCODED) {
            sections.push(String::new());
        }
        sections.last_mut().expect("there is one from the start").push_str(&encoded);
    }
    if let [section] = sections.as_slice() {
        return format!(";\r\n {name}*=utf-8''{section}");
    }
    let sections = sections.iter().enumerate();
    let charset = |index| if index == 0 { "utf-8''" } else { "" };
    sections.map(|(index, section)| format!(";\r\n {name}*{index}*={}{section}", charset(index))).collect()
}

/// What stands in a quoted string.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
