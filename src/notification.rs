//! The nouns of the service and their JSON: what a client posts ([`Params`]),
//! what a row of the table holds ([`Item`]) and what the service tells about it
//! ([`Status`], [`Detail`], [`Listing`]).

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::json::{self, InvalidJson};

mod listing;

pub(crate) use listing::{EXCERPT_BYTES, excerpt};
pub use listing::{InvalidWhen, Listed, Listing, When};

/// The longest id, in characters (Unicode scalar values).
pub const MAX_ID_CHARS: usize = 128;

/// The longest driver type, in bytes.
pub const MAX_TYPE_BYTES: usize = 255;

/// The longest endpoint, in bytes.
pub const MAX_ENDPOINT_BYTES: usize = 8192;

/// The longest driver response that is stored, in bytes; a longer one is cut
/// and a mark of at most 256 bytes says so.
pub const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// A point in time, in whole seconds since the Unix epoch.
///
/// ```
/// use notify_api::Timestamp;
/// use std::time::Duration;
///
/// let at = Timestamp::from_secs(1_700_000_000);
/// assert_eq!((at + Duration::from_secs(60)).as_secs(), 1_700_000_060);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything.
    pub const MAX: Self = Self(i64::MAX);

    /// The time `secs` seconds after the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs)
    }

    /// Seconds since the Unix epoch.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Rounds up to whole seconds, and stays at [`Timestamp::MAX`] rather than overflow.
    fn add(self, wait: Duration) -> Self {
        let secs = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        Self(self.0.saturating_add(i64::try_from(secs).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What has become of a notification; a number in JSON and in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Waits for its first or its next attempt, or is being sent.
    Pending = 0,
    /// Was delivered.
    Success = 1,
    /// Will not be tried again.
    Failed = 2,
}

impl State {
    /// The state a number of the table stands for; what isn't known counts as final.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Pending,
            1 => Self::Success,
            _ => Self::Failed,
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Success),
            2 => Ok(Self::Failed),
            other => Err(de::Error::custom(format_args!("{other} is no state"))),
        }
    }
}

/// The answer of `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When it was accepted.
    pub create_at: Timestamp,
    /// When the next attempt is due; a final state leaves it as it was.
    pub next_at: Timestamp,
    /// How many attempts were made.
    pub tried: u32,
    /// What has become of it.
    pub state: State,
}

/// The answer of `/detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The driver's type.
    pub r#type: String,
    /// Where it goes; its meaning is the driver's.
    pub endpoint: String,
    /// The payload as it came; base64 in JSON.
    #[serde(with = "base64_bytes")]
    pub content: Vec<u8>,
    /// The latest response, `None` before the first attempt has ended; base64 in JSON.
    #[serde(with = "base64_optional")]
    pub response: Option<Vec<u8>>,
    /// What [`Status`] tells.
    #[serde(flatten)]
    pub status: Status,
}

/// The body of `/send` and `/sendOnce`.
///
/// ```
/// use notify_api::Params;
///
/// let params = Params::parse(br#"{"id":"backup-2026-11-24","type":"HTTPPOST",
///     "endpoint":"http://127.0.0.1/hook","payload":{"body":"done"}}"#)?;
/// assert_eq!(params.id.as_ref().unwrap().as_str(), "backup-2026-11-24");
/// assert_eq!(params.payload.get(), r#"{"body":"done"}"#);
/// # Ok::<(), notify_api::InvalidParams>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Params {
    /// Its unique id; `None` lets the server make one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// Which driver delivers it.
    pub r#type: String,
    /// Where it goes; its meaning is the driver's.
    pub endpoint: String,
    /// Any JSON, kept byte for byte; its meaning is the driver's.
    pub payload: Box<RawValue>,
}

impl Params {
    /// A notification without an id.
    ///
    /// ```
    /// # use notify_api::{Id, Params};
    /// let params = Params::new("HTTPPOST", "http://127.0.0.1/hook", &serde_json::json!({"body": "done"}))?
    ///     .with_id(Id::new("backup-2026-11-24")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The payload can't be written as JSON.
    pub fn new(
        r#type: impl Into<String>,
        endpoint: impl Into<String>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, serde_json::Error> {
        let payload = serde_json::value::to_raw_value(payload)?;
        Ok(Self { id: None, r#type: r#type.into(), endpoint: endpoint.into(), payload })
    }

    /// The same with an id: it can be sent repeatedly without being delivered repeatedly.
    #[must_use]
    pub fn with_id(mut self, id: Id) -> Self {
        self.id = Some(id);
        self
    }

    /// Reads a request body.
    ///
    /// # Errors
    /// The body is no JSON object, a field has the wrong type or stands there
    /// twice, `type` is missing, or the id or the endpoint is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidParams> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default)]
            id: Option<String>,
            #[serde(default)]
            r#type: Option<String>,
            #[serde(default)]
            endpoint: Option<String>,
            #[serde(default)]
            payload: Option<Box<RawValue>>,
        }
        let fields: Fields = json::object(body)?;
        let kind = fields.r#type.filter(|kind| !kind.is_empty());
        let endpoint = fields.endpoint.unwrap_or_default();
        if endpoint.len() > MAX_ENDPOINT_BYTES {
            return Err(InvalidParams::EndpointTooLong(endpoint.len()));
        }
        if endpoint.contains('\0') {
            return Err(InvalidParams::EndpointWithNul);
        }
        Ok(Self {
            id: fields.id.filter(|id| !id.is_empty()).map(Id::new).transpose()?,
            r#type: kind.ok_or(InvalidParams::NoType)?,
            endpoint,
            payload: fields.payload.unwrap_or_else(|| RawValue::NULL.to_owned()),
        })
    }
}

/// Why a request body is refused. [`Display`](fmt::Display) is a sentence for the client.
#[derive(Debug)]
#[non_exhaustive]
pub enum InvalidParams {
    /// The body is not the JSON that is expected.
    Json(InvalidJson),
    /// The id is out of bounds.
    Id(InvalidId),
    /// `type` is missing.
    NoType,
    /// The endpoint has this many bytes.
    EndpointTooLong(usize),
    /// The endpoint has a U+0000 in it.
    EndpointWithNul,
}

impl fmt::Display for InvalidParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(reason) => reason.fmt(f),
            Self::Id(reason) => reason.fmt(f),
            Self::NoType => write!(f, "\"type\" is missing: it names the driver that delivers"),
            Self::EndpointTooLong(bytes) => {
                write!(f, "\"endpoint\" has {bytes} bytes, at most {MAX_ENDPOINT_BYTES} are allowed")
            }
            Self::EndpointWithNul => write!(f, "\"endpoint\" contains U+0000"),
        }
    }
}

