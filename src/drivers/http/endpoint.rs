//! The URL a webhook goes to.

use ureq::http::{HeaderValue, Uri};
use url::Url;

use super::payload::Values;
use crate::{
    driver::Rejected,
    drivers::web::{basic, clear_credentials},
};

/// An endpoint taken apart into what a request needs.
pub(super) struct Endpoint {
    /// Where the request goes: without credentials, without a fragment.
    pub(super) uri: Uri,
    /// The credentials that the endpoint carries, as basic authentication.
    pub(super) authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Takes an endpoint and appends `values`, query-encoded, to its query.
    pub(super) fn parse(endpoint: &str, values: &Values) -> Result<Self, Rejected> {
        let mut url = parse(endpoint)?;
        let authorization = basic(&url);
        url.set_fragment(None);
        clear_credentials(&mut url);
        if !values.0.is_empty() {
            url.query_pairs_mut().extend_pairs(&values.0);
        }
        let uri = url.as_str().parse().map_err(|error| {
            let bytes = url.as_str().len();
            // Not the URL itself: its query may hold a secret.
            Rejected::new(format!("the URL, {bytes} bytes with the values, can't be requested: {error}"))
        })?;
        Ok(Self { uri, authorization })
    }
}

pub(super) fn check(endpoint: &str) -> Result<(), Rejected> {
    Endpoint::parse(endpoint, &Values::default()).map(drop)
}

/// All that goes to one server waits in one lane.
pub(super) fn lane(endpoint: &str) -> String {
    match parse(endpoint) {
        Ok(url) => {
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or_default();
            format!("{}://{host}:{port}", url.scheme())
        }
        Err(_) => endpoint.to_owned(),
    }
}

fn parse(endpoint: &str) -> Result<Url, Rejected> {
    if endpoint.is_empty() {
        return Err(Rejected::new("\"endpoint\" is missing: it is the URL to call"));
    }
    // The URL standard drops or encodes these silently; here they are a mistake.
    if endpoint.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(Rejected::new("the endpoint has a space or a control character in it"));
    }
    let (scheme, rest) = endpoint
        .split_once(':')
        .ok_or_else(|| Rejected::new("the endpoint is no URL: it must begin with http:// or https://"))?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Rejected::new("the endpoint must begin with http:// or https://"));
    }
    let rest = rest
        .strip_prefix("//")
        .ok_or_else(|| Rejected::new("the endpoint must have two slashes after its scheme, then a host"))?;
    // "http:///path" would be read as the host "path".
    if rest.starts_with(['/', '\\', '?', '#']) || rest.is_empty() {
        return Err(Rejected::new("the endpoint has no host"));
    }
    let url = Url::parse(endpoint)
        .map_err(|error| Rejected::new(format!("the endpoint is no valid URL: {error}")))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Rejected::new("the endpoint has no host"));
    }
    if url.port() == Some(0) {
        return Err(Rejected::new("the endpoint's port can't be 0"));
    }
    Ok(url)
}
