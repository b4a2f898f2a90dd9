//! SQLite: the suite of all databases, and what only a file has to do.
#![cfg(feature = "sqlite")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use notify_api::{
    DBDrv, Id, Item, Lane, State, Timestamp,
    db::{
        Claimed, Query, Sending, Wanted,
        sqlite::{OpenError, Sqlite},
    },
};
use rusqlite::Connection;
use tempfile::TempDir;

#[path = "db_sqlite/by_hand.rs"]
mod by_hand;

mod conformance {
    notify_api::dbdrv_conformance!(super::fresh);
}

fn fresh() -> (Sqlite, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Sqlite::open(directory.path().join("notify.db")).unwrap(), directory)
}

/// A place for a file that doesn't exist yet.
fn place() -> (PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (directory.path().join("notify.db"), directory)
}

fn item(id: &str) -> Item {
    Item {
        id: Id::new(id).unwrap(),
        r#type: "TEST".into(),
        endpoint: "somewhere".into(),
        content: b"\"x\"".to_vec(),
        create_at: Timestamp::from_secs(1_000),
        next_at: Timestamp::from_secs(1_000),
        tried: 0,
        once: false,
        epoch: 0,
        lease: 0,
        lane: Lane::named("somewhere"),
    }
}

fn claim(db: &Sqlite, lane: Lane) -> Claimed {
    db.claim(&Wanted {
        lane,
        now: Timestamp::from_secs(1 << 40),
        drivers: &["TEST"],
        skip: &Sending::default(),
        max_tries: 32,
        limit: 1_000,
        max_bytes: usize::MAX,
    })
    .unwrap()
}

/// Why that can't be opened: one line that names the file.
fn refusal(path: &Path) -> OpenError {
    let error = Sqlite::open(path).expect_err("it must not open");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line:?}");
    assert!(line.contains(path.file_name().unwrap().to_str().unwrap()), "{line:?}");
    error
}

#[test]
fn a_missing_directory_is_named() {
    let (path, _directory) = place();
    let path = path.parent().unwrap().join("missing/notify.db");
    assert!(matches!(refusal(&path), OpenError::NoDirectory { .. }));
    assert!(!path.parent().unwrap().exists(), "it isn't made up");
}

#[test]
fn what_is_no_place_for_a_file_is_refused() {
    let (path, directory) = place();
    fs::write(&path, "a file").unwrap();
    assert!(matches!(refusal(&path.join("notify.db")), OpenError::Io { .. }));
    assert!(matches!(refusal(directory.path()), OpenError::Io { .. }));
    assert!(matches!(refusal(Path::new("/dev/null")), OpenError::Io { .. }));
    refusal(Path::new("/proc/notify.db"));
}

#[cfg(unix)]
#[test]
fn what_can_not_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (path, directory) = place();
    drop(Sqlite::open(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    // Nothing is forbidden to root.
    if fs::File::options().write(true).open(&path).is_ok() {
        return;
    }
    assert!(matches!(refusal(&path), OpenError::NotWritable { .. }));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(refusal(&directory.path().join("new.db")), OpenError::NotWritable { .. }));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let (path, _directory) = place();
    let text = "not a database, but long enough to hold the header of one. ".repeat(50);
    fs::write(&path, &text).unwrap();
    assert!(matches!(refusal(&path), OpenError::NotADatabase { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    for tables in [
        "create table bookmarks(url text)",
        "create table bookmarks(url text); pragma user_version = 1",
        "create table items(name text, price integer)",
        "create table items(name text, price integer); pragma user_version = 1",
    ] {
        let (path, _directory) = place();
        Connection::open(&path).unwrap().execute_batch(tables).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Foreign { .. }), "{tables}: {error}");
        let count: i64 = Connection::open(&path)
            .unwrap()
            .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 1, "{tables}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    for version in [2, 99, -1] {
        let (path, _directory) = place();
        let db = Sqlite::open(&path).unwrap();
        db.create(&item("kept")).unwrap();
        drop(db);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        match refusal(&path) {
            OpenError::Newer { found, known: 1, .. } => assert_eq!(found, version),
            other => panic!("{other}"),
        }
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
        assert!(Sqlite::open(&path).unwrap().status("kept").is_ok());
    }
}

#[test]
fn one_at_a_time_owns_the_file_by_whatever_name() {
    let (path, directory) = place();
    let db = Sqlite::open(&path).unwrap();
    assert!(matches!(refusal(&path), OpenError::Locked { .. }));
    let detour = directory.path().join("../").join(directory.path().file_name().unwrap()).join("notify.db");
    assert!(matches!(refusal(&detour), OpenError::Locked { .. }));
    #[cfg(unix)]
    {
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink("notify.db", &link).unwrap();
        assert!(matches!(refusal(&link), OpenError::Locked { .. }));
    }
    db.create(&item("still works")).unwrap();
    drop(db);
    assert!(directory.path().join("notify.db.lock").exists(), "the file means nothing by itself");
    assert!(Sqlite::open(&path).unwrap().status("still works").is_ok());
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_makes_the_file_it_names() {
    let (path, directory) = place();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink("notify.db", &link).unwrap();
    let _db = Sqlite::open(&link).unwrap();
    assert!(matches!(refusal(&path), OpenError::Locked { .. }));
}

#[cfg(unix)]
#[test]
fn its_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let (db, directory) = fresh();
    db.create(&item("one")).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["notify.db", "notify.db-shm", "notify.db-wal", "notify.db.lock"]);
}

