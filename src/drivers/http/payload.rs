//! What a payload of `HTTPGET` or `HTTPPOST` may hold.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use ureq::http::{HeaderName, HeaderValue, header};

use crate::{driver::Rejected, drivers::web::has_header, json};

/// Longer heads are refused by about every server there is.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Headers that describe the connection or the framing of the message: they
/// are the client's business, and a wrong one breaks the request or smuggles
/// another one in.
const OWNED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The payload of `HTTPGET`.
pub(super) struct GetPayload {
    pub(super) headers: RequestHeaders,
    pub(super) values: Values,
}

impl GetPayload {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Rejected> {
        #[derive(Default, Deserialize)]
        struct Fields {
            #[serde(default)]
            headers: Option<Lists>,
            #[serde(default)]
            values: Option<Lists>,
        }
        let fields = if is_null(content) { Fields::default() } else { object(content)? };
        let values = fields.values.unwrap_or_default().pairs().collect();
        Ok(Self { headers: RequestHeaders::new(fields.headers)?, values: Values(values) })
    }
}

/// The payload of `HTTPPOST`.
pub(super) struct PostPayload<'a> {
    pub(super) headers: RequestHeaders,
    pub(super) body: RequestBody<'a>,
}

impl<'a> PostPayload<'a> {
    pub(super) fn parse(content: &'a [u8]) -> Result<Self, Rejected> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(default)]
            headers: Option<Lists>,
            #[serde(default, borrow)]
            body: Option<&'a RawValue>,
        }
        // A mistyped field name must not become an empty webhook.
        if is_null(content) {
            return Err(Rejected::new(
                "\"payload\" is missing: HTTPPOST needs {\"headers\": {…}, \"body\": …}, {} posts nothing",
            ));
        }
        let fields: Fields<'a> = object(content)?;
        let body = match fields.body {
            None => RequestBody::Text(Cow::Borrowed("")),
            Some(raw) if raw.get().starts_with('"') => RequestBody::Text(text(raw)?),
            Some(raw) => RequestBody::Json(raw.get()),
        };
        Ok(Self { headers: RequestHeaders::new(fields.headers)?, body })
    }
}

/// What `HTTPPOST` posts.
pub(super) enum RequestBody<'a> {
    /// The text of a JSON string; the sender says what it is, if anybody.
    Text(Cow<'a, str>),
    /// Any other JSON, as it stands in the payload.
    Json(&'a str),
}

impl RequestBody<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Json(text) => text.as_bytes(),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }
}

/// What `HTTPGET` appends to the query, in the payload's order.
#[derive(Default)]
pub(super) struct Values(pub(super) Vec<(String, String)>);

/// Headers that may be sent.
pub(super) struct RequestHeaders(pub(super) Vec<(String, HeaderValue)>);

impl RequestHeaders {
    fn new(lists: Option<Lists>) -> Result<Self, Rejected> {
        let mut headers = Vec::new();
        let mut bytes = 0;
        for (name, value) in lists.unwrap_or_default().pairs() {
            // Each counts with its colon, space and line break.
            bytes += name.len() + value.len() + 4;
            if bytes > MAX_HEADER_BYTES {
                return Err(Rejected::new(format!("the headers have more than {MAX_HEADER_BYTES} bytes")));
            }
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Rejected::new(format!("{name:?} is no valid name of a header")))?;
            if OWNED.contains(&key.as_str()) {
                return Err(Rejected::new(format!("the header {name} is set by the server itself")));
            }
            // The value is not shown: it may be a password.
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                Rejected::new(format!("the value of the header {name} has a control character"))
            })?;
            if [header::HOST, header::AUTHORIZATION].contains(&key) {
                if value.to_str().is_err() {
                    return Err(Rejected::new(format!("the value of the header {name} must be ASCII")));
                }
                if has_header(&headers, &name) {
                    return Err(Rejected::new(format!("the header {name} is given twice")));
                }
            }
            headers.push((name, value));
        }
        Ok(Self(headers))
    }
}

/// Names with one value or a list of them, in order.
#[derive(Default)]
struct Lists(Vec<(String, Vec<String>)>);

impl Lists {
    fn pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0
            .into_iter()
            .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
    }
}

impl<'de> Deserialize<'de> for Lists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Lists;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and lists of strings")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Lists, A::Error> {
                let mut lists = Lists::default();
                while let Some((name, OneOrMore(values))) = map.next_entry()? {
                    lists.0.push((name, values));
                }
                Ok(lists)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// A string, a list of strings, or `null` for none.
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![value.to_owned()]))
            }

            fn visit_unit<E: de::Error>(self) -> Result<OneOrMore, E> {
                Ok(OneOrMore(Vec::new()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMore(values))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn is_null(content: &[u8]) -> bool {
    content.trim_ascii() == b"null"
}

fn object<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Rejected> {
    json::object(content).map_err(|error| Rejected::new(format!("the payload is refused: {error}")))
}

/// The text of a JSON string.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, Rejected> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str(raw.get())
        .map(|Text(text)| text)
        .map_err(|error| Rejected::new(format!("\"body\" is no valid text: {error}")))
}
