//! `notify-api check`: tells what is configured and whether it can be right, and changes nothing.

use std::{
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime},
};

use notify_api::{Certificate, Driver, SendError, drivers::web::Proxies, resolve};

use crate::{
    cli::{EXIT_FAILED, Refusal},
    config::{Config, EnvFile, Environment},
    database, services,
};

mod exposure;
mod report;

use report::Report;

/// A certificate that lasts longer is no worry yet.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long one request of a trial may take; a service is asked more than once.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// How long a trial of the mail server may take.
const MAIL_WITHIN: Duration = Duration::from_secs(25);

/// Checks it all, as far as that is possible without touching anything, and with `online` also the accounts.
pub(crate) fn run(
    mut config: Config,
    env: &Environment<'_>,
    completed_by: Option<&Path>,
    online: bool,
) -> Result<ExitCode, Refusal> {
    let certificate = config.tls.as_ref().map(|(cert, key)| Certificate::load(cert, key)).transpose();
    let certificate = certificate.map_err(|error| config.wrong_tls(error).to_string())?;
    let proxies = Proxies::from_env().map_err(|error| error.to_string())?;
    let addresses = resolve(&config.bind).map_err(|error| config.wrong_bind(error).to_string())?;
    let database = database::describe(&config.dsn).map_err(|error| config.wrong_dsn(error).to_string())?;

    if config.token.is_none() && !addresses.iter().all(|address| address.ip().is_loopback()) {
        let warning = "everybody who reaches the address can send and read notifications: set NOTIFY_TOKEN";
        config.warnings.push(warning.into());
    }
    let expiry = certificate.and_then(|certificate| certificate.expiry());
    config.warnings.extend(expiry.and_then(expiry_warning));
    let file = completed_by.map(|path| (path, EnvFile::read(path).unwrap_or_default()));
    if let Some((path, file)) = &file {
        config.warnings.extend(file.doubts.iter().map(|doubt| format!("{}: {doubt}", path.display())));
    }
    config.warnings.extend(exposure::warnings(env, &config, file.as_ref()));

    let mut report = Report::default();
    report.configuration(&config, env, completed_by, &proxies, &database, expiry);
    report.warnings(&config.warnings);
    tell(&report.text())?;
    let failures = if online { try_accounts(config, &proxies)? } else { 0 };
    match failures {
        0 => tell("OK\n").map(|()| ExitCode::SUCCESS),
        count => tell(&format!("{count} failed\n")).map(|()| ExitCode::from(EXIT_FAILED)),
    }
}

fn tell(text: &str) -> Result<(), Refusal> {
    let written = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
    written.map_err(|error| format!("can't write to stdout: {error}"))
}

fn expiry_warning(expiry: SystemTime) -> Option<String> {
    let date = httpdate::fmt_http_date(expiry);
    match expiry.duration_since(SystemTime::now()) {
        Err(_) => Some(format!("the certificate has expired on {date}, or the clock is wrong")),
        Ok(left) if left < SOON => Some(format!("the certificate expires on {date}")),
        Ok(_) => None,
    }
}

/// Tries all at once, and tells of each; returns how many failed.
fn try_accounts(mut config: Config, proxies: &Proxies) -> Result<usize, Refusal> {
    config.http_timeout = config.http_timeout.min(REQUEST_WITHIN);
    if let Some(mail) = &mut config.services.smtp {
        mail.deadline = mail.deadline.min(MAIL_WITHIN);
    }
    let services = services::configured(&config, proxies);
    thread::scope(|scope| {
        let trials: Vec<_> = services
            .iter()
            // They all send by one account.
            .filter_map(|service| Some((service.name, service.drivers.first()?)))
            .map(|(name, driver)| (name, scope.spawn(|| driver.check_account().map_err(told).transpose())))
            .collect();
        let database = scope.spawn(|| database::check(&config.dsn));
        let mut failures = 0;
        for (name, trial) in trials.into_iter().chain([("database", database)]) {
            let line = match trial.join().unwrap_or_else(|_| Some(Err("the driver panicked".into()))) {
                None => continue,
                Some(Ok(text)) => report::line(name, &format!("ok: {text}")),
                Some(Err(reason)) => {
                    failures += 1;
                    report::line(name, &format!("failed: {reason}"))
                }
            };
            tell(&line)?;
        }
        Ok(failures)
    })
}

/// What went wrong, and what the other side said about it, in one line.
fn told(error: SendError) -> String {
    /// As much as a person reads.
    const MAX_CHARS: usize = 300;
    let reason = error.to_string();
    let response = error.into_response();
    let response: String = String::from_utf8_lossy(&response).trim().chars().take(MAX_CHARS).collect();
    let response = response.replace(char::is_control, " ");
    if reason.contains(&response) { reason } else { format!("{reason}: {response}") }
}
