//! `notify-api restore`: puts a copy in the place of the database.

use std::{path::Path, process::ExitCode};

use notify_api::db::sqlite;

use crate::{cli::Refusal, config::Environment, database};

/// Puts a copy of this file in the place of the configured database.
pub(crate) fn run(file: &Path, force: bool, env: &Environment<'_>) -> Result<ExitCode, Refusal> {
    let database = database::file(env, "restore: use its own tools")?;
    let restored = sqlite::restore(file, &database, force).map_err(|error| error.to_string())?;
    let sqlite::Restored { notifications, pending, before, .. } = restored;
    println!(
        "{notifications} notifications in {}; {pending} of them are pending and will be sent",
        database.display()
    );
    if let Some(before) = before {
        println!("the database before is {}", before.display());
    }
    Ok(ExitCode::SUCCESS)
}
