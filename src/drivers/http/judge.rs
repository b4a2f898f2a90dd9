//! Whether an answer means that a webhook was delivered.

use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, StatusCode, header};

use super::Validator;
use crate::{
    driver::SendError,
    drivers::web::{Answer, Ending},
};

/// No receiver is left alone for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of a `Location` is quoted.
const MAX_LOCATION_BYTES: usize = 2048;

pub(super) fn judge(answer: Answer, validator: &Validator) -> Result<Vec<u8>, SendError> {
    let status = answer.status;
    match validator {
        Validator::Status2xx if status.is_success() => return Ok(answer.body),
        Validator::Prefix(prefix) if answer.body.starts_with(prefix.as_bytes()) => return Ok(answer.body),
        _ => {}
    }
    let what = sentence(&answer, validator);
    let error = match (&answer.ending, validator, status) {
        // The body decides, and it never came.
        (Ending::TimedOut, Validator::Prefix(prefix), _) if answer.body.len() < prefix.len() => {
            SendError::unreachable(what)
        }
        (_, Validator::Status2xx, StatusCode::GONE) => SendError::permanent(what),
        (_, _, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            match retry_after(&answer.headers, SystemTime::now()) {
                Some(wait) => SendError::not_before(what, wait),
                None => SendError::temporary(what),
            }
        }
        _ => SendError::temporary(what),
    };
    Err(match stored(answer) {
        body if body.is_empty() => error,
        body => error.with_response(body),
    })
}

/// `HTTP 500 Internal Server Error`, and what else there is to say.
fn sentence(answer: &Answer, validator: &Validator) -> String {
    let mut sentence = answer.status_line();
    if answer.status.is_redirection() {
        if let Some(location) = location(&answer.headers) {
            sentence += &format!(", redirects to {location}: redirects are not followed");
        }
    } else if let Validator::Prefix(prefix) = validator {
        sentence += &format!(", with a body that doesn't begin with {prefix:?}");
    } else if answer.body.is_empty() {
        sentence += ", with an empty body";
    }
    match &answer.ending {
        Ending::Whole | Ending::TooLong => {}
        Ending::TimedOut => sentence += ", whose body didn't end in time",
        Ending::Broken(reason) => sentence += &format!(", whose body was cut off: {reason}"),
    }
    sentence
}

/// What a person wants to see of a failure: the body, and of a redirection also
/// where it leads.
fn stored(answer: Answer) -> Vec<u8> {
    match location(&answer.headers) {
        Some(location) if answer.status.is_redirection() && !answer.body.is_empty() => {
            let mut text = format!("{}\nLocation: {location}\n\n", answer.status_line()).into_bytes();
            text.extend(answer.body);
            text
        }
        _ => answer.body,
    }
}

fn location(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::LOCATION)?.as_bytes();
    Some(String::from_utf8_lossy(&value[..value.len().min(MAX_LOCATION_BYTES)]).into_owned())
}

/// How long the receiver wants to be left alone: seconds or a date, rounded up.
/// What is neither, or not in the future, is ignored.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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
