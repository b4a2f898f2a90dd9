//! What only the inside can show: plans, pragmas, and a disk that is full.

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Sqlite, clear, listing, reads, writes};
use crate::{
    db::{DBDrv, DbError, Sending, Write, Written},
    notification::{Id, Item, Lane, Timestamp},
};

fn fresh() -> (Sqlite, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Sqlite::open(directory.path().join("notify.db")).unwrap(), directory)
}

fn item(id: &str, bytes: usize) -> Item {
    Item {
        id: Id::new(id).unwrap(),
        r#type: "TEST".into(),
        endpoint: String::new(),
        content: vec![b'x'; bytes],
        create_at: Timestamp::from_secs(1),
        next_at: Timestamp::from_secs(1),
        tried: 0,
        once: false,
        epoch: 0,
        lease: 0,
        lane: Lane::named("test"),
    }
}

/// The steps of a statement's plan, one a line.
fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("explain query plan {sql}")).unwrap();
    // Raw, since a plan needs no values for the parameters.
    let steps: Vec<String> =
        statement.raw_query().mapped(|row| row.get("detail")).map(Result::unwrap).collect();
    steps.join("\n")
}

#[test]
fn every_statement_goes_by_an_index_and_none_sorts() {
    let (db, _directory) = fresh();
    let by_id = "SEARCH items USING INDEX sqlite_autoindex_items_1 (notify_id=?)";
    let by_seq = "SEARCH items USING INTEGER PRIMARY KEY (rowid=?)";
    let expected = [
        (writes::STORED, by_id),
        (writes::OUTCOME, by_id),
        (writes::RESPONSE, by_id),
        (writes::UPDATE, by_id),
        (writes::RESEND, by_id),
        (writes::DELETE, by_id),
        (writes::ASSIGN, by_id),
        (writes::HOLD, by_id),
        (writes::GIVE_UP, by_seq),
        (writes::RELEASE, "SEARCH items USING COVERING INDEX items_due (lane=? AND next_at=?)"),
        (writes::HASTEN, by_seq),
        (writes::HASTEN, "SEARCH items USING COVERING INDEX items_due (lane=? AND next_at>?)"),
        (reads::RESULT, by_id),
        (reads::STATUS, by_id),
        (reads::DETAIL, by_id),
        (reads::CONTENT, by_seq),
        (reads::LINE, "SEARCH items USING INDEX items_due (lane=?)"),
        (reads::UNASSIGNED, "SEARCH items USING INDEX items_due (lane=?)"),
        (reads::HEADS, "SEARCH items USING COVERING INDEX items_due (lane>?)"),
        (reads::NEWEST, "SEARCH items USING COVERING INDEX items_created (create_at<?)"),
        (clear::OLD, "SEARCH items USING INDEX items_created (create_at=? AND rowid>?)"),
        (clear::DELETE, by_seq),
        (listing::NEWEST_FIRST, "SEARCH items USING INDEX items_created (create_at=? AND rowid<?)"),
        (listing::FAILED_FIRST, "SEARCH items USING INDEX items_failed (create_at=? AND rowid<?)"),
        (listing::FAILED_FIRST, "SEARCH items USING INDEX items_failed (create_at>? AND create_at<?)"),
        (listing::ROW, by_seq),
    ];
    let connection = db.reader().unwrap();
    for (sql, step) in expected {
        let plan = plan(&connection, sql);
        assert!(plan.contains(step), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        assert!(!plan.contains("SCAN items"), "{sql}\n{plan}");
    }
    // These read a whole index, which has the pending rows only.
    for (sql, step) in [
        (listing::PENDING, "SCAN items USING INDEX items_due"),
        (listing::COUNT, "SCAN items USING COVERING INDEX items_due"),
    ] {
        assert_eq!(plan(&connection, sql), step, "{sql}");
    }
}

#[test]
fn every_connection_is_set_up() {
    let (db, _directory) = fresh();
    let check = |connection: &Connection| {
        let number =
            |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), 2, "full");
        assert_eq!(number("page_size"), 2048);
        assert!((1_000..10_000).contains(&number("busy_timeout")));
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    };
    check(&db.writer());
    let readers: Vec<_> = (0..4).map(|_| db.reader().unwrap()).collect();
    for reader in &readers {
        check(reader);
        reader.execute("delete from items", []).expect_err("a reader must not write");
    }
}

#[test]
fn a_full_disk_fails_the_whole_batch_and_is_got_over() {
    let (db, _directory) = fresh();
    let batch = |name: &str, bytes: usize| {
        let create = |n| Write::Create(item(&format!("{name}{n}"), if n == 2 { bytes } else { 1 }));
        db.write(&(0..4).map(create).collect::<Vec<_>>(), &Sending::default())
    };
    let pages: i64 = db.writer().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |pages: i64| {
        db.writer().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(pages + 10);
    let error = batch("first", 1 << 20).unwrap_err();
    assert!(matches!(error, DbError::Unavailable(_)));
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(db.writer().is_autocommit());
    assert!(matches!(db.status("first0"), Err(DbError::NotFound)), "nothing of it was written");

    let answers = batch("second", 1).expect("what fits is stored");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Written::Done))));
    limit(1 << 30);
    batch("first", 1 << 20).expect("there is room again");
    assert_eq!(db.detail("first2").unwrap().content.len(), 1 << 20);
}

#[test]
fn a_transaction_left_open_is_rolled_back() {
    let (db, _directory) = fresh();
    db.writer().execute_batch("begin immediate").unwrap();
    db.create(&item("next", 1)).unwrap();
    assert!(db.writer().is_autocommit());
    assert!(db.status("next").is_ok());
}

#[test]
fn a_panic_in_the_writer_leaves_nothing_behind() {
    let (db, _directory) = fresh();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        db.transact(|writer| -> Result<(), DbError> {
            writes::create(&mut writes::Statements::of(writer), &item("half", 1))?;
            panic!("in the middle");
        })
    }));
    assert!(panicked.is_err());
    assert!(matches!(db.status("half"), Err(DbError::NotFound)));
    db.create(&item("half", 1)).unwrap();
}

#[test]
fn a_row_that_a_trigger_refuses_harms_no_other() {
    let (db, _directory) = fresh();
    let trigger = |action: &str| {
        db.writer()
            .execute_batch(&format!(
                "drop trigger if exists picky; create trigger picky before insert on items \
                 when new.notify_id = 'bad' begin select raise({action}, 'no'); end"
            ))
            .unwrap();
    };
    let batch = ["good", "bad", "fine"].map(|id| Write::Create(item(id, 1)));
    trigger("abort");
    let answers = db.write(&batch, &Sending::default()).unwrap();
    assert!(matches!(answers[..], [Ok(Written::Done), Err(DbError::Refused(_)), Ok(Written::Done)]));
    trigger("rollback");
    let batch = ["again", "bad", "more"].map(|id| Write::Create(item(id, 1)));
    assert!(matches!(db.write(&batch, &Sending::default()), Err(DbError::Unavailable(_))));
    assert!(matches!(db.status("again"), Err(DbError::NotFound)));
    assert!(db.status("good").is_ok());
}

#[test]
fn reads_do_not_wait_for_the_writer() {
    let (db, _directory) = fresh();
    db.create(&item("one", 1)).unwrap();
    let writer = db.writer();
    writer.execute_batch("begin immediate; delete from items").unwrap();
    assert!(db.status("one").is_ok());
    writer.execute_batch("rollback").unwrap();
}
