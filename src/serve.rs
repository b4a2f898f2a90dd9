//! `notify-api` without a subcommand: starts, waits for a signal, stops.

use std::{future::pending, net::TcpListener, process::ExitCode, sync::Arc};

use notify_api::{
    ApiServer, Certificate, DBDrv, DefaultScheduler, Driver, InvalidDriver, SenderOptions,
    drivers::web::Proxies, listen,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::{EXIT_FAILED, Refusal},
    config::Config,
    database, services, systemd,
};

/// Blocking threads beside those that send: reads of the database, name lookups.
const OTHER_THREADS: usize = 16;

/// Serves until a signal stops it.
pub(crate) fn serve(config: Config) -> Result<ExitCode, Refusal> {
    let inherited = systemd::socket()?;
    let runtime = runtime(&config).map_err(|error| format!("cannot start the runtime: {error}"))?;
    let code = runtime.block_on(run(config, inherited));
    // A send that was cut off may still block its thread; it doesn't hold up the exit.
    runtime.shutdown_background();
    code
}

/// One thread serves; sends and the database have blocking threads of their own.
fn runtime(config: &Config) -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(config.threads + OTHER_THREADS).build()
}

/// Starts, waits for a signal, stops.
async fn run(config: Config, inherited: Option<TcpListener>) -> Result<ExitCode, Refusal> {
    let mut signals = Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let manager = systemd::Manager::from_env();
    if let Some(manager) = &manager {
        manager.opening();
    }
    let stop_timeout = config.stop_timeout;
    let mut running = tokio::select! {
        started = start(config, inherited) => started?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    if let Some(manager) = &manager {
        manager.ready();
    }
    let monitor = running.monitor();
    let watched = async {
        match &manager {
            Some(manager) => manager.watch(&monitor).await,
            None => pending().await,
        }
    };
    let code = tokio::select! {
        () = signals.next() => ExitCode::SUCCESS,
        () = running.failed() => ExitCode::from(EXIT_FAILED),
        never = watched => match never {},
    };
    if let Some(manager) = &manager {
        manager.stopping(stop_timeout);
    }
    tokio::select! {
        () = running.shutdown(stop_timeout) => tracing::info!("stopped"),
        () = signals.next() => tracing::warn!("stopped at once; what was being sent is sent again after the next start"),
    }
    Ok(code)
}

/// Everything that can be wrong is found out before the database is touched, and
/// warnings come after, so that a refusal is one line.
async fn start(config: Config, inherited: Option<TcpListener>) -> Result<notify_api::Running, Refusal> {
    let certificate = match &config.tls {
        Some((cert, key)) => {
            Some(Certificate::load(cert, key).map_err(|error| config.wrong_tls(error).to_string())?)
        }
        None => None,
    };
    let proxies = Proxies::from_env().map_err(|error| error.to_string())?;
    let mut unheeded = None;
    let socket = match inherited {
        Some(socket) => {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            if config.bind_is_set && !systemd::names(&config.bind, address).await {
                unheeded = Some(address);
            }
            socket
        }
        None => listen(&config.bind).await.map_err(|error| config.wrong_bind(error).to_string())?,
    };
    let db = open(&config).await?;
    let options = SenderOptions {
        max_tries: config.max_tries,
        max_threads: config.threads,
        scheduler: Arc::new(DefaultScheduler),
        db,
        retention: config.care.retention,
    };
    let mut server = ApiServer::new(options);
    let drivers = register_drivers(&mut server, &config, &proxies).map_err(|error| error.to_string())?;
    server.listener(socket).body_limit(config.body_limit);
    let scheme = if certificate.is_some() { "https" } else { "http" };
    if let Some(certificate) = certificate {
        server.tls(certificate);
    }
    if let Some(token) = &config.token {
        server.token(token);
    }
    let running = server.start().await.map_err(|error| config.wrong_dsn(error).to_string())?;
    let address = running.local_addr();
    tracing::info!(
        address = %format_args!("{scheme}://{address}"),
        database = %config.dsn,
        drivers = drivers.join(","),
        "started, version {}", env!("CARGO_PKG_VERSION")
    );
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(address) = unheeded {
        tracing::warn!(
            "NOTIFY_HTTP_BIND is {:?} and counts for nothing: systemd listens on {address}",
            config.bind
        );
    }
    if config.token.is_none() && !address.ip().is_loopback() {
        tracing::warn!("everybody who reaches {address} can send and read notifications: set NOTIFY_TOKEN");
    }
    Ok(running)
}

/// The drivers that are configured; returns their types.
fn register_drivers(
    server: &mut ApiServer,
    config: &Config,
    proxies: &Proxies,
) -> Result<Vec<String>, InvalidDriver> {
    let mut types = Vec::new();
    for driver in services::configured(config, proxies).into_iter().flat_map(|service| service.drivers) {
        types.push(driver.r#type().to_owned());
        server.register(driver)?;
    }
    Ok(types)
}

async fn open(config: &Config) -> Result<Arc<dyn DBDrv>, Refusal> {
    let (dsn, max) = (config.dsn.clone(), config.care.db_max.clone());
    let opened = tokio::task::spawn_blocking(move || database::open_within(&dsn, max));
    let opened = opened.await.unwrap_or_else(|error| Err(error.to_string()));
    opened.map_err(|reason| config.wrong_dsn(reason).to_string())
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
