//! Shorthands for sending webhooks.

use std::time::Duration;

use notify_api::{
    Delivery, Driver, SendError,
    drivers::{
        http::{HttpGet, HttpPost, Validator},
        web::{WebClient, WebOptions},
    },
};

/// What nothing comes near, unless it is meant to time out.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A time-out for exchanges that are meant to run into it.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn web(timeout: Duration) -> WebClient {
    WebClient::new(WebOptions { timeout, ..WebOptions::default() })
}

pub(crate) fn get() -> HttpGet {
    HttpGet::new(&web(LONG), Validator::Status2xx)
}

pub(crate) fn post() -> HttpPost {
    HttpPost::new(&web(LONG), Validator::Status2xx)
}

pub(crate) fn send(driver: &dyn Driver, endpoint: &str, content: &str) -> Result<String, SendError> {
    let delivery = Delivery { id: "the-id", endpoint, content: content.as_bytes() };
    driver.send(&delivery).map(|response| String::from_utf8_lossy(&response).into_owned())
}

/// What is stored of a failure.
pub(crate) fn stored(error: SendError) -> String {
    String::from_utf8(error.into_response()).unwrap()
}

/// Neither permanent nor unreachable nor "not before".
pub(crate) fn is_temporary(error: &SendError) -> bool {
    !error.is_permanent() && !error.is_unreachable() && error.wait().is_none()
}
