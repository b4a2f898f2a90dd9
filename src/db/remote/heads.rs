//! When something falls due in each lane, leases considered, and what is due too late.
//!
//! One statement steps through the index from lane to lane and reads each one's first
//! row. Only where that is leased a second look is needed; so the effort grows with the
//! lanes and with what is leased, not with the rows.

use std::collections::BTreeMap;

use super::{
    backend::{Backend, Failure},
    pool::Session,
    sql::Sql,
};
use crate::notification::{Id, Lane, Timestamp};

/// A lane is due when its first free row is, or when a lease ends before that.
pub(super) fn heads<B: Backend>(session: &mut Session<B>) -> Result<Vec<(Lane, Timestamp)>, Failure> {
    let mut heads = BTreeMap::new();
    let mut leased = Vec::new();
    for row in session.request(&first_rows::<B>())?.pop().unwrap_or_default() {
        let (lane, head) = (row.lane(0), row.timestamp(1));
        if row.is_true(2) {
            leased.push(lane);
        }
        heads.insert(lane, head);
    }
    if leased.is_empty() {
        return Ok(heads.into_iter().collect());
    }
    let mut free = BTreeMap::new();
    for row in session.request(&free_rows::<B>(&leased))?.pop().unwrap_or_default() {
        free.insert(row.lane(0), row.timestamp(1));
    }
    for row in session.request(&lease_ends::<B>(&leased, &free))?.pop().unwrap_or_default() {
        let (lane, end) = (row.lane(0), row.timestamp(1));
        let free = free.get(&lane).copied().unwrap_or(Timestamp::MAX);
        // None is left if the leases have ended meanwhile: then it's the row that was found first.
        if row.is_true(2) {
            heads.insert(lane, end.min(free));
        }
    }
    Ok(heads.into_iter().collect())
}

/// Each lane, when its first row is due, and whether that is leased.
pub(super) fn first_rows<B: Backend>() -> String {
    let first = |column: &str| {
        format!(
            "(select {column} from {} where cur_state = 0 and items.lane = lanes.lane order by next_at limit 1)",
            B::BY_DUE
        )
    };
    let leased = format!("case when lease_until > {} then 1 else 0 end", B::CLOCK);
    format!("select lane, {}, {} from {} lanes", first("next_at"), first(&leased), B::LANES)
}

/// How many rows are changed at once.
const SLICE: usize = 500;

/// Rows that were attempted before are due then, if they are due later than `after`. The last
/// row of each lane tells whether it has such rows.
pub(super) fn hasten<B: Backend>(
    session: &mut Session<B>,
    after: Timestamp,
    to: Timestamp,
) -> Result<u64, Failure> {
    let mut hastened = 0;
    let lanes = session.request(&last_rows::<B>())?.pop().unwrap_or_default();
    for lane in lanes.into_iter().filter(|row| row.timestamp(1) > after).map(|row| row.lane(0)) {
        let found = Sql::<B>::new("select notify_id from ").sql(B::BY_DUE);
        let found = found.sql(" where cur_state = 0 and lane = ").number(lane.number());
        let found = found.sql(" and next_at > ").time(after).sql(" and (tried > 0 or once <> 0) limit ");
        let found = found.number(SLICE as i64).done();
        loop {
            let rows = session.request(&found)?.pop().unwrap_or_default();
            let ids: Vec<Id> = rows.into_iter().filter_map(|mut row| row.id(0).ok()).collect();
            if ids.is_empty() {
                break;
            }
            let sql = Sql::<B>::new("update items set next_at = ").time(to).sql(" where notify_id in ");
            let sql =
                sql.ids(ids.iter().map(Id::as_str)).sql(" and cur_state = 0 and next_at > ").time(after);
            session.request(&sql.done())?;
            hastened += ids.len() as u64;
        }
    }
    Ok(hastened)
}

/// Each lane, and when its last row is due.
pub(super) fn last_rows<B: Backend>() -> String {
    format!(
        "select lane, (select next_at from {} where cur_state = 0 and items.lane = lanes.lane \
         order by next_at desc limit 1) from {} lanes",
        B::BY_DUE,
        B::LANES
    )
}

/// The first free row of each of these lanes; of lanes without, none.
fn free_rows<B: Backend>(lanes: &[Lane]) -> String {
    union::<B>(lanes, |sql, lane| {
        sql.sql("select lane, next_at from ")
            .sql(B::BY_DUE)
            .sql(" where cur_state = 0 and lane = ")
            .number(lane.number())
            .sql(" and lease_until <= ")
            .sql(B::CLOCK)
            .sql(" order by next_at limit 1")
    })
}

/// The end of the first lease of each of these lanes, and whether there is one. All rows
/// before the first free one are leased, and no other lease ends before that one is due.
fn lease_ends<B: Backend>(lanes: &[Lane], free: &BTreeMap<Lane, Timestamp>) -> String {
    union::<B>(lanes, |sql, lane| {
        let sql = sql
            .sql("select ")
            .number(lane.number())
            .sql(", min(greatest(next_at, lease_until)), count(*) from ");
        let sql = sql.sql(B::BY_DUE).sql(" where cur_state = 0 and lane = ").number(lane.number());
        let sql = sql.sql(" and lease_until > ").sql(B::CLOCK);
        match free.get(lane) {
            Some(free) => sql.sql(" and next_at < ").time(*free),
            None => sql,
        }
    })
}

fn union<B: Backend>(lanes: &[Lane], select: impl Fn(Sql<B>, &Lane) -> Sql<B>) -> String {
    let mut sql = Sql::new("");
    for (number, lane) in lanes.iter().enumerate() {
        sql = select(sql.sql(if number == 0 { "(" } else { " union all (" }), lane).sql(")");
    }
    sql.done()
}
