//! Whether an answer means that a webhook was delivered.

use ureq::http::StatusCode;

use super::Validator;
use crate::{
    driver::SendError,
    drivers::web::{Answer, Ending},
};

pub(super) fn judge(answer: Answer, validator: &Validator) -> Result<Vec<u8>, SendError> {
    match validator {
        Validator::Status2xx if answer.status.is_success() => Ok(answer.body),
        Validator::Status2xx if answer.status == StatusCode::GONE => Err(answer.permanent("")),
        Validator::Status2xx => Err(answer.temporary("")),
        Validator::Prefix(prefix) if answer.body.starts_with(prefix.as_bytes()) => Ok(answer.body),
        Validator::Prefix(prefix) => {
            let why = format!("with a body that doesn't begin with {prefix:?}");
            // The body decides, and it never came.
            if answer.ending == Ending::TimedOut && answer.body.len() < prefix.len() {
                return Err(answer.unreachable(&why));
            }
            Err(answer.temporary(&why))
        }
    }
}
