//! The drivers that are on only if their own variables are set.

use std::{fmt, str::FromStr};

use notify_api::drivers::{
    every8d::{self, Every8dConfig},
    sendgrid::{self, SendGridConfig},
    smtp::{Auth, Mailbox, Mechanism, Server, SmtpConfig, Tls},
    telegram::{self, Targets, TelegramConfig},
    web::BaseUrl,
};

use super::{ConfigError, Environment, Variable};

pub(super) const TG_TOKEN: Variable = Variable::secret("NOTIFY_TG_TOKEN", "Telegram: the bot's token");
pub(super) const TG_TARGET: Variable =
    Variable::new("NOTIFY_TG_TARGET", "", "Telegram: name=chat,name=chat; a chat is a number or @channel");
pub(super) const TG_URL: Variable =
    Variable::url("NOTIFY_TG_URL", telegram::URL, "Telegram: the Bot API, or what stands in for it");
pub(super) const SENDGRID_KEY: Variable = Variable::secret("NOTIFY_SENDGRID_KEY", "SendGrid: the API key");
pub(super) const SENDGRID_URL: Variable =
    Variable::url("NOTIFY_SENDGRID_URL", sendgrid::URL, "SendGrid, or what stands in for it");
pub(super) const AV8D_USER: Variable = Variable::new("NOTIFY_AV8D_USER", "", "every8d (SMS): the account");
pub(super) const AV8D_PASS: Variable = Variable::secret("NOTIFY_AV8D_PASS", "every8d (SMS): its password");
pub(super) const AV8D_URL: Variable =
    Variable::url("NOTIFY_AV8D_URL", every8d::URL, "every8d, or what stands in for it");
pub(super) const SMTP_SERVER: Variable =
    Variable::new("NOTIFY_SMTP_SERVER", "", "mail: the server, host:port");
pub(super) const SMTP_FROM: Variable =
    Variable::new("NOTIFY_SMTP_FROM", "", "mail: the sender, an address or Name <address>");
pub(super) const SMTP_USER: Variable = Variable::new("NOTIFY_SMTP_USER", "", "mail: whom to log in as");
pub(super) const SMTP_PASS: Variable = Variable::secret("NOTIFY_SMTP_PASS", "mail: the password");
pub(super) const SMTP_AUTH: Variable = Variable::new(
    "NOTIFY_SMTP_AUTH",
    "",
    "mail: plain, login or none [default: plain with a user, else none]",
);
pub(super) const SMTP_TLS: Variable = Variable::new(
    "NOTIFY_SMTP_TLS",
    "none",
    "mail: tls from the first byte (port 465), starttls (587), or none",
);

/// What these drivers are made of; `None` is off.
pub(crate) struct Services {
    pub(crate) telegram: Option<TelegramConfig>,
    pub(crate) sendgrid: Option<SendGridConfig>,
    pub(crate) every8d: Option<Every8dConfig>,
    pub(crate) smtp: Option<SmtpConfig>,
}

impl Services {
    /// Reads and checks their variables. What is half set is off, with a warning.
    pub(super) fn read(env: &Environment<'_>, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        Ok(Self {
            telegram: telegram(env, warnings)?,
            sendgrid: sendgrid(env)?,
            every8d: every8d(env, warnings)?,
            smtp: smtp(env, warnings)?,
        })
    }
}

fn telegram(
    env: &Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<TelegramConfig>, ConfigError> {
    let url = base_url(env, &TG_URL)?;
    let targets = env.text(&TG_TARGET)?;
    let targets =
        targets.map(|list| Targets::parse(&list).map_err(|error| TG_TARGET.wrong(&list, error.to_string())));
    Ok(match (env.text(&TG_TOKEN)?, targets.transpose()?) {
        (Some(token), Some(targets)) => Some(TelegramConfig { url, token, targets }),
        (token, targets) => {
            half("Telegram", [(&TG_TOKEN, token.is_some()), (&TG_TARGET, targets.is_some())], warnings);
            None
        }
    })
}

fn sendgrid(env: &Environment<'_>) -> Result<Option<SendGridConfig>, ConfigError> {
    let url = base_url(env, &SENDGRID_URL)?;
    Ok(env.text(&SENDGRID_KEY)?.map(|key| SendGridConfig { url, key }))
}

fn every8d(env: &Environment<'_>, warnings: &mut Vec<String>) -> Result<Option<Every8dConfig>, ConfigError> {
    let url = base_url(env, &AV8D_URL)?;
    Ok(match (env.text(&AV8D_USER)?, env.text(&AV8D_PASS)?) {
        (Some(user), Some(password)) => Some(Every8dConfig { url, user, password }),
        (user, password) => {
            half("SMS", [(&AV8D_USER, user.is_some()), (&AV8D_PASS, password.is_some())], warnings);
            None
        }
    })
}

fn smtp(env: &Environment<'_>, warnings: &mut Vec<String>) -> Result<Option<SmtpConfig>, ConfigError> {
    let server = parsed::<Server>(env, &SMTP_SERVER)?;
    let from = parsed::<Mailbox>(env, &SMTP_FROM)?;
    let mechanism = parsed::<Mechanism>(env, &SMTP_AUTH)?;
    let (user, password) = (env.text(&SMTP_USER)?, env.text(&SMTP_PASS)?);
    let (tls, tls_warning) = Tls::parse(&env.text(&SMTP_TLS)?.unwrap_or_default());
    let (Some(server), Some(from)) = (server.clone(), from.clone()) else {
        half("mail", [(&SMTP_SERVER, server.is_some()), (&SMTP_FROM, from.is_some())], warnings);
        return Ok(None);
    };
    let auth = match Auth::new(mechanism, user.as_deref(), password.as_deref()) {
        Ok(auth) => auth,
        Err(reason) => {
            warnings
                .push(format!("mail is off: NOTIFY_SMTP_USER, NOTIFY_SMTP_PASS, NOTIFY_SMTP_AUTH: {reason}"));
            return Ok(None);
        }
    };
    let mut config = SmtpConfig::new(server, from);
    config.auth = auth;
    config.tls = tls;
    warnings.extend(tls_warning.map(|warning| format!("NOTIFY_SMTP_TLS: {warning}")));
    warnings.extend(config.warnings());
    Ok(Some(config))
}

/// Warns if one of the variables is set, and the other one isn't.
fn half(driver: &str, variables: [(&Variable, bool); 2], warnings: &mut Vec<String>) {
    if let [(set, true), (missing, false)] | [(missing, false), (set, true)] = variables {
        warnings.push(format!("{driver} is off: {} is set, but {} is not", set.name, missing.name));
    }
}

fn base_url(env: &Environment<'_>, variable: &Variable) -> Result<BaseUrl, ConfigError> {
    let url = env.text(variable)?.unwrap_or_default();
    BaseUrl::parse(&url).map_err(|_| {
        variable.wrong(&url, "it takes a URL that begins with http:// or https://, without a query")
    })
}

fn parsed<T: FromStr<Err: fmt::Display>>(
    env: &Environment<'_>,
    variable: &Variable,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = env.text(variable)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: T::Err| variable.wrong(&text, error.to_string()))
}
