//! Notifications in an SQLite file: the database that needs no server.
//!
//! One connection writes, behind a lock; a small pool of others reads, and never
//! waits for it. One process owns the file.

use std::{
    fmt,
    fs::File,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;

use self::{room::Room, rows::failed, writes::Statements};
use super::{
    Claimed, Clear, Cleared, DBDrv, DbError, Figures, Page, Query, Row, Scope, Sending, Unassigned, Wanted,
    Write, Written,
};
use crate::notification::{Detail, Id, Item, Lane, State, Status, Timestamp};

mod care;
mod clear;
mod listing;
mod moving;
mod open;
mod reads;
mod room;
mod rows;
#[cfg(test)]
mod tests;
mod writes;

pub use care::{CareError, Copied, Restored, Verified, backup, backup_in, restore, verify};
pub use open::OpenError;

/// A database in one file.
///
/// ```
/// use notify_api::{DBDrv, Id, Item, Lane, State, Timestamp, db::sqlite::Sqlite};
///
/// let directory = tempfile::tempdir()?;
/// let db = Sqlite::open(directory.path().join("notify.db"))?;
/// let now = Timestamp::from_secs(1_700_000_000);
/// db.create(&Item {
///     id: Id::new("backup-2026-11-24")?,
///     r#type: "HTTPPOST".into(),
///     endpoint: "http://127.0.0.1/hook".into(),
///     content: br#"{"body":"done"}"#.to_vec(),
///     create_at: now,
///     next_at: now,
///     tried: 0,
///     once: false,
///     epoch: 0,
///     lease: 0,
///     lane: Lane::named("http://127.0.0.1:80"),
/// })?;
/// assert_eq!(db.status("backup-2026-11-24")?.state, State::Pending);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sqlite {
    writer: Mutex<Connection>,
    readers: Pool<SqliteConnectionManager>,
    room: Room,
    /// Given up by [`close`](DBDrv::close), or when the connections are closed.
    lock: Mutex<Option<File>>,
}

impl Sqlite {
    /// Opens the file, makes it if there is none, and brings an older one up to
    /// date. A lock in a file beside it, named like it with `.lock` appended,
    /// keeps every other process from it until this value is closed or dropped.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is then as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let open::Opened { writer, readers, room, lock } = open::open(path.as_ref())?;
        Ok(Self { writer: Mutex::new(writer), readers, room, lock: Mutex::new(Some(lock)) })
    }

    /// Refuses new notifications, by [`DbError::Full`], while the database is larger than that:
    /// its pages without the free ones; the journal beside the file comes on top. Everything
    /// else goes on, and may make it larger. `name` is what the sentence calls the limit.
    ///
    /// Without a limit they are refused when the disk is full but for 16 MiB, or a
    /// tenth of a small one.
    #[must_use]
    pub fn max_bytes(self, bytes: u64, name: impl Into<String>) -> Self {
        self.room.limit(bytes, name.into());
        self
    }

    fn reader(&self) -> Result<PooledConnection<SqliteConnectionManager>, DbError> {
        self.readers.get().map_err(|error| DbError::unavailable(error.to_string()))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        read(&*self.reader()?).map_err(failed)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic leaves no half of a write behind: its transaction was rolled back.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does that in one transaction; an error rolls it back.
    fn transact<T>(&self, work: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        let writer = Writing(self.writer());
        // A full or broken disk can make a rollback fail. It must not stay so.
        writer.roll_back().map_err(failed)?;
        writer.run("begin immediate").map_err(failed)?;
        let done = work(&writer.0)?;
        writer.run("commit").map_err(failed)?;
        Ok(done)
    }

    fn clear_all(&self, clear: Clear, sending: &Sending) -> Result<(), DbError> {
        let mut rest = Some(clear);
        while let Some(clear) = rest {
            rest = self.clear_slice(&clear, sending)?.rest;
        }
        Ok(())
    }
}

