//! The statements that read.

use super::{
    backend::{Backend, Failure, Row, Rows},
    heads::heads,
    pool::Session,
    sql::Sql,
};
use crate::{
    db::{Sending, Unassigned, Wanted},
    notification::{Detail, Id, Item, Lane, Status, Timestamp},
};

/// A clock that stood beyond the year 9999 was wrong.
const NEWEST: &str =
    "select create_at from items where create_at < 253402300800 order by create_at desc limit 1";

const PING: &str = "select 1 from items limit 1";

fn first<B: Backend>(session: &mut Session<B>, sql: &str) -> Result<Option<Row>, Failure> {
    Ok(all(session, sql)?.into_iter().next())
}

fn all<B: Backend>(session: &mut Session<B>, sql: &str) -> Result<Rows, Failure> {
    Ok(session.request(sql)?.pop().unwrap_or_default())
}

/// A condition: a row is found by its id.
fn by_id<B: Backend>(columns: &str, id: &str) -> String {
    Sql::<B>::new("select ").sql(columns).sql(" from items where notify_id = ").id(id).done()
}

pub(super) fn result<B: Backend>(
    session: &mut Session<B>,
    id: &str,
) -> Result<Option<Option<Vec<u8>>>, Failure> {
    let row = first(session, &by_id::<B>("response", id))?;
    Ok(row.map(|mut row| row.take(0).map(B::read_bytes)))
}

pub(super) fn status<B: Backend>(session: &mut Session<B>, id: &str) -> Result<Option<Status>, Failure> {
    let row = first(session, &by_id::<B>("create_at, next_at, tried, cur_state", id))?;
    Ok(row.map(|row| row.status(0)))
}

pub(super) fn detail<B: Backend>(session: &mut Session<B>, id: &str) -> Result<Option<Detail>, Failure> {
    let columns = "create_at, next_at, tried, cur_state, driver, endpoint, content, response";
    let row = first(session, &by_id::<B>(columns, id))?;
    Ok(row.map(|mut row| Detail {
        status: row.status(0),
        r#type: row.text(4),
        endpoint: row.text(5),
        content: B::read_bytes(row.take(6).unwrap_or_default()),
        response: row.take(7).map(B::read_bytes),
    }))
}

pub(super) fn newest<B: Backend>(session: &mut Session<B>) -> Result<Option<Timestamp>, Failure> {
    Ok(first(session, NEWEST)?.map(|row| row.timestamp(0)))
}

pub(super) fn ping<B: Backend>(session: &mut Session<B>) -> Result<(), Failure> {
    session.request(PING).map(drop)
}

pub(super) fn count_pending<B: Backend>(session: &mut Session<B>, limit: usize) -> Result<usize, Failure> {
    let sql = Sql::<B>::new("select count(*) from (select 1 from ").sql(B::BY_DUE);
    let sql = sql.sql(" where cur_state = 0 limit ").number(i64::try_from(limit).unwrap_or(i64::MAX));
    let counted = first(session, &sql.sql(") counted").done())?;
    Ok(counted.map_or(0, |row| usize::try_from(row.integer(0)).unwrap_or(0)))
}

/// A row of a lane, in the order of `next_at`.
pub(super) struct Place {
    pub(super) next_at: Timestamp,
    pub(super) id: Id,
    /// How large its content is.
    pub(super) bytes: usize,
    tried: u32,
    once: bool,
}

/// The first rows of a lane, due or not, of these types, that are neither leased
/// (unless under that token) nor to be skipped; at most so many. `limit` is a number
/// that may be asked for.
pub(super) fn line<B: Backend>(
    session: &mut Session<B>,
    wanted: &Wanted<'_>,
    lease: u64,
    limit: usize,
) -> Result<Vec<Place>, Failure> {
    let mut asked = limit;
    loop {
        let rows = all(session, &line_sql::<B>(wanted, lease, asked))?;
        let is_all = rows.len() < asked;
        let places = rows.into_iter().filter_map(|mut row| {
            let place = Place {
                next_at: row.timestamp(1),
                bytes: usize::try_from(row.integer(2)).unwrap_or(0),
                tried: row.count(3),
                once: row.is_true(4),
                id: row.id(0).ok()?,
            };
            (!wanted.skip.contains(place.id.as_str())).then_some(place)
        });
        let places: Vec<Place> = places.take(limit).collect();
        if is_all || places.len() == limit {
            return Ok(places);
        }
        // What this process has claimed is leased, and so isn't among them: this is rare.
        asked *= 2;
    }
}

