//! How to reach the mail server, and how these settings are written.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use url::Host;

use super::Mailbox;
use crate::drivers::tls::Trust;

/// How long one attempt may take in all, so that with a little for winding up
/// it ends within a minute.
const DEADLINE: Duration = Duration::from_secs(55);

/// How long a connection is kept for the next mail: long enough for a burst,
/// shorter than the patience of servers (Postfix under stress waits 10 s, else
/// minutes) matters less, since a stale one is replaced unnoticed.
const IDLE: Duration = Duration::from_secs(30);

/// What an [`Account`](super::Account) is made of.
#[derive(Clone, Debug)]
pub struct SmtpConfig {
    /// The server that takes the mails.
    pub server: Server,
    /// Whom they are from; also the sender that is told of bounces.
    pub from: Mailbox,
    /// How to log in.
    pub auth: Auth,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Who may certify the server when it is.
    pub trust: Trust,
    /// Connections there are at most, those that wait for the next mail
    /// included: as many as sends at once.
    pub max_connections: usize,
    /// How long one attempt may take in all, whatever the server does.
    pub deadline: Duration,
    /// How long a connection is kept open for the next mail.
    pub idle: Duration,
}

impl SmtpConfig {
    /// No login, no encryption, the system's trust, ten connections, 55 s per attempt;
    /// a connection is kept for 30 s.
    pub fn new(server: Server, from: Mailbox) -> Self {
        Self {
            server,
            from,
            auth: Auth::None,
            tls: Tls::None,
            trust: Trust::system(),
            max_connections: 10,
            deadline: DEADLINE,
            idle: IDLE,
        }
    }

    /// What nobody may see of it.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.auth.credentials().map(|credentials| credentials.password.as_str()).into_iter()
    }

    /// What an operator should know of this combination: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tls == Tls::None && self.auth != Auth::None && !self.server.is_loopback() {
            warnings.push(format!(
                "the SMTP password travels to {} in clear: set NOTIFY_SMTP_TLS to \"starttls\" or \"tls\"",
                self.server
            ));
        }
        warnings
    }
}

/// Where a mail server listens; written `host:port`, an IPv6 address in brackets.
///
/// ```
/// use notify_api::drivers::smtp::Server;
///
/// let server: Server = "mail.example.org:587".parse()?;
/// assert_eq!((server.host(), server.port()), ("mail.example.org".into(), 587));
/// assert!("[::1]:25".parse::<Server>()?.is_loopback());
/// assert!("mail.example.org".parse::<Server>().is_err());
/// # Ok::<(), notify_api::drivers::smtp::InvalidSetting>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: Host,
    port: u16,
}

impl Server {
    /// The name, or the address without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.to_canonical().is_loopback(),
        }
    }

    /// The address, if it is one and no name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Server {
    type Err = InvalidSetting;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let invalid = || {
            InvalidSetting::new(
                "it takes host:port, as in mail.example.org:587, 192.0.2.1:25 or [2001:db8::1]:25",
            )
        };
        let (host, port) = value.rsplit_once(':').ok_or_else(invalid)?;
        // Without brackets nobody knows where an IPv6 address ends.
        if host.contains(':') && !host.starts_with('[') {
            return Err(invalid());
        }
        // `u16::from_str` would let a sign pass.
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        match (Host::parse(host), port.parse()) {
            (Ok(host), Ok(port)) if port != 0 => Ok(Self { host, port }),
            _ => Err(invalid()),
        }
    }
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By `STARTTLS`, without which nothing is sent.
    StartTls,
    /// From its first byte, as on port 465.
    Implicit,
}

impl Tls {
    /// Reads a setting, in any case: `tls`; `none` or empty; `starttls`, and any
    /// other value, for which a warning is returned too.
    ///
    /// ```
    /// use notify_api::drivers::smtp::Tls;
    ///
    /// assert_eq!(Tls::parse("tls"), (Tls::Implicit, None));
    /// let (tls, warning) = Tls::parse("yes");
    /// assert_eq!(tls, Tls::StartTls);
    /// assert!(warning.is_some());
    /// ```
    pub fn parse(value: &str) -> (Self, Option<String>) {
        match value.to_ascii_lowercase().as_str() {
            "" | "none" => (Self::None, None),
            "tls" => (Self::Implicit, None),
            "starttls" => (Self::StartTls, None),
            _ => {
                let warning =
                    format!("{value:?} is neither \"tls\", \"starttls\" nor \"none\": STARTTLS is required");
                (Self::StartTls, Some(warning))
            }
        }
    }
}

/// Which way of logging in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// None: the server knows us by our address, or takes mail from anybody.
    None,
    /// `AUTH PLAIN`.
    Plain,
    /// `AUTH LOGIN`.
    Login,
}

impl FromStr for Mechanism {
    type Err = InvalidSetting;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        match value.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "plain" => Ok(Self::Plain),
            "login" => Ok(Self::Login),
            "crammd5" | "cram-md5" => Err(InvalidSetting::new(
                "CRAM-MD5 is not supported: today's servers don't offer it, and encryption does better what it was \
                 for; use \"plain\" or \"login\" together with NOTIFY_SMTP_TLS",
            )),
            _ => Err(InvalidSetting::new("it takes \"plain\", \"login\" or \"none\"")),
        }
    }
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// With `AUTH PLAIN`.
    Plain(Credentials),
    /// With `AUTH LOGIN`.
    Login(Credentials),
}

impl Auth {
    /// Puts settings together. Without a mechanism it is [`Mechanism::Plain`] if
    /// there is a user.
    ///
    /// # Errors
    /// A mechanism without a user, or a user without a password or the other way round.
    pub fn new(
        mechanism: Option<Mechanism>,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Self, InvalidSetting> {
        let credentials = match (mechanism, user, password) {
            (Some(Mechanism::None), ..) | (None, None, None) => return Ok(Self::None),
            (_, Some(user), Some(password)) => Credentials::new(user, password),
            (_, Some(_), None) => return Err(InvalidSetting::new("there is a user, but no password")),
            (_, None, Some(_)) => return Err(InvalidSetting::new("there is a password, but no user")),
            (Some(_), None, None) => {
                return Err(InvalidSetting::new("logging in takes a user and a password"));
            }
        };
        Ok(match mechanism {
            Some(Mechanism::Login) => Self::Login(credentials),
            _ => Self::Plain(credentials),
        })
    }

    /// Whom it logs in.
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::None => None,
            Self::Plain(credentials) | Self::Login(credentials) => Some(credentials),
        }
    }
}

/// A user and a password; the password shows up nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// Takes a user's name and password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// Whose they are.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A setting that can't be used. [`Display`](fmt::Display) is a sentence that
/// doesn't repeat the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting(String);

impl InvalidSetting {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for InvalidSetting {}
