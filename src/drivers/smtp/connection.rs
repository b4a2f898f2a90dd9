//! The dialogue with a mail server (RFC 5321).
//!
//! It is written here, on a [`Wire`] that keeps to a deadline, because a
//! time-out per read lets a server that sends a byte now and then hold an
//! attempt for ever.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::ClientConfig;

use super::{
    Auth, Credentials, Mailbox, Server, SmtpConfig, Tls,
    failure::{Failure, plain_blob},
    reply::Reply,
    wire::Wire,
};

/// A mail and whom it goes to.
pub(super) struct Envelope<'a> {
    pub(super) from: &'a Mailbox,
    pub(super) recipients: Vec<&'a Mailbox>,
    /// Lines that end in CR LF, the last one too.
    pub(super) mail: Vec<u8>,
}

/// A connection that is logged in and waits for a mail.
pub(super) struct Connection {
    wire: Wire,
    server: Server,
    extensions: Extensions,
}

/// What the server offers.
#[derive(Default)]
struct Extensions {
    starttls: bool,
    size: bool,
    auth: Vec<String>,
}

impl Connection {
    /// Connects, encrypts and logs in.
    pub(super) fn open(
        config: &SmtpConfig,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let server = &config.server;
        let mut wire = Wire::connect(server, addresses, deadline)?;
        if config.tls == Tls::Implicit {
            wire = wire.encrypt(server, &config.trust.client_config())?;
        }
        let mut connection = Self { wire, server: server.clone(), extensions: Extensions::default() };
        connection.greeting()?;
        connection.hello()?;
        if config.tls == Tls::StartTls {
            connection = connection.start_tls(&config.trust.client_config())?;
        }
        match &config.auth {
            Auth::None => {}
            Auth::Plain(credentials) => connection.log_in_plain(credentials)?,
            Auth::Login(credentials) => connection.log_in_login(credentials)?,
        }
        Ok(connection)
    }

