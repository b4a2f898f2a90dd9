//! `notify-api check --online` with a database server: it connects, and changes nothing.

use std::process::Command;

use crate::{
    Kind,
    database::{Database, PASSWORD},
};

/// The line about the database, and the exit code.
#[track_caller]
fn check(dsn: &str) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_notify-api"))
        .args(["check", "--online", "--env-file="])
        .env_clear()
        .env("NOTIFY_DSN", dsn)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().rfind(|line| line.starts_with("database")).expect("the trial").to_owned();
    let (_, told) = line.split_once(' ').unwrap();
    (told.trim().to_owned(), output.status.code())
}

pub(crate) fn a_check_changes_nothing(kind: Kind) {
    let database = Database::new(kind);
    for _ in 0..2 {
        let told = check(&database.dsn());
        assert_eq!(told, ("ok: a start begins with making the table items".into(), Some(0)));
    }
    database.open().close();
    assert_eq!(check(&database.dsn()), ("ok: its table is there".into(), Some(0)));
    database.sql("drop table items");
    database.sql("create table items (id int)");
    let (told, code) = check(&database.dsn());
    assert!(told.starts_with("failed: ") && told.contains("belongs to another program"), "{told}");
    assert_eq!(code, Some(1));
    assert_eq!(database.sql("select id from items").len(), 0, "it was left alone");
}

pub(crate) fn a_wrong_login_is_told(kind: Kind) {
    let database = Database::with_user(kind);
    let (told, code) = check(&database.dsn_of(&database.name, PASSWORD));
    assert!(told.starts_with("ok: ") && code == Some(0), "{told}");
    // PostgreSQL may be told to trust any password, but not any user.
    let user = match kind {
        Kind::MySql => database.name.as_str(),
        Kind::Postgres => "notify_test_nobody",
    };
    let (told, code) = check(&database.dsn_of(user, "hush"));
    assert!(told.starts_with("failed: ") && told.contains("refuses this user"), "{told}");
    assert!(!told.contains("hush") && code == Some(1), "{told}");
}
