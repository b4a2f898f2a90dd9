//! What `/list` tells, and how a client names a time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Id, State, Timestamp};

/// So much of a response stands in a [`Listed`], in bytes.
const EXCERPT: usize = 200;

/// So many bytes of a response are enough for [`excerpt`]: a character more than it keeps.
pub(crate) const EXCERPT_BYTES: usize = EXCERPT + 4;

/// A part of all notifications, newest first: the answer of `/list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// At most as many as were asked for. There may be fewer, even none, though more follow.
    pub items: Vec<Listed>,
    /// What to go on with; `None` at the end.
    pub next: Option<String>,
}

/// A notification as it stands in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its unique id.
    #[serde(deserialize_with = "stored_id")]
    pub id: Id,
    /// The driver's type.
    pub r#type: String,
    /// Where it goes; its meaning is the driver's.
    pub endpoint: String,
    /// What has become of it.
    pub state: State,
    /// How many attempts were made.
    pub tried: u32,
    /// When it was accepted.
    pub create_at: Timestamp,
    /// When the next attempt is due; a final state leaves it as it was.
    pub next_at: Timestamp,
    /// The beginning of the latest response, as text; `None` before the first attempt has ended.
    pub response: Option<String>,
}

/// A server may hold ids that it wouldn't take from a client.
fn stored_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
    String::deserialize(deserializer).map(Id::from_store)
}

/// The text that a list shows of a response, given its first [`EXCERPT_BYTES`]: what was cut ends
/// with `…`, what is no text is replaced.
pub(crate) fn excerpt(response: &[u8]) -> String {
    if response.len() <= EXCERPT {
        return String::from_utf8_lossy(response).into_owned();
    }
    // Between characters, if they are any: none has more than three bytes behind its first.
    let is_inside = |at: &usize| response[*at] & 0xc0 == 0x80;
    let end = (EXCERPT - 3..=EXCERPT).rev().find(|at| !is_inside(at)).unwrap_or(EXCERPT);
    format!("{}…", String::from_utf8_lossy(&response[..end]))
}

/// A time as a person names it: Unix seconds, or how long ago, like `1d`, `12h` or `1h 30m`.
///
/// ```
/// use notify_api::{Timestamp, When};
///
/// let now = Timestamp::from_secs(1_700_086_400);
/// assert_eq!("1d".parse::<When>()?.at(now), Timestamp::from_secs(1_700_000_000));
/// assert_eq!("1700000000".parse::<When>()?.at(now), Timestamp::from_secs(1_700_000_000));
/// # Ok::<(), notify_api::notification::InvalidWhen>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl When {
    /// The time that is meant, if it is `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
                Timestamp::from_secs(now.as_secs().saturating_sub(ago))
            }
        }
    }
}

impl FromStr for When {
    type Err = InvalidWhen;

    fn from_str(text: &str) -> Result<Self, InvalidWhen> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self::At(Timestamp::from_secs(seconds)));
        }
        humantime::parse_duration(text).map(Self::Ago).map_err(|_| InvalidWhen)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Ago(ago) => write!(f, "{}s", ago.as_secs()),
        }
    }
}

/// A text that names no time. [`Display`](fmt::Display) says what does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidWhen;

impl fmt::Display for InvalidWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it takes Unix seconds, or how long ago, like 1d, 12h or 30m")
    }
}

impl std::error::Error for InvalidWhen {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_or_how_long_ago() {
        let now = Timestamp::from_secs(1_000_000);
        for (text, secs) in
            [("0", 0), ("-5", -5), ("1d", 913_600), ("12h", 956_800), ("1h 30m", 994_600), ("90s", 999_910)]
        {
            let when: When = text.parse().unwrap();
            assert_eq!(when.at(now).as_secs(), secs, "{text}");
            assert_eq!(when.to_string().parse(), Ok(when), "{text}");
        }
        for text in ["", " ", "x", "1x", "d", "-1d", "1.5", "2026-11-25", "1d!", "99999999999999999999"] {
            assert_eq!(text.parse::<When>(), Err(InvalidWhen), "{text}");
        }
        assert_eq!(When::Ago(Duration::MAX).at(Timestamp::MIN), Timestamp::MIN);
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(&[b'x'; 200]), "x".repeat(200));
        assert_eq!(excerpt(&[b'x'; 201]), format!("{}…", "x".repeat(200)));
        for lead in 0..4 {
            let text = "x".repeat(lead) + &"\u{1F980}".repeat(60);
            let shown = excerpt(&text.as_bytes()[..EXCERPT_BYTES]);
            let kept = shown.strip_suffix('…').unwrap();
            assert!(text.starts_with(kept) && kept.len() > EXCERPT - 4, "{shown}");
        }
        assert_eq!(excerpt(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(excerpt(&[0x80; EXCERPT_BYTES]), format!("{}…", "\u{fffd}".repeat(200)));
    }
}
