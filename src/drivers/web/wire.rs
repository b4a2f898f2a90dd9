//! Connections: TCP, TLS on top of it, and the clock that ends them.
//!
//! ureq's own connector would do for a browser. Here one deadline has to hold
//! for all of an exchange, however slowly its bytes drip, and it matters whether
//! a connection that failed was a fresh one. ureq has no place for either, so
//! they are kept per thread: an exchange never leaves the thread it began on.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, ErrorKind, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use socket2::SockRef;
use ureq::{
    Error, Timeout,
    http::uri::Scheme,
    unversioned::transport::{
        Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter,
    },
};

use super::{Failure, host_and_port, reason};
use crate::drivers::tls::Trust;

/// The longest that an address is tried while there are others left.
const PATIENCE: Duration = Duration::from_secs(3);

thread_local! {
    static EXCHANGE: Exchange = const { Exchange {
        deadline: Cell::new(None),
        is_fresh: Cell::new(false),
        is_answered: Cell::new(false),
        origin: RefCell::new(None),
    } };
}

/// The exchange that runs on this thread.
struct Exchange {
    /// When all of it must have ended.
    deadline: Cell<Option<Instant>>,
    /// It opened a connection, rather than reuse one.
    is_fresh: Cell<bool>,
    /// A byte has come from the other side.
    is_answered: Cell<bool>,
    /// What a plain proxy wants before the path in the request line.
    origin: RefCell<Option<String>>,
}

/// Begins an exchange on this thread.
pub(super) fn begin(deadline: Instant, origin: Option<String>) {
    EXCHANGE.with(|exchange| {
        exchange.deadline.set(Some(deadline));
        exchange.is_fresh.set(false);
        exchange.is_answered.set(false);
        exchange.origin.replace(origin);
    });
}

/// When the exchange that runs on this thread must have ended.
pub(super) fn deadline() -> Instant {
    EXCHANGE.with(|exchange| exchange.deadline.get()).unwrap_or_else(Instant::now)
}

/// Whether the exchange failed on a connection that the other side may simply
/// have closed while it was idle.
pub(super) fn is_stale() -> bool {
    EXCHANGE.with(|exchange| !exchange.is_fresh.get() && !exchange.is_answered.get())
}

fn left() -> Result<Duration, Error> {
    match deadline().saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Error::Timeout(Timeout::Global)),
        left => Ok(left),
    }
}

/// Opens connections; an https one is verified against `trust`.
pub(super) struct Dialer {
    pub(super) trust: Trust,
    /// They lead to proxies that relay plain HTTP.
    pub(super) relayed: bool,
}

impl Dialer {
    fn tls(
        &self,
        wire: Box<dyn Transport>,
        details: &ConnectionDetails<'_>,
    ) -> Result<Box<dyn Transport>, Error> {
        let refused = |error: &dyn fmt::Display| {
            let host = host_and_port(details.uri);
            Failure::Garbled(format!("no TLS connection to {host}: {error}")).into_ureq()
        };
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| refused(&error))?;
        let mut connection =
            ClientConnection::new(self.trust.client_config(), name).map_err(|error| refused(&error))?;
        let mut socket = TransportAdapter::new(wire, details.current_time.clone());
        if let Err(error) = connection.complete_io(&mut socket) {
            // A refused certificate is an answer; a connection that breaks off is none.
            return Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => refused(error),
                None => Error::from(error),
            });
        }
        Ok(Box::new(Tls { stream: StreamOwned::new(connection, socket), buffers: buffers(details) }))
    }
}

impl<In: Transport> Connector<In> for Dialer {
    type Out = Box<dyn Transport>;

    /// `chained` is the tunnel through a proxy, if the connection needs one.
    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Box<dyn Transport>>, Error> {
        let wire: Box<dyn Transport> = match chained {
            Some(tunnel) => Box::new(tunnel),
            None => {
                let stream = connect(&details.addrs).map_err(|error| match error {
                    Error::Io(error) => {
                        let host = host_and_port(details.uri);
                        Failure::Unreachable(format!("nobody answers at {host}: {}", reason(&error)))
                            .into_ureq()
                    }
                    error => error,
                })?;
                Box::new(Tcp::new(stream, buffers(details)))
            }
        };
        EXCHANGE.with(|exchange| exchange.is_fresh.set(true));
        let is_secure = details.uri.scheme() == Some(&Scheme::HTTPS);
        let wire = if is_secure { self.tls(wire, details)? } else { wire };
        Ok(Some(if self.relayed { Box::new(Relayed { wire }) } else { wire }))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

fn buffers(details: &ConnectionDetails<'_>) -> LazyBuffers {
    LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size())
}

/// Tries one address after the other; the earlier ones leave time for the later ones.
fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut latest = Error::ConnectionFailed;
    for (index, address) in addresses.iter().enumerate() {
        let later = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let left = left()?;
        let patience = if later == 1 { left } else { (left / later).min(PATIENCE) };
        // `connect_timeout` refuses zero.
        match TcpStream::connect_timeout(address, patience.max(Duration::from_millis(1))) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => latest = error.into(),
        }
    }
    left()?;
    Err(latest)
}

