//! What the environment says: one table of variables feeds the parser and `-h`.

use std::{
    borrow::Cow, ffi::OsString, fmt, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration,
};

use tracing_subscriber::filter::{LevelFilter, Targets};

mod care;
mod dsn;
mod env_file;
mod names;
mod secrets;
mod services;
mod variable;

pub(crate) use care::{Care, DbMax};
pub(crate) use dsn::Dsn;
pub(crate) use env_file::EnvFile;
pub(crate) use names::{unknown_credentials, unknown_variables};
pub(crate) use secrets::{CREDENTIALS, Place};
pub(crate) use services::Services;
use variable::{SET, Secrecy, Variable, url_without_secrets};

const DSN: Variable = Variable {
    name: "NOTIFY_DSN",
    default: "",
    meaning: "database: a path or sqlite:PATH, mysql://…, postgres://… [default: notify.db in $STATE_DIRECTORY, else here]",
    secrecy: Secrecy::Hides(Dsn::masked),
    has_file: true,
};
const HTTP_BIND: Variable =
    Variable::new("NOTIFY_HTTP_BIND", "127.0.0.1:8080", "address to listen on; :8080 is every interface");
const TLS_CERT: Variable =
    Variable::new("NOTIFY_TLS_CERT", "", "PEM file with the certificate chain: serve HTTPS");
const TLS_KEY: Variable = Variable::new("NOTIFY_TLS_KEY", "", "PEM file with the certificate's private key");
const TOKEN: Variable =
    Variable::secret("NOTIFY_TOKEN", "what clients must show, as bearer token or basic password");
const BODY_LIMIT: Variable = Variable::new("NOTIFY_BODY_LIMIT", "1048576", "largest request body, bytes");
const STOP_TIMEOUT: Variable =
    Variable::new("NOTIFY_STOP_TIMEOUT", "30", "seconds that running sends get at a stop");
const LOG: Variable =
    Variable::new("NOTIFY_LOG", "info", "error, warn, info, debug, or a filter like notify_api=debug,warn");
const MAX_TRY: Variable = Variable::new("NOTIFY_MAX_TRY", "32", "attempts before a notification is FAILED");
const THREADS: Variable = Variable::new("NOTIFY_THREADS", "10", "sends at once");
const HTTP_TIMEOUT: Variable =
    Variable::new("NOTIFY_HTTP_TIMEOUT", "10", "seconds that one delivery over HTTP may take in all");
const HTTP_STRING: Variable = Variable::new(
    "NOTIFY_HTTP_STRING",
    "",
    "HTTPGET and HTTPPOST succeed if the answer begins with this [default: if its status is 2xx]",
);

/// All there are, in the order of `-h`.
const VARIABLES: &[&Variable] = &[
    &DSN,
    &HTTP_BIND,
    &TLS_CERT,
    &TLS_KEY,
    &TOKEN,
    &BODY_LIMIT,
    &STOP_TIMEOUT,
    &LOG,
    &MAX_TRY,
    &THREADS,
    &HTTP_TIMEOUT,
    &HTTP_STRING,
    &care::KEEP_SUCCESS,
    &care::KEEP_FAILED,
    &care::DB_MAX,
    &services::TG_TOKEN,
    &services::TG_TARGET,
    &services::TG_URL,
    &services::SENDGRID_KEY,
    &services::SENDGRID_URL,
    &services::AV8D_USER,
    &services::AV8D_PASS,
    &services::AV8D_URL,
    &services::SMTP_SERVER,
    &services::SMTP_FROM,
    &services::SMTP_USER,
    &services::SMTP_PASS,
    &services::SMTP_AUTH,
    &services::SMTP_TLS,
];

/// A whole, valid configuration.
pub(crate) struct Config {
    pub(crate) dsn: Dsn,
    pub(crate) bind: String,
    /// The address isn't the default one by default.
    pub(crate) bind_is_set: bool,
    /// Certificate chain and private key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) token: Option<String>,
    pub(crate) body_limit: usize,
    pub(crate) stop_timeout: Duration,
    pub(crate) log: Targets,
    pub(crate) max_tries: u32,
    pub(crate) threads: usize,
    pub(crate) http_timeout: Duration,
    pub(crate) http_string: Option<String>,
    pub(crate) care: Care,
    pub(crate) services: Services,
    /// What is not wrong, but most likely not meant.
    pub(crate) warnings: Vec<String>,
}

/// A variable that doesn't hold what it takes.
#[derive(Debug)]
pub(crate) struct ConfigError {
    name: Cow<'static, str>,
    /// `None` for a secret.
    value: Option<String>,
    takes: String,
}

impl ConfigError {
    fn new(name: impl Into<Cow<'static, str>>, value: Option<String>, takes: impl Into<String>) -> Self {
        Self { name: name.into(), value, takes: takes.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, takes } = self;
        match value {
            Some(value) => write!(f, "{name} is {value:?}: {takes}"),
            None => write!(f, "{name}: {takes}"),
        }
    }
}

