//! For the tests of each server: a table with rows in many lanes, and the statements
//! whose plans matter.

use super::{backend::Backend, heads, leases, listing, reads, sql::Sql};
use crate::{
    db::{Cursor, DBDrv, Query, Sending, Wanted, Write},
    notification::{Id, Item, Lane, State, Timestamp},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// 5,000 rows in 50 lanes.
pub(in crate::db) fn fill(db: &dyn DBDrv) {
    let item = |n: u16| Item {
        id: Id::from_store(format!("row {n}")),
        r#type: "TEST".into(),
        endpoint: String::new(),
        content: b"null".to_vec(),
        create_at: NOW,
        next_at: NOW,
        tried: 0,
        once: false,
        epoch: 0,
        lease: 0,
        lane: Lane::from_number(i64::from(n % 50 + 1)),
    };
    let rows: Vec<Write> = (0..5_000).map(item).map(Write::Create).collect();
    assert!(db.write(&rows, &Sending::default()).unwrap().iter().all(Result::is_ok));
}

fn with_wanted<T>(work: impl FnOnce(&Wanted<'_>) -> T) -> T {
    let skip = &Sending::default();
    let lane = Lane::from_number(7);
    work(&Wanted { lane, now: NOW, drivers: &["TEST"], skip, max_tries: 32, limit: 10, max_bytes: 1 << 20 })
}

/// The head of a lane.
pub(in crate::db) fn line<B: Backend>() -> String {
    with_wanted(|wanted| reads::line_sql::<B>(wanted, 7, 10))
}

pub(in crate::db) fn heads<B: Backend>() -> String {
    heads::first_rows::<B>()
}

pub(in crate::db) fn last_rows<B: Backend>() -> String {
    heads::last_rows::<B>()
}

pub(in crate::db) fn lease<B: Backend>() -> String {
    let chosen: Vec<Id> = (0..10).map(|n| Id::from_store(format!("row {n}"))).collect();
    let ids = Sql::<B>::new("").ids(chosen.iter().map(Id::as_str)).done();
    with_wanted(|wanted| leases::update_sql::<B>(wanted, 7, &ids))
}

/// A later page, of rows in this state or in any.
pub(in crate::db) fn newest_first<B: Backend>(state: Option<State>) -> Vec<String> {
    let query = Query { state, ..Query::all(10) };
    let after = Cursor { create_at: NOW, id: Some(Id::from_store("row 7")), seq: 0 };
    listing::newest_first::<B>(&query, Some(&after), 10).split(';').map(str::to_owned).collect()
}

/// All rows in a state.
pub(in crate::db) fn in_state<B: Backend>(state: State) -> String {
    listing::in_state::<B>(state)
}
