//! Notifications in a table of a database server, which several nodes may share.
//!
//! MySQL and PostgreSQL differ in how one connects and how some words are spelled;
//! that is a [`Backend`]. All the rest is here, once: what a batch does to rows
//! (`plan`), the statements, leases, and what is done again when a connection is lost.
//!
//! Statements use nothing that servers which speak these protocols lack: no advisory
//! locks, no triggers, no `SKIP LOCKED`, no `LISTEN`.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
};

use r2d2::Pool;

use self::{
    backend::{Backend, Failure, Kind, Purpose},
    pool::{Manager, Session},
    sql::Sql,
};
use super::{
    Claimed, Clear, Cleared, DBDrv, DbError, Figures, Page, Query, Row, Scope, Sending, Unassigned, Wanted,
    Write, Written,
};
use crate::notification::{Detail, Id, Item, Lane, State, Status, Timestamp};

pub(super) mod backend;
mod clear;
pub(super) mod dsn;
mod heads;
mod leases;
mod listing;
mod moving;
mod plan;
#[cfg(test)]
pub(super) mod plans;
pub(super) mod pool;
mod reads;
mod sql;
pub(super) mod takeover;
mod writes;

/// A database on a server, see [`MySql`](super::mysql::MySql) and
/// [`Postgres`](super::postgres::Postgres).
///
/// Methods of this [`DBDrv`] retry by themselves what can't have been done, for a
/// moment; none takes longer than about 10 s. [`pending`](DBDrv::pending) looks
/// without leasing: what it returns may be claimed by another node at any time.
pub struct Remote<B: Backend> {
    pool: Pool<Manager<B>>,
    /// Claims that failed, by their lanes: they may have been done all the same, and nobody
    /// else may send their rows then. The lane's next one goes by the same token.
    doubtful: Mutex<HashMap<Lane, u64>>,
}

/// Why a database server can't be used. Its [`Display`](fmt::Display) is one line, without
/// password.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The data source name isn't what it should be.
    Dsn(String),
    /// The server can't be reached, refuses, or its table can't be brought up to date.
    Server {
        /// What people call this kind of server.
        name: &'static str,
        /// Its reason.
        reason: String,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dsn(reason) => f.write_str(reason),
            Self::Server { name, reason } => write!(f, "can't use the {name} database: {reason}"),
        }
    }
}

impl Error for ConnectError {}

impl<B: Backend> Remote<B> {
    /// Connects, waits up to half a minute for a server that can't be reached, and brings
    /// the table up to date, however long that takes.
    pub(super) fn open(backend: B) -> Result<Self, ConnectError> {
        let refused = |failure: Failure| ConnectError::Server { name: B::NAME, reason: failure.sentence };
        let mut connection = pool::first_connection(&backend).map_err(refused)?;
        takeover::take_over::<B>(&mut connection).map_err(refused)?;
        Ok(Self { pool: pool::pool(backend), doubtful: Mutex::default() })
    }

    /// Connects, changes nothing, and tells what [`open`](Self::open) would do to the table.
    pub(super) fn look(backend: B) -> Result<Vec<&'static str>, ConnectError> {
        let refused = |failure: Failure| ConnectError::Server { name: B::NAME, reason: failure.sentence };
        let mut connection = backend.connect(Purpose::Use).map_err(refused)?;
        let steps = B::takeover(&mut connection).map_err(refused)?;
        Ok(steps.into_iter().map(|step| step.meaning).collect())
    }

    /// Does what may be done twice.
    fn run<T>(&self, work: impl FnMut(&mut Session<B>) -> Result<T, Failure>) -> Result<T, DbError> {
        pool::run(&self.pool, true, work).map_err(DbError::from)
    }

    fn write_one(&self, write: Write, sending: &Sending) -> Result<Written, DbError> {
        let mut answers = self.write(&[write], sending)?;
        answers.pop().unwrap_or(Ok(Written::Done))
    }

    fn clear_all(&self, clear: Clear, sending: &Sending) -> Result<(), DbError> {
        let mut rest = Some(clear);
        while let Some(clear) = rest {
            rest = self.clear_slice(&clear, sending)?.rest;
        }
        Ok(())
    }
}

