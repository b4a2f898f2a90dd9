//! Messages of a Telegram bot: `TGMarkdown`, `TGHTML` and `TGPlain`.
//!
//! The endpoint is the name of a configured target, the payload a JSON string:
//! the text. Equal targets share a lane, whatever the type.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{HeaderValue, StatusCode};
use url::form_urlencoded;

use super::{
    mask::{Mask, Masked},
    unsendable,
    web::{Answer, BaseUrl, Ending, Request, WebClient},
};
use crate::{
    driver::{Delivery, Driver, Rejected, SendError},
    json,
};

/// The Bot API's own URL.
pub const URL: &str = "https://api.telegram.org";

/// The longest text of a message, in UTF-16 units, after its markup was parsed.
const MAX_TEXT_UNITS: usize = 4096;

/// How long the targets may be asked for, so that with a last answer it is half a minute.
const CHECK_WITHIN: Duration = Duration::from_secs(15);

/// How a bot sends.
#[derive(Clone)]
pub struct TelegramConfig {
    /// The Bot API, or what stands in for it.
    pub url: BaseUrl,
    /// The bot's token, a secret.
    pub token: String,
    /// Whom it may write to.
    pub targets: Targets,
}

/// How a text is marked up; each way has a type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// `TGMarkdown`: Telegram's `MarkdownV2`.
    Markdown,
    /// `TGHTML`: Telegram's HTML.
    Html,
    /// `TGPlain`: none.
    Plain,
}

/// Delivers messages by a bot's `sendMessage`.
pub struct Telegram {
    web: WebClient,
    config: TelegramConfig,
    markup: Markup,
}

impl TelegramConfig {
    /// What nobody may see of it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        // What precedes the colon is the bot's public number.
        let key = self.token.split_once(':').map(|(_, key)| key);
        [Some(self.token.as_str()), key, self.url.secret()].into_iter().flatten()
    }
}

impl Telegram {
    /// A driver that sends over `web`; nothing it returns has the token in it.
    pub fn new(web: &WebClient, config: TelegramConfig, markup: Markup) -> Masked<Self> {
        let mask = Mask::new(config.secrets());
        Masked::new(Self { web: web.clone(), config, markup }, mask)
    }

    /// Calls a method of the Bot API.
    fn call(&self, method: &str, form: &str) -> Result<Answer, SendError> {
        // A bot's token is "digits:letters"; whatever else was configured can't change the path.
        const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b':').remove(b'-').remove(b'_');
        let token = utf8_percent_encode(&self.config.token, PATH);
        let uri = self
            .config
            .url
            .join(&format!("bot{token}/{method}"))
            .map_err(|_| SendError::temporary("the bot's token makes no URL"))?;
        let mut headers =
            vec![("Content-Type".to_owned(), HeaderValue::from_static("application/x-www-form-urlencoded"))];
        headers.extend(self.config.url.authorization_header());
        Ok(self.web.exchange(&Request { uri, headers, body: Some(form.as_bytes()) })?)
    }

    /// Calls a method that does nothing but answer.
    fn ask(&self, method: &str, form: &str) -> Result<Value, SendError> {
        #[derive(Deserialize)]
        struct Told {
            ok: bool,
            #[serde(default)]
            description: String,
            #[serde(default)]
            result: Value,
        }
        let answer = self.call(method, form)?;
        match json::object(&answer.body) {
            Ok(Told { ok: true, result, .. }) => Ok(result),
            Ok(Told { description, .. }) => {
                let description = json::abridged(&description);
                Err(SendError::temporary(format!("{}, {description}", answer.status_line())))
            }
            Err(_) => Err(answer.temporary("with an answer that is not the Bot API's")),
        }
    }

    fn judge(&self, answer: Answer) -> Result<Vec<u8>, SendError> {
        match Reply::of(&answer) {
            Some(reply) if reply.ok => Ok(answer.body),
            Some(reply) => Err(match reply.retry_after() {
                Some(wait) => answer.not_before("", wait),
                None if answer.status == StatusCode::BAD_REQUEST => answer.permanent(""),
                None => answer.temporary(""),
            }),
            None if answer.ending == Ending::TimedOut => Err(answer.unreachable("")),
            None if answer.body.is_empty() => Err(answer.temporary("")),
            None => Err(answer.temporary("with an answer that is not the Bot API's")),
        }
    }
}

impl Driver for Telegram {
    fn r#type(&self) -> &str {
        match self.markup {
            Markup::Markdown => "TGMarkdown",
            Markup::Html => "TGHTML",
            Markup::Plain => "TGPlain",
        }
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let text = text(delivery.content, self.markup).map_err(unsendable)?;
        // It may be configured again: the notification waits for that.
        let chat = self
            .config
            .targets
            .find(delivery.endpoint)
            .map_err(|refused| SendError::temporary(refused.to_string()))?;

        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("chat_id", chat).append_pair("text", &text);
        match self.markup {
            Markup::Markdown => form.append_pair("parse_mode", "MarkdownV2"),
            Markup::Html => form.append_pair("parse_mode", "HTML"),
            Markup::Plain => &mut form,
        };
        self.judge(self.call("sendMessage", &form.finish())?)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        text(content, self.markup).map(drop)
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        self.config.targets.find(endpoint).map(drop)
    }

    fn lane(&self, endpoint: &str) -> String {
        format!("telegram\n{endpoint}")
    }

    /// Whether the bot exists and knows all its targets.
    fn check_account(&self) -> Result<Option<String>, SendError> {
        let end = Instant::now() + CHECK_WITHIN;
        let bot = self.ask("getMe", "")?;
        let bot = json::abridged(bot.get("username").and_then(Value::as_str).unwrap_or("without a name"));
        let mut unknown = Vec::new();
        for (name, chat) in &self.config.targets.0 {
            let form = form_urlencoded::Serializer::new(String::new()).append_pair("chat_id", chat).finish();
            match self.ask("getChat", &form) {
                Ok(_) => {}
                Err(error) if error.is_unreachable() => return Err(error),
                Err(error) => unknown.push(format!("{name}={chat}: {error}")),
            }
            if Instant::now() > end {
                return Err(SendError::temporary("it answers too slowly to ask for all targets"));
            }
        }
        match unknown.as_slice() {
            [] => Ok(Some(format!("@{bot} knows all targets"))),
            unknown => Err(SendError::temporary(format!("@{bot} can't write to {}", unknown.join(", ")))),
        }
    }
}