pub(super) fn line_sql<B: Backend>(wanted: &Wanted<'_>, lease: u64, limit: usize) -> String {
    Sql::<B>::new("select notify_id, next_at, octet_length(content), tried, once from ")
        .sql(B::BY_DUE)
        .sql(" where cur_state = 0 and lane = ")
        .number(wanted.lane.number())
        .sql(" and ")
        .sql(B::DRIVER)
        .sql(" in (")
        .list(wanted.drivers, |sql, driver| sql.text(driver))
        .sql(") and (lease_until <= ")
        .sql(B::CLOCK)
        .sql(" or lease_token = ")
        .lease(lease)
        .sql(") order by next_at limit ")
        .number(limit as i64)
        .done()
}

/// The oldest one that is due in any lane: the lanes' heads tell where to look.
pub(super) fn pending<B: Backend>(
    session: &mut Session<B>,
    now: Timestamp,
    max_tries: u32,
    drivers: &[&str],
    sending: &Sending,
) -> Result<Option<Item>, Failure> {
    if drivers.is_empty() {
        return Ok(None);
    }
    let mut heads = heads(session)?;
    heads.sort_unstable_by_key(|(_, next_at)| *next_at);
    let mut oldest: Option<(Timestamp, Lane, Id)> = None;
    for (lane, head) in heads {
        if head > oldest.as_ref().map_or(now, |(best, ..)| *best) {
            break;
        }
        let wanted = Wanted { lane, now, drivers, skip: sending, max_tries, limit: 0, max_bytes: 0 };
        let mut limit = 1;
        let found = loop {
            let line = line(session, &wanted, 0, limit)?;
            let is_all = line.len() < limit;
            let has_attempts = |place: &Place| place.once || place.tried < max_tries;
            if let Some(place) = line.into_iter().find(has_attempts) {
                break Some(place);
            }
            if is_all {
                break None;
            }
            limit *= 4;
        };
        let best = oldest.as_ref().map_or(now, |(best, ..)| *best);
        if let Some(place) =
            found.filter(|place| place.next_at < best || (oldest.is_none() && place.next_at <= now))
        {
            oldest = Some((place.next_at, lane, place.id));
        }
    }
    let Some((_, lane, id)) = oldest else { return Ok(None) };
    let mut rows = all(session, &by_id::<B>(ITEM, id.as_str()))?;
    Ok(rows.pop().and_then(|row| item::<B>(row, lane, 0)))
}

pub(super) const ITEM: &str = "notify_id, driver, endpoint, content, create_at, next_at, tried, once, epoch";

/// A row of [`ITEM`].
pub(super) fn item<B: Backend>(mut row: Row, lane: Lane, lease: u64) -> Option<Item> {
    Some(Item {
        r#type: row.text(1),
        endpoint: row.text(2),
        content: B::read_bytes(row.take(3).unwrap_or_default()),
        create_at: row.timestamp(4),
        next_at: row.timestamp(5),
        tried: row.count(6),
        once: row.is_true(7),
        epoch: row.count(8),
        id: row.id(0).ok()?,
        lane,
        lease,
    })
}

/// Rows without a lane, and the ids of those among them that no text can address.
pub(super) fn unassigned<B: Backend>(
    session: &mut Session<B>,
    limit: usize,
) -> Result<(Vec<Unassigned>, Vec<Vec<u8>>), Failure> {
    let sql = Sql::<B>::new("select notify_id, driver, endpoint, next_at from ").sql(B::BY_DUE);
    let sql = sql.sql(" where cur_state = 0 and lane = 0 order by next_at limit ");
    let rows = all(session, &sql.number(i64::try_from(limit).unwrap_or(i64::MAX)).done())?;
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for mut row in rows {
        match row.id(0) {
            Ok(id) => found.push(Unassigned {
                id,
                r#type: row.text(1),
                endpoint: row.text(2),
                next_at: row.timestamp(3),
            }),
            Err(bytes) => lost.push(bytes),
        }
    }
    Ok((found, lost))
}

/// Ends rows that no text can address: they would stand at the head of the line for ever.
pub(super) fn give_up<B: Backend>(session: &mut Session<B>, ids: &[Vec<u8>]) -> Result<(), Failure> {
    let spell = |id: &Vec<u8>| {
        let mut sql = String::new();
        B::id(&mut sql, id);
        sql
    };
    let ids: Vec<String> = ids.iter().map(spell).collect();
    let sql = Sql::<B>::new("update items set cur_state = 2, response = coalesce(response, ")
        .bytes(b"its notify_id is not a text in UTF-8")
        .sql(") where cur_state = 0 and lane = 0 and notify_id in (")
        .sql(&ids.join(","));
    session.request(&sql.sql(")").done()).map(drop)
}
