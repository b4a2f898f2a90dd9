//! Strict reading of JSON objects: what serde alone lets pass, and a client
//! would rather be told, is refused.

use std::{borrow::Cow, fmt};

use serde::Deserialize;

/// Reads exactly one JSON object into a struct.
///
/// Serde would also fill a struct from an array, field by field; that is refused.
///
/// # Errors
/// The text is not UTF-8, not one JSON object, or the struct refuses it (a
/// field of the wrong type, or one given twice).
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, InvalidJson> {
    let text = std::str::from_utf8(text).map_err(|error| InvalidJson(error.to_string()))?;
    // Serde quotes what it doesn't like, however long that is.
    let read =
        serde_json::from_str(text).map_err(|error| InvalidJson(abridged(&error.to_string()).into_owned()))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(InvalidJson("a JSON object is expected".into()));
    }
    Ok(read)
}

/// A text as it can be quoted in a sentence: of a long one, the beginning and the end.
pub(crate) fn abridged(text: &str) -> Cow<'_, str> {
    const BEGIN: usize = 120;
    const END: usize = 60;
    if text.len() <= BEGIN + END {
        return text.into();
    }
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    format!("{}…{}", &text[..boundary(BEGIN)], &text[boundary(text.len() - END)..]).into()
}

/// Why a text is no JSON of the expected kind. [`Display`](fmt::Display) is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJson(String);

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON: {}", self.0)
    }
}

impl std::error::Error for InvalidJson {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_abridged_between_characters() {
        assert_eq!(abridged("short"), "short");
        for length in 150..400 {
            let text = format!("{}{}", "x".repeat(length % 5), "\u{1F980}".repeat(length / 4));
            let short = abridged(&text);
            assert!(short.len() <= 190 && text.starts_with(short.split('…').next().unwrap()));
            assert_eq!(short == text, text.len() <= 180);
        }
        let Err(error) = object::<std::collections::BTreeMap<String, u8>>(
            format!(r#"{{"a": "{}"}}"#, "x".repeat(9000)).as_bytes(),
        ) else {
            panic!("it is no number");
        };
        let error = error.to_string();
        assert!(error.starts_with("invalid JSON: invalid type: string \"xx") && error.len() < 250, "{error}");
        assert!(error.ends_with(" at line 1 column 9008"), "{error}");
    }
}
