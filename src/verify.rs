//! `notify-api verify`: whether a database is sound.

use std::{path::Path, process::ExitCode};

use notify_api::db::sqlite;

use crate::{
    cli::{EXIT_FAILED, Refusal},
    config::Environment,
    database,
};

/// Looks at this file, or at the configured database.
pub(crate) fn run(file: Option<&Path>, env: &Environment<'_>) -> Result<ExitCode, Refusal> {
    let file = match file {
        Some(file) => file.to_owned(),
        None => database::file(env, "verify: use its own tools")?,
    };
    let verified = sqlite::verify(&file).map_err(|error| error.to_string())?;
    if !verified.is_sound() {
        eprintln!("notify-api: {file:?} is damaged:");
        for finding in &verified.findings {
            eprintln!("  {finding}");
        }
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    let sqlite::Verified { pending, success, failed, .. } = verified;
    let all = pending + success + failed;
    println!("ok: {all} notifications ({pending} pending, {success} delivered, {failed} failed)");
    Ok(ExitCode::SUCCESS)
}
