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

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use self::{
    endpoint::Endpoint,
    payload::{GetPayload, PostPayload, RequestBody, RequestHeaders, Values},
};
use super::web::{Call, WebClient};
use crate::driver::{Delivery, Driver, Rejected, SendError};

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
        self.0.send(delivery.id, Method::GET, endpoint, payload.headers, None)
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
        self.0.send(delivery.id, Method::POST, endpoint, payload.headers, Some(payload.body))
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
        method: Method,
        endpoint: Endpoint,
        RequestHeaders(mut headers): RequestHeaders,
        body: Option<RequestBody<'_>>,
    ) -> Result<Vec<u8>, SendError> {
        if let Some(authorization) = endpoint.authorization {
            headers.entry(header::AUTHORIZATION).or_insert(authorization);
        }
        if body.as_ref().is_some_and(RequestBody::is_json) {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        name_notification(&mut headers, id);
        let body = body.as_ref().map(RequestBody::bytes);
        let answer = self.web.exchange(Call { method, uri: endpoint.uri, headers, body })?;
        judge::judge(answer, &self.validator)
    }
}

/// Tells the receiver which notification this is, so that it can recognise a
/// repeat; a payload that has its own idea of that wins.
fn name_notification(headers: &mut HeaderMap, id: &str) {
    const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
    const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    const NOT_VISIBLE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

    let id = utf8_percent_encode(id, NOT_VISIBLE).to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.entry(IDEMPOTENCY_KEY).or_insert_with(|| id.clone());
        headers.entry(WEBHOOK_ID).or_insert(id);
    }
}

/// What was refused at the door can still stand in the table, put there by
/// another program: no later attempt makes it better.
fn unsendable(reason: Rejected) -> SendError {
    SendError::permanent(reason.to_string())
}
