//! Keeps secrets out of what is stored, shown and logged, also when a service
//! echoes them.

mod pattern;

use std::{fmt, sync::Arc};

use self::pattern::Pattern;
use crate::{
    driver::{Delivery, Driver, Rejected, SendError},
    notification::MAX_RESPONSE_BYTES,
};

/// What stands where a secret was.
const STARS: &[u8] = b"***";

/// How much of a secret at the very end of a text counts as one that was cut
/// off there. A shorter end is a secret's beginning by mere chance.
const MIN_CUT: usize = 4;

/// Knows secrets and finds them: as they are, percent-encoded, as JSON or HTML
/// writes them, and in base64, also as a part of something longer that was
/// encoded as a whole (`user:password`).
#[derive(Clone, Default)]
pub struct Mask(Arc<[Pattern]>);

impl Mask {
    /// Knows these; empty ones are no secrets.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let secrets = secrets.into_iter();
        Self(secrets.flat_map(|secret| Pattern::all_of(secret.as_ref())).collect())
    }

    /// Puts stars in the place of every secret, and of the beginning of one at
    /// the end of the text.
    ///
    /// A text that is longer than what is stored stays longer, so that whoever
    /// cuts it can tell.
    pub fn apply(&self, text: Vec<u8>) -> Vec<u8> {
        let is_cut = text.len() > MAX_RESPONSE_BYTES;
        let found = self.find(&text, if is_cut { 1 } else { MIN_CUT });
        if found.is_empty() {
            return text;
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut position = 0;
        for (start, end) in found {
            masked.extend_from_slice(&text[position..start]);
            masked.extend_from_slice(STARS);
            position = end;
        }
        masked.extend_from_slice(&text[position..]);
        if is_cut && masked.len() <= MAX_RESPONSE_BYTES {
            masked.resize(MAX_RESPONSE_BYTES + 1, b' ');
        }
        masked
    }

    /// [`apply`](Self::apply) for sentences.
    pub fn apply_to_str(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.apply(text.as_bytes().to_vec())).into_owned()
    }

    /// [`apply`](Self::apply) for what an attempt has come to.
    pub fn apply_to_outcome(&self, outcome: Result<Vec<u8>, SendError>) -> Result<Vec<u8>, SendError> {
        outcome.map(|response| self.apply(response)).map_err(|error| self.apply_to_error(error))
    }

    fn apply_to_error(&self, error: SendError) -> SendError {
        error.rewritten(|text| self.apply_to_str(text), |bytes| self.apply(bytes))
    }

    /// Where secrets are, in order and without overlaps.
    fn find(&self, text: &[u8], min_cut: usize) -> Vec<(usize, usize)> {
        let mut found: Vec<_> = self.0.iter().flat_map(|pattern| pattern.find(text, min_cut)).collect();
        found.sort_unstable();
        found.dedup_by(|later, earlier| {
            let overlaps = later.0 <= earlier.1;
            if overlaps {
                earlier.1 = earlier.1.max(later.1);
            }
            overlaps
        });
        found
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

/// A driver whose responses, reasons and refusals have no secret in them.
///
/// ```
/// use notify_api::{
///     Delivery, Driver,
///     drivers::{mask::{Mask, Masked}, stub::Stub},
/// };
///
/// let echo = Stub::new("example.com/echo").acting(|delivery| Ok(delivery.content.to_vec()));
/// let driver = Masked::new(echo, Mask::new(["s3cret"]));
/// let delivery = Delivery { id: "1", endpoint: "", content: br#""the token is s3cret""# };
/// assert_eq!(driver.send(&delivery).unwrap(), br#""the token is ***""#);
/// ```
#[derive(Clone, Debug)]
pub struct Masked<D> {
    driver: D,
    mask: Mask,
}

impl<D: Driver> Masked<D> {
    /// Hides what `mask` knows.
    pub fn new(driver: D, mask: Mask) -> Self {
        Self { driver, mask }
    }

    fn refusal(&self, refused: &Rejected) -> Rejected {
        Rejected::new(self.mask.apply_to_str(&refused.to_string()))
    }
}

impl<D: Driver> Driver for Masked<D> {
    fn r#type(&self) -> &str {
        self.driver.r#type()
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        self.mask.apply_to_outcome(self.driver.send(delivery))
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        self.driver.verify(content).map_err(|refused| self.refusal(&refused))
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        self.driver.check_endpoint(endpoint).map_err(|refused| self.refusal(&refused))
    }

    fn lane(&self, endpoint: &str) -> String {
        self.driver.lane(endpoint)
    }

    fn destination(&self, endpoint: &str) -> String {
        self.driver.destination(endpoint)
    }

    fn check_account(&self) -> Result<Option<String>, SendError> {
        let checked = self.driver.check_account().map_err(|error| self.mask.apply_to_error(error))?;
        Ok(checked.map(|text| self.mask.apply_to_str(&text)))
    }
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine,
        prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
    };

    use super::*;

    const SECRET: &str = "p/ä+s\"s w&o%rd";

    fn masked(text: impl AsRef<[u8]>) -> String {
        String::from_utf8_lossy(&Mask::new([SECRET, ""]).apply(text.as_ref().to_vec())).into_owned()
    }

    #[test]
    fn a_secret_is_found_as_it_is() {
        assert_eq!(masked(format!("{SECRET}, a{SECRET}{SECRET}b {SECRET}")), "***, a***b ***");
        assert_eq!(masked("nothing secret"), "nothing secret");
        assert_eq!(masked(""), "");
        assert_eq!(masked(b"\xff\x00"), String::from_utf8_lossy(b"\xff\x00"));
    }

    #[test]
    fn a_secret_is_found_percent_encoded() {
        for encoded in [
            "p%2F%C3%A4%2Bs%22s%20w%26o%25rd",
            "p%2f%c3%a4%2bs%22s+w%26o%25rd",
            "%70%2f%C3%a4%2b%73%22%73%20%77%26%6f%25%72%64",
            "p/%C3%A4+s\"s%20w&o%rd",
        ] {
            assert_eq!(masked(format!("?k={encoded}&x")), "?k=***&x", "{encoded}");
        }
    }

    #[test]
    fn a_secret_is_found_as_json_and_html_write_it() {
        for encoded in [
            r#"p\/\u00e4+s\"s w&o%rd"#,
            r#"p/\u00E4\u002Bs\u0022s\u0020w\u0026o\u0025rd"#,
            "p/&#228;+s&quot;s w&amp;o%rd",
            "p/&#xE4;&#43;s&#34;s w&AMP;o&#37;rd",
        ] {
            assert_eq!(masked(format!("<{encoded}>")), "<***>", "{encoded}");
        }
        let astral = Mask::new(["k\u{1F980}ey"]);
        assert_eq!(astral.apply_to_str(r"k\ud83e\udd80ey"), "***");
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_stands() {
        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", "1", "12", "123", ":more"] {
                let pair = format!("{before}{SECRET}{after}");
                let standard = BASE64_STANDARD.encode(&pair);
                for encoded in [
                    standard.clone(),
                    BASE64_STANDARD_NO_PAD.encode(&pair),
                    BASE64_URL_SAFE.encode(&pair),
                    standard.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D"),
                    standard.replace('/', r"\/"),
                ] {
                    let text = masked(format!("<Basic {encoded}>"));
                    assert!(
                        ["<Basic ***>", "<Basic ***%3D>", "<Basic ***%3D%3D>"].contains(&&*text),
                        "{encoded} {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn short_secrets_are_found_and_base64_is_left_alone() {
        let mask = Mask::new(["ab"]);
        assert_eq!(mask.apply_to_str("ab YWI= cab"), "*** YWI= c***");
    }

    #[test]
    fn a_secret_with_doubtful_spelling_is_found() {
        let mask = Mask::new(["%25%2525"]);
        assert_eq!(mask.apply_to_str("%25%2525 %2525%252525"), "*** ***");
        let mask = Mask::new([&"%".repeat(300)]);
        assert_eq!(mask.apply_to_str(&"%25".repeat(300)), "***");
    }

    #[test]
    fn a_secret_that_is_cut_off_is_masked() {
        let mask = Mask::new(["123456:ABCDEF"]);
        assert_eq!(mask.apply_to_str("bot123456:ABC"), "bot***");
        assert_eq!(mask.apply_to_str("bot1234"), "bot***");
        assert_eq!(mask.apply_to_str("bot123"), "bot123", "that may be anything");
        assert_eq!(mask.apply_to_str("bot123456%3"), "bot***");
        assert_eq!(mask.apply_to_str(&BASE64_STANDARD.encode("x:123456:ABCDEF")[..14]), "***");
    }

    #[test]
    fn a_secret_across_the_border_of_what_is_stored_is_masked() {
        let mask = Mask::new(["123456:ABCDEF"]);
        for length in [1, 5, 12] {
            let mut text = vec![b'x'; MAX_RESPONSE_BYTES + 1 - length];
            text.extend_from_slice(&b"123456:ABCDEF"[..length]);
            let masked = mask.apply(text);
            assert!(masked.len() > MAX_RESPONSE_BYTES, "it can be told that it was cut");
            assert!(!masked.contains(&b'1'));
        }
        let text = b"123456:ABCDEF".repeat(90_000);
        let masked = mask.apply(text);
        assert_eq!((&masked[..4], masked.len()), (&b"*** "[..], MAX_RESPONSE_BYTES + 1));
    }

    #[test]
    fn a_masked_driver_leaks_nothing() {
        use crate::drivers::stub::Stub;

        let stub = Stub::new("example.com/leaky")
            .acting(|delivery| {
                let secret = format!("it was {SECRET}");
                Err(match delivery.id {
                    "permanent" => SendError::permanent(secret),
                    "wait" => {
                        SendError::not_before("x", std::time::Duration::from_secs(7)).with_response(secret)
                    }
                    _ => SendError::unreachable(secret.clone()).with_response(secret),
                })
            })
            .verifying(|_| Err(Rejected::new(SECRET)))
            .checking(|_| Err(Rejected::new(SECRET)));
        let driver = Masked::new(stub, Mask::new([SECRET]));
        let send = |id| driver.send(&Delivery { id, endpoint: "", content: b"" }).unwrap_err();
        assert!(send("permanent").is_permanent() && send("").is_unreachable());
        assert_eq!(send("wait").wait().unwrap().as_secs(), 7);
        for id in ["permanent", ""] {
            assert_eq!(send(id).to_string(), "it was ***");
        }
        for id in ["permanent", "wait", ""] {
            assert_eq!(send(id).into_response(), b"it was ***");
        }
        assert_eq!(driver.verify(b"").unwrap_err().to_string(), "***");
        assert_eq!(driver.check_endpoint("").unwrap_err().to_string(), "***");
        assert_eq!((driver.r#type(), driver.lane("x")), ("example.com/leaky", "example.com/leaky\nx".into()));
    }
}
