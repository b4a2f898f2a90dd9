//! `notify-api import`, from one SQLite file into another.
#![cfg(feature = "sqlite")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use rusqlite::Connection;
use tempfile::tempdir;

const ROWS: i64 = 1203;

/// A database of ours, filled by SQL.
fn database(path: &Path, rows: i64) -> Connection {
    drop(notify_api::db::sqlite::Sqlite::open(path).unwrap());
    let connection = Connection::open(path).unwrap();
    connection
        .execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)
             insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state, response)
             select 'job-' || i, 'HTTPPOST', 'http://127.0.0.1/', cast('{\"body\":' || i || '}' as blob), i, i + 1, i % 5,
                 i % 3, iif(i % 2, null, cast('answer' as blob)) from n",
            [rows],
        )
        .unwrap();
    connection
}

fn import(into: &Path, from: &str, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_notify-api"))
        .args(["import", "--from", from])
        .env("NOTIFY_DSN", into)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may have ended without reading it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Everything about every row but the order in which they came.
fn rows(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            "select quote(notify_id) || quote(driver) || quote(endpoint) || quote(content) || quote(create_at) ||
             quote(next_at) || quote(tried) || quote(cur_state) || quote(once) || quote(response)
             from items order by notify_id",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_row_is_moved_and_a_second_time_changes_nothing() {
    let directory = tempdir().unwrap();
    let (from, into) = (directory.path().join("from.db"), directory.path().join("into.db"));
    drop(database(&from, ROWS));
    for _ in 0..2 {
        let output = import(&into, from.to_str().unwrap(), "");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{ROWS} notifications are in the database\n")
        );
        assert!(rows(&into).len() == ROWS as usize && rows(&into) == rows(&from));
    }
}

#[test]
fn the_dsn_can_come_from_stdin() {
    let directory = tempdir().unwrap();
    let (from, into) = (directory.path().join("from.db"), directory.path().join("into.db"));
    drop(database(&from, 3));
    let output = import(&into, "-", &format!("sqlite:{}\n", from.display()));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rows(&into).len(), 3);
}

#[test]
fn other_content_under_the_same_id_is_not_overwritten() {
    let directory = tempdir().unwrap();
    let (from, into) = (directory.path().join("from.db"), directory.path().join("into.db"));
    drop(database(&from, 5));
    database(&into, 2)
        .execute("update items set content = cast('other' as blob) where notify_id = 'job-2'", [])
        .unwrap();
    let before = rows(&into);
    let output = import(&into, from.to_str().unwrap(), "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("4 notifications") && said.contains("1 are not"), "{said}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("job-2"));
    let after = rows(&into);
    assert!(after.len() == 5 && before.iter().all(|row| after.contains(row)));
}

#[test]
fn what_cannot_be_imported_is_one_line() {
    let directory = tempdir().unwrap();
    let into = directory.path().join("into.db");
    let missing = directory.path().join("missing.db");
    for from in [missing.to_str().unwrap(), "redis://me:hush@host/"] {
        let output = import(&into, from, "");
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains("--from") && !line.contains("hush"), "{line}");
    }
    assert!(!missing.exists() && !into.exists());
}
