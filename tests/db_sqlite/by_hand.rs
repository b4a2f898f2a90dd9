//! Rows that were put in by hand may hold anything, and hold up nothing.

use notify_api::{
    DBDrv, DbError, Id, Lane, State, Timestamp,
    db::{Outcome, Query, Sending, Write, Written, sqlite::Sqlite},
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{claim, place};

/// Rows put in by hand while the server is stopped: sane ones first.
const BY_HAND: &[&str] = &[
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
       values('text content', 'TEST', 'e', '{\"body\":1}', 1, 1)",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, cur_state, tried)
       values('numbers as text', 'TEST', 'e', 'x', '5', '6', '0', '2')",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
       values(42, 'TEST', 7, 3, unixepoch(), unixepoch())",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
       values('dates as text', 'TEST', 'e', 1.5, '2025-01-01', '2025-01-01 12:00')",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, lane)
       values('no lanes', 'TEST', 'e', x'00ff', 1, 1, 'fast')",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, lane)
       values('negative lane', 'TEST', 'e', x'', 1, 1, -1), ('large lane', 'TEST', 'e', x'', 1, 1, 70000),
             ('half a lane', 'TEST', 'e', x'', 1, 1, 1.5), ('blob lane', 'TEST', 'e', x'', 1, 1, x'ff'),
             ('its own lane', 'TEST', 'e', x'', 1, 1, 77)",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried)
       values('negative tries', 'TEST', 'e', '', 1, 1, -5), ('many tries', 'TEST', 'e', '', 1, 1, 1e300),
             ('no tries', 'TEST', 'e', '', 1, 1, 'x'), ('blob tries', 'TEST', 'e', '', 1, 1, x'00')",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, once, epoch)
       values('odd 1', 'TEST', 'e', '', 1, 1, 'yes', 'x'), ('odd 2', 'TEST', 'e', '', 1, 1, x'', -3),
             ('odd 3', 'TEST', 'e', '', 1, 1, 7, 1e30), ('odd 4', 'TEST', 'e', '', 1, 1, 0.5, x'ff')",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
       values('bytes', x'54455354', x'ff', '', x'01', x'02'), ('halves', 'TEST', cast(x'ff' as text), '', 1.5, 2.5),
             ('large times', 'TEST', 'e', '', 1e300, -1e300), ('', 'TEST', '', '', -1, -1),
             ('a' || char(0) || 'b', 'TEST', 'e', '', 1, 1)",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, response)
       values('text response', 'TEST', 'e', '', 1, 1, 'text'), ('number response', 'TEST', 'e', '', 1, 1, 5)",
];

/// Rows that no id can address.
const LOST: &[&str] = &[
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
       values(x'ff', 'TEST', 'e', 'x', 1, 0), (x'61', 'TEST', 'e', 'x', 1, 0),
             (cast(x'6100ff' as text), 'TEST', 'e', 'x', 1, 0), (cast(x'ff' as text), 'TEST', 'e', 'x', 1, 0)",
    "insert into items(notify_id, driver, endpoint, content, create_at, next_at, lane)
       values(x'fe', 'TEST', 'e', 'x', 1, 0, 77)",
];

fn with_rows(statements: &[&str]) -> (Sqlite, TempDir) {
    let (path, directory) = place();
    drop(Sqlite::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    for statement in statements {
        connection.execute_batch(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    (Sqlite::open(&path).unwrap(), directory)
}

/// What the sender does, until nothing of the type is left.
fn deliver_all(db: &Sqlite) -> Vec<String> {
    let none = Sending::default();
    let mut delivered = Vec::new();
    for _round in 0..20 {
        let lanes: Vec<_> =
            db.unassigned(7).unwrap().into_iter().map(|row| (row.id, Lane::named(&row.endpoint))).collect();
        let assigned = lanes.len();
        db.write(&[Write::Assign(lanes)], &none).unwrap();
        let mut batch = Vec::new();
        for (lane, _) in db.heads().unwrap() {
            for item in claim(db, lane).items {
                delivered.push(item.id.as_str().to_owned());
                batch.push(Write::Outcome(Outcome {
                    id: item.id,
                    epoch: item.epoch,
                    lease: 0,
                    tried: item.tried.saturating_add(1),
                    next_at: item.next_at,
                    state: State::Success,
                    response: b"ok".to_vec(),
                    keep_response: false,
                }));
            }
        }
        let answers = db.write(&batch, &none).unwrap();
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Written::Done))), "{answers:?}");
        if assigned == 0 && batch.is_empty() {
            break;
        }
    }
    delivered
}