impl DBDrv for Sqlite {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        self.transact(|writer| {
            self.room.look(writer).map_err(failed)?.take(item)?;
            writes::create(&mut Statements::of(writer), item)
        })
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        self.transact(|writer| writes::resend(writer, id, max_tries, now)).map(drop)
    }

    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        self.transact(|writer| writes::update(writer, id, tried, next_at, state, response).map_err(failed))
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.read(|reader| reads::result(reader, id))?.ok_or(DbError::NotFound)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.read(|reader| reads::status(reader, id))?.ok_or(DbError::NotFound)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.read(|reader| reads::detail(reader, id))?.ok_or(DbError::NotFound)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        self.read(|reader| reads::pending(reader, now, max_tries, drivers, sending))
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        self.transact(|writer| writes::delete(writer, id, sending))
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.clear_all(Clear::new(Scope::Finished, before), sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.clear_all(Clear::new(Scope::All, before), sending)
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn newest(&self) -> Result<Option<Timestamp>, DbError> {
        self.read(reads::newest)
    }

    fn heads(&self) -> Result<Vec<(Lane, Timestamp)>, DbError> {
        self.read(reads::heads)
    }

    fn claim(&self, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        self.read(|reader| reads::claim(reader, wanted))
    }

    fn unassigned(&self, limit: usize) -> Result<Vec<Unassigned>, DbError> {
        loop {
            let (found, lost) = self.read(|reader| reads::unassigned(reader, limit))?;
            if lost.is_empty() {
                return Ok(found);
            }
            // They would stand at the head of the line for ever.
            self.transact(|writer| writes::give_up(writer, &lost).map_err(failed))?;
        }
    }

    fn write(&self, batch: &[Write], sending: &Sending) -> Result<Vec<Result<Written, DbError>>, DbError> {
        self.transact(|writer| {
            let mut answers = Vec::with_capacity(batch.len());
            let creates = batch.iter().any(|write| matches!(write, Write::Create(_)));
            let mut room = creates.then(|| self.room.look(writer)).transpose().map_err(failed)?;
            let mut statements = Statements::of(writer);
            for write in batch {
                match writes::write(&mut statements, write, sending, room.as_mut()) {
                    Err(DbError::Unavailable(reason)) => return Err(DbError::Unavailable(reason)),
                    // A refusal that took the earlier ones with it.
                    _ if writer.is_autocommit() => {
                        return Err(DbError::unavailable("the transaction was rolled back"));
                    }
                    answer => answers.push(answer),
                }
            }
            Ok(answers)
        })
    }

    fn clear_slice(&self, clear: &Clear, sending: &Sending) -> Result<Cleared, DbError> {
        self.transact(|writer| clear::slice(writer, clear, sending).map_err(failed))
    }

    fn list(&self, query: &Query) -> Result<Page, DbError> {
        self.read(|reader| listing::page(reader, query))
    }

    fn figures(&self) -> Result<Figures, DbError> {
        self.read(listing::figures)
    }

    fn export(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Row>, DbError> {
        self.read(|reader| moving::export(reader, after.map_or("", Id::as_str), limit))
    }

    fn import(&self, rows: &[Row]) -> Result<Vec<Result<(), DbError>>, DbError> {
        self.transact(|writer| rows.iter().map(|row| moving::import(writer, row)).collect())
    }

    fn hasten(&self, after: Timestamp, to: Timestamp) -> Result<u64, DbError> {
        self.transact(|writer| writes::hasten(writer, after, to).map_err(failed))
    }

    fn count_pending(&self, limit: usize) -> Result<Option<usize>, DbError> {
        self.read(|reader| reads::count_pending(reader, limit)).map(Some)
    }

    fn ping(&self) -> Result<(), DbError> {
        self.read(reads::ping)
    }

    fn close(&self) {
        // What fails here is done at the next start.
        let _ = self.writer().query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()));
        // Whoever still holds this value, a send that was cut off for instance, doesn't use it any more.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The writing connection; what wasn't committed is rolled back in the end.
struct Writing<'a>(MutexGuard<'a, Connection>);

impl Writing<'_> {
    /// Prepared once, unlike by a transaction of the library's.
    fn run(&self, statement: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn roll_back(&self) -> rusqlite::Result<()> {
        if self.0.is_autocommit() { Ok(()) } else { self.run("rollback") }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let _ = self.roll_back();
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}
