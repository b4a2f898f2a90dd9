//! What the query of `/list` may say, and the places that its pages go on from.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::reply::Failure;
use crate::{
    db::{Cursor, Page, Query},
    json,
    notification::{Id, Listing, State, Timestamp, When},
};

/// Rows in an answer, at most and if nothing is said.
const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;

/// The names and values of a query, decoded.
pub(super) type Pairs = Vec<(String, String)>;

/// What is asked for. A typo must not widen it: whatever isn't understood is refused.
pub(super) fn query(pairs: &Pairs, now: Timestamp) -> Result<Query, Failure> {
    let mut query = Query::all(DEFAULT_LIMIT);
    for (number, (name, value)) in pairs.iter().enumerate() {
        if pairs[..number].iter().any(|(earlier, _)| earlier == name) {
            return Err(Failure::Invalid(format!("{:?} is given twice", json::abridged(name))));
        }
        let wrong = |takes: &str| {
            Failure::Invalid(format!("\"{name}\" is {:?}: it takes {takes}", json::abridged(value)))
        };
        let when = || value.parse::<When>().map(|when| when.at(now));
        let no_time = |_| wrong("Unix seconds, or how long ago, like 1d, 12h or 30m");
        match name.as_str() {
            "state" => query.state = Some(state(value).ok_or_else(|| wrong("pending, delivered or failed"))?),
            "type" if value.is_empty() => return Err(wrong("the type of a driver")),
            "type" => query.r#type = Some(value.clone()),
            "since" => query.since = when().map_err(no_time)?,
            "before" => query.before = Some(when().map_err(no_time)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                query.limit = limit.ok_or_else(|| wrong(&format!("a number from 1 to {MAX_LIMIT}")))?;
            }
            "after" => {
                let cursor = cursor(value).ok_or_else(|| wrong("the \"next\" of another answer"))?;
                query.after = Some(cursor);
            }
            name => {
                let name = json::abridged(name);
                return Err(Failure::Invalid(format!(
                    "{name:?} is unknown here, only: state, type, since, before, limit, after"
                )));
            }
        }
    }
    Ok(query)
}

fn state(name: &str) -> Option<State> {
    Some(match name {
        "pending" | "0" => State::Pending,
        "delivered" | "success" | "1" => State::Success,
        "failed" | "2" => State::Failed,
        _ => return None,
    })
}

/// The answer. A place in it means nothing to clients, and needs no encoding in a URL.
pub(super) fn listing(page: Page) -> Listing {
    let next = page.next.map(|Cursor { create_at, seq, id }| {
        let place = match id {
            Some(id) => format!("{create_at} {seq} {id}"),
            None => format!("{create_at} {seq}"),
        };
        BASE64_URL_SAFE_NO_PAD.encode(place)
    });
    Listing { items: page.items, next }
}

fn cursor(text: &str) -> Option<Cursor> {
    let place = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = place.splitn(3, ' ');
    let create_at = Timestamp::from_secs(parts.next()?.parse().ok()?);
    Some(Cursor { create_at, seq: parts.next()?.parse().ok()?, id: parts.next().map(Id::from_store) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let id = |id: &str| Some(Id::from_store(id));
        for id in [None, id("a"), id(""), id(" a b "), id("\u{1F980}\n'")] {
            for (secs, seq) in [(0, 0), (i64::MIN, i64::MAX), (-1, -1)] {
                let place = Cursor { create_at: Timestamp::from_secs(secs), seq, id: id.clone() };
                let page = Page { items: Vec::new(), next: Some(place.clone()) };
                let next = listing(page).next.unwrap();
                assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
                assert_eq!(cursor(&next), Some(place));
            }
        }
        for text in ["", "x", "MQ", "MSBh", "MSAx=", "\u{fc}", "IDEgMQ"] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
