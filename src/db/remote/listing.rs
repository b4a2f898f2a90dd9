//! Rows newest first, and how many are pending.

use std::collections::HashMap;

use super::{
    backend::{Backend, Failure, Row},
    heads::heads,
    pool::Session,
    sql::Sql,
};
use crate::{
    db::{
        Cursor, Figures, Page, Query,
        listing::{Effort, FEW},
    },
    notification::{EXCERPT_BYTES, Id, Listed, State, Timestamp, excerpt},
};

/// Rows that are looked at in one request, if not all of them are wanted.
const LOOKS: usize = 1_000;

/// Rows that are read in one request.
const READS: usize = 100;

/// Places of a page's rows, which are still to be read.
struct Found {
    rows: Vec<Cursor>,
    next: Option<Cursor>,
}

pub(super) fn page<B: Backend>(session: &mut Session<B>, query: &Query) -> Result<Page, Failure> {
    let found = match query.state {
        Some(state) if state == State::Pending || (state == State::Failed && !B::HAS_FAILED_FIRST) => {
            match few(session, query, state)? {
                Some(found) => found,
                None => scan(session, query)?,
            }
        }
        _ => scan(session, query)?,
    };
    read(session, query, found)
}

/// Goes down an index from the query's cursor.
fn scan<B: Backend>(session: &mut Session<B>, query: &Query) -> Result<Found, Failure> {
    let asked = match (query.state, &query.r#type) {
        (None, None) => query.limit.saturating_add(1).min(LOOKS),
        _ => LOOKS,
    };
    let mut effort = Effort::begin();
    let mut found = Vec::new();
    let mut last = query.after.clone();
    loop {
        let sets = session.request(&newest_first::<B>(query, last.as_ref(), asked))?;
        let rows: Vec<Row> = sets.into_iter().flatten().take(asked).collect();
        let is_all = rows.len() < asked;
        let begun_at = last.clone();
        for mut row in rows {
            if found.len() >= query.limit.max(1) {
                return Ok(Found { next: last, rows: found });
            }
            effort.look();
            let (create_at, state, kind) = (row.timestamp(1), row.state(2), row.text(3));
            let Ok(id) = row.id(0) else { continue };
            let place = Cursor { create_at, id: Some(id), seq: 0 };
            if query.takes(state, &kind) {
                found.push(place.clone());
            }
            last = Some(place);
        }
        // Rows that no id can address don't lead on.
        if is_all || last == begun_at {
            return Ok(Found { rows: found, next: None });
        }
        if effort.is_over() {
            return Ok(Found { rows: found, next: last });
        }
    }
}

/// Two ranges: the rest of the second where the last page ended, and what is before it.
pub(super) fn newest_first<B: Backend>(query: &Query, after: Option<&Cursor>, limit: usize) -> String {
    let select = || {
        let sql = Sql::<B>::new("select notify_id, create_at, cur_state, driver from items where ");
        let is_failed = query.state == Some(State::Failed) && B::HAS_FAILED_FIRST;
        let sql = if is_failed { sql.sql("cur_state not in (0, 1) and ") } else { sql };
        sql.sql("create_at >= ").time(query.since).sql(" and create_at ")
    };
    let limit = format!(" limit {limit}");
    let mut request = String::new();
    let sql = match (after, query.before) {
        (Some(Cursor { create_at, id, .. }), _) => {
            if let Some(id) = id {
                let sql = select().sql("= ").time(*create_at).sql(" and notify_id < ").id(id.as_str());
                request = sql.sql(" order by notify_id desc").sql(&limit).sql(";").done();
            }
            select().sql("< ").time(*create_at)
        }
        (None, Some(before)) => select().sql("< ").time(before),
        (None, None) => select().sql("<= ").time(Timestamp::MAX),
    };
    request.push_str(&sql.sql(" order by create_at desc, notify_id desc").sql(&limit).done());
    request
}

