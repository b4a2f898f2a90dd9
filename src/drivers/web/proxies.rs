//! Which requests go through a proxy.

use std::{env, fmt, net::IpAddr};

use ureq::http::{HeaderValue, Uri, uri::Authority};
use url::Url;

use super::{basic, secret};

/// The proxies to use, and the hosts that are reached without one.
#[derive(Clone, Default)]
pub struct Proxies {
    pub(super) http: Option<Proxy>,
    pub(super) https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// A proxy that speaks HTTP, itself over TCP or TLS.
#[derive(Clone)]
pub(super) struct Proxy {
    /// As ureq wants it for https.
    pub(super) tunnel: ureq::Proxy,
    pub(super) scheme: &'static str,
    pub(super) authority: Authority,
    pub(super) authorization: Option<HeaderValue>,
    secret: Option<String>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// A host and all below it, on one port or on any.
    Host(String, Option<u16>),
    /// All addresses that begin with these bits.
    Network(IpAddr, u8),
}

impl Proxies {
    /// Takes what `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` hold, in lower or
    /// upper case (lower case wins, as with other programs); an empty one is unset.
    ///
    /// # Errors
    /// A variable holds no URL of a proxy.
    pub fn from_env() -> Result<Self, InvalidProxy> {
        let variable = |name: &'static str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        };
        Self::new(
            variable("HTTP_PROXY").as_deref(),
            variable("HTTPS_PROXY").as_deref(),
            variable("NO_PROXY").as_deref().unwrap_or_default(),
        )
    }

    /// Takes a proxy for `http` and one for `https` URLs: `http://user:pass@host:port`,
    /// `https://…`, or `host:port`. `no_proxy` lists, separated by commas or
    /// spaces, hosts (all below them too), `host:port`, addresses, networks
    /// (`10.0.0.0/8`) or `*`.
    ///
    /// # Errors
    /// One of them is no URL of a proxy.
    pub fn new(http: Option<&str>, https: Option<&str>, no_proxy: &str) -> Result<Self, InvalidProxy> {
        let proxy = |variable, value: Option<&str>| {
            value.map(|value| Proxy::parse(value).ok_or(InvalidProxy { variable })).transpose()
        };
        Ok(Self {
            http: proxy("HTTP_PROXY", http)?,
            https: proxy("HTTPS_PROXY", https)?,
            exceptions: no_proxy
                .split([',', ' ', '\t'])
                .filter(|entry| !entry.is_empty())
                .map(Exception::parse)
                .collect(),
        })
    }

    /// What nobody may see of them.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [&self.http, &self.https].into_iter().flatten().filter_map(|proxy| proxy.secret.as_deref())
    }

    /// The proxy for this URL.
    pub(super) fn find(&self, uri: &Uri) -> Option<&Proxy> {
        let is_https = uri.scheme_str() == Some("https");
        let proxy = if is_https { &self.https } else { &self.http }.as_ref()?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let is_excepted = self.exceptions.iter().any(|exception| exception.matches(host, port));
        (!is_excepted).then_some(proxy)
    }
}

/// Where they are, without credentials.
impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let through = |(name, proxy): (&str, &Option<Proxy>)| {
            proxy.as_ref().map(|proxy| format!("{name} through {}", proxy.authority))
        };
        let all: Vec<_> =
            [("http", &self.http), ("https", &self.https)].into_iter().filter_map(through).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |proxy: &Option<Proxy>| proxy.as_ref().map(|proxy| proxy.authority.clone());
        f.debug_struct("Proxies")
            .field("http", &place(&self.http))
            .field("https", &place(&self.https))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

