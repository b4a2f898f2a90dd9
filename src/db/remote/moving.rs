//! Whole rows, for moving to another database or from one.

use std::collections::HashSet;

use super::{
    backend::{Backend, Failure, Rows},
    plan::{Inserted, Plan},
    pool::Session,
    reads,
    sql::Sql,
    writes,
};
use crate::{
    db::{DbError, Row, Written},
    notification::{Id, Item},
};

/// No more rows are read at once when these have so many bytes: a statement has its time
/// limit, however large the contents are.
const EXPORT_BYTES: i64 = 8 << 20;

/// Looks at the ids and sizes first. Ids that no text can address stay behind, as they
/// can't be addressed anywhere else either.
pub(super) fn export<B: Backend>(
    session: &mut Session<B>,
    after: Option<&Id>,
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    let spell = |id: &[u8]| {
        let mut sql = String::from(" where notify_id > ");
        B::id(&mut sql, id);
        sql
    };
    let mut begin = after.map_or(String::new(), |id| spell(id.as_str().as_bytes()));
    loop {
        let page = page::<B>(session, &begin, limit)?;
        let mut ids: Vec<Id> = Vec::new();
        let mut bytes = 0;
        for mut row in page {
            bytes += row.integer(1);
            if bytes > EXPORT_BYTES && !ids.is_empty() {
                break;
            }
            match row.id(0) {
                Ok(id) => ids.push(id),
                Err(id) => begin = spell(&id),
            }
        }
        // None of them has an id, but others behind them may.
        let is_lost_page = ids.is_empty() && bytes > 0;
        if !is_lost_page {
            return if ids.is_empty() { Ok(Vec::new()) } else { whole(session, &ids) };
        }
    }
}

/// Ids and sizes, in the order of the ids. No row is without a size: its id counts.
fn page<B: Backend>(session: &mut Session<B>, begin: &str, limit: usize) -> Result<Rows, Failure> {
    let sql = Sql::<B>::new(
        "select notify_id, 1 + octet_length(notify_id) + octet_length(content) \
         + coalesce(octet_length(response), 0) from ",
    );
    let sql = sql.sql(B::BY_ID).sql(begin).sql(" order by notify_id limit ");
    let sql = sql.number(i64::try_from(limit).unwrap_or(i64::MAX)).done();
    Ok(session.request(&sql)?.pop().unwrap_or_default())
}

fn whole<B: Backend>(session: &mut Session<B>, ids: &[Id]) -> Result<Vec<Row>, Failure> {
    let sql =
        Sql::<B>::new("select ").sql(reads::ITEM).sql(", lane, cur_state, response from ").sql(B::BY_ID);
    let sql = sql.sql(" where notify_id in ").ids(ids.iter().map(Id::as_str)).sql(" order by notify_id");
    let rows = session.request(&sql.done())?.pop().unwrap_or_default();
    let row = |mut row: super::backend::Row| {
        let (lane, state, response) = (row.lane(9), row.state(10), row.take(11).map(B::read_bytes));
        Some(Row { item: reads::item::<B>(row, lane, 0)?, state, response })
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// Stores rows in one transaction: nearly always none of them exists.
pub(super) fn import<B: Backend>(
    session: &mut Session<B>,
    rows: &[Row],
) -> Result<Vec<Result<(), DbError>>, Failure> {
    let mut ids: Vec<&str> = rows.iter().map(|row| row.item.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut inserted = HashSet::new();
    if ids.len() == rows.len() {
        let new = rows.iter().map(Inserted::moved).collect();
        inserted = writes::insert_all(session, new)?.unwrap_or_default();
    }
    // The others exist: how do they compare?
    ids.retain(|id| !inserted.contains(*id));
    if ids.is_empty() {
        return Ok(rows.iter().map(|_| Ok(())).collect());
    }
    let is_new = |item: &Item| inserted.contains(&item.id);
    let stored = writes::load(session, &ids, false)?;
    let items = rows.iter().map(|row| &row.item).filter(|item| !is_new(item));
    let origins = writes::origins(session, items, &stored)?;
    let mut plan = Plan::new(&ids, stored, &origins);
    let mut answer = |row| match plan.move_in(row) {
        Written::Exists { same: false, .. } => Err(DbError::Exists),
        _ => Ok(()),
    };
    let answers = rows.iter().map(|row| if is_new(&row.item) { Ok(()) } else { answer(row) }).collect();
    writes::commit(session, writes::statements::<B>(&plan.changes()))?;
    Ok(answers)
}
