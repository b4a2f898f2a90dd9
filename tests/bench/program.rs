//! What the bench runs in processes of its own, beside the product.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use notify_api::{
    ApiServer, DBDrv, DefaultScheduler, Delivery, Driver, Params, Rejected, Retention, SendError,
    SenderOptions,
    db::sqlite::Sqlite,
    drivers::{
        http::{HttpPost, Validator},
        web::{WebClient, WebOptions},
    },
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use warp::{
    Filter,
    http::StatusCode,
    reply::{Reply, Response},
};

use crate::{Result, load::payload};

/// Sends at once, the default of the product.
pub(crate) const THREADS: usize = 10;

/// Blocking threads beside those that send, as the product has them.
const OTHER_THREADS: usize = 16;

/// The type of [`Nothing`].
pub(crate) const NOTHING: &str = "NOTHING";

/// Runs the program with these arguments, if they name one.
pub(crate) fn run(arguments: &[String]) -> Option<Result<()>> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Some(match arguments[..] {
        ["serve-nothing", db, bind] => serve_nothing(db, bind),
        ["serve-bare", bind] => serve_bare(bind),
        ["loop", hook, count] => post_in_a_loop(hook, count),
        _ => return None,
    })
}

/// A driver that does nothing.
struct Nothing;

impl Driver for Nothing {
    fn r#type(&self) -> &str {
        NOTHING
    }

    fn send(&self, _delivery: &Delivery<'_>) -> std::result::Result<Vec<u8>, SendError> {
        Ok(Vec::new())
    }

    fn verify(&self, _content: &[u8]) -> std::result::Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> std::result::Result<(), Rejected> {
        Ok(())
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(THREADS + OTHER_THREADS).build()
}

/// The database that is meant: a server's, or a file.
pub(crate) fn open(dsn: &str) -> Result<Arc<dyn DBDrv>> {
    match dsn.split_once("://").map(|(scheme, _)| scheme) {
        #[cfg(feature = "mysql")]
        Some("mysql") => Ok(Arc::new(notify_api::db::mysql::MySql::connect(dsn)?)),
        #[cfg(feature = "postgres")]
        Some("postgres") => Ok(Arc::new(notify_api::db::postgres::Postgres::connect(dsn)?)),
        Some(scheme) => Err(format!("{scheme}: build the bench with --features mysql,postgres").into()),
        None => Ok(Arc::new(Sqlite::open(dsn)?)),
    }
}

fn serve_nothing(db: &str, bind: &str) -> Result<()> {
    let runtime = runtime()?;
    let db = open(db)?;
    let served = runtime.block_on(async {
        let options = SenderOptions {
            max_tries: 32,
            scheduler: Arc::new(DefaultScheduler),
            max_threads: THREADS,
            db,
            retention: Retention::default(),
        };
        let mut server = ApiServer::new(options);
        server.bind(bind).register(Nothing)?;
        let running = server.start().await?;
        tell(running.local_addr());
        signal(SignalKind::terminate())?.recv().await;
        running.shutdown(Duration::from_secs(30)).await;
        Ok(())
    });
    // As the product does: threads that wait for work don't hold up the end.
    runtime.shutdown_background();
    served
}

/// Where a server listens, in the same way as the product.
fn tell(address: SocketAddr) {
    eprintln!("http://{address}");
}

/// The honest floor under accepting: the same libraries, the same parsing, no
/// limits, no deadlines and no storing.
fn serve_bare(bind: &str) -> Result<()> {
    let route = warp::path("send").and(warp::post()).and(warp::body::bytes()).map(answer);
    let service = TowerToHyperService::new(warp::service(route));
    runtime()?.block_on(async {
        let listener = TcpListener::bind(bind).await?;
        tell(listener.local_addr()?);
        let mut stop = signal(SignalKind::terminate())?;
        loop {
            let (socket, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = stop.recv() => return Ok(()),
            };
            socket.set_nodelay(true)?;
            tokio::spawn(async move {
                let http = hyper::server::conn::http1::Builder::new();
                // An error is the end of the connection, which is all there is to know.
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    })
}

fn answer(body: bytes::Bytes) -> Response {
    let Ok(params) = Params::parse(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let id = params.id.map(|id| id.to_header()).unwrap_or_default();
    warp::reply::with_header(warp::reply(), "notification-id", id).into_response()
}

/// The product's own way to post, in [`THREADS`] threads, without a queue.
fn post_in_a_loop(hook: &str, count: &str) -> Result<()> {
    let count: usize = count.parse()?;
    let options = WebOptions { max_threads: THREADS, ..WebOptions::default() };
    let driver = HttpPost::new(&WebClient::new(options), Validator::Status2xx);
    let (payload, next) = (payload(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        let id = format!("loop-{number}");
                        driver.send(&Delivery { id: &id, endpoint: hook, content: payload.as_bytes() })?;
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("sending doesn't panic"))
    })
    .map_err(|error: SendError| error.into())
}
