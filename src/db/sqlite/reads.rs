//! The statements that read.

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::rows;
use crate::{
    db::{Claimed, Sending, Unassigned, Wanted},
    notification::{Detail, Id, Item, Lane, Status, Timestamp},
};

pub(super) const RESULT: &str = "select response from items where notify_id = ?1";

pub(super) const STATUS: &str = "select create_at, next_at, tried, cur_state from items where notify_id = ?1";

pub(super) const DETAIL: &str = "select driver, endpoint, content, response, create_at, next_at, tried, \
     cur_state from items where notify_id = ?1";

// "indexed by" makes it an error if the order ever had to be sorted out. A content
// that is short is there at once; a long one would be read for rows that are passed
// over, too.
pub(super) const LINE: &str = "select next_at, notify_id, driver, endpoint, create_at, tried, once, \
     epoch & 4294967295, seq, iif(octet_length(content) <= 1024, content, null) from items indexed by items_due where cur_state = 0 and lane = ?1 \
     order by next_at, seq";

pub(super) const CONTENT: &str = "select content from items where seq = ?1";

// From each lane one step in the index to the next, and one to its head.
pub(super) const HEADS: &str = "with recursive lanes(lane) as (\
       select min(lane) from items indexed by items_due where cur_state = 0 \
       union all \
       select (select min(items.lane) from items indexed by items_due \
               where cur_state = 0 and items.lane > lanes.lane) \
       from lanes where lanes.lane is not null\
     ) \
     select lane, (select min(next_at) from items indexed by items_due \
                   where cur_state = 0 and items.lane = lanes.lane) \
     from lanes where lane is not null";

pub(super) const UNASSIGNED: &str = "select seq, notify_id, driver, endpoint, next_at \
     from items indexed by items_due where cur_state = 0 and lane = 0 order by next_at, seq limit ?1";

// A clock that stood beyond the year 9999 was wrong.
pub(super) const NEWEST: &str = "select create_at from items indexed by items_created \
     where create_at < 253402300800 order by create_at desc limit 1";

pub(super) const COUNT_PENDING: &str = "select count(*) from \
     (select 1 from items indexed by items_due where cur_state = 0 limit ?1)";

pub(super) const PING: &str = "select 1 from items limit 1";

pub(super) fn result(connection: &Connection, id: &str) -> rusqlite::Result<Option<Option<Vec<u8>>>> {
    connection
        .prepare_cached(RESULT)?
        .query_row([id], |row| Ok(rows::bytes(row, 0)?.map(Into::into)))
        .optional()
}

pub(super) fn status(connection: &Connection, id: &str) -> rusqlite::Result<Option<Status>> {
    connection.prepare_cached(STATUS)?.query_row([id], |row| rows::status(row, 0)).optional()
}

pub(super) fn detail(connection: &Connection, id: &str) -> rusqlite::Result<Option<Detail>> {
    connection
        .prepare_cached(DETAIL)?
        .query_row([id], |row| {
            Ok(Detail {
                r#type: rows::text(row, 0)?.into(),
                endpoint: rows::text(row, 1)?.into(),
                content: rows::bytes(row, 2)?.unwrap_or_default().into(),
                response: rows::bytes(row, 3)?.map(Into::into),
                status: rows::status(row, 4)?,
            })
        })
        .optional()
}

/// The oldest one that is due in any lane: the lanes' heads tell where to look.
pub(super) fn pending(
    connection: &Connection,
    now: Timestamp,
    max_tries: u32,
    drivers: &[&str],
    sending: &Sending,
) -> rusqlite::Result<Option<Item>> {
    let mut heads = heads(connection)?;
    heads.sort_unstable_by_key(|(_, next_at)| *next_at);
    let mut oldest: Option<((Timestamp, i64), Item)> = None;
    for (lane, head) in heads {
        if head > oldest.as_ref().map_or(now, |(place, _)| place.0) {
            break;
        }
        let mut statement = connection.prepare_cached(LINE)?;
        let mut line = statement.query([lane.number()])?;
        while let Some(row) = line.next()? {
            let place = (rows::timestamp(row, 0)?, rows::integer(row, 8)?);
            if place.0 > now || oldest.as_ref().is_some_and(|(best, _)| place >= *best) {
                break;
            }
            let has_attempts = rows::integer(row, 6)? != 0 || rows::count(row, 5)? < max_tries;
            if let Some(id) = eligible(row, drivers, sending)?.filter(|_| has_attempts) {
                let mut content = connection.prepare_cached(CONTENT)?;
                oldest = Some((place, item(&mut content, row, id, lane)?));
                break;
            }
        }
    }
    Ok(oldest.map(|(_, item)| item))
}