impl std::error::Error for InvalidParams {}

impl From<InvalidJson> for InvalidParams {
    fn from(reason: InvalidJson) -> Self {
        Self::Json(reason)
    }
}

impl From<InvalidId> for InvalidParams {
    fn from(reason: InvalidId) -> Self {
        Self::Id(reason)
    }
}

/// The id of a notification: 1 to [`MAX_ID_CHARS`] characters without control
/// characters, compared byte by byte. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(Arc<str>);

impl Id {
    /// Takes an id that a client chose.
    ///
    /// # Errors
    /// It is empty, too long or has a control character in it.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, InvalidId> {
        let id = id.into();
        if id.is_empty() {
            return Err(InvalidId::Missing);
        }
        // No character has fewer than one byte: short ids need no counting.
        if id.len() > MAX_ID_CHARS && id.chars().count() > MAX_ID_CHARS {
            return Err(InvalidId::TooLong(id.chars().count()));
        }
        if id.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(InvalidId::ControlCharacter);
        }
        Ok(Self(id))
    }

    /// Takes an id as the table has it. Whatever a foreign tool has put there
    /// must be found again by the very same bytes, so nothing is checked.
    pub fn from_store(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as it stands in HTTP headers: what is not visible ASCII, and `%`,
    /// is percent-encoded.
    pub fn to_header(&self) -> String {
        header_text(&self.0)
    }
}

/// See [`Id::to_header`].
pub(crate) fn header_text(id: &str) -> String {
    const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
    utf8_percent_encode(id, HIDDEN).to_string()
}

impl std::borrow::Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an id is refused. [`Display`](fmt::Display) is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidId {
    /// There is none.
    Missing,
    /// It has this many characters.
    TooLong(usize),
    /// U+0000 to U+001F or U+007F is in it.
    ControlCharacter,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "\"id\" is missing"),
            Self::TooLong(chars) => {
                write!(f, "\"id\" has {chars} characters, at most {MAX_ID_CHARS} are allowed")
            }
            Self::ControlCharacter => write!(f, "\"id\" contains a control character"),
        }
    }
}

impl std::error::Error for InvalidId {}

/// A pending notification as it is stored and handed to the sender: one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its unique id.
    pub id: Id,
    /// The driver's type.
    pub r#type: String,
    /// Where it goes; its meaning is the driver's.
    pub endpoint: String,
    /// The payload as it came.
    pub content: Vec<u8>,
    /// When it was accepted.
    pub create_at: Timestamp,
    /// When the next attempt is due.
    pub next_at: Timestamp,
    /// How many attempts were made.
    pub tried: u32,
    /// Exactly one attempt is left, whatever `max_tries` says.
    pub once: bool,
    /// How often it was resent: tells an attempt begun before a resend from one after.
    pub epoch: u32,
    /// The lane it waits in.
    pub lane: Lane,
    /// The token under which it is claimed where several processes share the table;
    /// 0 where nobody else does.
    pub lease: u64,
}

/// The number of a lane: notifications that share a receiver wait in one line.
///
/// It is a hash of the lane's name, so that it fits an index and a directory of
/// all lanes is bounded; two names that collide merely share a lane. It is
/// stored, so it never changes between versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u16);

impl Lane {
    /// Not computed yet: a row written by another program.
    pub const NONE: Self = Self(0);

    /// The lane of that name; never [`Lane::NONE`].
    pub fn named(name: &str) -> Self {
        // FNV-1a, folded to 16 bits.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let folded = ((hash >> 16) ^ (hash & 0xffff)) as u16;
        Self(folded.max(1))
    }

    /// The lane with the number that a table holds; what is out of range is [`Lane::NONE`].
    pub fn from_number(number: i64) -> Self {
        Self(u16::try_from(number).unwrap_or(0))
    }

    /// The number to store, 0 to 65,535.
    pub fn number(self) -> u16 {
        self.0
    }
}

mod base64_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(de::Error::custom)
    }
}

mod base64_optional {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => base64_bytes::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| BASE64_STANDARD.decode(text).map_err(de::Error::custom)).transpose()
    }
}
