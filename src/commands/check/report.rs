//! What is on, in words: a line for each thing, without secrets.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use notify_api::{
    Retention,
    drivers::{
        smtp::{SmtpConfig, Tls},
        web::Proxies,
    },
};

use crate::config::{self, Care, Config, Environment, Place, Services};

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

/// Lines for a person.
#[derive(Default)]
pub(super) struct Report(String);

/// A line about one thing.
pub(super) fn line(name: &str, text: &str) -> String {
    format!("{name:<11} {text}\n")
}

impl Report {
    fn line(&mut self, name: &str, text: impl AsRef<str>) {
        self.0 += &line(name, text.as_ref());
    }

    pub(super) fn text(self) -> String {
        self.0
    }

    pub(super) fn warnings(&mut self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.line("warning:", warning));
    }

    pub(super) fn configuration(
        &mut self,
        config: &Config,
        env: &Environment<'_>,
        completed_by: Option<&Path>,
        proxies: &Proxies,
        database: &str,
        expiry: Option<SystemTime>,
    ) {
        if let Some(path) = completed_by {
            self.line("variables", format!("{}, and the environment", path.display()));
        }
        let secrets: Vec<String> = config::secrets(env)
            .into_iter()
            .map(|(name, place)| match place {
                Place::Variable(_) => format!("{name} (set)"),
                Place::File(path) | Place::Credential(path) => format!("{name} (in {})", path.display()),
            })
            .collect();
        self.line("secrets", or_none(&secrets));
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        self.line("address", format!("{scheme}://{}", config.bind));
        if let Some((cert, _)) = &config.tls {
            let until = expiry.map(|expiry| format!(", until {}", httpdate::fmt_http_date(expiry)));
            self.line("certificate", format!("{}{}", cert.display(), until.unwrap_or_default()));
        }
        self.line("token", if config.token.is_some() { "wanted from clients" } else { "none wanted" });
        self.line("database", database);
        let Config { threads, max_tries, body_limit, http_timeout, stop_timeout, .. } = config;
        self.line(
            "sending",
            format!(
                "{threads} at once, up to {max_tries} attempts, {} s for one over HTTP, {} s at a stop",
                http_timeout.as_secs(),
                stop_timeout.as_secs()
            ),
        );
        self.kept(&config.care);
        self.line("bodies", format!("up to {body_limit} bytes"));
        self.line("log", config.log.to_string());
        self.line("proxies", proxies.to_string());
        self.services(config);
    }

    fn kept(&mut self, Care { retention, db_max }: &Care) {
        let keep = |keep: Option<Duration>| match keep {
            // Not "2months 29days 2h".
            Some(keep) if keep.as_secs().is_multiple_of(DAY) => format!("{} days", keep.as_secs() / DAY),
            Some(keep) => humantime::format_duration(keep).to_string(),
            None => "forever".into(),
        };
        let Retention { success, failed } = *retention;
        self.line("kept", format!("delivered ones {}, those given up {}", keep(success), keep(failed)));
        let limit = db_max.as_ref().map(|limit| format!("nothing new from {} bytes on", limit.bytes));
        self.line("size", limit.unwrap_or_else(|| "no limit but the disk".into()));
    }

    fn services(&mut self, config: &Config) {
        self.line(
            "webhooks",
            match &config.http_string {
                Some(prefix) => format!("on, an answer that begins with {prefix:?} is a success"),
                None => "on, a 2xx is a success".into(),
            },
        );
        let Services { telegram, sendgrid, every8d, smtp } = &config.services;
        let on = |text: Option<String>| text.map_or_else(|| "off".into(), |text| format!("on, {text}"));
        self.line("Telegram", on(telegram.as_ref().map(|bot| format!("{}, {}", bot.targets, bot.url))));
        self.line("SendGrid", on(sendgrid.as_ref().map(|account| account.url.to_string())));
        self.line("SMS", on(every8d.as_ref().map(|account| format!("as {}, {}", account.user, account.url))));
        self.line("mail", on(smtp.as_ref().map(mail)));
    }
}

fn mail(SmtpConfig { server, from, auth, tls, .. }: &SmtpConfig) -> String {
    let tls = match tls {
        Tls::None => "not encrypted",
        Tls::StartTls => "STARTTLS",
        Tls::Implicit => "TLS",
    };
    let login = match auth.credentials() {
        Some(credentials) => format!("as {}", credentials.user()),
        None => "without a login".into(),
    };
    format!("from {}, {server}, {tls}, {login}", from.address())
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "none".into() } else { list.join(", ") }
}
