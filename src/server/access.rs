//! Who may call: a token, as a bearer or as the password of basic authentication.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;
use warp::http::{HeaderMap, header};

/// What clients must show.
pub(super) struct Token(String);

impl Token {
    pub(super) fn new(token: String) -> Self {
        Self(token)
    }

    /// Whether the request shows it. How long that takes says nothing about the token but its length.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()) else {
            return false;
        };
        let Some(space) = shown.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, shown) = (&shown[..space], shown[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.is(shown);
        }
        scheme.eq_ignore_ascii_case(b"basic")
            && BASE64_STANDARD.decode(shown).is_ok_and(|pair| {
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.is_some_and(|colon| self.is(&pair[colon + 1..]))
            })
    }

    fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(set)")
    }
}
