//! The listening socket: where it is bound, whom it lets in, and how it stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use super::connection::{self, Pulse};
pub(super) use bind::{bind, resolve};

mod bind;
#[cfg(test)]
mod tests;

/// How long to wait after an error of `accept` that will most likely come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open connections. One more has been accepted at most, and waits.
    pub(crate) connections: usize,
    /// From the acceptance, or the first byte of a later request, until the whole head is here. A TLS handshake
    /// counts.
    pub(crate) head: Duration,
    /// Between two requests, and without any progress while an answer is being written.
    pub(crate) idle: Duration,
    /// An idle connection is safe for so long, also when its place is needed, and a new one also when the server
    /// stops: a request may be on its way.
    pub(crate) settle: Duration,
    /// After the last answer, until the client has ended its side.
    pub(crate) linger: Duration,
    /// The same, without a byte from the client.
    pub(crate) linger_quiet: Duration,
    /// Bytes that a client may send in vain after the last answer.
    pub(crate) linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // With the usual limit of 1,024 files that leaves some 400 for the database and the sends.
            connections: 600,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            settle: Duration::from_millis(500),
            linger: Duration::from_secs(5),
            linger_quiet: Duration::from_secs(1),
            // A client that doesn't read before it has sent everything sees its 413 up to this size.
            linger_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A socket that clients can connect to; nobody answers them before [`Listener::serve`].
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// A socket that is listening already.
    pub(crate) fn from_std(socket: std::net::TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    }

    /// Where it listens; the port is the real one.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves clients until `stop`, which says how long open requests may still take.
    ///
    /// After `stop` the socket is closed, and each connection without an open request; one that began less than a
    /// moment ago may still bring its request. The others get their answer; when all are gone, or at the deadline,
    /// this returns, and what is open then is cut off. Who hasn't been accepted yet is left to whoever else has the
    /// socket, a successor for instance.
    /// Dropping the future cuts everything off.
    pub(crate) async fn serve<S, B>(
        self,
        service: S,
        tls: Option<TlsAcceptor>,
        limits: Limits,
        stop: impl Future<Output = Instant>,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut open = Connections::new(limits);
        let serve = |socket, pulse| connection::serve(socket, tls.clone(), service.clone(), pulse);
        let mut waiting = None;
        let deadline = tokio::select! {
            biased;
            deadline = stop => deadline,
            never = accept(&self.socket, &mut open, &mut waiting, &serve) => match never {},
        };
        drop(self.socket);
        if let Some(socket) = waiting {
            open.add(|pulse| serve(socket, pulse));
        }
        open.stop(deadline).await;
    }
}

/// Lets clients in, for ever. One for whom there is no place yet is left in `waiting`.
async fn accept<F>(
    listener: &TcpListener,
    open: &mut Connections,
    waiting: &mut Option<TcpStream>,
    serve: impl Fn(TcpStream, Arc<Pulse>) -> F,
) -> Infallible
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut exhausted = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = open.tasks.join_next_with_id() => {
                open.forget(ended);
                continue;
            }
        };
        match accepted {
            Ok((socket, _)) => {
                exhausted = false;
                if let Err(error) = socket.set_nodelay(true) {
                    debug!("TCP_NODELAY: {error}");
                }
                *waiting = Some(socket);
                open.make_place().await;
                if let Some(socket) = waiting.take() {
                    open.add(|pulse| serve(socket, pulse));
                }
            }
            Err(error) if is_about_one_client(&error) => debug!("accept: {error}"),
            Err(error) => {
                if !exhausted {
                    exhausted = true;
                    warn!("cannot accept connections at the moment: {error}");
                }
                if is_out_of_files(&error) {
                    open.close_longest_idle(Duration::ZERO);
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the client that was next in line is to blame, so that the one after it may well be accepted.
fn is_about_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    )
}

/// ENFILE and EMFILE, which std has no name for.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// The open connections.
struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    pulses: HashMap<task::Id, Arc<Pulse>>,
    /// Told when a connection becomes idle.
    idle: Arc<Notify>,
}

impl Connections {
    fn new(limits: Limits) -> Connections {
        Connections { limits, tasks: JoinSet::new(), pulses: HashMap::new(), idle: Arc::new(Notify::new()) }
    }

    fn add<F>(&mut self, serve: impl FnOnce(Arc<Pulse>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let pulse = Pulse::new(self.limits, self.idle.clone());
        let task = self.tasks.spawn(serve(pulse.clone()));
        self.pulses.insert(task.id(), pulse);
    }

    /// Takes note of a connection's end.
    fn forget(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    error!("a request's handler panicked, its connection is closed");
                }
                error.id()
            }
        };
        self.pulses.remove(&id);
    }

    /// Waits until there is place for one more connection, and sees to it that there will be.
    async fn make_place(&mut self) {
        while self.tasks.len() >= self.limits.connections {
            let settled = self.close_longest_idle(self.limits.settle);
            let settled = async {
                match settled {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                () = self.idle.notified() => {}
                () = settled => {}
            }
        }
    }

    /// Tells the connection that has been idle longest to go, if it has been for `settle`; otherwise says when it
    /// will have been. One at a time: nothing happens while one that was told hasn't gone.
    fn close_longest_idle(&self, settle: Duration) -> Option<Instant> {
        if self.pulses.values().any(|pulse| pulse.is_leaving()) {
            return None;
        }
        loop {
            let idle = self.pulses.values().filter_map(|pulse| Some((pulse.idle_since()?, pulse)));
            let (since, pulse) = idle.min_by_key(|(since, _)| *since)?;
            let settled = since + settle;
            if settled > Instant::now() {
                return Some(settled);
            }
            if pulse.make_place() {
                return None;
            }
        }
    }

    /// Waits until all connections have been closed, which they are told to do, but not beyond `deadline`.
    async fn stop(mut self, deadline: Instant) {
        for pulse in self.pulses.values() {
            pulse.stop();
        }
        let all_closed = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.forget(ended);
            }
        };
        if timeout_at(deadline, all_closed).await.is_err() {
            warn!("{} connections were cut off at the stop", self.tasks.len());
            self.tasks.shutdown().await;
        }
    }
}
