//! `notify-api backup`: copies the database, also while the server runs.

use std::{path::Path, process::ExitCode};

use notify_api::db::sqlite;

use crate::{
    cli::Refusal,
    config::{Environment, wrong_dsn},
    database,
};

/// Copies the configured database into this file, or into a new one of this directory, where
/// the newest `keep` are left.
pub(crate) fn run(file: &Path, keep: Option<u16>, env: &Environment<'_>) -> Result<ExitCode, Refusal> {
    let database = database::file(env, "backup: use mysqldump or pg_dump for it")?;
    if !database.is_file() {
        return Err(wrong_dsn(format_args!("there is no file {database:?}")).to_string());
    }
    let copied = match (file.is_dir(), keep) {
        (true, keep) => sqlite::backup_in(&database, file, keep.map(usize::from)),
        (false, None) => sqlite::backup(&database, file),
        (false, Some(_)) => {
            return Err(format!("--keep takes a directory that exists, and {file:?} is none"));
        }
    };
    let copied = copied.map_err(|error| error.to_string())?;
    println!("{} notifications, {} bytes in {}", copied.notifications, copied.bytes, copied.file.display());
    Ok(ExitCode::SUCCESS)
}
