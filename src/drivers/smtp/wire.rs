//! A connection, in clear or encrypted, on which nothing waits beyond the
//! deadline of the attempt, however slowly the other side feeds it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::{
    Server,
    failure::Failure,
    reply::{Reply, ReplyReader},
};

/// How long one address may take to answer; the next one has a chance then.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// How long a good-bye may take.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// The stream and what was read ahead of it.
pub(super) struct Wire {
    stream: Stream,
    replies: ReplyReader,
}

enum Stream {
    Clear(Timed),
    Encrypted(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Wire {
    /// Connects to the first address that answers.
    pub(super) fn connect(
        server: &Server,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut latest = None;
        for (index, address) in addresses.iter().enumerate() {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let share = remaining / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            if share.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(address, share.min(CONNECT_LIMIT)) {
                Ok(tcp) => {
                    // A command and its answer alternate: waiting to fill a packet gains nothing.
                    let _ = tcp.set_nodelay(true);
                    let stream = Stream::Clear(Timed { tcp, deadline });
                    return Ok(Self { stream, replies: ReplyReader::default() });
                }
                Err(error) => latest = Some(error),
            }
        }
        let reason = latest.map_or_else(|| "no time was left".to_owned(), |error| error.to_string());
        Err(Failure::unreachable(format!("no connection to {server}: {reason}")))
    }

    /// From now on everything is encrypted, and the server has shown who it is.
    pub(super) fn encrypt(self, server: &Server, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let Stream::Clear(mut timed) = self.stream else { return Ok(self) };
        if !self.replies.is_empty() {
            // Said in clear, by anybody: it must not count as said under encryption.
            return Err(Failure::temporary(format!("{server} sent more than an answer to STARTTLS")));
        }
        let name = ServerName::try_from(server.host()).map_err(|_| {
            Failure::temporary(format!("{} can't be the name in a certificate", server.host()))
        })?;
        let mut connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| Failure::temporary(format!("TLS with {server} can't begin: {error}")))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut timed).map_err(|error| explain_tls(server, &error))?;
        }
        let stream = Stream::Encrypted(Box::new(StreamOwned::new(connection, timed)));
        Ok(Self { stream, replies: ReplyReader::default() })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Encrypted(_))
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.timed_mut().deadline = deadline;
    }

    /// Whether the other side has neither closed the connection nor said
    /// anything unasked (which would be a good-bye).
    pub(super) fn is_quiet(&self) -> bool {
        let tcp = match &self.stream {
            Stream::Clear(timed) => &timed.tcp,
            Stream::Encrypted(stream) => &stream.sock.tcp,
        };
        let said = tcp.set_nonblocking(true).and_then(|()| tcp.peek(&mut [0]));
        let is_blocking = tcp.set_nonblocking(false).is_ok();
        let is_quiet = matches!(said, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_quiet && is_blocking && self.replies.is_empty()
    }

    /// Our end of it.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        match &self.stream {
            Stream::Clear(timed) => timed.tcp.local_addr(),
            Stream::Encrypted(stream) => stream.sock.tcp.local_addr(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Clear(timed) => timed.write_all(bytes),
            Stream::Encrypted(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    pub(super) fn read_reply(&mut self) -> io::Result<Reply> {
        match &mut self.stream {
            Stream::Clear(timed) => self.replies.read(timed),
            Stream::Encrypted(stream) => self.replies.read(stream),
        }
    }

    /// Says good-bye, without waiting for what the other side thinks of it.
    pub(super) fn say_quit(&mut self) {
        self.set_deadline(Instant::now() + QUIT_LIMIT);
        let _ = self.write(b"QUIT\r\n");
    }

    /// Says good-bye and closes when the other side has done so, or after a second.
    pub(super) fn quit(mut self) {
        self.say_quit();
        let _ = self.read_reply();
    }

    fn timed_mut(&mut self) -> &mut Timed {
        match &mut self.stream {
            Stream::Clear(timed) => timed,
            Stream::Encrypted(stream) => &mut stream.sock,
        }
    }
}

/// A socket that gives up at a point in time. A time-out per read, which is all
/// that sockets know, would begin anew with every byte.
struct Timed {
    tcp: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(remaining) }
    }
}

/// Unix tells of a time-out as of an operation that would block.
fn as_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.remaining()?))?;
        self.tcp.read(buffer).map_err(as_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.remaining()?))?;
        self.tcp.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failed handshake, with what to do about it.
fn explain_tls(server: &Server, error: &io::Error) -> Failure {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Failure::io(server, "the TLS handshake", error);
    };
    let host = server.host();
    Failure::temporary(match tls {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "the certificate of {host} is signed by nobody this system trusts: if that is a CA of your own, let \
             SSL_CERT_FILE name a PEM file with its certificate"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate that the server sent is not for {host}: {tls}; NOTIFY_SMTP_SERVER takes a name that is in it"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => {
            format!("the certificate of {host} has expired: {tls}; or the clock of this machine is wrong")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => {
            format!("the certificate of {host} is not valid yet: {tls}; is the clock of this machine right?")
        }
        rustls::Error::InvalidCertificate(_) => format!(
            "the certificate of {host} is not accepted: {tls}; a CA of your own is trusted if SSL_CERT_FILE names a \
             PEM file with its certificate"
        ),
        rustls::Error::InvalidMessage(_) => format!(
            "{server} does not speak TLS from the first byte on ({tls}): NOTIFY_SMTP_TLS=starttls may be what it wants"
        ),
        _ => format!("TLS with {server} failed: {tls}"),
    })
}