/// Where variables come from.
pub(crate) struct Environment<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'_> {
    /// What a variable holds; an empty one is an unset one.
    fn raw(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable, or of the file that holds it.
    fn text(&self, variable: &Variable) -> Result<Option<String>, ConfigError> {
        let value = if variable.has_file { secrets::find(self, variable)? } else { self.raw(variable.name) };
        let value = value.map(OsString::into_string).transpose().map_err(|bytes| {
            // What is no text can't be searched for secrets.
            let is_public = matches!(variable.secrecy, Secrecy::Public);
            let value = is_public.then(|| bytes.to_string_lossy().into_owned());
            ConfigError::new(variable.name, value, "it takes UTF-8 text")
        })?;
        let default = Some(variable.default).filter(|default| !default.is_empty());
        Ok(value.or_else(|| default.map(str::to_owned)))
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(
        &self,
        variable: &Variable,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        let text = self.text(variable)?.unwrap_or_default();
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let takes = format!("it takes a number from {} to {}", range.start(), range.end());
            variable.wrong(&text, takes)
        })
    }

    fn path(&self, variable: &Variable) -> Option<PathBuf> {
        self.raw(variable.name).map(PathBuf::from)
    }
}

impl Config {
    /// Reads and checks everything, touching nothing.
    pub(crate) fn read(env: &Environment<'_>) -> Result<Self, ConfigError> {
        let tls = match (env.path(&TLS_CERT), env.path(&TLS_KEY)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(cert), None) => {
                return Err(TLS_CERT.wrong(&cert.to_string_lossy(), "it takes NOTIFY_TLS_KEY beside it"));
            }
            (None, Some(key)) => {
                return Err(TLS_KEY.wrong(&key.to_string_lossy(), "it takes NOTIFY_TLS_CERT beside it"));
            }
        };
        let mut warnings = Vec::new();
        let services = Services::read(env, &mut warnings)?;
        let dsn = database(env)?;
        let care = Care::read(env, &dsn, &mut warnings)?;
        Ok(Self {
            dsn,
            care,
            bind: env.text(&HTTP_BIND)?.unwrap_or_default(),
            bind_is_set: (env.0)(HTTP_BIND.name).is_some_and(|value| !value.is_empty()),
            tls,
            token: env.text(&TOKEN)?,
            body_limit: env.number(&BODY_LIMIT, 1..=32 << 20)?,
            stop_timeout: Duration::from_secs(env.number(&STOP_TIMEOUT, 0..=86_400)?),
            log: log(env)?,
            max_tries: env.number(&MAX_TRY, 1..=u32::MAX)?,
            threads: env.number(&THREADS, 1..=65_535)?,
            http_timeout: Duration::from_secs(env.number(&HTTP_TIMEOUT, 1..=86_400)?),
            http_string: env.text(&HTTP_STRING)?,
            services,
            warnings,
        })
    }

    /// What no receiver may tell anybody, should it know of it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.services.secrets().into_iter().chain(self.token.as_deref())
    }

    /// Says that the address to listen on is wrong.
    pub(crate) fn wrong_bind(&self, reason: impl fmt::Display) -> ConfigError {
        HTTP_BIND.wrong(&self.bind, reason.to_string())
    }

    /// Says that the certificate or its key is wrong.
    pub(crate) fn wrong_tls(&self, reason: impl fmt::Display) -> ConfigError {
        ConfigError::new("NOTIFY_TLS_CERT, NOTIFY_TLS_KEY", None, reason.to_string())
    }

    /// Says that the database can't be opened.
    pub(crate) fn wrong_dsn(&self, reason: impl fmt::Display) -> ConfigError {
        wrong_dsn(reason)
    }
}

/// Says that the database can't be opened.
pub(crate) fn wrong_dsn(reason: impl fmt::Display) -> ConfigError {
    ConfigError::new(DSN.name, None, reason.to_string())
}

/// The database, whatever the other variables hold.
pub(crate) fn database(env: &Environment<'_>) -> Result<Dsn, ConfigError> {
    let Some(text) = env.text(&DSN)? else {
        let directories = (env.0)("STATE_DIRECTORY").unwrap_or_default();
        // systemd gives a list if there are several; the first is ours.
        let directory = std::env::split_paths(&directories).next().unwrap_or_default();
        return Ok(Dsn::Sqlite(directory.join("notify.db")));
    };
    Dsn::parse(&text).map_err(|reason| DSN.wrong(&text, reason))
}

fn log(env: &Environment<'_>) -> Result<Targets, ConfigError> {
    let text = env.text(&LOG)?.unwrap_or_default();
    let level = text.parse::<LevelFilter>();
    match level {
        Ok(level) => Ok(Targets::new().with_default(level)),
        // A single word that is no level would be taken for a module's name, and silence all.
        Err(_) if text.contains('=') => text.parse().map_err(|_| ()),
        Err(_) => Err(()),
    }
    .map_err(|()| {
        LOG.wrong(&text, "it takes error, warn, info, debug, or a filter like notify_api=debug,warn")
    })
}

