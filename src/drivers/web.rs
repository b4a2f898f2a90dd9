//! The HTTP client that all drivers share: one pool of connections, one
//! deadline for all of an exchange, one idea of whom to trust.

mod answer;
mod base;
mod names;
mod proxies;
mod wire;

use std::{
    error, fmt,
    io::{self, Read},
    sync::Arc,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body, Error, Proxy as Tunnel, RequestBuilder,
    http::{HeaderValue, Response, Uri, header},
    unversioned::transport::{ConnectProxyConnector, Connector},
};

pub(crate) use self::{
    answer::{Answer, Ending},
    base::{basic, clear_credentials},
};
pub use self::{
    base::{BaseUrl, InvalidUrl},
    proxies::{InvalidProxy, Proxies},
};
use self::{names::Names, proxies::Proxy, wire::Dialer};
use super::tls::Trust;
use crate::{driver::SendError, notification::MAX_RESPONSE_BYTES};

/// One byte more than is stored, so that whoever cuts a response knows that it was longer.
const MAX_BODY_BYTES: usize = MAX_RESPONSE_BYTES + 1;

/// A connection reads and writes through buffers of this size; longer lines of
/// a request get a connection of their own.
const BUFFER_BYTES: usize = 16 << 10;

/// The longest head of an answer. It must fit the buffer it is read into.
const MAX_HEAD_BYTES: usize = BUFFER_BYTES - 1;

/// How long an idle connection is kept: many servers close theirs sooner.
const IDLE: Duration = Duration::from_secs(15);

const USER_AGENT: &str = concat!("notify-api/", env!("CARGO_PKG_VERSION"));

/// How a [`WebClient`] behaves.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// What one delivery may take in all: name lookup, connection, request and answer.
    pub timeout: Duration,
    /// How many deliveries run at once; so many connections to a host are kept,
    /// and so many names are looked up at once.
    pub max_threads: usize,
    /// Who may certify a server.
    pub trust: Trust,
    /// The proxies to go through.
    pub proxies: Proxies,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_threads: 10,
            trust: Trust::system(),
            proxies: Proxies::default(),
        }
    }
}

/// An HTTP client; clones share connections.
#[derive(Clone)]
pub struct WebClient(Arc<Inner>);

struct Inner {
    timeout: Duration,
    proxies: Proxies,
    direct: Agent,
    /// For http through a proxy, which is asked for the whole URL.
    relay: Agent,
    /// For https through a proxy.
    tunnel: Agent,
}

impl WebClient {
    /// A client without any connection yet.
    pub fn new(options: WebOptions) -> Self {
        let proxy = options.proxies.https.as_ref().map(|proxy| proxy.tunnel.clone());
        let names = Names::new(options.max_threads);
        Self(Arc::new(Inner {
            direct: agent(&options, &names, Route::Direct),
            relay: agent(&options, &names, Route::Relay),
            tunnel: agent(&options, &names, Route::Tunnel(proxy)),
            timeout: options.timeout,
            proxies: options.proxies,
        }))
    }

    /// Makes one request and reads the answer, whatever its status.
    ///
    /// It takes no longer than the timeout, and reads at most one byte more than
    /// is stored. A connection that turns out to have been closed while it was
    /// idle is replaced: the receiver has not seen the request.
    pub(crate) fn exchange(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        self.exchange_up_to(request, MAX_BODY_BYTES)
    }

    /// The same, but reads at most `limit` bytes of the answer's body.
    pub(crate) fn exchange_up_to(&self, request: &Request<'_>, limit: usize) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.0.timeout;
        let result = match self.attempt(request, deadline, false) {
            Err(Error::Io(error)) if wire::is_disconnect(&error) && wire::is_stale() => {
                self.attempt(request, deadline, true)
            }
            result => result,
        };
        let (parts, body) = result.map_err(|error| self.failure(request, error))?.into_parts();
        let (body, ending) = read(body.into_reader(), limit);
        Ok(Answer { status: parts.status, headers: parts.headers, body, ending })
    }

    fn attempt(
        &self,
        request: &Request<'_>,
        deadline: Instant,
        afresh: bool,
    ) -> Result<Response<Body>, Error> {
        let is_https = request.uri.scheme_str() == Some("https");
        let proxy = self.0.proxies.find(&request.uri);
        let (agent, relay) = match proxy {
            None => (&self.0.direct, None),
            Some(_) if is_https => (&self.0.tunnel, None),
            Some(proxy) => (&self.0.relay, Some(proxy)),
        };
        let uri = match relay {
            Some(proxy) => relayed(&request.uri, proxy)?,
            None => request.uri.clone(),
        };
        wire::begin(deadline, relay.map(|_| origin(&request.uri)));
        match request.body {
            Some(body) => prepare(agent.post(uri), request, relay, afresh).send(body),
            None => prepare(agent.get(uri), request, relay, afresh).call(),
        }
    }

    /// Says what went wrong, with the server's name but without the URL: its
    /// path and its query may be secret.
    fn failure(&self, request: &Request<'_>, error: Error) -> Failure {
        let host = host_and_port(&request.uri);
        let seconds = self.0.timeout.as_secs_f32();
        match error {
            Error::Other(error) => match error.downcast::<Failure>() {
                Ok(failure) => *failure,
                Err(error) => Failure::Garbled(format!("{host}: {error}")),
            },
            Error::Timeout(_) => Failure::Unreachable(format!("no answer from {host} within {seconds} s")),
            Error::Io(error) if wire::is_disconnect(&error) => {
                Failure::Unreachable(format!("{host} closed the connection without an answer"))
            }
            Error::Io(error) => Failure::Unreachable(format!("no answer from {host}: {}", reason(&error))),
            Error::ConnectionFailed | Error::HostNotFound => {
                Failure::Unreachable(format!("nobody answers at {host}"))
            }
            Error::ConnectProxyFailed(reason) => {
                Failure::Unreachable(format!("no way to {host} through the proxy: {reason}"))
            }
            Error::Http(error) => Failure::Impossible(format!("the request can't be made: {error}")),
            Error::LargeResponseHeader(..) => Failure::Garbled(format!(
                "the answer of {host} has a head of more than {MAX_HEAD_BYTES} bytes"
            )),
            error => Failure::Garbled(format!("the answer of {host} is no valid HTTP: {error}")),
        }
    }
}

