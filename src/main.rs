//! The `notify-api` program: reads its configuration, starts, waits for a signal, stops.

use std::{
    ffi::OsString,
    io::{IsTerminal, stderr, stdin},
    process::ExitCode,
    sync::Arc,
};

use notify_api::{
    ApiServer, Certificate, DBDrv, DefaultScheduler, Driver, InvalidDriver, SenderOptions,
    drivers::{
        every8d::Every8d,
        http::{HttpGet, HttpPost, Validator},
        mask::{Mask, Masked},
        sendgrid::SendGrid,
        smtp::{Account, Smtp, SmtpConfig},
        telegram::{Markup, Telegram},
        web::{Proxies, WebClient, WebOptions},
    },
    listen,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use config::{Config, Dsn, Environment, Services};

mod config;
mod import;

/// Blocking threads beside those that send: reads of the database, name lookups.
const OTHER_THREADS: usize = 16;

/// It could not start; 0 is stopped by a signal, 1 failed while running.
const EXIT_NO_START: u8 = 2;
const EXIT_FAILED: u8 = 1;

/// What ends the program early: a line for stderr.
type Refusal = String;

/// What the command line asks for.
enum Command {
    Serve,
    Help,
    Version,
    /// Copy all rows of this database, `-` to read its DSN from stdin.
    Import(String),
}

impl Command {
    fn parse(arguments: &[OsString]) -> Option<Self> {
        let arguments: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
        Some(match arguments?[..] {
            [] => Self::Serve,
            ["-h" | "--help"] => Self::Help,
            ["-V" | "--version"] => Self::Version,
            ["import", "--from", from] => Self::Import(from.into()),
            _ => return None,
        })
    }
}

fn main() -> ExitCode {
    let lookup = |name: &str| std::env::var_os(name);
    let env = Environment(&lookup);
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = match Command::parse(&arguments) {
        // What follows "import" may hold a password: it is not repeated.
        None if arguments[0] == "import" => return refuse("import takes --from DSN, see -h".into()),
        None => return refuse(format!("unknown arguments {arguments:?}, see -h")),
        Some(Command::Help) => {
            print!("{}", config::help(&env));
            return ExitCode::SUCCESS;
        }
        Some(Command::Version) => {
            println!("notify-api {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(command) => command,
    };
    let config = match Config::read(&env) {
        Ok(config) => config,
        Err(error) => return refuse(error.to_string()),
    };
    log_to_stderr(&config);
    if let Command::Import(from) = command {
        return import_all(&from, &config).unwrap_or_else(refuse);
    }
    let runtime = match runtime(&config) {
        Ok(runtime) => runtime,
        Err(error) => return refuse(format!("cannot start the runtime: {error}")),
    };
    let code = runtime.block_on(run(config)).unwrap_or_else(refuse);
    // A send that was cut off may still block its thread; it doesn't hold up the exit.
    runtime.shutdown_background();
    code
}

/// Copies all rows of another database into the configured one.
fn import_all(from: &str, config: &Config) -> Result<ExitCode, Refusal> {
    let mut from = from.to_owned();
    if from == "-" {
        from.clear();
        stdin().read_line(&mut from).map_err(|error| format!("cannot read the DSN from stdin: {error}"))?;
    }
    let from = Dsn::parse(from.trim()).map_err(|reason| format!("--from: {reason}"))?;
    if let Dsn::Sqlite(path) = &from
        && !path.exists()
    {
        return Err(format!("--from: there is no file {path:?}"));
    }
    let source = open_blocking(&from).map_err(|reason| format!("--from: {reason}"))?;
    let target = open_blocking(&config.dsn).map_err(|reason| config.wrong_dsn(reason).to_string())?;
    let imported = import::import(source.as_ref(), target.as_ref());
    source.close();
    target.close();
    let imported = imported.map_err(|error| format!("the import broke off, start it again: {error}"))?;
    println!("{imported}");
    Ok(if imported.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn refuse(reason: Refusal) -> ExitCode {
    eprintln!("notify-api: {reason}");
    ExitCode::from(EXIT_NO_START)
}

/// One thread serves; sends and the database have blocking threads of their own.
fn runtime(config: &Config) -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(config.threads + OTHER_THREADS).build()
}

fn log_to_stderr(config: &Config) {
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false).with_target(false);
    let registry = tracing_subscriber::registry().with(config.log.clone());
    // The journal has times of its own.
    if std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal() {
        registry.with(lines.without_time()).init();
    } else {
        registry.with(lines).init();
    }
}

/// Starts, waits for a signal, stops.
async fn run(config: Config) -> Result<ExitCode, Refusal> {
    let mut signals = Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let stop_timeout = config.stop_timeout;
    let mut running = tokio::select! {
        started = start(config) => started?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let code = tokio::select! {
        () = signals.next() => ExitCode::SUCCESS,
        () = running.failed() => ExitCode::from(EXIT_FAILED),
    };
    tokio::select! {
        () = running.shutdown(stop_timeout) => tracing::info!("stopped"),
        () = signals.next() => tracing::warn!("stopped at once; what was being sent is sent again after the next start"),
    }
    Ok(code)
}

/// Everything that can be wrong is found out before the database is touched, and
/// warnings come after, so that a refusal is one line.
async fn start(config: Config) -> Result<notify_api::Running, Refusal> {
    let certificate = match &config.tls {
        Some((cert, key)) => {
            Some(Certificate::load(cert, key).map_err(|error| config.wrong_tls(error).to_string())?)
        }
        None => None,
    };
    let proxies = Proxies::from_env().map_err(|error| error.to_string())?;
    let socket = listen(&config.bind).await.map_err(|error| config.wrong_bind(error).to_string())?;
    let db = open(&config).await?;
    let options = SenderOptions {
        max_tries: config.max_tries,
        max_threads: config.threads,
        scheduler: Arc::new(DefaultScheduler),
        db,
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
    let web = WebClient::new(WebOptions {
        timeout: config.http_timeout,
        max_threads: config.threads,
        proxies: proxies.clone(),
        ..WebOptions::default()
    });
    let validator = match &config.http_string {
        Some(prefix) => Validator::Prefix(prefix.clone()),
        None => Validator::Status2xx,
    };
    // Each of them may hear of the others' secrets: a proxy echoes its password to a webhook, and
    // a webhook can be a service's own address.
    let mask = Mask::new(config.secrets().chain(proxies.secrets()));
    let mut types = Vec::new();
    let mut register = |driver: Box<dyn Driver>| {
        types.push(driver.r#type().to_owned());
        server.register(Masked::new(driver, mask.clone())).map(drop)
    };
    register(Box::new(HttpGet::new(&web, validator.clone())))?;
    register(Box::new(HttpPost::new(&web, validator)))?;
    let Services { telegram, sendgrid, every8d, smtp } = &config.services;
    if let Some(bot) = telegram {
        for markup in [Markup::Markdown, Markup::Html, Markup::Plain] {
            register(Box::new(Telegram::new(&web, bot.clone(), markup)))?;
        }
    }
    if let Some(account) = sendgrid {
        register(Box::new(SendGrid::new(&web, account.clone())))?;
    }
    if let Some(account) = every8d {
        register(Box::new(Every8d::new(&web, account.clone())))?;
    }
    if let Some(account) = smtp {
        let account = Account::new(SmtpConfig { max_connections: config.threads, ..account.clone() });
        register(Box::new(Smtp::text(account.clone())))?;
        register(Box::new(Smtp::html(account)))?;
    }
    Ok(types)
}

async fn open(config: &Config) -> Result<Arc<dyn DBDrv>, Refusal> {
    let dsn = config.dsn.clone();
    let opened = tokio::task::spawn_blocking(move || open_blocking(&dsn));
    let opened = opened.await.unwrap_or_else(|error| Err(error.to_string()));
    opened.map_err(|reason| config.wrong_dsn(reason).to_string())
}

fn open_blocking(dsn: &Dsn) -> Result<Arc<dyn DBDrv>, Refusal> {
    match dsn {
        #[cfg(feature = "sqlite")]
        Dsn::Sqlite(path) => match notify_api::db::sqlite::Sqlite::open(path) {
            Ok(db) => Ok(Arc::new(db)),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "sqlite"))]
        Dsn::Sqlite(_) => Err(lacks("sqlite")),
        #[cfg(feature = "mysql")]
        Dsn::MySql(dsn) => match notify_api::db::mysql::MySql::connect(dsn) {
            Ok(db) => Ok(Arc::new(db)),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "mysql"))]
        Dsn::MySql(_) => Err(lacks("mysql")),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => match notify_api::db::postgres::Postgres::connect(dsn) {
            Ok(db) => Ok(Arc::new(db)),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(lacks("postgres")),
    }
}

#[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
fn lacks(feature: &str) -> Refusal {
    format!("this program was built without the feature {feature:?}, which this database needs")
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
