//! The statements that write. Each runs in a transaction of its caller's.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::{
    room::Left,
    rows::{self, failed},
};
use crate::{
    db::{DbError, Outcome, Sending, Write, Written},
    notification::{Id, Item, Lane, State, Timestamp},
};

pub(super) const CREATE: &str = "insert into items(notify_id, driver, endpoint, content, create_at, next_at, \
     tried, once, epoch, lane) values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) on conflict(notify_id) do nothing";

pub(super) const STORED: &str = "select create_at, driver, endpoint, content from items where notify_id = ?1";

// An epoch is 32 bits, whatever a row written by hand says: it is always read and
// compared by the same expression.
pub(super) const OUTCOME: &str = "update items set tried = ?2, next_at = ?3, cur_state = ?4, \
     response = coalesce(iif(?6, response, null), ?5) where notify_id = ?1 and (epoch & 4294967295) = ?7";

pub(super) const RESPONSE: &str = "update items set response = coalesce(iif(?3, response, null), ?2) \
     where notify_id = ?1";

pub(super) const UPDATE: &str = "update items set tried = ?2, next_at = ?3, cur_state = ?4, response = ?5 \
     where notify_id = ?1";

pub(super) const RESEND: &str = "update items set tried = ?2, next_at = ?3, cur_state = 0, once = 1, \
     epoch = (epoch + 1) & 4294967295, lane = lane & 65535 where notify_id = ?1 returning lane";

pub(super) const DELETE: &str = "delete from items where notify_id = ?1";

pub(super) const ASSIGN: &str = "update items set lane = ?2 where notify_id = ?1 and lane = 0";

pub(super) const HOLD: &str = "update items set next_at = ?2 \
     where notify_id = ?1 and cur_state = 0 and not (once <> 0 and epoch <> 0)";

pub(super) const RELEASE: &str = "update items set next_at = ?3 where seq in (\
     select seq from items indexed by items_due where cur_state = 0 and lane = ?1 and next_at = ?2 limit 500)";

// A few steps in the index for each lane, so that a large backlog costs nothing at a start.
pub(super) const HASTEN: &str = "update items set next_at = ?2 where seq in (\
       with recursive lanes(lane) as (\
         select min(lane) from items indexed by items_due where cur_state = 0 \
         union all \
         select (select min(items.lane) from items indexed by items_due \
                 where cur_state = 0 and items.lane > lanes.lane) \
         from lanes where lanes.lane is not null\
       ) \
       select items.seq from lanes cross join items indexed by items_due \
       where cur_state = 0 and items.lane = lanes.lane and items.next_at > ?1\
     ) and (tried > 0 or once <> 0)";

pub(super) const GIVE_UP: &str = "update items set cur_state = 2, \
     response = coalesce(response, cast('its notify_id is not a text in UTF-8' as blob)) where seq = ?1";

/// The statements of which a batch does many: looking one up takes a twentieth of the time
/// that it takes.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    create: Option<CachedStatement<'c>>,
    outcome: Option<CachedStatement<'c>>,
}

impl<'c> Statements<'c> {
    pub(super) fn of(connection: &'c Connection) -> Self {
        Self { connection, create: None, outcome: None }
    }
}

/// What is there, or else the statement, prepared.
fn prepared<'s, 'c>(
    statement: &'s mut Option<CachedStatement<'c>>,
    connection: &'c Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
    match statement {
        Some(statement) => Ok(statement),
        None => Ok(statement.insert(connection.prepare_cached(sql)?)),
    }
}

/// Does one write of a batch.
pub(super) fn write(
    statements: &mut Statements<'_>,
    write: &Write,
    sending: &Sending,
    room: Option<&mut Left<'_>>,
) -> Result<Written, DbError> {
    let connection = statements.connection;
    match write {
        Write::Create(item) => match room.map_or(Ok(()), |room| room.take(item)) {
            Ok(()) => create_or_compare(statements, item),
            // A repeat needs none.
            Err(full) => compare(connection, item)?.ok_or(full),
        },
        Write::Outcome(outcome) => store(statements, outcome).map_err(failed),
        Write::Resend { id, max_tries, now } => {
            resend(connection, id.as_str(), *max_tries, *now).map(Written::Resent)
        }
        Write::Delete { id } => delete(connection, id.as_str(), sending).map(|()| Written::Done),
        Write::Assign(lanes) => assign(connection, lanes).map_err(failed),
        Write::Hold { ids, until } => hold(connection, ids, *until).map_err(failed),
        Write::Release { lane, from, to } => release(connection, *lane, *from, *to).map_err(failed),
    }
}

