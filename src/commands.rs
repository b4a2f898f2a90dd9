//! What the program does: to serve, or one of the commands of the command line.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    process::ExitCode,
};

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    cli::{Command, Refusal},
    config::{self, Config, Environment},
};

#[cfg(feature = "sqlite")]
mod backup;
mod check;
mod import;
mod list;
mod reach;
mod resend;
#[cfg(feature = "sqlite")]
mod restore;
mod serve;
#[cfg(feature = "sqlite")]
mod verify;

/// Does what the command line asks for. `completed_by` is the file that completed the environment.
pub(crate) fn run(
    command: Option<Command>,
    env: &Environment<'_>,
    completed_by: Option<&Path>,
) -> Result<ExitCode, Refusal> {
    match command {
        None => serve::serve(configure(env)?),
        Some(Command::Check { online }) => check::run(configure(env)?, env, completed_by, online),
        Some(Command::Import { from }) => import::run(&from, &configure(env)?),
        Some(Command::List(asked)) => list::run(&asked, &configure(env)?),
        Some(Command::Resend(asked)) => resend::run(&asked, &configure(env)?),
        // Whatever else is configured, the file can be looked after.
        #[cfg(feature = "sqlite")]
        Some(Command::Backup { file, keep }) => backup::run(&file, keep, env),
        #[cfg(feature = "sqlite")]
        Some(Command::Restore { file, force }) => restore::run(&file, force, env),
        #[cfg(feature = "sqlite")]
        Some(Command::Verify { file }) => verify::run(file.as_deref(), env),
    }
}

/// Reads and checks the configuration, and logs as it says from now on.
fn configure(env: &Environment<'_>) -> Result<Config, Refusal> {
    let mut config = Config::read(env).map_err(|error| error.to_string())?;
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    config.warnings.extend(config::unknown_variables(names.iter().map(String::as_str)));
    log_to_stderr(&config);
    Ok(config)
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
