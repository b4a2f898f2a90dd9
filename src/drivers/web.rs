//! The HTTP client that all drivers share.

use std::{io::Read, sync::Arc, time::Duration};

use ureq::{
    Agent, Error,
    http::{HeaderMap, Method, Request, StatusCode, Uri},
};

use crate::{driver::SendError, notification::MAX_RESPONSE_BYTES};

/// One byte more than is stored, so that whoever cuts a response knows that it was longer.
const MAX_BODY_BYTES: usize = MAX_RESPONSE_BYTES + 1;

/// How a [`WebClient`] behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebOptions {
    /// What one delivery may take in all: name lookup, connection, request and answer.
    pub timeout: Duration,
    /// How many deliveries run at once; so many connections to a host are kept,
    /// and so many names are looked up at once.
    pub max_threads: usize,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_threads: 10 }
    }
}

/// An HTTP client; clones share connections.
#[derive(Clone)]
pub struct WebClient(Arc<Inner>);

struct Inner {
    agent: Agent,
}

impl WebClient {
    /// A client without any connection yet.
    pub fn new(options: WebOptions) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept("")
            .accept_encoding("")
            .user_agent(concat!("notify-api/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(options.timeout))
            .max_idle_connections(options.max_threads.max(1))
            .max_idle_connections_per_host(options.max_threads.max(1))
            .build();
        Self(Arc::new(Inner { agent: Agent::new_with_config(config) }))
    }

    /// Makes one request and reads the answer, whatever its status.
    pub(crate) fn exchange(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let mut request = Request::new(());
        *request.method_mut() = call.method;
        *request.uri_mut() = call.uri;
        *request.headers_mut() = call.headers;
        let result = match call.body {
            Some(body) => self.0.agent.run(request.map(|()| body)),
            None => self.0.agent.run(request),
        };
        let (parts, body) = result.map_err(Failure::of)?.into_parts();
        let (body, ending) = read(body.into_reader());
        Ok(Answer { status: parts.status, headers: parts.headers, body, ending })
    }
}

fn read(mut reader: impl Read) -> (Vec<u8>, Ending) {
    let mut body = Vec::new();
    let result = reader.by_ref().take(MAX_BODY_BYTES as u64).read_to_end(&mut body);
    let ending = match result {
        Ok(_) if body.len() == MAX_BODY_BYTES => Ending::TooLong,
        Ok(_) => Ending::Whole,
        Err(error) => match Error::from(error) {
            Error::Timeout(_) => Ending::TimedOut,
            error => Ending::Broken(error.to_string()),
        },
    };
    (body, ending)
}

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// `None` for methods without one.
    pub(crate) body: Option<&'a [u8]>,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// At most one byte more than is stored.
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
}

impl Answer {
    /// `HTTP 404 Not Found`.
    pub(crate) fn status_line(&self) -> String {
        match self.status.canonical_reason() {
            Some(reason) => format!("HTTP {} {reason}", self.status.as_u16()),
            None => format!("HTTP {}", self.status.as_u16()),
        }
    }
}

/// How the body of an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is complete.
    Whole,
    /// There was more of it than is read.
    TooLong,
    /// The time was up before its end.
    TimedOut,
    /// The connection failed before its end.
    Broken(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody answered.
    Unreachable(String),
    /// What came is no HTTP.
    Garbled(String),
    /// The request can't be made.
    Impossible(String),
}

impl Failure {
    fn of(error: Error) -> Self {
        match error {
            Error::Io(_) | Error::Timeout(_) | Error::HostNotFound | Error::ConnectionFailed => {
                Self::Unreachable(error.to_string())
            }
            error => Self::Garbled(error.to_string()),
        }
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(reason) => Self::unreachable(reason),
            Failure::Garbled(reason) => Self::temporary(reason),
            Failure::Impossible(reason) => Self::permanent(reason),
        }
    }
}
