//! Whole rows, for moving to another database or from one.

use rusqlite::{Connection, params};

use super::{
    rows::{self, failed},
    writes::{self, Statements},
};
use crate::{
    db::{DbError, Row, Written},
    notification::{Id, Item, Lane},
};

// Ids that are no text can't be addressed here, nor anywhere else: they stay behind.
const EXPORT: &str = "select notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state, once, \
     epoch, lane, response from items where notify_id > ?1 and typeof(notify_id) = 'text' \
     order by notify_id limit ?2";

/// No more rows are read at once when these have so many bytes.
const EXPORT_BYTES: usize = 8 << 20;

const RESTORE: &str = "update items set cur_state = ?2, response = ?3 where notify_id = ?1";

pub(super) fn export(connection: &Connection, after: &str, limit: usize) -> rusqlite::Result<Vec<Row>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut statement = connection.prepare_cached(EXPORT)?;
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let Some(id) = rows::id(row, 0)? else { continue };
        let item = Item {
            id: Id::from_store(id),
            r#type: rows::text(row, 1)?.into(),
            endpoint: rows::text(row, 2)?.into(),
            content: rows::bytes(row, 3)?.unwrap_or_default().into(),
            create_at: rows::timestamp(row, 4)?,
            next_at: rows::timestamp(row, 5)?,
            tried: rows::count(row, 6)?,
            once: rows::integer(row, 8)? != 0,
            epoch: rows::count(row, 9)?,
            lease: 0,
            lane: Lane::from_number(rows::integer(row, 10)?),
        };
        let response: Option<Vec<u8>> = rows::bytes(row, 11)?.map(Into::into);
        bytes += item.content.len() + response.as_ref().map_or(0, Vec::len);
        found.push(Row { item, state: rows::state(row, 7)?, response });
        if bytes > EXPORT_BYTES {
            break;
        }
    }
    Ok(found)
}

/// What is refused is an answer; what makes the whole transaction fail is an error.
pub(super) fn import(connection: &Connection, row: &Row) -> Result<Result<(), DbError>, DbError> {
    match writes::create_or_compare(&mut Statements::of(connection), &row.item) {
        Ok(Written::Exists { same: true, .. }) => Ok(Ok(())),
        Ok(Written::Exists { .. }) => Ok(Err(DbError::Exists)),
        Ok(_) => {
            let restored = connection.prepare_cached(RESTORE).and_then(|mut statement| {
                statement.execute(params![row.item.id.as_str(), row.state as u8, row.response])
            });
            restored.map(|_| Ok(())).map_err(failed)
        }
        Err(DbError::Unavailable(reason)) => Err(DbError::Unavailable(reason)),
        Err(refused) => Ok(Err(refused)),
    }
}