impl<B: Backend> DBDrv for Remote<B> {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        match self.write_one(Write::Create(item.clone()), &Sending::default())? {
            Written::Exists { .. } => Err(DbError::Exists),
            _ => Ok(()),
        }
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        let resend = Write::Resend { id: Id::from_store(id), max_tries, now };
        self.write_one(resend, &Sending::default()).map(drop)
    }

    /// Whoever has leased the row: an attempt has ended, and with it the lease.
    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        let sql = Sql::<B>::new("update items set tried = ").number(tried).sql(", next_at = ").time(next_at);
        let sql = sql.sql(", cur_state = ").number(state as u8).sql(", response = ").bytes(response);
        let sql = sql.sql(", lease_token = 0, lease_until = 0 where notify_id = ").id(id).done();
        self.run(|session| session.request(&sql).map(drop))
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.run(|session| reads::result(session, id))?.ok_or(DbError::NotFound)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.run(|session| reads::status(session, id))?.ok_or(DbError::NotFound)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.run(|session| reads::detail(session, id))?.ok_or(DbError::NotFound)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        self.run(|session| reads::pending(session, now, max_tries, drivers, sending))
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        self.write_one(Write::Delete { id: Id::from_store(id) }, sending).map(drop)
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.clear_all(Clear::new(Scope::Finished, before), sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.clear_all(Clear::new(Scope::All, before), sending)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn renew(&self, leases: &[(Id, u64)]) -> Result<(), DbError> {
        match leases {
            [] => Ok(()),
            leases => self.run(|session| leases::renew(session, leases)),
        }
    }

    fn give_back(&self, leases: &[(Id, u64)]) -> Result<(), DbError> {
        match leases {
            [] => Ok(()),
            leases => self.run(|session| leases::give_back(session, leases)),
        }
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn newest(&self) -> Result<Option<Timestamp>, DbError> {
        self.run(reads::newest)
    }

    /// A lane whose due rows are all leased is due when the first lease would end.
    fn heads(&self) -> Result<Vec<(Lane, Timestamp)>, DbError> {
        self.run(heads::heads)
    }

    fn claim(&self, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        let doubtful = || self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        let token = doubtful().remove(&wanted.lane).unwrap_or_else(leases::token);
        let claimed = self.run(|session| leases::claim(session, wanted, token));
        if claimed.is_err() {
            doubtful().insert(wanted.lane, token);
        }
        claimed
    }

    fn unassigned(&self, limit: usize) -> Result<Vec<Unassigned>, DbError> {
        loop {
            let (found, lost) = self.run(|session| reads::unassigned(session, limit))?;
            if lost.is_empty() {
                return Ok(found);
            }
            self.run(|session| reads::give_up(session, &lost))?;
        }
    }

    fn write(&self, batch: &[Write], sending: &Sending) -> Result<Vec<Result<Written, DbError>>, DbError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let is_repeatable = writes::is_repeatable(batch);
        match pool::run(&self.pool, is_repeatable, |session| writes::write(session, batch, sending)) {
            Err(failure) if failure.kind == Kind::Refused => match batch {
                [_] => Ok(vec![Err(failure.into())]),
                // Nothing was written. The bad one mustn't harm the others.
                batch => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    let mut answers = self.write(first, sending)?;
                    answers.extend(self.write(second, sending)?);
                    Ok(answers)
                }
            },
            Err(failure) => Err(DbError::unavailable(failure.sentence)),
            Ok(answers) => Ok(answers),
        }
    }

    fn clear_slice(&self, clear: &Clear, sending: &Sending) -> Result<Cleared, DbError> {
        self.run(|session| clear::slice(session, clear, sending))
    }

    fn list(&self, query: &Query) -> Result<Page, DbError> {
        self.run(|session| listing::page(session, query))
    }

    fn figures(&self) -> Result<Figures, DbError> {
        self.run(listing::figures)
    }

    fn export(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Row>, DbError> {
        self.run(|session| moving::export(session, after, limit))
    }

    fn import(&self, rows: &[Row]) -> Result<Vec<Result<(), DbError>>, DbError> {
        match pool::run(&self.pool, true, |session| moving::import(session, rows)) {
            Err(failure) if failure.kind == Kind::Refused => match rows {
                [_] => Ok(vec![Err(failure.into())]),
                rows => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    let mut answers = self.import(first)?;
                    answers.extend(self.import(second)?);
                    Ok(answers)
                }
            },
            Err(failure) => Err(DbError::unavailable(failure.sentence)),
            Ok(answers) => Ok(answers),
        }
    }

    fn hasten(&self, after: Timestamp, to: Timestamp) -> Result<u64, DbError> {
        self.run(|session| heads::hasten(session, after, to))
    }

    fn count_pending(&self, limit: usize) -> Result<Option<usize>, DbError> {
        self.run(|session| reads::count_pending(session, limit)).map(Some)
    }

    fn ping(&self) -> Result<(), DbError> {
        self.run(reads::ping)
    }
}

impl<B: Backend> fmt::Debug for Remote<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(B::NAME).finish_non_exhaustive()
    }
}

/// Appends bytes in hexadecimal.
pub(super) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
}
