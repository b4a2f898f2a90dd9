//! SQLite: the suite of all databases, and what only this one has to do.
#![cfg(feature = "sqlite")]

use notify_api::db::sqlite::Sqlite;
use tempfile::TempDir;

mod conformance {
    notify_api::dbdrv_conformance!(super::fresh);
}

fn fresh() -> (Sqlite, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Sqlite::open(directory.path().join("notify.db")).unwrap(), directory)
}
