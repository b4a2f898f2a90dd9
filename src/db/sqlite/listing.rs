//! Rows newest first, and how many are pending.

use rusqlite::{Connection, Row, params, types::ValueRef};

use super::{reads, rows};
use crate::{
    db::{
        Cursor, Figures, Page, Query,
        listing::{Effort, FEW},
    },
    notification::{EXCERPT_BYTES, Id, Listed, State, Timestamp, excerpt},
};

// Two ranges each, since SQLite would scan a whole second for "(create_at, seq) < (?, ?)".
pub(super) const NEWEST_FIRST: &str = "select create_at, seq, cur_state, driver, notify_id \
     from items indexed by items_created where create_at = ?2 and seq < ?3 and create_at >= ?1 \
     union all \
     select create_at, seq, cur_state, driver, notify_id \
     from items indexed by items_created where create_at < ?2 and create_at >= ?1 \
     order by create_at desc, seq desc";

pub(super) const FAILED_FIRST: &str = "select create_at, seq, cur_state, driver, notify_id \
     from items indexed by items_failed where cur_state not in (0, 1) and create_at = ?2 and seq < ?3 and create_at >= ?1 \
     union all \
     select create_at, seq, cur_state, driver, notify_id \
     from items indexed by items_failed where cur_state not in (0, 1) and create_at < ?2 and create_at >= ?1 \
     order by create_at desc, seq desc";

pub(super) const PENDING: &str = "select create_at, seq, cur_state, driver, notify_id \
     from items indexed by items_due where cur_state = 0 limit ?1";

// A part of nothing is null, other than nothing.
pub(super) const ROW: &str = "select notify_id, driver, endpoint, create_at, next_at, tried, cur_state, \
     coalesce(substr(response, 1, ?2), iif(response is null, null, x'')) from items where seq = ?1";

pub(super) const COUNT: &str = "select count(*) from items indexed by items_due where cur_state = 0";

const BYTES: &str = "select page_count * page_size from pragma_page_count, pragma_page_size";

/// A row's place in the order of creation.
type Place = (Timestamp, i64);

/// Rows of a page that are still to be read, by their numbers.
struct Found {
    rows: Vec<(Place, i64)>,
    next: Option<Place>,
}

pub(super) fn page(connection: &Connection, query: &Query) -> rusqlite::Result<Page> {
    // What is found is there when it is read.
    let transaction = connection.unchecked_transaction()?;
    let mut effort = Effort::begin();
    let found = match query.state {
        Some(State::Failed) => scan(&transaction, FAILED_FIRST, query, &mut effort)?,
        Some(State::Pending) => match few(&transaction, query, &effort)? {
            Some(found) => found,
            None => scan(&transaction, NEWEST_FIRST, query, &mut effort)?,
        },
        _ => scan(&transaction, NEWEST_FIRST, query, &mut effort)?,
    };
    let mut page = Page::default();
    let mut next = found.next;
    let mut row = transaction.prepare_cached(ROW)?;
    let mut last = None;
    let mut reading = Effort::begin();
    for (place, seq) in found.rows {
        if reading.is_over() && last.is_some() {
            next = last;
            break;
        }
        last = Some(place);
        let item = row.query_row(params![seq, EXCERPT_BYTES as i64], listed)?;
        item.iter().for_each(|item| reading.take(item));
        page.items.extend(item);
    }
    page.next = next.map(|(create_at, seq)| Cursor { create_at, seq, id: None });
    Ok(page)
}

/// Goes down an index from the query's cursor.
fn scan(connection: &Connection, sql: &str, query: &Query, effort: &mut Effort) -> rusqlite::Result<Found> {
    let begin = begin(query);
    let mut found = Vec::new();
    let mut last = None;
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![query.since.as_secs(), begin.0.as_secs(), begin.1])?;
    while let Some(row) = rows.next()? {
        if last.is_some() && (found.len() >= query.limit || effort.is_over()) {
            return Ok(Found { rows: found, next: last });
        }
        effort.look();
        let place = place(row)?;
        if is_wanted(row, query)? {
            found.push((place, rows::integer(row, 1)?));
        }
        last = Some(place);
    }
    Ok(Found { rows: found, next: None })
}

/// All that are pending, if these are few: else most of the newest rows may be, or they wait
/// among millions of others, or the disk is slow.
fn few(connection: &Connection, query: &Query, effort: &Effort) -> rusqlite::Result<Option<Found>> {
    let begin = begin(query);
    let mut found = Vec::new();
    let mut looked = 0;
    let mut statement = connection.prepare_cached(PENDING)?;
    let mut rows = statement.query([FEW as i64 + 1])?;
    while let Some(row) = rows.next()? {
        looked += 1;
        if effort.is_over() {
            return Ok(None);
        }
        let place = place(row)?;
        if place < begin && place.0 >= query.since && is_wanted(row, query)? {
            found.push((place, rows::integer(row, 1)?));
        }
    }
    if looked > FEW {
        return Ok(None);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let more = found.len() > query.limit;
    found.truncate(query.limit.max(1));
    let next = found.last().map(|(place, _)| *place).filter(|_| more);
    Ok(Some(Found { rows: found, next }))
}

/// The place before which a page begins.
fn begin(query: &Query) -> Place {
    match (&query.after, query.before) {
        (Some(cursor), _) => (cursor.create_at, cursor.seq),
        (None, Some(before)) => (before, i64::MIN),
        (None, None) => (Timestamp::MAX, i64::MAX),
    }
}

/// A fraction counts as the whole number before it, and comes after all that have that: else the
/// row would be met again behind itself.
fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(match row.get_ref(0)? {
        ValueRef::Real(number) => (Timestamp::from_secs(number.floor() as i64), i64::MAX),
        _ => (rows::timestamp(row, 0)?, rows::integer(row, 1)?),
    })
}

/// A row that no id can address can't be listed either.
fn is_wanted(row: &Row<'_>, query: &Query) -> rusqlite::Result<bool> {
    Ok(query.takes(rows::state(row, 2)?, &rows::text(row, 3)?) && rows::id(row, 4)?.is_some())
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Option<Listed>> {
    let Some(id) = rows::id(row, 0)? else { return Ok(None) };
    Ok(Some(Listed {
        id: Id::from_store(id),
        r#type: rows::text(row, 1)?.into(),
        endpoint: rows::text(row, 2)?.into(),
        create_at: rows::timestamp(row, 3)?,
        next_at: rows::timestamp(row, 4)?,
        tried: rows::count(row, 5)?,
        state: rows::state(row, 6)?,
        response: rows::bytes(row, 7)?.map(|response| excerpt(&response)),
    }))
}

pub(super) fn figures(connection: &Connection) -> rusqlite::Result<Figures> {
    let pending: i64 = connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
    let bytes: i64 = connection.prepare_cached(BYTES)?.query_row([], |row| row.get(0))?;
    let heads = reads::heads(connection)?;
    Ok(Figures {
        pending: pending.unsigned_abs(),
        earliest: heads.into_iter().map(|(_, next_at)| next_at).min(),
        bytes: Some(bytes.unsigned_abs()),
    })
}
