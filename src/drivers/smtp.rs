//! `SMTP` and `SMTPHTML`: mail through one server, as text or as HTML.
//!
//! The endpoint is unused. The payload, whose field names match in any case:
//!
//! ```json
//! {
//!   "To": {"Name": "Ada", "Address": "ada@example.org"},
//!   "CC": [{"Address": "log@example.org"}],
//!   "BCC": [],
//!   "Subject": "Backup done",
//!   "Content": "412 files.",
//!   "Attach": [{"Type": "text/csv", "RawContent": "a,b\n1,2\n", "Filename": "files.csv"}]
//! }
//! ```
//!
//! `To`, `Subject` and `Content` are required; an attachment has `RawContent`
//! (text, sent as UTF-8) or `Base64Content` (bytes), and may have a `Type`, a
//! `Filename` and an `ID`: `<img src="cid:ID">` shows it within HTML.
//!
//! A mail is accepted by the server for all of its recipients, or for none.
//! [lettre] builds it; the dialogue and the pool are our own, because lettre's
//! time-outs hold for each read and not for an attempt, and its pool has a
//! thread that wakes up for ever.

mod config;
mod connection;
mod content_type;
mod failure;
mod header;
mod mailbox;
mod message;
mod payload;
mod pool;
mod reply;
mod wire;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

pub use self::{
    config::{Auth, Credentials, InvalidSetting, Mechanism, Server, SmtpConfig, Tls},
    mailbox::Mailbox,
};
use self::{
    connection::{Connection, Envelope},
    failure::Failure,
    payload::Payload,
    pool::Pool,
};
use crate::{
    driver::{Delivery, Driver, Rejected, SendError},
    drivers::{
        mask::{Mask, Masked},
        names::Names,
        unsendable,
    },
};

/// What the content of a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Html,
}

/// A driver for mail: [`Smtp::text`] is `SMTP`, [`Smtp::html`] is `SMTPHTML`.
pub struct Smtp {
    account: Arc<Account>,
    format: Format,
}

impl Smtp {
    /// The driver `SMTP`: the content is plain text.
    pub fn text(account: Arc<Account>) -> Masked<Self> {
        Self::masked(account, Format::Text)
    }

    /// The driver `SMTPHTML`: the content is HTML.
    pub fn html(account: Arc<Account>) -> Masked<Self> {
        Self::masked(account, Format::Html)
    }

    fn masked(account: Arc<Account>, format: Format) -> Masked<Self> {
        let mask = Mask::new(account.config.secrets());
        Masked::new(Self { account, format }, mask)
    }
}

impl Driver for Smtp {
    fn r#type(&self) -> &str {
        match self.format {
            Format::Text => "SMTP",
            Format::Html => "SMTPHTML",
        }
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let deadline = Instant::now() + self.account.config.deadline;
        let payload = Payload::parse(delivery.content).map_err(unsendable)?;
        let from = &self.account.config.from;
        let message_id = message::message_id(delivery.id, delivery.content, from.domain());
        let mail = message::compose(&payload, self.format, from, message_id, SystemTime::now());
        let envelope = Envelope { from, recipients: payload.recipients(), mail };
        self.account.send(&envelope, deadline)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        Payload::parse(content).map(drop)
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }

    fn lane(&self, _endpoint: &str) -> String {
        format!("smtp://{}", self.account.config.server)
    }

    fn check_account(&self) -> Result<Option<String>, SendError> {
        Ok(Some(self.account.check()?))
    }
}

/// A mail server and how we are known there: both drivers share it, and its connections.
pub struct Account {
    config: SmtpConfig,
    names: Names,
    pool: Pool,
}

impl Account {
    /// Takes the settings; nothing is connected yet.
    pub fn new(config: SmtpConfig) -> Arc<Self> {
        Arc::new(Self { names: Names::new(1), pool: Pool::new(config.max_connections, config.idle), config })
    }

    fn send(&self, envelope: &Envelope<'_>, deadline: Instant) -> Result<Vec<u8>, SendError> {
        Ok(self.deliver(envelope, deadline)?.into_bytes())
    }

    fn deliver(&self, envelope: &Envelope<'_>, deadline: Instant) -> Result<String, Failure> {
        let (lease, left) = self.pool.lease(deadline)?;
        let mut connection =
            match left.and_then(|connection| self.begin_again(connection, envelope, deadline)) {
                Some(connection) => connection,
                None => {
                    let mut connection = self.connect(deadline)?;
                    match connection.begin(envelope, deadline) {
                        Ok(()) => connection,
                        Err(failure) => return Err(part(connection, failure)),
                    }
                }
            };
        match connection.finish(envelope, deadline) {
            Ok(reply) => {
                lease.keep(connection);
                Ok(reply.to_string())
            }
            Err(failure) => Err(part(connection, failure)),
        }
    }

    /// Connects, encrypts, logs in, and is gone.
    fn check(&self) -> Result<String, Failure> {
        self.connect(Instant::now() + self.config.deadline)?.quit();
        let server = &self.config.server;
        Ok(match self.config.auth.credentials() {
            Some(credentials) => format!("{server} lets {} in", credentials.user()),
            None => format!("{server} answers, nobody logs in"),
        })
    }

    fn connect(&self, deadline: Instant) -> Result<Connection, Failure> {
        Connection::open(&self.config, &self.addresses(deadline)?, deadline)
    }

    fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
        let server = &self.config.server;
        let found = match server.address() {
            Some(address) => Arc::from([address]),
            None => self.names.addresses(&server.host(), deadline).map_err(Failure::unreachable)?,
        };
        Ok(found.iter().map(|address| SocketAddr::new(*address, server.port())).collect())
    }

    /// Begins a mail on a connection that was left from an earlier one. Whatever
    /// the server has against that is no failure: it may have closed it, or
    /// have had enough of it, and a new one tells.
    fn begin_again(
        &self,
        mut connection: Connection,
        envelope: &Envelope<'_>,
        deadline: Instant,
    ) -> Option<Connection> {
        // A dead one must leave time for a new one.
        let limit = Instant::now() + self.config.deadline / 4;
        match connection.begin(envelope, limit.min(deadline)) {
            Ok(()) => Some(connection),
            Err(failure) => {
                part(connection, failure);
                None
            }
        }
    }
}

/// Ends a connection after a failure: politely, if anybody is there.
fn part(connection: Connection, failure: Failure) -> Failure {
    if failure.is_answer() {
        connection.quit();
    }
    failure
}
