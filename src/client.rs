//! A client of the service, for Rust programs: its calls, blocking.

use std::{fmt, time::Duration};

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use ureq::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    drivers::{
        tls::Trust,
        web::{Answer, BaseUrl, Ending, Failure, InvalidUrl, Proxies, Request, WebClient, WebOptions},
    },
    notification::{Detail, Id, Listing, MAX_RESPONSE_BYTES, Params, State, Status, Timestamp, When},
};

/// The longest answer that is read: a detail holds a payload and a response,
/// both of them a third longer than they are.
const MAX_ANSWER_BYTES: usize = 64 * MAX_RESPONSE_BYTES;

/// Talks to one server; it can be shared by threads.
///
/// ```no_run
/// use notify_api::{Client, ClientOptions, Params, State};
///
/// let options = ClientOptions { token: Some("s3cret".into()), ..ClientOptions::default() };
/// let client = Client::new("http://127.0.0.1:8080", options)?;
///
/// let id = client.send(&Params::parse(
///     br#"{"type": "HTTPPOST", "endpoint": "https://example.com/hook", "payload": {"body": "done"}}"#,
/// )?)?;
/// match client.status(id.as_str())?.state {
///     State::Pending => println!("{id} is under way"),
///     State::Success => println!("{id} was delivered"),
///     State::Failed => println!("{id}: {}", String::from_utf8_lossy(&client.result(id.as_str())?)),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    web: WebClient,
    base: BaseUrl,
    authorization: Option<HeaderValue>,
}

/// How a [`Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// What the server wants to be shown.
    pub token: Option<String>,
    /// What one call may take in all. The server answers within ten seconds.
    pub timeout: Duration,
    /// Who may certify the server.
    pub trust: Trust,
    /// The proxies to go through.
    pub proxies: Proxies,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            token: None,
            timeout: Duration::from_secs(15),
            trust: Trust::system(),
            proxies: Proxies::default(),
        }
    }
}