#[test]
fn rows_put_in_by_hand_are_delivered() {
    let (db, directory) = with_rows(BY_HAND);
    let first = db.detail("text content").unwrap();
    assert_eq!((first.content, first.status.tried), (b"{\"body\":1}".to_vec(), 0));
    assert_eq!(db.detail("42").unwrap().content, b"3");
    assert_eq!(db.result("text response").unwrap().as_deref(), Some(&b"text"[..]));
    assert_eq!(db.status("numbers as text").unwrap().next_at.as_secs(), 6);
    assert_eq!(db.status("negative tries").unwrap().tried, 0);
    assert_eq!(db.status("many tries").unwrap().tried, u32::MAX);
    db.newest().unwrap();
    for limit in [1, 3, 100] {
        assert_eq!(listed(&db, limit), listed(&db, 1_000), "{limit} a page");
    }
    let ids: Vec<String> = Connection::open(directory.path().join("notify.db"))
        .unwrap()
        .prepare("select notify_id from items order by 1")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut delivered = deliver_all(&db);
    delivered.sort();
    assert_eq!(delivered, ids, "each of them once");
    for id in &ids {
        db.detail(id).unwrap();
        db.resend(id, 32, Timestamp::from_secs(5)).unwrap();
    }
    assert_eq!(deliver_all(&db).len(), ids.len(), "and once more");
    db.clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert!(ids.iter().all(|id| matches!(db.status(id), Err(DbError::NotFound)) || id == "large times"));
}

/// The ids of all that are listed, in pages of this size.
fn listed(db: &Sqlite, limit: usize) -> Vec<String> {
    let (mut found, mut query) = (Vec::new(), Query::all(limit));
    loop {
        let page = db.list(&query).unwrap();
        found.extend(page.items.into_iter().map(|item| item.id.as_str().to_owned()));
        assert!(found.len() < 1_000, "it comes to an end");
        match page.next {
            None => return found,
            next => query.after = next,
        }
    }
}

#[test]
fn rows_that_no_id_can_address_hold_up_none() {
    let (db, directory) = with_rows(&[LOST, &BY_HAND[..1]].concat());
    let pending = db.pending(Timestamp::MAX, 32, &["TEST"], &Sending::default()).unwrap();
    assert_eq!(pending.unwrap().id.as_str(), "text content");
    assert!(claim(&db, Lane::from_number(77)).items.is_empty());
    assert_eq!([listed(&db, 1), listed(&db, 100)], [["text content"], ["text content"]]);
    assert_eq!(claim(&db, Lane::NONE).items.len(), 1);
    // One at a time, though the lost ones come first.
    assert_eq!(db.unassigned(1).unwrap()[0].id.as_str(), "text content");
    assert_eq!(deliver_all(&db), ["text content"]);
    let connection = Connection::open(directory.path().join("notify.db")).unwrap();
    let ended = "select count(*) from items where cur_state = 2 and response like '%notify_id%'";
    assert_eq!(connection.query_row(ended, [], |row| row.get::<_, i64>(0)).unwrap(), 4);
    db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert_eq!(
        connection.query_row("select count(*) from items", [], |row| row.get::<_, i64>(0)).unwrap(),
        0
    );
}

#[test]
fn a_final_state_put_in_by_hand_is_final() {
    let (db, _directory) =
        with_rows(&["insert into items(notify_id, driver, endpoint, content, create_at, next_at, cur_state)
           values('one', 'TEST', 'e', 'x', 1, 1, 1), ('nine', 'TEST', 'e', 'x', 1, 1, 9),
                 ('text', 'TEST', 'e', 'x', 1, 1, 'done'), ('blob', 'TEST', 'e', 'x', 1, 1, x'00'),
                 ('half', 'TEST', 'e', 'x', 1, 1, 0.5), ('below', 'TEST', 'e', 'x', 1, 1, -1)"]);
    assert_eq!(db.status("one").unwrap().state, State::Success);
    for id in ["nine", "text", "blob", "half", "below"] {
        assert_eq!(db.status(id).unwrap().state, State::Failed, "{id}");
    }
    assert!(db.heads().unwrap().is_empty() && deliver_all(&db).is_empty());
    let failed = Query { state: Some(State::Failed), ..Query::all(10) };
    let failed: Vec<_> = db.list(&failed).unwrap().items.into_iter().map(|item| item.id).collect();
    assert_eq!(failed.iter().map(Id::as_str).collect::<Vec<_>>(), ["below", "half", "blob", "text", "nine"]);
    db.clear(Timestamp::from_secs(2), &Sending::default()).unwrap();
    assert!(matches!(db.status("text"), Err(DbError::NotFound)));
}