impl Proxy {
    fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let url =
            if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
        let url = url.ok()?;
        let scheme = match url.scheme() {
            "http" => "http",
            "https" => "https",
            _ => return None,
        };
        // An https proxy without a port listens on 443, as any https server.
        let authority = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
        Some(Self {
            tunnel: ureq::Proxy::new(url.as_str()).ok()?,
            scheme,
            authority: authority.parse().ok()?,
            authorization: basic(&url),
            secret: secret(&url),
        })
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::All;
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Self::Network(address, bits);
        }
        let (host, port) = match entry.rsplit_once(':') {
            // An IPv6 address without brackets has colons of its own.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (entry, None),
        };
        let host = host.trim_start_matches('*').trim_matches(['.', '[', ']']).to_ascii_lowercase();
        Self::Host(host, port)
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Host(name, only) => {
                let host = host.to_ascii_lowercase();
                only.is_none_or(|only| only == port)
                    && host.strip_suffix(name.as_str()).is_some_and(|rest| {
                        rest.is_empty() || (rest.ends_with('.') && host.parse::<IpAddr>().is_err())
                    })
            }
            Self::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => {
                    same_bits(network.to_bits().into(), host.to_bits().into(), 32, *bits)
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => {
                    same_bits(network.to_bits(), host.to_bits(), 128, *bits)
                }
                _ => false,
            },
        }
    }
}

fn same_bits(left: u128, right: u128, width: u32, bits: u8) -> bool {
    let ignored = width.saturating_sub(u32::from(bits));
    (left ^ right).checked_shr(ignored).unwrap_or(0) == 0
}

/// A proxy setting that can't be used. What it holds isn't shown: it may have a
/// password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxy {
    variable: &'static str,
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} holds no proxy that can be used: it takes http://host:port or https://host:port",
            self.variable
        )
    }
}

impl std::error::Error for InvalidProxy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_direct(no_proxy: &str, url: &str) -> bool {
        let proxies = Proxies::new(Some("proxy.test:3128"), Some("proxy.test:3128"), no_proxy).unwrap();
        proxies.find(&url.parse().unwrap()).is_none()
    }

    #[test]
    fn exceptions() {
        for (no_proxy, url) in [
            ("*", "http://a.test/"),
            ("a.test", "http://a.test/"),
            ("A.test", "http://b.a.TEST/"),
            (".a.test", "http://a.test/"),
            ("*.a.test", "http://b.a.test:81/"),
            ("x, a.test:81", "http://a.test:81/"),
            ("127.0.0.1", "http://127.0.0.1:8080/"),
            ("10.0.0.0/8,::1", "http://10.9.8.7/"),
            ("10.0.0.0/8 ::1", "http://[::1]/"),
            ("[::1]:81", "http://[::1]:81/"),
            ("fd00::/8", "https://[fd12::1]/"),
            ("0.0.0.0/0", "http://1.2.3.4/"),
        ] {
            assert!(goes_direct(no_proxy, url), "{no_proxy:?} {url}");
        }
        for (no_proxy, url) in [
            ("", "http://a.test/"),
            ("b.test", "http://a.test/"),
            ("a.test", "http://ba.test/"),
            ("a.test:82", "http://a.test:81/"),
            ("0.0.1", "http://127.0.0.1/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/8", "http://a.test/"),
        ] {
            assert!(!goes_direct(no_proxy, url), "{no_proxy:?} {url}");
        }
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let proxies = Proxies::new(None, Some("https://u:p%40ss@proxy.test"), "").unwrap();
        assert!(proxies.find(&"http://a.test/".parse().unwrap()).is_none());
        let proxy = proxies.find(&"https://a.test/".parse().unwrap()).unwrap();
        assert_eq!((proxy.scheme, proxy.authority.as_str()), ("https", "proxy.test:443"));
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dTpwQHNz");
        assert!(!format!("{proxies:?}").contains("p%40ss"));
        assert_eq!(proxies.to_string(), "https through proxy.test:443");
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_without_showing_it() {
        for value in ["socks5://proxy.test:1080", "http://", "http://user:secret@:80"] {
            let error = Proxies::new(Some(value), None, "").unwrap_err().to_string();
            assert!(error.starts_with("HTTP_PROXY ") && !error.contains("secret"), "{error}");
        }
    }
}
