//! Answers: a code, and one sentence for each failure.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::{
    http::{HeaderValue, StatusCode, header},
    reply::Response,
};

use crate::{
    db::DbError,
    notification::{Id, InvalidId, InvalidParams, Timestamp},
    recorder::Refusal,
};

/// When a client may ask again after a 503, in seconds.
const RETRY_AFTER: &str = "1";

/// Why a request fails: the only place where failures become codes.
pub(super) enum Failure {
    UnknownPath,
    UnknownId,
    MethodNotAllowed(&'static str),
    Unauthorized,
    TooLarge {
        limit: usize,
    },
    Invalid(String),
    Conflict(String),
    Unavailable(String),
    /// The database of this server never does it.
    Unsupported(String),
    Bug,
}

impl Failure {
    /// The id was used before, too long ago or for something else.
    pub(super) fn id_taken(id: &Id, create_at: Timestamp, same: bool) -> Self {
        let id = id.as_str();
        Self::Conflict(if same {
            format!("the id {id:?} was used at {create_at} (Unix time), over a day ago; nothing was sent now")
        } else {
            format!(
                "the id {id:?} is taken by other content since {create_at} (Unix time); nothing was sent now"
            )
        })
    }

    /// All memory for payloads is in use.
    pub(super) fn no_memory() -> Self {
        Self::Unavailable("too many payloads are in memory just now".into())
    }

    /// The sentence for the client.
    pub(super) fn into_sentence(self) -> String {
        self.into_parts().1
    }

    fn into_parts(self) -> (StatusCode, String) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "there is nothing at this path".into()),
            Self::UnknownId => (StatusCode::NOT_FOUND, DbError::NotFound.to_string()),
            Self::MethodNotAllowed(allowed) => {
                (StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allowed} only"))
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "the token is missing or wrong".into()),
            Self::TooLarge { limit } => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
            }
            Self::Invalid(sentence) => (StatusCode::BAD_REQUEST, sentence),
            Self::Conflict(sentence) => (StatusCode::CONFLICT, sentence),
            Self::Unavailable(sentence) => (StatusCode::SERVICE_UNAVAILABLE, sentence),
            Self::Unsupported(sentence) => (StatusCode::NOT_IMPLEMENTED, sentence),
            Self::Bug => {
                (StatusCode::INTERNAL_SERVER_ERROR, "an error in the server; its log says more".into())
            }
        }
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        let allow = match failure {
            Failure::MethodNotAllowed(allowed) => Some(allowed),
            _ => None,
        };
        let (status, error) = failure.into_parts();
        let mut response = json(&Sentence { error });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(allowed) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if status == StatusCode::UNAUTHORIZED {
            for scheme in ["Bearer realm=\"notify-api\"", "Basic realm=\"notify-api\""] {
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        response
    }
}

impl From<InvalidParams> for Failure {
    fn from(reason: InvalidParams) -> Self {
        Self::Invalid(reason.to_string())
    }
}

impl From<InvalidId> for Failure {
    fn from(reason: InvalidId) -> Self {
        Self::Invalid(reason.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Unavailable(refusal.to_string())
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        match error {
            DbError::NotFound => Self::UnknownId,
            DbError::Exists | DbError::Sending => Self::Conflict(error.to_string()),
            DbError::Refused(_) => Self::Invalid(error.to_string()),
            DbError::Full(_) | DbError::Unavailable(_) => Self::Unavailable(error.to_string()),
            DbError::Unsupported(_) => Self::Unsupported(error.to_string()),
        }
    }
}

/// Nothing is there.
pub(super) fn not_found() -> Response {
    Failure::UnknownPath.into()
}

/// A command is done: nothing to say.
pub(super) fn done() -> Response {
    Response::default()
}

#[derive(Serialize)]
struct Sentence {
    error: String,
}

/// A line of JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    with_type("application/json", line(value).into())
}

/// A line of JSON, or a 503 if it doesn't fit into the memory there is.
pub(super) fn json_within(budget: &Arc<Semaphore>, value: &impl Serialize) -> Result<Response, Failure> {
    Ok(with_type("application/json", Held::within(budget, line(value))?))
}

/// Bytes as they are, or a 503 if they don't fit into the memory there is.
pub(super) fn bytes_within(budget: &Arc<Semaphore>, bytes: Vec<u8>) -> Result<Response, Failure> {
    Ok(with_type("application/octet-stream", Held::within(budget, bytes)?))
}

/// Metrics.
pub(super) fn metrics(text: String) -> Response {
    with_type("application/openmetrics-text; version=1.0.0; charset=utf-8", text.into())
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("our own types are JSON");
    line.push(b'\n');
    line
}

fn with_type(content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body with its share of the memory budget, which is free again when it is written.
struct Held {
    bytes: Vec<u8>,
    _memory: OwnedSemaphorePermit,
}

impl Held {
    fn within(budget: &Arc<Semaphore>, bytes: Vec<u8>) -> Result<Bytes, Failure> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let memory = budget.clone().try_acquire_many_owned(length);
        let memory = memory.map_err(|_| Failure::no_memory())?;
        Ok(Bytes::from_owner(Self { bytes, _memory: memory }))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