impl Client {
    /// A client of the server at `base`, which may have a path, and credentials
    /// that stand in for a token.
    ///
    /// # Errors
    /// `base` is no such URL, or the token can't be sent.
    pub fn new(base: &str, options: ClientOptions) -> Result<Self, InvalidClient> {
        let base = BaseUrl::parse(base).map_err(InvalidClient::Url)?;
        let authorization = match options.token {
            None => base.authorization().cloned(),
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {token}"));
                let mut value = value.map_err(|_| InvalidClient::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let web = WebClient::new(WebOptions {
            timeout: options.timeout,
            trust: options.trust,
            proxies: options.proxies,
            ..WebOptions::default()
        });
        Ok(Self { web, base, authorization })
    }

    /// Hands over a notification; it is on disk when this returns. Returns its
    /// id, which the server makes if `params` has none.
    ///
    /// With an id, a call can be repeated safely for a day.
    ///
    /// # Errors
    /// It was not accepted, or nobody knows.
    pub fn send(&self, params: &Params) -> Result<Id, ClientError> {
        self.hand_over("send", params)
    }

    /// The same, but with exactly one attempt.
    ///
    /// # Errors
    /// It was not accepted, or nobody knows.
    pub fn send_once(&self, params: &Params) -> Result<Id, ClientError> {
        self.hand_over("sendOnce", params)
    }

    /// Makes one more attempt, whatever has become of it.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] among others.
    pub fn resend(&self, id: &str) -> Result<(), ClientError> {
        self.call("resend", &ById { id }).map(drop)
    }

    /// The latest response of the receiver; empty if there is none yet.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] among others.
    pub fn result(&self, id: &str) -> Result<Vec<u8>, ClientError> {
        self.call("result", &ById { id }).map(|answer| answer.body)
    }

    /// What has become of a notification.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] among others.
    pub fn status(&self, id: &str) -> Result<Status, ClientError> {
        read(&self.call("status", &ById { id })?)
    }

    /// All there is to know about a notification.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] among others.
    pub fn detail(&self, id: &str) -> Result<Detail, ClientError> {
        read(&self.call("detail", &ById { id })?)
    }

    /// Deletes a notification; one that is unknown is deleted already.
    ///
    /// # Errors
    /// [`ClientError::Conflict`] while it is being sent, among others.
    pub fn delete(&self, id: &str) -> Result<(), ClientError> {
        self.call("delete", &ById { id }).map(drop)
    }

    /// Deletes what is finished and was created before then.
    ///
    /// # Errors
    /// It was not done, or not known to be.
    pub fn clear(&self, before: Timestamp) -> Result<(), ClientError> {
        self.call("clear", &Before { before }).map(drop)
    }

    /// Deletes what was created before then, finished or not.
    ///
    /// # Errors
    /// It was not done, or not known to be.
    pub fn force_clear(&self, before: Timestamp) -> Result<(), ClientError> {
        self.call("forceClear", &Before { before }).map(drop)
    }

    /// A part of all notifications, the newest first.
    ///
    /// ```no_run
    /// use notify_api::{Client, ClientOptions, ListOptions, State};
    ///
    /// let client = Client::new("http://127.0.0.1:8080", ClientOptions::default())?;
    /// let mut failed = ListOptions { state: Some(State::Failed), since: Some("1d".parse()?), ..ListOptions::default() };
    /// loop {
    ///     let listing = client.list(&failed)?;
    ///     for item in listing.items {
    ///         println!("{}: {}", item.id, item.response.unwrap_or_default());
    ///     }
    ///     failed.after = match listing.next {
    ///         None => break,
    ///         next => next,
    ///     };
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Rejected`] if the server doesn't take the options, among others.
    pub fn list(&self, options: &ListOptions) -> Result<Listing, ClientError> {
        read(&self.exchange(&options.path(), None)?)
    }

    fn hand_over(&self, path: &str, params: &Params) -> Result<Id, ClientError> {
        let answer = self.call(path, params)?;
        let id = answer.headers.get("Notification-Id").and_then(|value| value.to_str().ok());
        id.and_then(|id| percent_decode_str(id).decode_utf8().ok())
            .and_then(|id| Id::new(&*id).ok())
            .or_else(|| params.id.clone())
            .ok_or_else(|| unexpected(&answer, "it has no Notification-Id"))
    }

    fn call(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Rejected(error.to_string()))?;
        self.exchange(path, Some(&body))
    }

    fn exchange(&self, path: &str, body: Option<&[u8]>) -> Result<Answer, ClientError> {
        let uri = self.base.join(path).map_err(|error| ClientError::Rejected(error.to_string()))?;
        let mut headers = Vec::new();
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), HeaderValue::from_static("application/json")));
        }
        headers.extend(self.authorization.clone().map(|value| ("Authorization".to_owned(), value)));
        let request = Request { uri, headers, body };
        let answer = self.web.exchange_up_to(&request, MAX_ANSWER_BYTES)?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        match answer.ending {
            Ending::Whole => Ok(answer),
            Ending::TooLong => Err(unexpected(&answer, "it is too long")),
            Ending::TimedOut | Ending::Broken(_) => {
                Err(ClientError::Unreachable("the server's answer was cut off".into()))
            }
        }
    }
}

/// What [`Client::list`] asks for: by default the newest 100 of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this type.
    pub r#type: Option<String>,
    /// Only those accepted then or later.
    pub since: Option<When>,
    /// Only those accepted before.
    pub before: Option<When>,
    /// At most so many, 1 to 1000.
    pub limit: Option<usize>,
    /// Goes on where another listing ended: its [`next`](Listing::next).
    pub after: Option<String>,
}

impl ListOptions {
    fn path(&self) -> String {
        let Self { state, r#type, since, before, limit, after } = self;
        let pairs = [
            ("state", state.map(|state| (state as u8).to_string())),
            ("type", r#type.clone()),
            ("since", since.map(|since| since.to_string())),
            ("before", before.map(|before| before.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
            ("after", after.clone()),
        ];
        let mut path = String::from("list");
        for (number, (name, value)) in
            pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).enumerate()
        {
            path.push(if number == 0 { '?' } else { '&' });
            path.push_str(name);
            path.push('=');
            path.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
        }
        path
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

#[derive(Serialize)]
struct ById<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Before {
    before: Timestamp,
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body).map_err(|error| unexpected(answer, &error.to_string()))
}

fn refusal(answer: &Answer) -> ClientError {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    let Ok(Body { error }) = serde_json::from_slice(&answer.body) else {
        return unexpected(answer, "it is not of this service");
    };
    match answer.status {
        StatusCode::BAD_REQUEST => ClientError::Rejected(error),
        StatusCode::UNAUTHORIZED => ClientError::Unauthorized(error),
        StatusCode::NOT_FOUND => ClientError::NotFound(error),
        StatusCode::CONFLICT => ClientError::Conflict(error),
        StatusCode::PAYLOAD_TOO_LARGE => ClientError::TooLarge(error),
        StatusCode::SERVICE_UNAVAILABLE => {
            ClientError::Unavailable { reason: error, retry_after: retry_after(&answer.headers) }
        }
        status => ClientError::Unexpected { status: status.as_u16(), reason: error },
    }
}

fn unexpected(answer: &Answer, what: &str) -> ClientError {
    let reason = format!("{} and an answer that can't be used: {what}", answer.status_line());
    ClientError::Unexpected { status: answer.status.as_u16(), reason }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Why a call failed. What comes from the server is its own sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// 400: the request can't be right, whenever it is made.
    Rejected(String),
    /// 401: no token, or not the right one.
    Unauthorized(String),
    /// 404: there is no such notification.
    NotFound(String),
    /// 409: the id is in use for something else, or the notification is being sent right now.
    Conflict(String),
    /// 413: the request is longer than the server takes.
    TooLarge(String),
    /// 503: the server can't do it now.
    Unavailable {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// Nobody answered: the call may have been carried out all the same.
    Unreachable(String),
    /// An answer that this client doesn't understand.
    Unexpected {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Impossible(reason) => Self::Rejected(reason),
            failure => Self::Unreachable(failure.to_string()),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason)
            | Self::Unauthorized(reason)
            | Self::NotFound(reason)
            | Self::Conflict(reason)
            | Self::TooLarge(reason)
            | Self::Unavailable { reason, .. }
            | Self::Unreachable(reason)
            | Self::Unexpected { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for ClientError {}

/// Why there can't be such a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidClient {
    /// The server's URL is none.
    Url(InvalidUrl),
    /// The token has a control character in it.
    Token,
}

impl fmt::Display for InvalidClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Token => f.write_str("the token has a control character in it"),
        }
    }
}

impl std::error::Error for InvalidClient {}
