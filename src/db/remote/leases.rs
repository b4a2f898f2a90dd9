//! Claims: rows are leased by one guarded update, under a random token.
//!
//! Nothing is locked between a look and that update, so it works where rows can't be
//! locked across nodes, or be skipped when they are. Whoever comes second finds the
//! guard false.

use std::collections::HashMap;

use super::{
    backend::{Backend, Failure},
    pool::Session,
    reads,
    sql::Sql,
};
use crate::{
    db::{Claimed, Wanted},
    notification::{Id, Item},
};

/// How long a lease lasts unless it is renewed, in seconds.
const LEASE_SECS: i64 = 60;

/// At most so many rows are claimed at once.
const MAX_CLAIM: usize = 1_000;

/// A token that nobody else has; it fits a signed column, and isn't 0.
pub(super) fn token() -> u64 {
    fastrand::u64(1..=i64::MAX.unsigned_abs())
}

pub(super) fn claim<B: Backend>(
    session: &mut Session<B>,
    wanted: &Wanted<'_>,
    token: u64,
) -> Result<Claimed, Failure> {
    let mut claimed = Claimed::default();
    if wanted.drivers.is_empty() {
        return Ok(claimed);
    }
    let limit = wanted.limit.min(MAX_CLAIM);
    let mut chosen: Vec<Id> = Vec::new();
    let mut bytes = 0;
    for place in reads::line(session, wanted, token, limit + 1)? {
        if place.next_at > wanted.now || chosen.len() >= limit || bytes > wanted.max_bytes {
            claimed.next_at = Some(place.next_at);
            break;
        }
        bytes += place.bytes;
        chosen.push(place.id);
    }
    if !chosen.is_empty() {
        // Those that another node was quicker to lease are missing.
        let mut leased = lease(session, wanted, token, &chosen)?;
        claimed.items = chosen.iter().filter_map(|id| leased.remove(id)).collect();
    }
    Ok(claimed)
}

/// Leases those of the rows that are still due and free, and reads them as they are then.
fn lease<B: Backend>(
    session: &mut Session<B>,
    wanted: &Wanted<'_>,
    token: u64,
    chosen: &[Id],
) -> Result<HashMap<Id, Item>, Failure> {
    let ids = Sql::<B>::new("").ids(chosen.iter().map(Id::as_str)).done();
    let read = Sql::<B>::new("select ").sql(reads::ITEM).sql(" from ").sql(B::BY_ID);
    let read = read.sql(" where notify_id in ").sql(&ids).sql(" and lease_token = ").lease(token).done();
    let sql = format!("{};{read}", update_sql::<B>(wanted, token, &ids));
    let rows = session.request(&sql)?.pop().unwrap_or_default();
    let items = rows.into_iter().filter_map(|row| reads::item::<B>(row, wanted.lane, token));
    Ok(items.map(|item| (item.id.clone(), item)).collect())
}

/// The guarded update. The sum hides the state from indexes: by their ids it's some rows,
/// by the lane it may be a million.
pub(super) fn update_sql<B: Backend>(wanted: &Wanted<'_>, token: u64, ids: &str) -> String {
    let sql = Sql::<B>::new("update ").sql(B::BY_ID).sql(" set lease_token = ").lease(token);
    let sql = sql.sql(", lease_until = ").sql(B::CLOCK).sql(" + ").number(LEASE_SECS);
    let sql = sql.sql(" where notify_id in ").sql(ids).sql(" and cur_state + 0 = 0 and lane = ");
    let sql = sql.number(wanted.lane.number()).sql(" and next_at <= ").time(wanted.now);
    // It may be its own: if the answer was lost, this is done again.
    sql.sql(" and (lease_until <= ").sql(B::CLOCK).sql(" or lease_token = ").lease(token).sql(")").done()
}

pub(super) fn renew<B: Backend>(session: &mut Session<B>, leases: &[(Id, u64)]) -> Result<(), Failure> {
    let sql = Sql::<B>::new("update ").sql(B::BY_ID).sql(" set lease_until = ").sql(B::CLOCK).sql(" + ");
    let sql = sql.number(LEASE_SECS).sql(" where ").leases(leases);
    session.request(&sql.done()).map(drop)
}

pub(super) fn give_back<B: Backend>(session: &mut Session<B>, leases: &[(Id, u64)]) -> Result<(), Failure> {
    let sql = Sql::<B>::new("update ").sql(B::BY_ID).sql(" set lease_token = 0, lease_until = 0 where ");
    session.request(&sql.leases(leases).done()).map(drop)
}
