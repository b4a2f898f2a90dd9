//! `notify-api import`: moves all rows of one database into another.

use std::{
    fmt,
    io::{IsTerminal, Write, stderr, stdin},
    process::ExitCode,
};

use notify_api::{DBDrv, DbError};

use crate::{
    cli::{EXIT_FAILED, Refusal},
    config::{Config, Dsn},
    database,
};

/// Rows in one transaction.
const BATCH: usize = 500;

/// Copies all rows of the database `from` (`-`: its DSN is read from stdin) into the configured one.
pub(crate) fn run(from: &str, config: &Config) -> Result<ExitCode, Refusal> {
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
    let source = database::open(&from).map_err(|reason| format!("--from: {reason}"))?;
    let target = database::open(&config.dsn).map_err(|reason| config.wrong_dsn(reason).to_string())?;
    let imported = import(source.as_ref(), target.as_ref());
    source.close();
    target.close();
    let imported = imported.map_err(|error| format!("the import broke off, start it again: {error}"))?;
    println!("{imported}");
    Ok(if imported.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Imported {
    /// Rows that are there now.
    rows: u64,
    /// Rows whose id stands for something else in the target; they were not touched.
    refused: u64,
}

impl Imported {
    fn is_complete(self) -> bool {
        self.refused == 0
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} notifications are in the database", self.rows)?;
        if self.refused > 0 {
            write!(f, ", {} are not: their ids stand for other content there", self.refused)?;
        }
        Ok(())
    }
}

/// Copies everything. What is there already is passed over, so that it can be
/// interrupted and started again.
fn import(from: &dyn DBDrv, into: &dyn DBDrv) -> Result<Imported, DbError> {
    let mut imported = Imported::default();
    let mut after = None;
    let shows_progress = stderr().is_terminal();
    loop {
        let rows = from.export(after.as_ref(), BATCH)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.item.id.clone());
        for (row, result) in rows.iter().zip(into.import(&rows)?) {
            match result {
                Ok(()) => imported.rows += 1,
                Err(reason) => {
                    imported.refused += 1;
                    tracing::warn!(id = ?row.item.id.as_str(), %reason, "not imported");
                }
            }
        }
        if shows_progress {
            // A progress line is no part of the result: it doesn't matter if it can't be written.
            let _ = write!(stderr(), "\r{} …", imported.rows);
        }
    }
    if shows_progress {
        let _ = write!(stderr(), "\r");
    }
    Ok(imported)
}