pub(super) fn heads(connection: &Connection) -> rusqlite::Result<Vec<(Lane, Timestamp)>> {
    connection
        .prepare_cached(HEADS)?
        .query_map([], |row| Ok((Lane::from_number(rows::integer(row, 0)?), rows::timestamp(row, 1)?)))?
        .collect()
}

pub(super) fn claim(connection: &Connection, wanted: &Wanted<'_>) -> rusqlite::Result<Claimed> {
    let mut claimed = Claimed::default();
    let mut bytes = 0;
    let mut content = connection.prepare_cached(CONTENT)?;
    let mut statement = connection.prepare_cached(LINE)?;
    let mut line = statement.query([wanted.lane.number()])?;
    while let Some(row) = line.next()? {
        let Some(id) = eligible(row, wanted.drivers, wanted.skip)? else { continue };
        let next_at = rows::timestamp(row, 0)?;
        if next_at > wanted.now || claimed.items.len() >= wanted.limit || bytes > wanted.max_bytes {
            claimed.next_at = Some(next_at);
            break;
        }
        let item = item(&mut content, row, id, wanted.lane)?;
        bytes += item.content.len();
        claimed.items.push(item);
    }
    Ok(claimed)
}

/// The id of a row of [`LINE`] that can be addressed, is of one of these types
/// and not among those being sent.
fn eligible<'a>(row: &'a Row<'_>, drivers: &[&str], sending: &Sending) -> rusqlite::Result<Option<&'a str>> {
    let Some(id) = rows::id(row, 1)? else { return Ok(None) };
    let wanted = drivers.contains(&&*rows::text(row, 2)?) && !sending.contains(id);
    Ok(wanted.then_some(id))
}

/// A row of [`LINE`] with its content. If that takes another statement, both see the
/// same state: the outer one is still open.
fn item(content: &mut Statement<'_>, row: &Row<'_>, id: &str, lane: Lane) -> rusqlite::Result<Item> {
    let content = match rows::bytes(row, 9)? {
        Some(short) => short.into(),
        None => content
            .query_row([rows::integer(row, 8)?], |row| Ok(rows::bytes(row, 0)?.unwrap_or_default().into()))?,
    };
    Ok(Item {
        id: Id::from_store(id),
        r#type: rows::text(row, 2)?.into(),
        endpoint: rows::text(row, 3)?.into(),
        content,
        create_at: rows::timestamp(row, 4)?,
        next_at: rows::timestamp(row, 0)?,
        tried: rows::count(row, 5)?,
        once: rows::integer(row, 6)? != 0,
        epoch: rows::count(row, 7)?,
        lease: 0,
        lane,
    })
}

/// Rows without a lane, and those among them that no id can address.
pub(super) fn unassigned(
    connection: &Connection,
    limit: usize,
) -> rusqlite::Result<(Vec<Unassigned>, Vec<i64>)> {
    let mut found = Vec::new();
    let mut lost = Vec::new();
    let mut statement = connection.prepare_cached(UNASSIGNED)?;
    let mut rows = statement.query(params![i64::try_from(limit).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        match rows::id(row, 1)? {
            Some(id) => found.push(Unassigned {
                id: Id::from_store(id),
                r#type: rows::text(row, 2)?.into(),
                endpoint: rows::text(row, 3)?.into(),
                next_at: rows::timestamp(row, 4)?,
            }),
            None => lost.push(rows::integer(row, 0)?),
        }
    }
    Ok((found, lost))
}

pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection.prepare_cached(NEWEST)?.query_row([], |row| rows::timestamp(row, 0)).optional()
}

pub(super) fn count_pending(connection: &Connection, limit: usize) -> rusqlite::Result<usize> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let counted =
        connection.prepare_cached(COUNT_PENDING)?.query_row([limit], |row| rows::integer(row, 0))?;
    Ok(usize::try_from(counted).unwrap_or(0))
}

pub(super) fn ping(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached(PING)?.query_row([], |_| Ok(())).optional().map(drop)
}
