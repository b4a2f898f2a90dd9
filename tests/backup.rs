//! `notify-api backup`, `restore` and `verify`, as an operator types them.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

mod support;

#[path = "backup/backup.rs"]
mod backup;
#[path = "backup/restore.rs"]
mod restore;
#[path = "backup/verify.rs"]
mod verify;

use std::{fs, path::Path, process::Output};

use rusqlite::Connection as Database;
use support::server::Home;

/// What it prints when it succeeds.
#[track_caller]
fn done(output: &Output) -> String {
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line that it says when it refuses.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{output:?}");
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// The ids in a database, in order; it must be sound.
fn ids(path: &Path) -> Vec<String> {
    let database = Database::open(path).unwrap();
    let check: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut statement = database.prepare("select notify_id from items order by notify_id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A home with a stopped database of so many delivered notifications, of a KiB each.
fn home_with(rows: i64) -> Home {
    let home = Home::new();
    home.start(&[]).stop();
    insert(&home, rows, 1);
    home
}

fn insert(home: &Home, rows: i64, state: i64) {
    let insert = "with recursive n(i) as (select 0 union all select i + 1 from n where i < ?1)
        insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state)
        select printf('%d-%07d', ?2, i), 'HTTPPOST', 'http://127.0.0.1:9/', randomblob(1024), unixepoch(),
            unixepoch() + 100000, 1, ?2 from n where i > 0";
    home.database().execute(insert, [rows, state]).unwrap();
}

/// The names of the files here, in order, but for those of a journal.
fn files(home: &Home) -> Vec<String> {
    let mut files = home.files();
    // SQLite's own, which a server may leave behind: its last thread is not waited for.
    files.retain(|name| !["notify.db-wal", "notify.db-shm"].contains(&name.as_str()));
    files.sort();
    files
}

/// Damages the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_database_server_has_tools_of_its_own() {
    let home = Home::new();
    for dsn in ["mysql://me:hush@127.0.0.1:9/d", "postgres://me:hush@127.0.0.1:9/d"] {
        for arguments in [&["backup", "copy.db"][..], &["restore", "copy.db"], &["verify"]] {
            let line = refused(&home.run(&[("NOTIFY_DSN", dsn)], arguments));
            assert!(line.contains("NOTIFY_DSN") && line.contains(arguments[0]), "{line}");
            assert!(!line.contains("hush"), "{line}");
        }
    }
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn what_is_wrong_elsewhere_is_no_hindrance() {
    let home = home_with(1);
    let wrong = [("NOTIFY_THREADS", "none"), ("NOTIFY_TLS_CERT", "/nowhere")];
    done(&home.run(&wrong, &["backup", "copy.db"]));
    done(&home.run(&wrong, &["verify"]));
    done(&home.run(&wrong, &["restore", "--force", "copy.db"]));
}
