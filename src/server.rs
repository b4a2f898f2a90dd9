//! The HTTP API: [`ApiServer`] is set up and started, a [`Running`] one is
//! stopped.

use std::{
    error::Error,
    fmt,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use warp::{Filter, filters::BoxedFilter, reply::Response};

use crate::{
    driver::{Driver, Drivers, InvalidDriver},
    sender::{Sender, SenderError, SenderOptions},
};
use access::Token;
use listener::{Limits, Listener};
pub use monitor::{Activity, Monitor};
use routes::Api;

mod access;
mod body;
mod connection;
mod endpoint;
mod list;
mod listener;
mod monitor;
mod reply;
mod routes;
mod tls;

/// Payload bytes that the server holds in memory: bodies being read, writes
/// waiting for the database, answers being written.
pub(crate) const MEMORY_BYTES: usize = 32 << 20;

/// The largest request body if nothing else is said, in bytes.
pub const DEFAULT_BODY_LIMIT: usize = 1 << 20;

/// A notification server that is being set up.
///
/// ```
/// use notify_api::{ApiServer, SenderOptions, db::sqlite::Sqlite, drivers::stub::Stub};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("notify.db");
/// let mut server = ApiServer::new(SenderOptions::new(Sqlite::open(path)?));
/// server.bind("127.0.0.1:0").register(Stub::new("STUB"))?;
/// let running = server.start().await?;
/// println!("listening on {}", running.local_addr());
/// running.shutdown(Duration::from_secs(30)).await;
/// # Ok(())
/// # }
/// ```
pub struct ApiServer {
    options: SenderOptions,
    drivers: Drivers,
    place: Place,
    certificate: Option<Certificate>,
    token: Option<Token>,
    body_limit: usize,
}

/// Where to listen.
enum Place {
    At(String),
    On(TcpListener),
}

impl ApiServer {
    /// A server that listens on `127.0.0.1:8080`, wants no token and has no drivers yet.
    pub fn new(options: SenderOptions) -> Self {
        Self {
            options,
            drivers: Drivers::default(),
            place: Place::At("127.0.0.1:8080".into()),
            certificate: None,
            token: None,
            body_limit: DEFAULT_BODY_LIMIT,
        }
    }

    /// Delivers notifications of this driver's type.
    ///
    /// # Errors
    /// The type is out of bounds, or registered already.
    pub fn register(&mut self, driver: impl Driver) -> Result<&mut Self, InvalidDriver> {
        self.drivers.register(Arc::new(driver))?;
        Ok(self)
    }

    /// Where to listen: `host:port`; without a host on every interface, port 0 takes a free one.
    pub fn bind(&mut self, address: impl Into<String>) -> &mut Self {
        self.place = Place::At(address.into());
        self
    }

    /// Uses a socket that listens already, for instance one of [`listen`].
    pub fn listener(&mut self, socket: TcpListener) -> &mut Self {
        self.place = Place::On(socket);
        self
    }

    /// Serves HTTPS instead of HTTP.
    pub fn tls(&mut self, certificate: Certificate) -> &mut Self {
        self.certificate = Some(certificate);
        self
    }

    /// What clients must show, as a bearer token or as the password of basic authentication.
    pub fn token(&mut self, token: impl Into<String>) -> &mut Self {
        self.token = Some(Token::new(token.into()));
        self
    }

    /// The largest request body, in bytes; at most 32 MiB, which is what all
    /// payloads in memory may take together.
    pub fn body_limit(&mut self, bytes: usize) -> &mut Self {
        self.body_limit = bytes.min(MEMORY_BYTES);
        self
    }

    /// Starts sending and serving. Once this returns, clients can connect.
    ///
    /// Must be called within a tokio runtime. Its pool of blocking threads should
    /// have room for [`SenderOptions::max_threads`] and a few more.
    ///
    /// # Errors
    /// It can't listen there, the database can't be read, or a thread can't be started.
    pub async fn start(mut self) -> Result<Running, StartError> {
        let place = std::mem::replace(&mut self.place, Place::At(String::new()));
        let socket = match place {
            Place::At(address) => listen(&address).await?,
            Place::On(socket) => socket,
        };
        let listener = Listener::from_std(socket).map_err(StartError::new)?;
        let address = listener.local_addr();
        let tls = self.certificate.take().map(|certificate| certificate.acceptor);
        let service = self.open().await?;
        let filter = service.filter().or(warp::any().map(reply::not_found)).unify();
        let http = hyper_util::service::TowerToHyperService::new(warp::service(filter));
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_else(|_| Instant::now().into()) };
        let serving = tokio::spawn(listener.serve(http, tls, Limits::default(), stopped));
        Ok(Running { service, address, stop, serving })
    }

    /// The same over HTTPS, with the certificate chain and the private key in these PEM files.
    ///
    /// # Errors
    /// Those of [`start`](Self::start), and files that can't be used.
    pub async fn start_tls(
        mut self,
        cert: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Running, StartError> {
        self.certificate = Some(Certificate::load(cert, key)?);
        self.start().await
    }

    /// Starts sending without listening: for a server of your own, composed with [`Service::filter`].
    ///
    /// # Errors
    /// Those of [`start`](Self::start) but for listening.
    pub async fn open(self) -> Result<Service, StartError> {
        let Self { options, drivers, token, body_limit, .. } = self;
        let runtime = Handle::current();
        let sender = tokio::task::spawn_blocking(move || Sender::start(options, drivers, runtime))
            .await
            .map_err(StartError::new)?
            .map_err(StartError::from)?;
        Ok(Service(Arc::new(Api::new(sender, token, body_limit))))
    }
}

/// Listens on `host:port`, without accepting connections yet: clients wait until
/// a server starts on it with [`ApiServer::listener`].
///
/// # Errors
/// The address is malformed or unknown, or the system refuses it.
pub async fn listen(address: &str) -> Result<TcpListener, StartError> {
    listener::bind(address).await.map_err(StartError::new)
}

/// What the `host:port` of [`listen`] stands for, without listening there. Looks a name up.
///
/// # Errors
/// The address is malformed or unknown.
pub fn resolve(address: &str) -> Result<Vec<SocketAddr>, StartError> {
    listener::resolve(address).map_err(StartError::new)
}

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Certificate {
    acceptor: TlsAcceptor,
    expiry: Option<SystemTime>,
}

impl Certificate {
    /// Reads both from PEM files, or from the same one.
    ///
    /// # Errors
    /// A file can't be read or used, or they don't belong together.
    pub fn load(cert: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, StartError> {
        let acceptor = tls::acceptor(cert.as_ref(), key.as_ref()).map_err(StartError::new)?;
        Ok(Self { acceptor, expiry: tls::expiry(cert.as_ref()) })
    }

    /// When it expires, if ever.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.expiry
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A sender at work and its HTTP API, without a socket.
pub struct Service(Arc<Api>);

impl Service {
    /// The API as a warp filter, to be composed with others, wrapped or tested.
    /// It rejects the paths that aren't its own with "not found".
    ///
    /// ```
    /// # use notify_api::{ApiServer, SenderOptions, db::sqlite::Sqlite};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("notify.db");
    /// use warp::Filter;
    ///
    /// let service = ApiServer::new(SenderOptions::new(Sqlite::open(path)?)).open().await?;
    /// let version = warp::path!("version").map(|| "1");
    /// let routes = service.filter().or(version);
    /// # drop(routes);
    /// service.shutdown(std::time::Duration::from_secs(30)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter(&self) -> BoxedFilter<(Response,)> {
        routes::filter(self.0.clone())
    }

    /// Looks at it while it works.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.0.clone())
    }

    /// Begins no more attempts, waits up to `grace` for the running ones, and closes the database.
    pub async fn shutdown(self, grace: Duration) {
        self.stop(Instant::now() + grace).await;
    }

    async fn stop(self, deadline: Instant) {
        let stopping = tokio::task::spawn_blocking(move || self.0.sender.stop(deadline));
        match stopping.await {
            Ok(0) => {}
            Ok(attempts) => {
                tracing::warn!(attempts, "attempts were cut off; they are made again after the next start");
            }
            Err(error) => tracing::error!(%error, "the sender didn't stop in order"),
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// A server at work.
#[derive(Debug)]
pub struct Running {
    service: Service,
    address: SocketAddr,
    stop: oneshot::Sender<tokio::time::Instant>,
    serving: JoinHandle<()>,
}

impl Running {
    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// See [`Service::filter`].
    pub fn filter(&self) -> BoxedFilter<(Response,)> {
        self.service.filter()
    }

    /// See [`Service::monitor`].
    pub fn monitor(&self) -> Monitor {
        self.service.monitor()
    }

    /// Waits until a part of the server has ended by itself, which is a bug.
    /// Stop it then, and start a new one.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.serving => {}
            () = self.service.0.sender.ended() => {}
        }
    }

    /// Lets no more clients in, answers the requests that are open or about to come on new
    /// connections, begins no more attempts, waits up to `grace` for all that, and closes the database. Attempts
    /// that are cut off are made again after the next start.
    pub async fn shutdown(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.service.0.sender.begin_no_more();
        let _ = self.stop.send(deadline.into());
        // Told when it is true: the listener's task closes its socket first.
        tokio::task::yield_now().await;
        tracing::info!("stopping");
        if !self.serving.is_finished() {
            let _ = self.serving.await;
        }
        self.service.stop(deadline).await;
    }
}

/// Why a server can't start. [`Display`](fmt::Display) is one line for the one who started it.
#[derive(Debug)]
pub struct StartError(Box<dyn Error + Send + Sync>);

impl StartError {
    fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl From<SenderError> for StartError {
    fn from(error: SenderError) -> Self {
        match error {
            SenderError::Db(error) => Self::new(error),
            SenderError::Thread(error) => Self(format!("cannot start a thread: {error}").into()),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
