//! A database that can't be opened stops the start.

use std::{fs, net::TcpListener};

use rusqlite::Connection;

use super::environment::refusal;
use crate::support::server::Home;

#[test]
fn a_directory_that_does_not_exist() {
    let home = Home::new();
    let line = refusal(&home.run(&[("NOTIFY_DSN", "missing/notify.db")], &[]));
    assert!(
        line.contains("NOTIFY_DSN") && line.contains("missing/notify.db") && line.contains("directory"),
        "{line}"
    );
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn a_directory_instead_of_a_file() {
    let home = Home::new();
    fs::create_dir(home.path("notify.db")).unwrap();
    let line = refusal(&home.run(&[], &[]));
    assert!(line.contains("NOTIFY_DSN") && line.contains("not a regular file"), "{line}");
}

#[test]
fn a_file_that_is_no_database() {
    let home = Home::new();
    let text = "This is a letter to my aunt, and no database at all. ".repeat(100);
    fs::write(home.path("notify.db"), &text).unwrap();
    let line = refusal(&home.run(&[], &[]));
    assert!(line.contains("NOTIFY_DSN") && line.contains("not an SQLite database"), "{line}");
    assert_eq!(fs::read_to_string(home.path("notify.db")).unwrap(), text);
}

#[test]
fn a_database_of_another_program() {
    let home = Home::new();
    home.database()
        .execute_batch("create table recipes(name text); insert into recipes values('soup')")
        .unwrap();
    let line = refusal(&home.run(&[], &[]));
    assert!(line.contains("NOTIFY_DSN") && line.contains("another program"), "{line}");
    let tables = "select group_concat(name) from sqlite_schema";
    assert_eq!(home.database().query_row(tables, [], |row| row.get(0)), Ok("recipes".to_owned()));
}

#[test]
fn a_newer_schema() {
    let home = Home::new();
    home.start(&[]).stop();
    home.database().pragma_update(None, "user_version", 99).unwrap();
    let line = refusal(&home.run(&[], &[]));
    assert!(line.contains("NOTIFY_DSN") && line.contains("99") && line.contains("newer"), "{line}");
    let version = home.database().pragma_query_value(None, "user_version", |row| row.get(0));
    assert_eq!(version, Ok(99));
}

#[test]
fn a_second_process_on_one_file() {
    let home = Home::new();
    let server = home.start(&[]);
    std::os::unix::fs::symlink(home.path("notify.db"), home.path("link.db")).unwrap();
    for name in ["notify.db", "link.db", "sqlite:notify.db", "./notify.db"] {
        let line = refusal(&home.run(&[("NOTIFY_DSN", name)], &[]));
        assert!(line.contains("NOTIFY_DSN") && line.contains("another process"), "{line}");
    }
    assert_eq!(server.get("/health").status, 200);
    // However the first one went, the next one can have it.
    drop(server);
    home.start(&[]).stop();
}

#[test]
fn a_taken_port_leaves_the_database_alone() {
    let (home, taken) = (Home::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port();
    for bind in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!(":{port}")] {
        let line = refusal(&home.run(&[("NOTIFY_HTTP_BIND", &bind)], &[]));
        assert!(
            line.contains("NOTIFY_HTTP_BIND") && line.contains(&bind) && line.contains("in use"),
            "{line}"
        );
        assert_eq!(home.files(), [""; 0]);
    }
}

#[test]
fn the_forms_of_a_path() {
    let home = Home::new();
    let absolute = home.path("c.db").into_os_string().into_string().unwrap();
    for (dsn, file) in [
        ("a.db".into(), "a.db"),
        ("sqlite:b.db".into(), "b.db"),
        (absolute.clone(), "c.db"),
        (format!("sqlite:{absolute}"), "c.db"),
        (format!("sqlite://{absolute}"), "c.db"),
        ("with space & ?#%.db".into(), "with space & ?#%.db"),
    ] {
        home.start(&[("NOTIFY_DSN", &dsn)]).stop();
        let database = Connection::open(home.path(file)).unwrap();
        let rows = database.query_row("select count(*) from items", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows, Ok(0), "{dsn}");
    }
}
