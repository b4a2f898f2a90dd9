//! Text messages over every8d: `SMSAV8D`.
//!
//! The endpoint is a phone number, or several joined by commas; the payload
//! `{"content", "subject", "time", "retry"}`, of which the first is required.
//! All messages wait in one lane.

use serde::Deserialize;
use url::form_urlencoded;

use super::{
    mask::{Mask, Masked},
    payload, unsendable,
    web::{Answer, BaseUrl, Ending, Request, WebClient},
};
use crate::{
    driver::{Delivery, Driver, Rejected, SendError},
    json,
};

/// The service's own URL.
pub const URL: &str = "https://oms.every8d.com";

/// Whose account sends.
#[derive(Clone)]
pub struct Every8dConfig {
    /// The service, or what stands in for it.
    pub url: BaseUrl,
    /// The account's name.
    pub user: String,
    /// The account's password, a secret.
    pub password: String,
}

/// Delivers text messages by every8d's `sendSMS`.
pub struct Every8d {
    web: WebClient,
    config: Every8dConfig,
}

impl Every8dConfig {
    /// What nobody may see of it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(self.password.as_str()), self.url.secret()].into_iter().flatten()
    }
}

impl Every8d {
    /// A driver that sends over `web`; nothing it returns has the password in it.
    pub fn new(web: &WebClient, config: Every8dConfig) -> Masked<Self> {
        let mask = Mask::new(config.secrets());
        Masked::new(Self { web: web.clone(), config }, mask)
    }

    /// The beginning of every query.
    fn login(&self) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("UID", &self.config.user).append_pair("PWD", &self.config.password);
        query
    }

    fn call(&self, path_and_query: &str) -> Result<Vec<u8>, SendError> {
        let uri = self
            .config
            .url
            .join(path_and_query)
            .map_err(|_| SendError::permanent("the message is too long for a URL"))?;
        let headers = self.config.url.authorization_header().into_iter().collect();
        judge(self.web.exchange(&Request { uri, headers, body: None })?)
    }
}

impl Driver for Every8d {
    fn r#type(&self) -> &str {
        "SMSAV8D"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let message = Message::parse(delivery.content).map_err(unsendable)?;
        check_phones(delivery.endpoint).map_err(unsendable)?;

        let mut query = self.login();
        query
            .append_pair("SB", message.subject.as_deref().unwrap_or_default())
            .append_pair("MSG", &message.content)
            .append_pair("DEST", delivery.endpoint)
            .append_pair("ST", message.time.as_deref().unwrap_or_default());
        if let Some(retry) = message.retry.filter(|retry| *retry > 0) {
            query.append_pair("RETRYTIME", &retry.to_string());
        }
        self.call(&format!("API21/HTTP/sendSMS.ashx?{}", query.finish()))
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        Message::parse(content).map(drop)
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        check_phones(endpoint)
    }

    fn lane(&self, _endpoint: &str) -> String {
        "every8d".into()
    }

    fn check_account(&self) -> Result<Option<String>, SendError> {
        let credit = self.call(&format!("API21/HTTP/getCredit.ashx?{}", self.login().finish()))?;
        Ok(Some(format!("the credit is {}", json::abridged(String::from_utf8_lossy(&credit).trim()))))
    }
}

/// The payload.
struct Message {
    content: String,
    subject: Option<String>,
    time: Option<String>,
    retry: Option<i64>,
}

impl Message {
    fn parse(content: &[u8]) -> Result<Self, Rejected> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default)]
            content: Option<String>,
            #[serde(default)]
            subject: Option<String>,
            #[serde(default)]
            time: Option<String>,
            #[serde(default)]
            retry: Option<i64>,
        }
        let Fields { content, subject, time, retry } = payload(content)?;
        let content = content
            .filter(|content| !content.is_empty())
            .ok_or_else(|| Rejected::new("\"content\" is missing: it is the text of the message"))?;
        if retry.is_some_and(|retry| retry < 0) {
            return Err(Rejected::new("\"retry\" can't be negative"));
        }
        Ok(Self { content, subject, time, retry })
    }
}

/// One phone number or more: `09` and eight digits, or international with a `+`.
fn check_phones(endpoint: &str) -> Result<(), Rejected> {
    let is_all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if endpoint.is_empty() {
        return Err(Rejected::new(
            "\"endpoint\" is missing: it is a phone number, or several joined by commas",
        ));
    }
    for phone in endpoint.split(',') {
        let is_local = phone.len() == 10 && phone.starts_with("09") && is_all_digits(phone);
        let is_international = phone
            .strip_prefix('+')
            .is_some_and(|digits| digits.len() > 1 && !digits.starts_with('0') && is_all_digits(digits));
        if !is_local && !is_international {
            let phone = json::abridged(phone);
            return Err(Rejected::new(format!(
                "{phone:?} is no phone number: 09 and 8 digits, or + and digits; several are joined by commas"
            )));
        }
    }
    Ok(())
}

/// The answer is a list of values, joined by commas, that begins with the
/// credit that is left, or with a negative code.
fn judge(answer: Answer) -> Result<Vec<u8>, SendError> {
    let first = answer.body.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let is_number = first.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && std::str::from_utf8(first).is_ok_and(|number| number.parse::<f64>().is_ok());
    if answer.status.is_success() && is_number {
        return Ok(answer.body);
    }
    Err(match answer.status.is_success() {
        true if answer.ending == Ending::TimedOut => answer.unreachable(""),
        true => answer.temporary("with an answer that begins with no number from 0 on"),
        false => answer.temporary(""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones() {
        for phones in ["0912345678", "+886912345678", "+12", "0912345678,+4915112345678,0987654321"] {
            check_phones(phones).unwrap();
        }
        for phones in [
            "",
            ",",
            "0912345678,",
            "091234567",
            "09123456789",
            "0812345678",
            "+0912",
            "+",
            "+1",
            "+1a",
            "0912345678, +12",
            "+1 2",
            "٠٩١٢٣٤٥٦٧٨",
        ] {
            check_phones(phones).unwrap_err();
        }
    }

    #[test]
    fn messages() {
        let message = Message::parse(br#"{"content": "x", "retry": 5, "else": []}"#).unwrap();
        assert_eq!((message.content.as_str(), message.retry), ("x", Some(5)));
        Message::parse(br#"{"content": "x", "subject": null, "time": null, "retry": null}"#).unwrap();
        for content in [
            "null",
            "[]",
            "{}",
            r#"{"content": ""}"#,
            r#"{"content": null}"#,
            r#"{"content": 1}"#,
            r#"{"content": "x", "content": "y"}"#,
            r#"{"content": "x", "retry": -1}"#,
            r#"{"content": "x", "retry": "1"}"#,
            r#"{"content": "x", "retry": 1.5}"#,
            r#"{"content": "x", "time": 20261124}"#,
        ] {
            Message::parse(content.as_bytes()).err().expect(content);
        }
    }
}
