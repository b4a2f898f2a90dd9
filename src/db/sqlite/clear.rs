//! Clearing in slices: a million rows must not hold up a write.

use rusqlite::{Connection, params};

use super::rows;
use crate::db::{Clear, Cleared, Cursor, Sending};

/// Rows deleted by one slice: some milliseconds.
const DELETES: usize = 500;

/// Rows looked at by one slice, so that one that finds nothing is short too.
const LOOKS: usize = 2_000;

// Two ranges, since SQLite would scan a whole second for "(create_at, seq) > (?, ?)".
pub(super) const OLD: &str = "select create_at, seq, notify_id, cur_state from items indexed by items_created \
     where create_at = ?2 and seq > ?3 and create_at < ?1 \
     union all \
     select create_at, seq, notify_id, cur_state from items indexed by items_created \
     where create_at > ?2 and create_at < ?1 \
     order by create_at, seq";

pub(super) const DELETE: &str = "delete from items where seq = ?1";

pub(super) fn slice(connection: &Connection, clear: &Clear, sending: &Sending) -> rusqlite::Result<Cleared> {
    let begin = clear.cursor.as_ref().map(|cursor| (cursor.create_at, cursor.seq));
    let (mut created, mut seq) = begin.unwrap_or((clear.since, i64::MIN));
    let mut looked = 0;
    let mut doomed = Vec::new();
    let mut statement = connection.prepare_cached(OLD)?;
    let mut rows = statement.query(params![clear.before.as_secs(), created.as_secs(), seq])?;
    while looked < LOOKS && doomed.len() < DELETES {
        let Some(row) = rows.next()? else { break };
        looked += 1;
        (created, seq) = (rows::timestamp(row, 0)?, rows::integer(row, 1)?);
        let is_sent = rows::id(row, 2)?.is_some_and(|id| sending.contains(id));
        if !is_sent && clear.scope.takes(rows::state(row, 3)?) {
            doomed.push(seq);
        }
    }
    let is_over = looked < LOOKS && doomed.len() < DELETES;
    drop(rows);
    let mut delete = connection.prepare_cached(DELETE)?;
    for seq in &doomed {
        delete.execute([seq])?;
    }
    let cursor = Some(Cursor { create_at: created, seq, id: None });
    let rest = (!is_over).then(|| Clear { cursor, ..clear.clone() });
    Ok(Cleared { removed: doomed.len(), rest })
}
