//! What a server answered, and what is told of it when it means a failure.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, header};

use crate::driver::SendError;

/// No receiver is left alone for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a `Location` is quoted.
const MAX_LOCATION_BYTES: usize = 2048;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As much of it as is read at most.
    pub(crate) body: Vec<u8>,
    pub(crate) ending: Ending,
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

impl Answer {
    /// `HTTP 404 Not Found`.
    pub(crate) fn status_line(&self) -> String {
        match self.status.canonical_reason() {
            Some(reason) => format!("HTTP {} {reason}", self.status.as_u16()),
            None => format!("HTTP {}", self.status.as_u16()),
        }
    }

    /// A failure that may pass, not before the time that a busy receiver asks for.
    pub(crate) fn temporary(self, why: &str) -> SendError {
        let what = self.sentence(why);
        let error = match self.retry_after() {
            Some(wait) => SendError::not_before(what, wait),
            None => SendError::temporary(what),
        };
        self.stored_with(error)
    }

    /// A failure that no later attempt can change.
    pub(crate) fn permanent(self, why: &str) -> SendError {
        let what = self.sentence(why);
        self.stored_with(SendError::permanent(what))
    }

    /// There was a beginning of an answer, but what matters never came.
    pub(crate) fn unreachable(self, why: &str) -> SendError {
        let what = self.sentence(why);
        self.stored_with(SendError::unreachable(what))
    }

    /// A failure that may pass, not before `wait` is over.
    pub(crate) fn not_before(self, why: &str, wait: Duration) -> SendError {
        let what = self.sentence(why);
        self.stored_with(SendError::not_before(what, wait.min(LONGEST_WAIT)))
    }

    /// The failure in words: the status and what else there is to say.
    fn sentence(&self, why: &str) -> String {
        let mut sentence = self.status_line();
        if let Some(location) = self.location() {
            sentence += &format!(", redirects to {location}: redirects are not followed");
        } else if !why.is_empty() {
            sentence += &format!(", {why}");
        } else if self.body.is_empty() {
            sentence += ", with an empty body";
        }
        match &self.ending {
            Ending::Whole | Ending::TooLong => {}
            Ending::TimedOut => sentence += ", whose body didn't end in time",
            Ending::Broken(reason) => sentence += &format!(", whose body was cut off: {reason}"),
        }
        sentence
    }

    /// Stores what a person wants to see: the body, and of a redirection also
    /// where it leads; without a body it is the reason.
    fn stored_with(self, error: SendError) -> SendError {
        if self.body.is_empty() {
            return error;
        }
        match self.location() {
            Some(location) => {
                let head = format!("{}\nLocation: {location}\n\n", self.status_line());
                error.with_response([head.as_bytes(), &self.body].concat())
            }
            None => error.with_response(self.body),
        }
    }

    /// Where a redirection leads.
    fn location(&self) -> Option<String> {
        let value = self.headers.get(header::LOCATION).filter(|_| self.status.is_redirection())?.as_bytes();
        Some(String::from_utf8_lossy(&value[..value.len().min(MAX_LOCATION_BYTES)]).into_owned())
    }

    /// How long a busy receiver wants to be left alone; only 429 and 503 say so.
    fn retry_after(&self) -> Option<Duration> {
        let is_busy = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        is_busy.then(|| retry_after(&self.headers, SystemTime::now())).flatten()
    }
}

/// How long the receiver wants to be left alone: seconds or a date, rounded up.
/// What is neither, or not in the future, is ignored.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds are far more than a day.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let wait = httpdate::parse_http_date(value).ok()?.duration_since(now).ok()?;
        Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    };
    (!wait.is_zero()).then_some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str) -> Option<u64> {
        let now =
            httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").unwrap() + Duration::from_millis(500);
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 7 "), Some(7));
        assert_eq!(wait("Tue, 24 Nov 2026 10:00:10 GMT"), Some(10));
        assert_eq!(wait("Tuesday, 24-Nov-26 10:01:00 GMT"), Some(60));
        assert_eq!(wait("Tue Nov 24 10:01:00 2026"), Some(60));
    }

    #[test]
    fn retry_after_is_at_most_a_day() {
        assert_eq!(wait("86401"), Some(86400));
        assert_eq!(wait("99999999999999999999999999"), Some(86400));
        assert_eq!(wait("Thu, 24 Dec 2026 10:00:00 GMT"), Some(86400));
    }

    #[test]
    fn retry_after_that_is_garbage_or_past_is_ignored() {
        for value in ["0", "-5", "1.5", "soon", "", "Mon, 23 Nov 2026 10:00:00 GMT", "+3", "3s"] {
            assert_eq!(wait(value), None, "{value:?}");
        }
    }
}
