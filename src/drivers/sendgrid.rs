//! Mail over SendGrid's HTTP API: `SENDGRID`.
//!
//! The payload is the JSON of its v3 mail-send call, passed on byte for byte;
//! the endpoint is unused. All mail waits in one lane.

use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::http::{HeaderValue, StatusCode};

use super::{
    mask::{Mask, Masked},
    payload, unsendable,
    web::{Answer, BaseUrl, Request, WebClient},
};
use crate::{
    driver::{Delivery, Driver, Rejected, SendError},
    json,
};

/// SendGrid's own URL.
pub const URL: &str = "https://api.sendgrid.com";

/// Whose account sends.
#[derive(Clone)]
pub struct SendGridConfig {
    /// SendGrid, or what stands in for it.
    pub url: BaseUrl,
    /// The API key, a secret.
    pub key: String,
}

/// Delivers mail by SendGrid's `v3/mail/send`.
pub struct SendGrid {
    web: WebClient,
    config: SendGridConfig,
}

impl SendGridConfig {
    /// What nobody may see of it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(self.key.as_str()), self.url.secret()].into_iter().flatten()
    }
}

impl SendGrid {
    /// A driver that sends over `web`; nothing it returns has the key in it.
    pub fn new(web: &WebClient, config: SendGridConfig) -> Masked<Self> {
        let mask = Mask::new(config.secrets());
        Masked::new(Self { web: web.clone(), config }, mask)
    }

    fn call(&self, path: &str, body: Option<&[u8]>) -> Result<Answer, SendError> {
        let mut key = HeaderValue::try_from(format!("Bearer {}", self.config.key))
            .map_err(|_| SendError::temporary("the API key has a control character in it"))?;
        key.set_sensitive(true);
        let uri = self.config.url.join(path).map_err(|error| SendError::temporary(error.to_string()))?;
        let mut headers = vec![("Authorization".to_owned(), key)];
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), HeaderValue::from_static("application/json")));
        }
        Ok(self.web.exchange(&Request { uri, headers, body })?)
    }
}

impl Driver for SendGrid {
    fn r#type(&self) -> &str {
        "SENDGRID"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        check(delivery.content).map_err(unsendable)?;
        let mut answer = self.call("v3/mail/send", Some(delivery.content))?;
        if answer.status.is_success() {
            return Ok(summary(&answer));
        }
        // Without a body, the sentence that stands in for it has the status.
        if !answer.body.is_empty() && !answer.status.is_redirection() {
            answer.body = summary(&answer);
        }
        Err(match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => answer.permanent(""),
            _ => answer.temporary(""),
        })
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        check(content)
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }

    fn lane(&self, _endpoint: &str) -> String {
        "sendgrid".into()
    }

    fn check_account(&self) -> Result<Option<String>, SendError> {
        #[derive(Deserialize)]
        struct Granted {
            scopes: Vec<String>,
        }
        let answer = self.call("v3/scopes", None)?;
        if !answer.status.is_success() {
            return Err(answer.temporary(""));
        }
        match json::object::<Granted>(&answer.body) {
            Ok(Granted { scopes }) if scopes.iter().any(|scope| scope == "mail.send") => {
                Ok(Some("the key may send mail".into()))
            }
            Ok(_) => Err(SendError::temporary("the key may not send mail, it lacks the scope mail.send")),
            Err(_) => Err(answer.temporary("with an answer that is not SendGrid's")),
        }
    }
}

/// What a person wants to know: the body of a success is empty, and the id is
/// what SendGrid's support asks for.
fn summary(answer: &Answer) -> Vec<u8> {
    let mut text = answer.status_line().into_bytes();
    if let Some(id) = answer.headers.get("X-Message-Id") {
        text.extend_from_slice(b"\nX-Message-Id: ");
        text.extend_from_slice(id.as_bytes());
    }
    if !answer.body.is_empty() {
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(&answer.body);
    }
    text
}

/// Refuses what can't be a mail; the rest is SendGrid's to judge.
fn check(content: &[u8]) -> Result<(), Rejected> {
    #[derive(Deserialize)]
    struct Mail<'a> {
        #[serde(default, borrow)]
        from: Option<&'a RawValue>,
        #[serde(default, borrow)]
        content: Option<Vec<&'a RawValue>>,
        #[serde(default)]
        template_id: Option<String>,
    }
    let mail: Mail<'_> = payload(content)?;
    if mail.from.is_none_or(|from| from.get() == "\"\"") {
        return Err(Rejected::new("\"from\" is missing"));
    }
    let has_content = mail.content.is_some_and(|content| !content.is_empty());
    let has_template = mail.template_id.is_some_and(|id| !id.is_empty());
    if !has_content && !has_template {
        return Err(Rejected::new("neither \"content\" nor \"template_id\" is there"));
    }
    Ok(())
}
