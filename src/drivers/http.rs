//! Webhooks: `HTTPGET` asks for a URL, `HTTPPOST` posts a body to one.
//!
//! | | payload | success |
//! |---|---|---|
//! | [`HttpGet`] | `{"headers": {name: [values]}, "values": {name: [values]}}` | what the [`Validator`] says |
//! | [`HttpPost`] | `{"headers": {name: [values]}, "body": string or any JSON}` | the same |
//!
//! The endpoint is the URL; `user:pass@` in it becomes basic authentication and
//! a fragment is dropped. Redirects are never followed: a notification goes
//! where its sender said, with its headers, or not at all.

mod endpoint;
mod judge;
mod payload;

use ureq::http::HeaderValue;

use self::{
    endpoint::Endpoint,
    payload::{GetPayload, PostPayload, RequestBody, RequestHeaders, Values},
};
use super::web::{Request, WebClient, has_header};
use crate::driver::{Delivery, Driver, Rejected, SendError};
use crate::notification::header_text;

/// Delivers by an HTTP GET; its type is `HTTPGET`.
#[derive(Clone)]
pub struct HttpGet(Webhook);

impl HttpGet {
    /// A driver that sends over `web` and judges answers by `validator`.
    pub fn new(web: &WebClient, validator: Validator) -> Self {
        Self(Webhook { web: web.clone(), validator })
    }
}

impl Driver for HttpGet {
    fn r#type(&self) -> &str {
        "HTTPGET"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let payload = GetPayload::parse(delivery.content).map_err(unsendable)?;
        let endpoint = Endpoint::parse(delivery.endpoint, &payload.values).map_err(unsendable)?;
        self.0.send(delivery.id, endpoint, payload.headers, None)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        GetPayload::parse(content).map(drop)
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        endpoint::check(endpoint)
    }

    fn lane(&self, endpoint: &str) -> String {
        endpoint::lane(endpoint)
    }

    fn destination(&self, endpoint: &str) -> String {
        endpoint.to_owned()
    }
}

/// Delivers by an HTTP POST; its type is `HTTPPOST`.
#[derive(Clone)]
pub struct HttpPost(Webhook);

impl HttpPost {
    /// A driver that sends over `web` and judges answers by `validator`.
    pub fn new(web: &WebClient, validator: Validator) -> Self {
        Self(Webhook { web: web.clone(), validator })
    }
}

impl Driver for HttpPost {
    fn r#type(&self) -> &str {
        "HTTPPOST"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let payload = PostPayload::parse(delivery.content).map_err(unsendable)?;
        let endpoint = Endpoint::parse(delivery.endpoint, &Values::default()).map_err(unsendable)?;
        self.0.send(delivery.id, endpoint, payload.headers, Some(&payload.body))
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        PostPayload::parse(content).map(drop)
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        endpoint::check(endpoint)
    }

    fn lane(&self, endpoint: &str) -> String {
        endpoint::lane(endpoint)
    }

    fn destination(&self, endpoint: &str) -> String {
        endpoint.to_owned()
    }
}

/// What makes an answer a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    /// Its status is 2xx, whatever its body.
    Status2xx,
    /// Its body begins with this, whatever its status.
    Prefix(String),
}

/// What both types have in common.
#[derive(Clone)]
struct Webhook {
    web: WebClient,
    validator: Validator,
}

impl Webhook {
    fn send(
        &self,
        id: &str,
        endpoint: Endpoint,
        RequestHeaders(mut headers): RequestHeaders,
        body: Option<&RequestBody<'_>>,
    ) -> Result<Vec<u8>, SendError> {
        let mut add = |name: &str, value: HeaderValue| {
            if !has_header(&headers, name) {
                headers.push((name.to_owned(), value));
            }
        };
        if let Some(authorization) = endpoint.authorization {
            add("Authorization", authorization);
        }
        if body.is_some_and(RequestBody::is_json) {
            add("Content-Type", HeaderValue::from_static("application/json"));
        }
        // The receiver can recognise a repeat by these.
        let id = HeaderValue::try_from(header_text(id)).expect("visible ASCII makes a header's value");
        add("Idempotency-Key", id.clone());
        add("Webhook-Id", id);

        let request = Request { uri: endpoint.uri, headers, body: body.map(RequestBody::bytes) };
        judge::judge(self.web.exchange(&request)?, &self.validator)
    }
}

/// What was refused at the door can still stand in the table, put there by
/// another program: no later attempt makes it better.
fn unsendable(reason: Rejected) -> SendError {
    SendError::permanent(reason.to_string())
}
