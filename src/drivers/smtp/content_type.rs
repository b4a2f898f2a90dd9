//! The MIME type of an attachment, as far as a mail has to know about it.

use super::header::parameter;

/// A type, a subtype and parameters, all of them safe to stand in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentType {
    /// `type/subtype`, in lower case.
    essence: String,
    parameters: Vec<(String, String)>,
}

/// The longest one, in bytes: each parameter must fit into a line of a header.
const MAX_BYTES: usize = 256;

impl ContentType {
    /// Text, as Unicode has it.
    pub(super) fn text() -> Self {
        Self { essence: "text/plain".into(), parameters: vec![("charset".into(), "utf-8".into())] }
    }

    /// Anything.
    pub(super) fn bytes() -> Self {
        Self { essence: "application/octet-stream".into(), parameters: Vec::new() }
    }

    /// Reads `type/subtype; name=value; …`; the error is what to say about it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is no MIME type");
        if text.len() > MAX_BYTES {
            return Err(format!("has {} bytes, at most {MAX_BYTES} are allowed", text.len()));
        }
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim_matches(' ').to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').ok_or_else(invalid)?;
        if !is_token(kind) || !is_token(subtype) {
            return Err(invalid());
        }
        // Its parts would be taken for parts of the mail.
        if kind == "multipart" {
            return Err(format!("{text:?} can't be attached"));
        }
        let mut parameters = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', ';']);
            if rest.is_empty() {
                return Ok(Self { essence, parameters });
            }
            let (name, after) = rest.split_once('=').ok_or_else(invalid)?;
            let (value, after) = value(after).ok_or_else(invalid)?;
            if !is_token(name) {
                return Err(invalid());
            }
            parameters.push((name.to_ascii_lowercase(), value));
            rest = after;
        }
    }

    /// The type of this text, once it is encoded as UTF-8.
    pub(super) fn of_unicode(mut self, text: &str) -> Result<Self, String> {
        let charset =
            self.parameters.iter().find(|(name, _)| name == "charset").map(|(_, value)| value.as_str());
        match charset {
            Some(charset)
                if charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8") => {}
            Some(charset) if charset.eq_ignore_ascii_case("us-ascii") && text.is_ascii() => {}
            Some(charset) => {
                return Err(format!(
                    "says charset={charset}, but \"RawContent\" is sent as utf-8; other encodings go into \
                     \"Base64Content\""
                ));
            }
            None if self.essence.starts_with("text/") => {
                self.parameters.push(("charset".into(), "utf-8".into()));
            }
            None => {}
        }
        Ok(self)
    }

    /// Whether it is a mail itself, which must not be encoded again.
    pub(super) fn is_message(&self) -> bool {
        self.essence.starts_with("message/")
    }

    /// The value of the header, each parameter on a line of its own.
    pub(super) fn to_header(&self) -> String {
        let parameters = self.parameters.iter().map(|(name, value)| parameter(name, value));
        std::iter::once(self.essence.clone()).chain(parameters).collect()
    }
}

/// A parameter's value, plain or quoted, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let value = text[..end].trim_end_matches(' ');
        return is_token(value).then(|| (value.to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        let literal = match char {
            '"' => {
                let after = quoted[at + 1..].trim_start_matches(' ');
                return (after.is_empty() || after.starts_with(';')).then_some((value, after));
            }
            '\\' => chars.next()?.1,
            other => other,
        };
        if !(literal == ' ' || literal.is_ascii_graphic()) {
            return None;
        }
        value.push(literal);
    }
    None
}

/// RFC 2045: ASCII without spaces, control characters and specials.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte))
}
