//! Clearing in slices: a million rows must not hold up a write.

use super::{
    backend::{Backend, Failure, Rows},
    pool::Session,
    sql::Sql,
};
use crate::{
    db::{Clear, Cleared, Cursor, Scope, Sending},
    notification::Id,
};

/// Rows deleted by one slice: some milliseconds.
const DELETES: usize = 500;

/// Rows looked at by one slice, so that one that finds nothing is short too.
const LOOKS: usize = 2_000;

/// Two ranges: the rest of the second where the last slice ended, and what follows it.
fn old<B: Backend>(session: &mut Session<B>, clear: &Clear) -> Result<Rows, Failure> {
    let select = || {
        let sql = Sql::<B>::new("select notify_id, create_at, cur_state, case when lease_until > ");
        sql.sql(B::CLOCK).sql(" then 1 else 0 end from items where create_at ")
    };
    let limit = format!(" limit {LOOKS}");
    let mut request = String::new();
    let mut begin = (clear.since, ">= ");
    if let Some(Cursor { create_at, id: Some(id), .. }) = &clear.cursor {
        let sql = select().sql("= ").time(*create_at).sql(" and notify_id > ").id(id.as_str());
        request = sql.sql(" order by notify_id").sql(&limit).sql(";").done();
        begin = (*create_at, "> ");
    }
    let sql = select().sql(begin.1).time(begin.0).sql(" and create_at < ").time(clear.before);
    request.push_str(&sql.sql(" order by create_at, notify_id").sql(&limit).done());
    let sets = session.request(&request)?;
    Ok(sets.into_iter().flatten().take(LOOKS).collect())
}

pub(super) fn slice<B: Backend>(
    session: &mut Session<B>,
    clear: &Clear,
    sending: &Sending,
) -> Result<Cleared, Failure> {
    let mut looked = 0;
    let mut doomed: Vec<Id> = Vec::new();
    let mut cursor = clear.cursor.clone();
    for mut row in old(session, clear)? {
        if doomed.len() == DELETES {
            break;
        }
        looked += 1;
        let (create_at, state, is_leased) = (row.timestamp(1), row.state(2), row.is_true(3));
        let Ok(id) = row.id(0) else { continue };
        cursor = Some(Cursor { create_at, id: Some(id.clone()), seq: 0 });
        if !is_leased && !sending.contains(id.as_str()) && clear.scope.takes(state) {
            doomed.push(id);
        }
    }
    if !doomed.is_empty() {
        // What was resent, leased or ended otherwise since is left.
        let sql = Sql::<B>::new("delete from items where notify_id in ").ids(doomed.iter().map(Id::as_str));
        let sql = sql.sql(" and lease_until <= ").sql(B::CLOCK);
        let still = match clear.scope {
            Scope::All => "",
            Scope::Finished => " and cur_state <> 0",
            Scope::Success => " and cur_state = 1",
            Scope::Failed => " and cur_state not in (0, 1)",
        };
        session.request(&sql.sql(still).done())?;
    }
    // A page of rows that no id can address would be the next one too.
    let is_stuck = cursor == clear.cursor;
    let is_over = is_stuck || (looked < LOOKS && doomed.len() < DELETES);
    let rest = (!is_over).then(|| Clear { cursor, ..clear.clone() });
    Ok(Cleared { removed: doomed.len(), rest })
}
