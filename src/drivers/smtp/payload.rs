//! The payload of a mail: read strictly, so that whatever is accepted can be sent.

use std::{collections::HashSet, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Mailbox, content_type::ContentType};
use crate::{driver::Rejected, json};

/// A mail as the client wants it.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) to: Mailbox,
    pub(super) cc: Vec<Mailbox>,
    pub(super) bcc: Vec<Mailbox>,
    pub(super) subject: String,
    pub(super) content: String,
    pub(super) attachments: Vec<Attachment>,
}

/// A file that goes with it.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) content_type: ContentType,
    pub(super) bytes: Vec<u8>,
    /// What `cid:` links of HTML call it, without angle brackets.
    pub(super) id: Option<String>,
    pub(super) filename: Option<String>,
}

impl Payload {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Rejected> {
        let fields = Fields::parse(content, "")?;
        let to = fields.value("To")?.ok_or_else(|| Rejected::new("\"To\" is missing"))?;
        if to.get().starts_with('[') {
            return Err(Rejected::new(
                "\"To\" is one object {\"Name\", \"Address\"}: further recipients go into \"CC\" or \"BCC\"",
            ));
        }
        let payload = Self {
            to: mailbox(to, "To")?,
            cc: fields.list("CC", mailbox)?,
            bcc: fields.list("BCC", mailbox)?,
            subject: fields.required("Subject")?,
            content: fields.required("Content")?,
            attachments: fields.list("Attach", Attachment::parse)?,
        };
        refuse_control("Subject", &payload.subject)?;
        Ok(payload)
    }

    /// Everyone who gets it, each once.
    pub(super) fn recipients(&self) -> Vec<&Mailbox> {
        let mut known = HashSet::new();
        std::iter::once(&self.to)
            .chain(&self.cc)
            .chain(&self.bcc)
            .filter(|mailbox| known.insert(mailbox.place()))
            .collect()
    }
}

fn mailbox(value: &RawValue, place: &str) -> Result<Mailbox, Rejected> {
    let fields = Fields::parse(value.get().as_bytes(), place)?;
    let name = fields.text("Name")?.unwrap_or_default();
    let address = fields.required("Address")?;
    Mailbox::new(&name, &address).map_err(|error| Rejected::new(format!("{}: {error}", quote(place))))
}

impl Attachment {
    fn parse(value: &RawValue, place: &str) -> Result<Self, Rejected> {
        let refuse = |sentence: String| Rejected::new(format!("{}: {sentence}", quote(place)));
        let fields = Fields::parse(value.get().as_bytes(), place)?;
        let raw = fields.text("RawContent")?;
        let base64 = fields.text("Base64Content")?;
        let kind = fields.text("Type")?;
        let id = fields.text("ID")?;
        let filename = fields.text("Filename")?;

        let kind = match kind {
            Some(kind) => ContentType::parse(&kind).map_err(|reason| refuse(format!("\"Type\" {reason}")))?,
            None if raw.is_some() => ContentType::text(),
            None => ContentType::bytes(),
        };
        let (content_type, bytes) = match (raw, base64) {
            (Some(raw), None) => {
                let kind = kind.of_unicode(&raw).map_err(|reason| refuse(format!("\"Type\" {reason}")))?;
                (kind, raw.into_bytes())
            }
            (None, Some(base64)) => {
                // The `base64` command breaks its lines.
                let base64 = base64.replace(['\r', '\n'], "");
                let bytes = BASE64_STANDARD
                    .decode(base64)
                    .map_err(|error| refuse(format!("\"Base64Content\" is no standard base64: {error}")))?;
                (kind, bytes)
            }
            (Some(_), Some(_)) => {
                return Err(refuse(
                    "either \"RawContent\" or \"Base64Content\" can be given, not both".into(),
                ));
            }
            (None, None) => return Err(refuse("\"RawContent\" or \"Base64Content\" is missing".into())),
        };
        if content_type.is_message() && !is_seven_bit(&bytes) {
            return Err(refuse(
                "a \"message/…\" must be ASCII with lines of at most 998 characters; as \"application/octet-stream\" \
                 anything can be attached"
                    .into(),
            ));
        }
        let id = id.map(|id| content_id(&id).map_err(refuse)).transpose()?;
        if let Some(filename) = &filename {
            refuse_control(&format!("{place}.Filename"), filename)?;
        }
        Ok(Self { content_type, bytes, id, filename })
    }
}