/// What the Bot API answers to every call.
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    parameters: Value,
}

impl Reply {
    fn of(answer: &Answer) -> Option<Self> {
        if let Ok(reply) = json::object(&answer.body) {
            return Some(reply);
        }
        // An answer that breaks off after "ok": the message is on its way, and
        // trying again would send it twice.
        let begin = br#"{"ok":true"#;
        let came = answer.body.iter().filter(|byte| !byte.is_ascii_whitespace());
        let is_sent = answer.status.is_success() && came.take(begin.len()).eq(begin);
        (is_sent && answer.ending != Ending::Whole).then_some(Self { ok: true, parameters: Value::Null })
    }

    /// How long the bot is to be quiet; nonsense is ignored.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.parameters.get("retry_after")?.as_f64()?;
        // A duration that is too long for its type is too long in any case.
        (seconds > 0.0).then(|| Duration::from_secs(seconds.ceil() as u64))
    }
}

fn text(content: &[u8], markup: Markup) -> Result<String, Rejected> {
    let text: String = serde_json::from_slice(content)
        .map_err(|error| Rejected::new(format!("the payload must be a JSON string, the text: {error}")))?;
    if text.is_empty() {
        return Err(Rejected::new("the text is empty"));
    }
    // What the markup takes of the others is known to Telegram alone.
    let units = text.encode_utf16().count();
    if markup == Markup::Plain && units > MAX_TEXT_UNITS {
        return Err(Rejected::new(format!(
            "the text has {units} UTF-16 units, Telegram takes at most {MAX_TEXT_UNITS}"
        )));
    }
    Ok(text)
}

/// The chats that a bot may write to, by the names that clients use for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(BTreeMap<String, String>);

impl Targets {
    /// Takes `name=chat,name=chat`, where a chat is a number or `@channel`.
    ///
    /// # Errors
    /// An entry is not of this form, or a name is there twice.
    pub fn parse(list: &str) -> Result<Self, InvalidTargets> {
        let mut targets = BTreeMap::new();
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let invalid = || InvalidTargets(entry.to_owned());
            let (name, chat) = entry.split_once('=').ok_or_else(invalid)?;
            let (name, chat) = (name.trim(), chat.trim());
            let is_chat = chat.parse::<i64>().is_ok_and(|number| number != 0)
                || chat.strip_prefix('@').is_some_and(is_channel);
            if name.is_empty() || !is_chat || targets.insert(name.to_owned(), chat.to_owned()).is_some() {
                return Err(invalid());
            }
        }
        if targets.is_empty() {
            return Err(InvalidTargets(String::new()));
        }
        Ok(Self(targets))
    }

    fn find(&self, name: &str) -> Result<&str, Rejected> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            Rejected::new(format!(
                "there is no target {:?}; the configured ones are: {}",
                json::abridged(name),
                known.join(", ")
            ))
        })
    }
}

/// As [`Targets::parse`] takes it.
impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|(name, chat)| format!("{name}={chat}")).collect();
        f.write_str(&all.join(","))
    }
}

fn is_channel(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A list of targets that can't be used, with the entry that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTargets(String);

impl fmt::Display for InvalidTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no target: name=chat is expected, several joined by commas, each name once; \
             a chat is a number or @channel",
            self.0
        )
    }
}

impl std::error::Error for InvalidTargets {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let targets = Targets::parse(" me=42, group = -1001234567890 ,news=@my_channel,").unwrap();
        assert_eq!(targets.find("me").unwrap(), "42");
        assert_eq!(targets.to_string(), "group=-1001234567890,me=42,news=@my_channel");
        assert_eq!(targets.find("group").unwrap(), "-1001234567890");
        assert_eq!(targets.find("news").unwrap(), "@my_channel");
        assert_eq!(
            targets.find("you").unwrap_err().to_string(),
            "there is no target \"you\"; the configured ones are: group, me, news"
        );
        for list in ["", ",", "me", "me=", "=1", "me=you", "me=@", "me=@a b", "me=0", "me=1,me=2", "me=1.5"] {
            Targets::parse(list).unwrap_err();
        }
    }

    #[test]
    fn texts() {
        assert_eq!(text(br#" "\u00e4" "#, Markup::Plain).unwrap(), "ä");
        for content in ["null", "", "1", "{}", "[\"a\"]", "\"a\" \"b\"", "\"\"", r#""\ud800""#, "\"\n\""] {
            text(content.as_bytes(), Markup::Html).unwrap_err();
        }
        // An astral character is two units.
        let longest = format!("\"{}\"", "\u{1F980}".repeat(2048));
        text(longest.as_bytes(), Markup::Plain).unwrap();
        let longer = format!("\"x{}\"", "\u{1F980}".repeat(2048));
        assert_eq!(
            text(longer.as_bytes(), Markup::Plain).unwrap_err().to_string(),
            "the text has 4097 UTF-16 units, Telegram takes at most 4096"
        );
        text(longer.as_bytes(), Markup::Markdown).unwrap();
    }
}
