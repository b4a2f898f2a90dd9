//! `notify-api import`: moves all rows of one database into another.

use std::{
    fmt,
    io::{IsTerminal, Write, stderr},
};

use notify_api::{DBDrv, DbError};

/// Rows in one transaction.
const BATCH: usize = 500;

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Rows that are there now.
    rows: u64,
    /// Rows whose id stands for something else in the target; they were not touched.
    refused: u64,
}

impl Imported {
    pub(crate) fn is_complete(self) -> bool {
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
pub(crate) fn import(from: &dyn DBDrv, into: &dyn DBDrv) -> Result<Imported, DbError> {
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
