//! `notify-api import` between the databases.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use notify_api::{
    DBDrv, Item, State, Timestamp,
    db::{Row, sqlite::Sqlite},
};
use tempfile::tempdir;

use crate::{Database, Kind, servers};

/// Runs the program; returns what it says.
#[track_caller]
fn import(into: &str, from: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_notify-api"))
        .args(["import", "--from", "-"])
        .env("NOTIFY_DSN", into)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{from}").unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rows in every state, with whatever a row may have.
fn rows(count: u32) -> Vec<Row> {
    let row = |n: u32| Row {
        item: Item {
            tried: n % 7,
            once: n.is_multiple_of(3),
            epoch: n % 4,
            create_at: Timestamp::from_secs(1_600_000_000 + i64::from(n)),
            next_at: Timestamp::from_secs(1_700_000_000 + i64::from(n)),
            content: match n {
                0 => vec![0xff; 3 << 20],
                n => format!("{{\"body\":{n}}}").into_bytes(),
            },
            ..servers::item(&format!("\u{1f600} '{}' \\ {n} ", if n.is_multiple_of(2) { "A" } else { "a" }))
        },
        state: [State::Pending, State::Success, State::Failed][n as usize % 3],
        response: [None, Some(Vec::new()), Some((0..=255).collect())][n as usize / 3 % 3].clone(),
    };
    (0..count).map(row).collect()
}

/// All rows, in the order of their ids.
fn all(db: &dyn DBDrv) -> Vec<Row> {
    let mut found: Vec<Row> = Vec::new();
    loop {
        let rows = db.export(found.last().map(|row| &row.item.id), 400).unwrap();
        if rows.is_empty() {
            return found;
        }
        found.extend(rows);
    }
}

fn path(directory: &Path) -> String {
    directory.join("notify.db").to_str().unwrap().to_owned()
}

pub(crate) fn all_rows_are_moved_there_and_back(kind: Kind) {
    let (here, there) = (Database::new(kind), Database::new(kind));
    let directory = tempdir().unwrap();
    let file = path(directory.path());
    let mut expected = rows(1_203);
    for answer in here.open().import(&expected).unwrap() {
        answer.unwrap();
    }
    expected.sort_by(|a, b| a.item.id.cmp(&b.item.id));
    // What is there already stays, so it can be started again.
    for _ in 0..2 {
        assert_eq!(import(&file, &here.dsn()), "1203 notifications are in the database\n");
        assert_eq!(import(&there.dsn(), &file), "1203 notifications are in the database\n");
    }
    assert!(all(&Sqlite::open(&file).unwrap()) == expected, "the file has all as it was");
    assert!(all(there.open().as_ref()) == expected, "the other database has all as it was");
}

pub(crate) fn an_original_becomes_one_file(kind: Kind) {
    let database = Database::new(kind);
    database.sql(match kind {
        Kind::MySql => {
            "create table items (notify_id varchar(128) not null primary key, driver varchar(16) not null, \
             endpoint text not null, content blob not null, create_at bigint not null, next_at bigint not null, \
             tried int unsigned not null, cur_state tinyint(1) not null, response blob null, \
             key pending_key (next_at), key creation_key (create_at)) default charset = latin1"
        }
        Kind::Postgres => {
            "create table items (notify_id varchar(128) primary key, driver varchar(16), endpoint text, \
             content bytea, create_at bigint, next_at bigint, tried integer, cur_state smallint, response bytea); \
             create index items_pending_idx on items (cur_state); create index clear_idx on items (create_at)"
        }
    });
    for (id, tried, state, response) in servers::ORIGINAL_ROWS {
        let response = response.map_or("null".into(), |response| format!("'{response}'"));
        database.sql(&format!(
            "insert into items values ('{id}', 'HTTPPOST', 'http://127.0.0.1:9/hook', '{{\"body\":\"\"}}', \
             1600000000, 1600000000, {tried}, {state}, {response})"
        ));
    }
    let directory = tempdir().unwrap();
    let file = path(directory.path());
    let count = servers::ORIGINAL_ROWS.len();
    assert_eq!(import(&file, &database.dsn()), format!("{count} notifications are in the database\n"));
    servers::check_taken_over(&Sqlite::open(&file).unwrap());
}