/// A TCP connection.
struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Writing failed: what the other side said before it stopped listening can
    /// still be read.
    broken: Option<io::Error>,
}

impl Tcp {
    fn new(stream: TcpStream, buffers: LazyBuffers) -> Self {
        Self { stream, buffers, read_timeout: None, write_timeout: None, broken: None }
    }
}

/// Repeats `operation` until it is done or the time is up.
///
/// The socket's own timeout is no deadline, merely when to look at the clock
/// again; it is set only if it is longer than what is left or much shorter, so
/// about once in a connection's life.
fn until_done<T>(
    armed: &mut Option<Duration>,
    arm: impl Fn(Option<Duration>) -> io::Result<()>,
    mut operation: impl FnMut() -> io::Result<T>,
) -> Result<T, Error> {
    loop {
        let left = left()?;
        if !armed.is_some_and(|armed| armed <= left && armed >= left / 4) {
            // Zero would be refused, and below that the kernel's ticks are too coarse.
            let wanted = (left / 2).max(left.min(Duration::from_millis(20))).max(Duration::from_millis(1));
            arm(Some(wanted))?;
            *armed = Some(wanted);
        }
        match operation() {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            result => return Ok(result?),
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        let mut stream = &self.stream;
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() && self.broken.is_none() {
            let arm = |timeout| self.stream.set_write_timeout(timeout);
            match until_done(&mut self.write_timeout, arm, || stream.write(rest)) {
                Ok(written) => rest = &rest[written..],
                // Servers that refuse a long body answer early and close: their answer counts.
                Err(Error::Io(error)) if is_disconnect(&error) => self.broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        let mut stream = &self.stream;
        let buffer = self.buffers.input_append_buf();
        let arm = |timeout| self.stream.set_read_timeout(timeout);
        let amount = until_done(&mut self.read_timeout, arm, || stream.read(buffer))?;
        self.buffers.input_appended(amount);
        if amount == 0 {
            return self.broken.take().map_or(Ok(false), |error| Err(error.into()));
        }
        EXCHANGE.with(|exchange| exchange.is_answered.set(true));
        Ok(true)
    }

    /// An idle connection that has something to read was closed, or is out of step.
    fn is_open(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked =
            SockRef::from(&self.stream).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        self.broken.is_none() && matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tcp({:?})", self.stream.peer_addr().ok())
    }
}

/// TLS on top of a TCP connection or a tunnel.
struct Tls {
    stream: StreamOwned<ClientConnection, TransportAdapter<Box<dyn Transport>>>,
    buffers: LazyBuffers,
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        self.stream.write_all(&self.buffers.output()[..amount])?;
        self.stream.flush()?;
        Ok(())
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.stream.sock.inner())
    }
}

/// A connection to a proxy that relays plain HTTP: it wants the whole URL in
/// the request line, where ureq writes the path.
#[derive(Debug)]
struct Relayed {
    wire: Box<dyn Transport>,
}

impl Transport for Relayed {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.wire.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Some(origin) = EXCHANGE.with(|exchange| exchange.origin.take()) else {
            return self.wire.transmit_output(amount, timeout);
        };
        let output = &self.wire.buffers().output()[..amount];
        let path = output.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
        let head = [&output[..path], origin.as_bytes(), &output[path..]].concat();
        let mut rest = head.as_slice();
        while !rest.is_empty() {
            let output = self.wire.buffers().output();
            let amount = rest.len().min(output.len());
            output[..amount].copy_from_slice(&rest[..amount]);
            self.wire.transmit_output(amount, timeout)?;
            rest = &rest[amount..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.wire.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.wire.is_open()
    }

    fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }
}

/// Whether the other side has gone.
pub(super) fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}
