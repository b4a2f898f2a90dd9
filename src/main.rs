//! The `notify-api` program: reads its command line and its configuration, and does
//! what they say.

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use cli::{Command, EXIT_NO_START, Refusal};
use config::{Config, Environment};

#[cfg(feature = "sqlite")]
mod backup;
mod check;
mod cli;
mod config;
mod database;
mod environment;
mod import;
mod list;
mod reach;
mod resend;
#[cfg(feature = "sqlite")]
mod restore;
mod serve;
mod services;
mod systemd;
#[cfg(feature = "sqlite")]
mod verify;

fn main() -> ExitCode {
    run().unwrap_or_else(|reason| {
        eprintln!("notify-api: {reason}");
        ExitCode::from(EXIT_NO_START)
    })
}

fn run() -> Result<ExitCode, Refusal> {
    let lookup = |name: &str| std::env::var_os(name);
    let env = Environment(&lookup);
    let (command, completion) = match cli::parse(&env)? {
        cli::Asked::Todo(command, completion) => (command, completion),
        cli::Asked::Text(text) => {
            print!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let completed_by = environment::complete(completion)?;
    match &command {
        // Whatever else is configured, the file can be looked after.
        #[cfg(feature = "sqlite")]
        Some(Command::Backup { file, keep }) => return backup::run(file, *keep, &env),
        #[cfg(feature = "sqlite")]
        Some(Command::Restore { file, force }) => return restore::run(file, *force, &env),
        #[cfg(feature = "sqlite")]
        Some(Command::Verify { file }) => return verify::run(file.as_deref(), &env),
        _ => {}
    }
    let mut config = Config::read(&env).map_err(|error| error.to_string())?;
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    config.warnings.extend(config::unknown_variables(names.iter().map(String::as_str)));
    log_to_stderr(&config);
    match command {
        Some(Command::Check { online }) => check::run(config, &env, completed_by.as_deref(), online),
        Some(Command::Import { from }) => import::run(&from, &config),
        Some(Command::List(asked)) => list::run(&asked, &config),
        Some(Command::Resend(asked)) => resend::run(&asked, &config),
        _ => serve::serve(config),
    }
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