/// Whether a mail may carry these bytes as they are.
fn is_seven_bit(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii() && *byte != 0)
        && bytes.split(|byte| matches!(byte, b'\r' | b'\n')).all(|line| line.len() <= 998)
}

/// The id between the angle brackets, which may be given or not.
fn content_id(id: &str) -> Result<String, String> {
    let bare = id.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(id);
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"<>()\"\\".contains(&byte);
    // A header's line has room for 998 characters.
    if bare.is_empty() || bare.len() > 256 || !bare.bytes().all(fits) {
        return Err(format!(
            "\"ID\" {id:?} must be up to 256 ASCII characters without spaces, quotes and brackets"
        ));
    }
    Ok(bare.to_owned())
}

fn refuse_control(place: &str, text: &str) -> Result<(), Rejected> {
    if text.contains(char::is_control) {
        return Err(Rejected::new(format!(
            "{} contains a line break or another control character",
            quote(place)
        )));
    }
    Ok(())
}

fn quote(place: &str) -> String {
    format!("\"{place}\"")
}

/// The fields of an object as they came: names match in any case, so which of
/// them are known, and given twice, shows only when one is asked for.
struct Fields<'a> {
    /// Where the object stands, empty for the payload itself.
    place: &'a str,
    given: Vec<(String, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    fn parse(object: &'a [u8], place: &'a str) -> Result<Self, Rejected> {
        let read: Given<'a> = json::object(object).map_err(|error| match place {
            "" => Rejected::new(error.to_string()),
            _ => Rejected::new(format!("{}: {error}", quote(place))),
        })?;
        Ok(Self { place, given: read.0 })
    }

    fn path(&self, name: &str) -> String {
        match self.place {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }

    /// The field of that name; `null` and an empty text are a missing one.
    fn value(&self, name: &str) -> Result<Option<&'a RawValue>, Rejected> {
        let mut values = self.given.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| *value);
        if values.next().is_some() {
            return Err(Rejected::new(format!("{} is given twice", quote(&self.path(name)))));
        }
        Ok(value.filter(|value| !matches!(value.get(), "null" | "\"\"")))
    }

    /// A text.
    fn text(&self, name: &str) -> Result<Option<String>, Rejected> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        serde_json::from_str(value.get()).map(Some).map_err(|error| {
            Rejected::new(format!("{} is no text that can be sent: {error}", quote(&self.path(name))))
        })
    }

    fn required(&self, name: &str) -> Result<String, Rejected> {
        self.text(name)?.ok_or_else(|| Rejected::new(format!("{} is missing", quote(&self.path(name)))))
    }

    fn list<T>(
        &self,
        name: &str,
        parse: impl Fn(&RawValue, &str) -> Result<T, Rejected>,
    ) -> Result<Vec<T>, Rejected> {
        let Some(value) = self.value(name)? else { return Ok(Vec::new()) };
        let values: Vec<&RawValue> = serde_json::from_str(value.get())
            .map_err(|_| Rejected::new(format!("{} must be a list", quote(&self.path(name)))))?;
        let places = (0..).map(|index: usize| format!("{}[{index}]", self.path(name)));
        values.into_iter().zip(places).map(|(value, place)| parse(value, &place)).collect()
    }
}

/// What serde alone does not keep: every field, in order, also one given twice.
struct Given<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor;

        impl<'de> Visitor<'de> for GivenVisitor {
            type Value = Given<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut given = Vec::new();
                while let Some(field) = map.next_entry()? {
                    given.push(field);
                }
                Ok(Given(given))
            }
        }

        deserializer.deserialize_map(GivenVisitor)
    }
}