#[test]
fn a_path_is_nothing_but_a_path() {
    let directory = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:a?mode=memory", "a b'\"%.db", "ünï.db", "x?y#z"] {
        let path = directory.path().join(name);
        Sqlite::open(&path).unwrap().create(&item("kept")).unwrap();
        assert!(Sqlite::open(&path).unwrap().status("kept").is_ok(), "{name}");
        assert!(path.exists(), "{name}");
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let (path, _directory) = place();
    let db = Sqlite::open(&path).unwrap();
    let made = Item { tried: 3, epoch: 5, ..item("waits") };
    db.create(&made).unwrap();
    db.create(&item("done")).unwrap();
    db.update("done", 1, Timestamp::from_secs(2_000), State::Success, b"\0answer").unwrap();
    let before = db.detail("done").unwrap();
    db.close();
    drop(db);
    let db = Sqlite::open(&path).unwrap();
    assert_eq!(db.detail("done").unwrap(), before);
    assert_eq!(claim(&db, made.lane).items, [made]);
}

#[test]
fn what_was_committed_outlives_a_crash() {
    let (db, directory) = fresh();
    for number in 0..50 {
        db.create(&item(&format!("row {number}"))).unwrap();
    }
    // What a power cut would leave: the files as they are, without a close.
    let after = tempfile::tempdir().unwrap();
    for name in ["notify.db", "notify.db-wal"] {
        fs::copy(directory.path().join(name), after.path().join(name)).unwrap();
    }
    let survivor = Sqlite::open(after.path().join("notify.db")).unwrap();
    assert_eq!(claim(&survivor, Lane::named("somewhere")).items.len(), 50);
}

#[test]
fn a_file_that_was_being_made_opens() {
    for made in ["", "pragma page_size = 2048; pragma journal_mode = wal"] {
        let (path, _directory) = place();
        fs::write(&path, "").unwrap();
        Connection::open(&path).unwrap().execute_batch(made).unwrap();
        let db = Sqlite::open(&path).unwrap();
        db.create(&item("one")).unwrap();
        let page_size: i64 =
            Connection::open(&path).unwrap().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        assert_eq!(page_size, 2048);
    }
}

#[test]
fn a_table_that_was_dumped_and_read_in_opens() {
    let (path, directory) = place();
    let db = Sqlite::open(&path).unwrap();
    db.create(&item("kept")).unwrap();
    drop(db);
    // A dump has the tables and rows, but neither the version nor, here, the indexes.
    let copy = directory.path().join("copy.db");
    let connection = Connection::open(&path).unwrap();
    let table: String = connection
        .query_row("select sql from sqlite_schema where name = 'items'", [], |row| row.get(0))
        .unwrap();
    let from = path.to_str().unwrap();
    Connection::open(&copy)
        .unwrap()
        .execute_batch(&format!("attach '{from}' as old; {table}; insert into items select * from old.items"))
        .unwrap();
    let db = Sqlite::open(&copy).unwrap();
    assert_eq!(claim(&db, Lane::named("somewhere")).items, [item("kept")]);
}

#[test]
fn an_older_file_gets_what_it_lacks() {
    let (path, _directory) = place();
    let db = Sqlite::open(&path).unwrap();
    db.create(&item("failed")).unwrap();
    db.update("failed", 1, Timestamp::MIN, State::Failed, b"").unwrap();
    drop(db);
    Connection::open(&path).unwrap().execute_batch("drop index items_failed").unwrap();
    let failed = Query { state: Some(State::Failed), ..Query::all(1) };
    assert_eq!(Sqlite::open(&path).unwrap().list(&failed).unwrap().items.len(), 1);
}

#[test]
fn close_empties_the_journal_and_harms_nothing_after() {
    let (db, directory) = fresh();
    db.create(&item("one")).unwrap();
    let journal = || fs::metadata(directory.path().join("notify.db-wal")).unwrap().len();
    assert!(journal() > 0);
    db.close();
    assert_eq!(journal(), 0);
    db.close();
    db.create(&item("two")).unwrap();
    assert!(db.status("one").is_ok() && db.status("two").is_ok());
}

#[test]
fn equal_times_come_in_the_order_of_arrival() {
    let (db, _directory) = fresh();
    let ids = ["z", "a", "m", "B", "0"];
    for id in ids {
        db.create(&item(id)).unwrap();
    }
    let claimed = claim(&db, Lane::named("somewhere"));
    assert!(claimed.items.iter().map(|item| item.id.as_str()).eq(ids));
    let pending = db.pending(Timestamp::MAX, 32, &["TEST"], &Sending::default()).unwrap();
    assert_eq!(pending.unwrap().id.as_str(), "z");
}

#[test]
fn pending_goes_across_lanes() {
    let (db, _directory) = fresh();
    for (id, lane, next_at) in [("c", "x", 30), ("a", "y", 10), ("b", "x", 20), ("d", "z", 10)] {
        let next_at = Timestamp::from_secs(next_at);
        db.create(&Item { lane: Lane::named(lane), next_at, ..item(id) }).unwrap();
    }
    let mut sending = Sending::default();
    for id in ["a", "d", "b", "c"] {
        let found = db.pending(Timestamp::MAX, 32, &["TEST"], &sending).unwrap().unwrap();
        assert_eq!(found.id.as_str(), id);
        sending.insert(found.id);
    }
    assert_eq!(db.pending(Timestamp::MAX, 32, &["TEST"], &sending).unwrap(), None);
}

#[test]
fn a_clock_that_was_wrong_is_not_the_newest() {
    let (db, _directory) = fresh();
    for (id, at) in [("now", 1_700_000_000), ("year 9999", 253_402_300_799), ("later", 253_402_300_800)] {
        db.create(&Item { create_at: Timestamp::from_secs(at), ..item(id) }).unwrap();
    }
    assert_eq!(db.newest().unwrap(), Some(Timestamp::from_secs(253_402_300_799)));
}