pub(super) fn create(statements: &mut Statements<'_>, item: &Item) -> Result<(), DbError> {
    let inserted = prepared(&mut statements.create, statements.connection, CREATE)
        .and_then(|statement| {
            statement.execute(params![
                item.id.as_str(),
                item.r#type,
                item.endpoint,
                item.content,
                item.create_at.as_secs(),
                item.next_at.as_secs(),
                item.tried,
                item.once,
                item.epoch,
                item.lane.number(),
            ])
        })
        .map_err(failed)?;
    if inserted == 0 { Err(DbError::Exists) } else { Ok(()) }
}

pub(super) fn create_or_compare(statements: &mut Statements<'_>, item: &Item) -> Result<Written, DbError> {
    match create(statements, item) {
        Err(DbError::Exists) => compare(statements.connection, item)?.ok_or(DbError::Exists),
        done => done.map(|()| Written::Done),
    }
}

/// How the row that has the id already compares, if there is one.
fn compare(connection: &Connection, item: &Item) -> Result<Option<Written>, DbError> {
    connection
        .prepare_cached(STORED)
        .and_then(|mut statement| {
            let exists = statement.query_row([item.id.as_str()], |row| {
                Ok(Written::Exists {
                    create_at: rows::timestamp(row, 0)?,
                    same: rows::bytes(row, 1)?.as_deref() == Some(item.r#type.as_bytes())
                        && rows::bytes(row, 2)?.as_deref() == Some(item.endpoint.as_bytes())
                        && rows::bytes(row, 3)?.as_deref() == Some(&item.content),
                })
            });
            exists.optional()
        })
        .map_err(failed)
}

fn store(statements: &mut Statements<'_>, outcome: &Outcome) -> rusqlite::Result<Written> {
    let id = outcome.id.as_str();
    let connection = statements.connection;
    let stored = prepared(&mut statements.outcome, connection, OUTCOME)?.execute(params![
        id,
        outcome.tried,
        outcome.next_at.as_secs(),
        outcome.state as u8,
        outcome.response,
        outcome.keep_response,
        outcome.epoch,
    ])?;
    if stored > 0 {
        return Ok(Written::Done);
    }
    let resent =
        connection.prepare_cached(RESPONSE)?.execute(params![id, outcome.response, outcome.keep_response])?;
    Ok(if resent > 0 { Written::Superseded } else { Written::Done })
}

pub(super) fn update(
    connection: &Connection,
    id: &str,
    tried: u32,
    next_at: Timestamp,
    state: State,
    response: &[u8],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(UPDATE)?
        .execute(params![id, tried, next_at.as_secs(), state as u8, response])
        .map(drop)
}

pub(super) fn resend(
    connection: &Connection,
    id: &str,
    max_tries: u32,
    now: Timestamp,
) -> Result<Lane, DbError> {
    connection
        .prepare_cached(RESEND)
        .and_then(|mut statement| {
            let values = params![id, max_tries.saturating_sub(1), now.as_secs()];
            statement.query_row(values, |row| rows::integer(row, 0)).optional()
        })
        .map_err(failed)?
        .map(Lane::from_number)
        .ok_or(DbError::NotFound)
}

pub(super) fn delete(connection: &Connection, id: &str, sending: &Sending) -> Result<(), DbError> {
    if sending.contains(id) {
        return Err(DbError::Sending);
    }
    connection.prepare_cached(DELETE).and_then(|mut statement| statement.execute([id])).map_err(failed)?;
    Ok(())
}

fn assign(connection: &Connection, lanes: &[(Id, Lane)]) -> rusqlite::Result<Written> {
    let mut statement = connection.prepare_cached(ASSIGN)?;
    for (id, lane) in lanes {
        statement.execute(params![id.as_str(), lane.number()])?;
    }
    Ok(Written::Done)
}

fn hold(connection: &Connection, ids: &[Id], until: Timestamp) -> rusqlite::Result<Written> {
    let mut statement = connection.prepare_cached(HOLD)?;
    for id in ids {
        statement.execute(params![id.as_str(), until.as_secs()])?;
    }
    Ok(Written::Done)
}

fn release(connection: &Connection, lane: Lane, from: Timestamp, to: Timestamp) -> rusqlite::Result<Written> {
    // They would be found again for ever.
    if from == to {
        return Ok(Written::Released(0));
    }
    connection
        .prepare_cached(RELEASE)?
        .execute(params![lane.number(), from.as_secs(), to.as_secs()])
        .map(Written::Released)
}

/// What was attempted before is due then, if it is due later than `after`.
pub(super) fn hasten(connection: &Connection, after: Timestamp, to: Timestamp) -> rusqlite::Result<u64> {
    let hastened = connection.prepare_cached(HASTEN)?.execute([after.as_secs(), to.as_secs()])?;
    Ok(u64::try_from(hastened).unwrap_or(u64::MAX))
}

/// Ends rows that no id can address.
pub(super) fn give_up(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(GIVE_UP)?;
    for seq in seqs {
        statement.execute([seq])?;
    }
    Ok(())
}