/// The secrets that are set, and where each is.
pub(crate) fn secrets(env: &Environment<'_>) -> Vec<(&'static str, Place)> {
    let may_be = VARIABLES.iter().filter(|variable| variable.has_file);
    let places = may_be.filter_map(|variable| Some((variable.name, Place::find(env, variable)?)));
    // The path of a database is none.
    let is_public = |name, value: &OsString| value.to_str().is_some_and(|value| !is_secret(name, value));
    places
        .filter(|(name, place)| !matches!(place, Place::Variable(value) if is_public(name, value)))
        .collect()
}

/// Whether not everybody may see this value of a variable.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    match VARIABLES.iter().find(|variable| variable.name == name) {
        Some(variable) => variable.shown(value).as_deref() != Some(value),
        None => name.to_lowercase().ends_with("_proxy") && url_without_secrets(value) != value,
    }
}

/// The part of `-h` about variables: what each is now, means, and is by default.
pub(crate) fn help(env: &Environment<'_>) -> String {
    let mut help = String::from("It is configured by environment variables:\n");
    for variable in VARIABLES {
        let value = match Place::find(env, variable) {
            None => "unset".into(),
            Some(Place::Variable(value)) => match variable.secrecy {
                Secrecy::Secret => SET.into(),
                Secrecy::Hides(hide) => format!("= {}", hide(&value.to_string_lossy())),
                Secrecy::Public => format!("= {}", value.to_string_lossy()),
            },
            Some(Place::File(path) | Place::Credential(path)) => format!("in {}", path.display()),
        };
        let default = match variable.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        help += &format!("\n  {} ({value})\n      {}{default}\n", variable.name, variable.meaning);
        if variable.has_file {
            help += &format!("      or {}: a file with it\n", variable.file_name());
        }
    }
    help += "\nA secret may also be in a file of its variable's name in $CREDENTIALS_DIRECTORY.\n";
    help += "HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR are honoured.\n";
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &'static [(&'static str, &'static str)]) -> Result<Config, String> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Config::read(&Environment(&lookup)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_environment_is_a_valid_configuration() {
        let config = read(&[]).ok().unwrap();
        assert_eq!(config.bind, "127.0.0.1:8080");
        assert_eq!((config.max_tries, config.threads, config.body_limit), (32, 10, 1 << 20));
        assert!(matches!(config.dsn, Dsn::Sqlite(path) if path.to_str() == Some("notify.db")));
        assert!(config.token.is_none() && config.tls.is_none() && config.http_string.is_none());
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let config = read(&[("NOTIFY_THREADS", ""), ("NOTIFY_TOKEN", ""), ("NOTIFY_LOG", "")]).ok().unwrap();
        assert_eq!((config.threads, config.token), (10, None));
    }

    #[test]
    fn the_state_directory_holds_the_default_database() {
        let config = read(&[("STATE_DIRECTORY", "/var/lib/notify-api:/var/lib/other")]).ok().unwrap();
        assert!(
            matches!(config.dsn, Dsn::Sqlite(path) if path.to_str() == Some("/var/lib/notify-api/notify.db"))
        );
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_holds_and_what_it_takes() {
        for (name, value, takes) in [
            ("NOTIFY_THREADS", "0", "1 to 65535"),
            ("NOTIFY_THREADS", "65536", "1 to 65535"),
            ("NOTIFY_MAX_TRY", "4294967296", "1 to 4294967295"),
            ("NOTIFY_HTTP_TIMEOUT", "9s", "1 to 86400"),
            ("NOTIFY_BODY_LIMIT", "-1", "1 to 33554432"),
            ("NOTIFY_STOP_TIMEOUT", "x", "0 to 86400"),
            ("NOTIFY_LOG", "loud", "debug"),
            ("NOTIFY_LOG", "a=loud", "debug"),
            ("NOTIFY_TLS_CERT", "/c.pem", "NOTIFY_TLS_KEY"),
            ("NOTIFY_TLS_KEY", "/k.pem", "NOTIFY_TLS_CERT"),
        ] {
            let lookup = |asked: &str| (asked == name).then(|| OsString::from(value));
            let error = Config::read(&Environment(&lookup)).err().unwrap().to_string();
            assert!(error.starts_with(&format!("{name} is {value:?}")) && error.contains(takes), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn a_bad_dsn_is_not_shown() {
        let lookup = |asked: &str| (asked == "NOTIFY_DSN").then(|| "redis://:hush@host/".into());
        let error = Config::read(&Environment(&lookup)).err().unwrap().to_string();
        assert!(error.contains("NOTIFY_DSN") && error.contains("sqlite:PATH") && !error.contains("hush"));
    }

    #[test]
    fn help_shows_no_secret() {
        let lookup = |name: &str| match name {
            "NOTIFY_TOKEN" => Some("hush".into()),
            "NOTIFY_DSN" => Some("postgres://me:hush@db/notify".into()),
            _ => None,
        };
        let help = help(&Environment(&lookup));
        assert!(!help.contains("hush"), "{help}");
        assert!(VARIABLES.iter().all(|variable| help.contains(variable.name)));
    }
}