/// All that are in this state, if these are few: else most of the newest rows may be, or they
/// stand among millions of others.
fn few<B: Backend>(session: &mut Session<B>, query: &Query, state: State) -> Result<Option<Found>, Failure> {
    let rows = session.request(&in_state::<B>(state))?.pop().unwrap_or_default();
    if rows.len() > FEW {
        return Ok(None);
    }
    let is_in_range = |at: Timestamp| at >= query.since && query.before.is_none_or(|before| at < before);
    let begin = query.after.as_ref().map(|after| (after.create_at, after.id.as_ref()));
    let mut found: Vec<(Timestamp, Id)> = Vec::new();
    for mut row in rows {
        let (create_at, state, kind) = (row.timestamp(1), row.state(2), row.text(3));
        let Ok(id) = row.id(0) else { continue };
        let is_before = begin.is_none_or(|begin| (create_at, Some(&id)) < begin);
        if is_before && is_in_range(create_at) && query.takes(state, &kind) {
            found.push((create_at, id));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    let more = found.len() > query.limit;
    found.truncate(query.limit.max(1));
    let place = |(create_at, id)| Cursor { create_at, id: Some(id), seq: 0 };
    let rows: Vec<Cursor> = found.into_iter().map(place).collect();
    let next = rows.last().cloned().filter(|_| more);
    Ok(Some(Found { rows, next }))
}

/// The order is that of the index, so that it is the one to go by.
pub(super) fn in_state<B: Backend>(state: State) -> String {
    let sql = Sql::<B>::new("select notify_id, create_at, cur_state, driver from ").sql(B::BY_DUE);
    let sql = match state {
        State::Failed => sql.sql(" where cur_state not in (0, 1)"),
        state => sql.sql(" where cur_state = ").number(state as u8),
    };
    sql.sql(" order by cur_state, lane, next_at limit ").number(FEW as i64 + 1).done()
}

/// Reads the rows at these places, but those that are gone or in another state by now.
fn read<B: Backend>(session: &mut Session<B>, query: &Query, found: Found) -> Result<Page, Failure> {
    let mut page = Page { items: Vec::new(), next: found.next };
    let mut effort = Effort::begin();
    let mut last = None;
    for places in found.rows.chunks(READS) {
        if effort.is_over() && last.is_some() {
            page.next = last;
            break;
        }
        let ids = || places.iter().filter_map(|place| place.id.as_ref());
        let sql = Sql::<B>::new(
            "select notify_id, create_at, next_at, tried, cur_state, driver, endpoint, substr(response, 1, ",
        );
        let sql = sql.number(EXCERPT_BYTES as i64).sql(") from ").sql(B::BY_ID).sql(" where notify_id in ");
        let rows = session.request(&sql.ids(ids().map(Id::as_str)).done())?.pop().unwrap_or_default();
        let mut rows: HashMap<Id, Listed> = rows.into_iter().filter_map(listed::<B>).collect();
        for item in ids().filter_map(|id| rows.remove(id)) {
            if query.takes(item.state, &item.r#type) {
                effort.take(&item);
                page.items.push(item);
            }
        }
        last = places.last().cloned();
    }
    Ok(page)
}

fn listed<B: Backend>(mut row: Row) -> Option<(Id, Listed)> {
    let status = row.status(1);
    let (kind, endpoint) = (row.text(5), row.text(6));
    let response = row.take(7).map(|response| excerpt(&B::read_bytes(response)));
    let id = row.id(0).ok()?;
    let item = Listed {
        id: id.clone(),
        r#type: kind,
        endpoint,
        state: status.state,
        tried: status.tried,
        create_at: status.create_at,
        next_at: status.next_at,
        response,
    };
    Some((id, item))
}

pub(super) fn figures<B: Backend>(session: &mut Session<B>) -> Result<Figures, Failure> {
    let sql = Sql::<B>::new("select count(*) from ").sql(B::BY_DUE).sql(" where cur_state = 0").done();
    let counted = session.request(&sql)?.pop().unwrap_or_default();
    let pending = counted.first().map_or(0, |row| row.integer(0));
    let earliest = heads(session)?.into_iter().map(|(_, next_at)| next_at).min();
    Ok(Figures { pending: pending.unsigned_abs(), earliest, bytes: None })
}
