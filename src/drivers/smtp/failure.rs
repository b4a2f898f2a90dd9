//! Why an attempt failed, in words, and without the password.

use std::io;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Credentials, Server};
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

    pub(super) fn into_send_error(self, secrets: &Secrets) -> SendError {
        let reason = secrets.hide(self.reason);
        let error = match self.kind {
            Kind::Temporary => SendError::temporary(reason),
            Kind::Unreachable => SendError::unreachable(reason),
            Kind::Permanent => SendError::permanent(reason),
        };
        match self.response {
            Some(response) => error.with_response(secrets.hide(response)),
            None => error,
        }
    }
}

/// Every form in which the password goes over the wire, or may come back from it.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(credentials: Option<&Credentials>) -> Self {
        let Some(Credentials { user, password }) = credentials else { return Self(Vec::new()) };
        let mut forms = vec![
            plain_blob(user, password),
            BASE64_STANDARD.encode(password),
            BASE64_STANDARD_NO_PAD.encode(password),
            utf8_percent_encode(password, NON_ALPHANUMERIC).to_string(),
            password.clone(),
        ];
        forms.retain(|form| !form.is_empty());
        // The longest first: none is left over in part.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self(forms)
    }

    pub(super) fn hide(&self, text: String) -> String {
        self.0.iter().fold(text, |text, form| match text.contains(form.as_str()) {
            true => text.replace(form.as_str(), "***"),
            false => text,
        })
    }
}

/// What `AUTH PLAIN` sends.
pub(super) fn plain_blob(user: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("\0{user}\0{password}"))
}
