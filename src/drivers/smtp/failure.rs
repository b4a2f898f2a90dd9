//! Why an attempt failed, in words.

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::Server;
use crate::driver::SendError;

/// What went wrong.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    reason: String,
    response: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Temporary,
    Unreachable,
    Permanent,
}

impl Failure {
    pub(super) fn temporary(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Temporary, reason: reason.into(), response: None }
    }

    pub(super) fn unreachable(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, reason: reason.into(), response: None }
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Permanent, reason: reason.into(), response: None }
    }

    /// What the server said about it.
    pub(super) fn with_response(mut self, response: String) -> Self {
        self.response = Some(response);
        self
    }

    /// What else a person needs to make sense of the response.
    pub(super) fn with_note(mut self, note: Option<String>) -> Self {
        if let (Some(response), Some(note)) = (&mut self.response, note) {
            *response = format!("{response}\n{note}");
        }
        self
    }

    /// What may have to be changed.
    pub(super) fn with_hint(mut self, hint: &str) -> Self {
        self.reason = format!("{}: {hint}", self.reason);
        self
    }

    /// A connection that broke, or stayed silent, where `what` should have been answered.
    pub(super) fn io(server: &Server, what: &str, error: &io::Error) -> Self {
        Self::unreachable(match error.kind() {
            io::ErrorKind::TimedOut => format!("{server} gave no answer to {what} in time"),
            io::ErrorKind::UnexpectedEof => {
                format!("{server} closed the connection without an answer to {what}")
            }
            _ => format!("the connection to {server} broke, there is no answer to {what}: {error}"),
        })
    }

    /// Whether the server itself said no: then it is still there.
    pub(super) fn is_answer(&self) -> bool {
        self.response.is_some()
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        let error = match failure.kind {
            Kind::Temporary => Self::temporary(failure.reason),
            Kind::Unreachable => Self::unreachable(failure.reason),
            Kind::Permanent => Self::permanent(failure.reason),
        };
        match failure.response {
            Some(response) => error.with_response(response),
            None => error,
        }
    }
}

/// What `AUTH PLAIN` sends.
pub(super) fn plain_blob(user: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("\0{user}\0{password}"))
}
