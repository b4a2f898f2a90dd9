//! A payload as the mail that goes over the wire: RFC 5322 and MIME.

use std::{fmt::Write, time::SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use lettre::message::{
    Body, MultiPart, SinglePart,
    header::{self as lettre_header, ContentTransferEncoding, Header, HeaderName, HeaderValue, Headers},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Format, Mailbox,
    content_type::ContentType,
    header::{self, header},
    payload::{Attachment, Payload},
};

/// What a Message-ID takes from an id as it is; `.` and `~` have a meaning of their own there.
const ID_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The longest id, percent-encoded, that is left readable: a line must have
/// room for it and the longest domain.
const MAX_READABLE_ID: usize = 400;

/// The mail's bytes: ASCII, in lines of at most 998 characters that end in CR LF.
pub(super) fn compose(
    payload: &Payload,
    format: Format,
    from: &Mailbox,
    message_id: String,
    now: SystemTime,
) -> Vec<u8> {
    let mut headers = Headers::new();
    headers.insert_raw(header("From", header::mailboxes([from])));
    headers.insert_raw(header("To", header::mailboxes([&payload.to])));
    if !payload.cc.is_empty() {
        headers.insert_raw(header("Cc", header::mailboxes(&payload.cc)));
    }
    headers.insert_raw(header("Subject", header::text("Subject", &payload.subject)));
    headers.set(lettre_header::Date::new(now));
    headers.insert_raw(header("Message-ID", message_id));
    headers.set(lettre_header::MIME_VERSION_1_0);

    let mut mail = headers.to_string().into_bytes();
    mail.extend(body(payload, format).formatted());
    mail
}

/// `<…@domain>`, made of the notification's id, so that a repeat is recognised
/// as one. The content has its share in it: two machines that send from one
/// address and name their notifications after the date must not be taken for
/// each other, or one mail would be thrown away.
pub(super) fn message_id(id: &str, content: &[u8], domain: &str) -> String {
    let mut local = utf8_percent_encode(id, ID_ENCODED).to_string();
    if local.len() > MAX_READABLE_ID {
        // `~` would be percent-encoded above: the two forms never meet.
        local = format!("~{}", BASE64_URL_SAFE_NO_PAD.encode(id));
    }
    // FNV-1a.
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    write!(local, ".{hash:016x}").expect("a String takes everything");
    format!("<{local}@{domain}>")
}

enum Part {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Part {
    fn into(self, parts: MultiPart) -> MultiPart {
        match self {
            Self::Single(part) => parts.singlepart(part),
            Self::Multi(part) => parts.multipart(part),
        }
    }

    fn formatted(&self) -> Vec<u8> {
        match self {
            Self::Single(part) => part.formatted(),
            Self::Multi(part) => part.formatted(),
        }
    }
}

fn body(payload: &Payload, format: Format) -> Part {
    let kind = match format {
        Format::Text => lettre_header::ContentType::TEXT_PLAIN,
        Format::Html => lettre_header::ContentType::TEXT_HTML,
    };
    let mut part = Part::Single(SinglePart::builder().header(kind).body(text(&payload.content)));

    // Only HTML has links that what it embeds could be shown in place of.
    let is_inline = |attachment: &&Attachment| format == Format::Html && attachment.id.is_some();
    let (inline, attached): (Vec<_>, Vec<_>) = payload.attachments.iter().partition(is_inline);
    if !inline.is_empty() {
        part = Part::Multi(gather(part, related(), &inline, "inline"));
    }
    if !attached.is_empty() {
        part = Part::Multi(gather(part, MultiPart::mixed().build(), &attached, "attachment"));
    }
    part
}

/// `multipart/related` with the type of its root, which RFC 2387 wants and
/// lettre leaves out.
fn related() -> MultiPart {
    let mut related = MultiPart::related().build();
    let value = format!("multipart/related; type=\"text/html\";\r\n boundary=\"{}\"", related.boundary());
    related.headers_mut().insert_raw(HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str("Content-Type"),
        value.replace("\r\n", ""),
        value,
    ));
    related
}

fn gather(
    first: Part,
    parts: MultiPart,
    attachments: &[&Attachment],
    disposition: &'static str,
) -> MultiPart {
    attachments
        .iter()
        .fold(first.into(parts), |parts, attachment| parts.singlepart(attached(attachment, disposition)))
}

fn attached(attachment: &Attachment, disposition: &'static str) -> SinglePart {
    let body = if attachment.content_type.is_message() {
        let text = String::from_utf8_lossy(&attachment.bytes);
        Body::dangerous_pre_encoded(with_crlf(&text).into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
            .expect("base64 takes everything")
    };
    let mut part = SinglePart::builder().header(Type(attachment.content_type.clone()));
    let filename = attachment.filename.as_deref();
    let filename = filename.map(|filename| header::parameter("filename", filename)).unwrap_or_default();
    part = part.header(Disposition(format!("{disposition}{filename}")));
    if let Some(id) = &attachment.id {
        part = part.header(Id(id.clone()));
    }
    part.body(body)
}

/// A text, encoded so that any server takes it and its reader gets it back
/// (with CR LF for each line break, as mail has it).
fn text(content: &str) -> Body {
    let content = with_crlf(content);
    let is_printable = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let encoded = content.bytes().filter(|byte| !is_printable(byte)).count();
    let encoding = if encoded == 0 && content.split("\r\n").all(|line| line.len() <= 78) {
        ContentTransferEncoding::SevenBit
    } else if encoded <= content.len() / 6 {
        // Three characters each instead of four for any three.
        ContentTransferEncoding::QuotedPrintable
    } else {
        ContentTransferEncoding::Base64
    };
    match encoding {
        ContentTransferEncoding::SevenBit => Body::dangerous_pre_encoded(content.into_bytes(), encoding),
        _ => Body::new_with_encoding(content, encoding).expect("these encodings take everything"),
    }
}

/// Every line break, be it CR, LF or both, as CR LF.
fn with_crlf(text: &str) -> String {
    let mut normal = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        normal.push_str(&rest[..at]);
        normal.push_str("\r\n");
        rest = rest[at..].strip_prefix("\r\n").unwrap_or(&rest[at + 1..]);
    }
    normal.push_str(rest);
    normal
}

/// Headers of a part that lettre can't express; it asks for a type each.
macro_rules! part_header {
    ($(#[$doc:meta])* $type:ident($inner:ty), $name:literal, |$value:ident| $display:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        struct $type($inner);

        impl Header for $type {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($name)
            }

            fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Err("it is only written".into())
            }

            fn display(&self) -> HeaderValue {
                let $value = &self.0;
                header($name, $display)
            }
        }
    };
}

part_header! {
    /// A type with any parameters.
    Type(ContentType), "Content-Type", |kind| kind.to_header()
}

part_header! {
    /// With a file's name of any length, also one that looks encoded already.
    Disposition(String), "Content-Disposition", |value| value.clone()
}

part_header! {
    /// Written as it is: an encoded one would never be found.
    Id(String), "Content-ID", |id| format!("<{id}>")
}
