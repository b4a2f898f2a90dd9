//! Strict reading of JSON objects: what serde alone lets pass, and a client
//! would rather be told, is refused.

use std::fmt;

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
    let read = serde_json::from_str(text).map_err(|error| InvalidJson(error.to_string()))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(InvalidJson("a JSON object is expected".into()));
    }
    Ok(read)
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