    /// Whether it seems to be as it was left.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.is_quiet()
    }

    /// Says good-bye, and waits a moment for the answer: the server then counts
    /// one connection less before it sees another.
    pub(super) fn quit(self) {
        self.wire.quit();
    }

    /// Says good-bye and is gone.
    pub(super) fn leave(mut self) {
        self.wire.say_quit();
    }

    /// Begins a mail. Until here nothing has happened that couldn't be begun
    /// again on another connection.
    pub(super) fn begin(&mut self, envelope: &Envelope<'_>, deadline: Instant) -> Result<(), Failure> {
        self.wire.set_deadline(deadline);
        let from = envelope.from.address();
        let command = match self.extensions.size {
            // So it can be refused before it is sent.
            true => format!("MAIL FROM:<{from}> SIZE={}", envelope.mail.len()),
            false => format!("MAIL FROM:<{from}>"),
        };
        let reply = self.command(&command, "MAIL FROM")?;
        accepted(reply, &format!("the sender {from}")).map(drop)
    }

    /// Hands the mail over to every recipient, or to nobody.
    pub(super) fn finish(&mut self, envelope: &Envelope<'_>, deadline: Instant) -> Result<Reply, Failure> {
        self.wire.set_deadline(deadline);
        for recipient in &envelope.recipients {
            let address = recipient.address();
            let reply = self.command(&format!("RCPT TO:<{address}>"), &format!("RCPT TO:<{address}>"))?;
            let note = match envelope.recipients.len() {
                1 => None,
                // The reply needn't name it.
                _ => Some(format!("RCPT TO:<{address}>")),
            };
            accepted(reply, &format!("the recipient {address}"))
                .map_err(|failure| failure.with_note(note))?;
        }
        let reply = self.command("DATA", "DATA")?;
        if !reply.is_intermediate() {
            return Err(refused(&reply, "the mail", reply.is_permanent()));
        }
        if let Err(error) = self.wire.write(&stuffed(&envelope.mail)) {
            // It may have said why before it hung up.
            return match self.wire.read_reply() {
                Ok(reply) if !reply.is_positive() => accepted(reply, "the mail"),
                _ => Err(Failure::io(&self.server, "the mail", &error)),
            };
        }
        accepted(self.reply_to("the mail")?, "the mail")
    }

    fn greeting(&mut self) -> Result<(), Failure> {
        let reply = self.wire.read_reply().map_err(|error| {
            let failure = self.explain("the connection", &error);
            match error.kind() {
                io::ErrorKind::TimedOut if !self.wire.is_encrypted() => failure.with_hint(
                    "if its port is one for TLS from the first byte on, as 465 is, set NOTIFY_SMTP_TLS=tls",
                ),
                _ => failure,
            }
        })?;
        if reply.is_positive() { Ok(()) } else { Err(refused(&reply, "the connection", false)) }
    }

    fn hello(&mut self) -> Result<(), Failure> {
        let reply = self.command(&format!("EHLO {}", self.own_name()), "EHLO")?;
        if !reply.is_positive() {
            return Err(refused(&reply, "EHLO", false));
        }
        self.extensions = Extensions::read(&reply);
        Ok(())
    }

    fn start_tls(mut self, tls: &Arc<ClientConfig>) -> Result<Self, Failure> {
        if !self.extensions.starttls {
            let reason = format!(
                "{} does not offer STARTTLS, which is required: nothing was sent; if its port is one for TLS from the \
                 first byte on, set NOTIFY_SMTP_TLS=tls",
                self.server
            );
            self.quit();
            return Err(Failure::temporary(reason));
        }
        let reply = self.command("STARTTLS", "STARTTLS")?;
        if reply.code() != 220 {
            return Err(refused(&reply, "STARTTLS", false));
        }
        let wire = self.wire.encrypt(&self.server, tls)?;
        // What was said before may have been said by anybody: it asks again.
        let mut connection = Self { wire, server: self.server, extensions: Extensions::default() };
        connection.hello()?;
        Ok(connection)
    }

    fn log_in_plain(&mut self, Credentials { user, password }: &Credentials) -> Result<(), Failure> {
        self.require_auth("PLAIN")?;
        let blob = plain_blob(user, password);
        let mut reply = self.command(&format!("AUTH PLAIN {blob}"), "AUTH PLAIN")?;
        if reply.code() == 334 {
            // It overlooked what the command brought along.
            reply = self.command(&blob, "AUTH PLAIN")?;
        }
        logged_in(&reply)
    }

    fn log_in_login(&mut self, Credentials { user, password }: &Credentials) -> Result<(), Failure> {
        self.require_auth("LOGIN")?;
        let mut reply = self.command("AUTH LOGIN", "AUTH LOGIN")?;
        // The questions are worded as each server likes; their order is fixed.
        for answer in [user, password] {
            if reply.code() != 334 {
                break;
            }
            reply = self.command(&BASE64_STANDARD.encode(answer), "AUTH LOGIN")?;
        }
        logged_in(&reply)
    }

    fn require_auth(&self, mechanism: &str) -> Result<(), Failure> {
        let offered = &self.extensions.auth;
        if offered.iter().any(|offered| offered == mechanism) {
            return Ok(());
        }
        let offer = match (offered.is_empty(), self.wire.is_encrypted()) {
            (true, false) => "no way of logging in over a connection that is not encrypted".to_owned(),
            (true, true) => "no way of logging in".to_owned(),
            (false, _) => offered.join(", "),
        };
        Err(Failure::temporary(format!("{} does not offer AUTH {mechanism}, but {offer}", self.server)))
    }

    fn command(&mut self, line: &str, what: &str) -> Result<Reply, Failure> {
        self.wire.write(format!("{line}\r\n").as_bytes()).map_err(|error| self.explain(what, &error))?;
        self.reply_to(what)
    }

    fn reply_to(&mut self, what: &str) -> Result<Reply, Failure> {
        self.wire.read_reply().map_err(|error| self.explain(what, &error))
    }

    fn explain(&self, what: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::InvalidData => {
                Failure::temporary(format!("what {} answered to {what} is not SMTP: {error}", self.server))
            }
            _ => Failure::io(&self.server, what, error),
        }
    }

    /// What we call ourselves: the machine's full name, or else its address
    /// (RFC 5321, 4.1.3), which is always a valid one.
    fn own_name(&self) -> String {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() < 64
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if name.contains('.') && name.len() < 254 && name.split('.').all(is_label) {
            return name.to_owned();
        }
        match self.wire.local_address().map(|address| address.ip().to_canonical()) {
            Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Ok(IpAddr::V4(address)) => format!("[{address}]"),
            Err(_) => "[127.0.0.1]".to_owned(),
        }
    }
}

impl Extensions {
    fn read(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        // The first line is a welcome.
        for line in reply.texts().skip(1) {
            // Old servers write `AUTH=`.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("STARTTLS") => extensions.starttls = true,
                Some("SIZE") => extensions.size = true,
                Some("AUTH") => extensions.auth.extend(words),
                _ => {}
            }
        }
        extensions
    }
}

/// A positive reply, or the failure that a negative one is.
fn accepted(reply: Reply, what: &str) -> Result<Reply, Failure> {
    if reply.is_positive() { Ok(reply) } else { Err(refused(&reply, what, reply.is_permanent())) }
}

fn logged_in(reply: &Reply) -> Result<(), Failure> {
    if reply.code() == 235 { Ok(()) } else { Err(refused(reply, "the user or the password", false)) }
}

fn refused(reply: &Reply, what: &str, is_permanent: bool) -> Failure {
    // For a log: one line, whatever the server put into it.
    let said = reply.to_string().replace(char::is_control, " ");
    let reason = format!("the server refused {what}: {said}");
    // Missing or expired credentials (RFC 4954) can be mended, whenever it is
    // that the server speaks of them.
    let is_login = matches!(reply.code(), 530 | 534 | 535 | 538);
    let failure =
        if is_permanent && !is_login { Failure::permanent(reason) } else { Failure::temporary(reason) };
    failure.with_response(reply.to_string())
}

/// A mail as DATA takes it: a line that begins with a dot gets another one, and
/// a single dot ends it.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(mail.len() + mail.len() / 64 + 8);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}
