//! Whether a database is sound.

use std::path::Path;

use rusqlite::Connection;

use super::{super::rows, CareError, OpenError, read::read};

/// No more findings than that are told.
const MAX_FINDINGS: usize = 20;

/// Without them the server would be slow, or not find what it has to send.
const INDEXES: [&str; 2] = ["items_created", "items_due"];

const INDEX: &str =
    "select count(*) from sqlite_schema where type = 'index' and tbl_name = 'items' and name = ?1";

const ODD_ROWS: &str = "select seq, notify_id, cur_state, create_at, next_at from items not indexed \
     where cur_state not in (0, 1, 2) or typeof(notify_id) <> 'text' \
     or typeof(create_at) not in ('integer', 'real') or typeof(next_at) not in ('integer', 'real') limit ?1";

const COUNTS: &str = "select coalesce(sum(cur_state = 0), 0), coalesce(sum(cur_state = 1), 0), \
     coalesce(sum(cur_state not in (0, 1)), 0) from items not indexed";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many notifications are pending,
    pub pending: u64,
    /// delivered,
    pub success: u64,
    /// and failed.
    pub failed: u64,
    /// What is wrong: a sentence each, the first twenty at most. Counts mean nothing then.
    pub findings: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Reads a whole database, whether a server has it open or not, and changes nothing.
///
/// # Errors
/// The file can't be read, or is another program's. What is damaged is a finding, not an error.
pub fn verify(database: &Path) -> Result<Verified, CareError> {
    let finding = |finding| Verified { findings: vec![finding], ..Verified::default() };
    match read(database, |connection| Ok(look(connection))) {
        Err(CareError::Open(OpenError::NotADatabase { .. })) => {
            Ok(finding("the file is not an SQLite database, or its head is damaged".into()))
        }
        Err(CareError::Damaged { finding: reason, .. }) => Ok(finding(reason)),
        looked => looked,
    }
}

fn look(connection: &Connection) -> Verified {
    let mut verified = Verified::default();
    let steps = [integrity, indexes, odd_rows, counts];
    for step in steps {
        if let Err(error) = step(connection, &mut verified) {
            verified.findings.push(rows::sentence(&error));
        }
    }
    verified.findings.truncate(MAX_FINDINGS);
    verified
}

fn integrity(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    connection.pragma(None, "integrity_check", MAX_FINDINGS as i64, |row| {
        let line: String = row.get(0)?;
        if line != "ok" {
            // SQLite puts a heading before its findings, on a line of its own.
            verified.findings.extend(line.lines().map(str::to_owned));
        }
        Ok(())
    })
}

fn indexes(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    for index in INDEXES {
        let count: i64 = connection.query_row(INDEX, [index], |row| row.get(0))?;
        if count == 0 {
            verified.findings.push(format!("the index {index} is missing"));
        }
    }
    Ok(())
}

fn odd_rows(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(ODD_ROWS)?;
    let mut odd = statement.query([MAX_FINDINGS as i64])?;
    while let Some(row) = odd.next()? {
        let seq = rows::integer(row, 0)?;
        let id = rows::text(row, 1)?;
        verified.findings.push(format!("row {seq}, id {id:?}: a state, time or id that none can have"));
    }
    Ok(())
}

fn counts(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    (verified.pending, verified.success, verified.failed) = connection.query_row(COUNTS, [], |row| {
        Ok((rows::quantity(row, 0)?, rows::quantity(row, 1)?, rows::quantity(row, 2)?))
    })?;
    Ok(())
}