impl fmt::Debug for WebClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebClient").field("timeout", &self.0.timeout).finish_non_exhaustive()
    }
}

/// How a server is reached. Each has connections of its own, since ureq would
/// take the one to a proxy for one to a server of the same name.
enum Route {
    Direct,
    Relay,
    Tunnel(Option<Tunnel>),
}

/// Nothing is made up and nothing followed; timeouts are the wire's business.
fn agent(options: &WebOptions, names: &Names, route: Route) -> Agent {
    let connections = options.max_threads.max(1);
    let relayed = matches!(route, Route::Relay);
    let proxy = if let Route::Tunnel(proxy) = route { proxy } else { None };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .accept("")
        .accept_encoding("")
        .user_agent(USER_AGENT)
        .proxy(proxy)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_response_header_size(MAX_HEAD_BYTES)
        .max_idle_age(IDLE)
        // A busy host must not push out the connections to all others at once.
        .max_idle_connections(connections.saturating_mul(2))
        .max_idle_connections_per_host(connections)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default()).chain(Dialer { trust: options.trust.clone(), relayed });
    Agent::with_parts(config, connector, names.clone())
}

fn prepare<B>(
    mut builder: RequestBuilder<B>,
    request: &Request<'_>,
    proxy: Option<&Proxy>,
    afresh: bool,
) -> RequestBuilder<B> {
    let mut longest = request.uri.path().len() + request.uri.query().map_or(0, str::len);
    for (name, value) in &request.headers {
        longest = longest.max(name.len() + value.len());
        builder = builder.header_raw(name, value.as_bytes());
    }
    if let Some(proxy) = proxy {
        // The request's own URI is the proxy's now.
        if !request.has_header(header::HOST.as_str())
            && let Some(host) = request.uri.authority()
        {
            builder = builder.header(header::HOST, host.as_str());
        }
        if let Some(authorization) = &proxy.authorization
            && !request.has_header(header::PROXY_AUTHORIZATION.as_str())
        {
            builder = builder.header(header::PROXY_AUTHORIZATION, authorization);
        }
    }
    const LINE_OVERHEAD: usize = 64;
    if longest + LINE_OVERHEAD > BUFFER_BYTES {
        builder = builder.config().output_buffer_size(longest + LINE_OVERHEAD).build();
    }
    if afresh {
        // Whatever waits in the pool has seen the same idle time.
        builder = builder.config().max_idle_age(Duration::ZERO).build();
    }
    builder
}

/// The URL to ask a plain proxy for: its own, with the path that is meant.
fn relayed(uri: &Uri, proxy: &Proxy) -> Result<Uri, Error> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Uri::builder().scheme(proxy.scheme).authority(proxy.authority.clone()).path_and_query(path).build()?)
}

fn origin(uri: &Uri) -> String {
    format!("http://{}", uri.authority().map_or("", |authority| authority.as_str()))
}

fn read(reader: impl Read, limit: usize) -> (Vec<u8>, Ending) {
    let mut body = Vec::new();
    let result = reader.take(limit as u64).read_to_end(&mut body);
    let ending = match result.map_err(Error::from) {
        Ok(_) if body.len() == limit => Ending::TooLong,
        Ok(_) => Ending::Whole,
        Err(Error::Timeout(_)) => Ending::TimedOut,
        Err(Error::Io(error)) if wire::is_disconnect(&error) => Ending::Broken("connection closed".into()),
        Err(Error::Io(error)) => Ending::Broken(reason(&error)),
        Err(error) => Ending::Broken(error.to_string()),
    };
    (body, ending)
}

/// The server's place in sentences: never with credentials.
fn host_and_port(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{host}:{port}")
}

/// The reason of an error in words; the system's own have a number in them.
fn reason(error: &io::Error) -> String {
    match (error.raw_os_error(), error.kind()) {
        (Some(_), kind) if !kind.to_string().is_empty() => kind.to_string(),
        _ => error.to_string(),
    }
}

/// A request: a POST if it has a body, else a GET.
pub(crate) struct Request<'a> {
    /// An absolute URL without credentials.
    pub(crate) uri: Uri,
    /// Names are sent as they are written.
    pub(crate) headers: Vec<(String, HeaderValue)>,
    pub(crate) body: Option<&'a [u8]>,
}

impl Request<'_> {
    pub(crate) fn has_header(&self, name: &str) -> bool {
        has_header(&self.headers, name)
    }
}

/// Whether a header of this name is there, in whatever case.
pub(crate) fn has_header(headers: &[(String, HeaderValue)], name: &str) -> bool {
    headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody answered.
    Unreachable(String),
    /// Somebody answered something else than HTTP.
    Garbled(String),
    /// The request can't be made.
    Impossible(String),
}

impl Failure {
    /// For the inside of ureq, which hands it on untouched.
    fn into_ureq(self) -> Error {
        Error::Other(Box::new(self))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(reason) | Self::Garbled(reason) | Self::Impossible(reason)) = self;
        f.write_str(reason)
    }
}

impl error::Error for Failure {}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(reason) => Self::unreachable(reason),
            Failure::Garbled(reason) => Self::temporary(reason),
            Failure::Impossible(reason) => Self::permanent(reason),
        }
    }
}
