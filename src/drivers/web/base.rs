//! URLs that are configured: where a service, or another server, is.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use ureq::http::{HeaderValue, Uri};
use url::Url;

/// The URL that the paths of a service are appended to, with or without a
/// final slash; `user:pass@` in it becomes basic authentication.
#[derive(Clone)]
pub struct BaseUrl {
    /// With a final slash, without credentials.
    url: Url,
    authorization: Option<HeaderValue>,
    password: Option<String>,
}

impl BaseUrl {
    /// Takes an `http` or `https` URL.
    ///
    /// # Errors
    /// It is none, or it has a query or a fragment.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let mut url = Url::parse(url.trim()).map_err(|_| InvalidUrl)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        if !is_web || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidUrl);
        }
        let authorization = basic(&url);
        let decoded = |password| percent_decode_str(password).decode_utf8_lossy().into_owned();
        let password = url.password().map(decoded);
        clear_credentials(&mut url);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        url.as_str().parse::<Uri>().map_err(|_| InvalidUrl)?;
        Ok(Self { url, authorization, password })
    }

    /// The URL of a path below, which has to be encoded already.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, InvalidUrl> {
        format!("{}{path}", self.url).parse().map_err(|_| InvalidUrl)
    }

    /// The password of the credentials, which nobody may see.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The credentials that the URL carries.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The same as a header.
    pub(crate) fn authorization_header(&self) -> Option<(String, HeaderValue)> {
        self.authorization.clone().map(|value| ("Authorization".to_owned(), value))
    }
}

/// Without credentials.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.url)
    }
}

/// What was given is no base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUrl;

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an http:// or https:// URL without a query is expected")
    }
}

impl std::error::Error for InvalidUrl {}

/// The credentials of a URL as basic authentication.
pub(crate) fn basic(url: &Url) -> Option<HeaderValue> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password.unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes the credentials out of a URL.
pub(crate) fn clear_credentials(url: &mut Url) {
    // These fail for URLs without a host only.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_slash_makes_no_difference() {
        for (base, joined) in [
            ("https://a.test", "https://a.test/x/y"),
            ("https://a.test/", "https://a.test/x/y"),
            ("http://u:p@a.test:81/prefix", "http://a.test:81/prefix/x/y"),
            ("http://a.test/prefix/", "http://a.test/prefix/x/y"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join("x/y").unwrap(), joined);
        }
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for base in
            ["", "a.test", "ftp://a.test", "http://", "http://a.test/?q=1", "http://a.test/#f", "http:///"]
        {
            assert!(BaseUrl::parse(base).is_err(), "{base}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let base = BaseUrl::parse("http://user:secret@a.test/").unwrap();
        assert!(!format!("{base} {base:?}").contains("secret"));
        assert_eq!(base.authorization().unwrap(), "Basic dXNlcjpzZWNyZXQ=");
    }
}
