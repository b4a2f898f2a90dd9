//! MySQL: the suite of all databases, and what only this one has to do.
//!
//! It takes a server: `NOTIFY_TEST_MYSQL` is its address, with a user who may make databases.
#![cfg(feature = "mysql")]

use std::env;

use mysql::{Conn, Opts, prelude::Queryable};
use notify_api::{DBDrv, DbError, Item, db::mysql::MySql};

#[path = "support/servers.rs"]
mod servers;

mod conformance {
    notify_api::dbdrv_conformance!(super::fresh, ignore = "needs MariaDB; run with --include-ignored");
}

/// A database that is dropped in the end.
struct Database(String);

impl Database {
    fn new() -> Self {
        let name = format!("notify_test_{}", uuid::Uuid::now_v7().simple());
        server().query_drop(format!("create database {name}")).unwrap();
        Self(name)
    }

    fn dsn(&self) -> String {
        format!("{}/{}", address(), self.0)
    }

    fn open(&self) -> MySql {
        MySql::connect(&self.dsn()).unwrap()
    }

    fn connection(&self) -> Conn {
        Conn::new(Opts::from_url(&self.dsn()).unwrap()).unwrap()
    }

    /// The table as the original makes it, with rows in every state.
    fn original(charset: &str) -> Self {
        let database = Self::new();
        let mut connection = database.connection();
        connection
            .query_drop(format!(
                "create table items (notify_id varchar(128) not null primary key, driver varchar(16) not null, \
                 endpoint text not null, content blob not null, create_at bigint not null, next_at bigint not null, \
                 tried int unsigned not null, cur_state tinyint(1) not null, response blob null, \
                 key pending_key (next_at), key creation_key (create_at)) default charset = {charset}"
            ))
            .unwrap();
        for (id, tried, state, response) in servers::ORIGINAL_ROWS {
            connection
                .exec_drop(
                    "insert into items values (?, 'HTTPPOST', 'http://127.0.0.1:9/hook', '{\"body\":\"\"}', \
                     1600000000, 1600000000, ?, ?, ?)",
                    (id, tried, state, response),
                )
                .unwrap();
        }
        database
    }

    /// The definition of the table and what it holds.
    fn content(&self) -> (String, Vec<String>) {
        let mut connection = self.connection();
        let (_, definition): (String, String) =
            connection.query_first("show create table items").unwrap().unwrap();
        let rows = "select concat_ws('|', hex(notify_id), driver, endpoint, hex(content), create_at, next_at, tried, \
             cur_state, hex(response), lane, once, epoch, lease_token, lease_until) from items order by 1";
        (definition, connection.query(rows).unwrap())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        server().query_drop(format!("drop database {}", self.0)).unwrap();
    }
}

/// `mysql://USER:PASSWORD@HOST:PORT`.
fn address() -> String {
    env::var("NOTIFY_TEST_MYSQL").unwrap_or_else(|_| "mysql://root@127.0.0.1:3306".into())
}

fn server() -> Conn {
    Conn::new(Opts::from_url(&address()).unwrap()).unwrap()
}

fn fresh() -> (MySql, Database) {
    let database = Database::new();
    (database.open(), database)
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn an_original_table_is_taken_over() {
    for charset in ["latin1", "utf8mb4", "utf8mb3"] {
        let database = Database::original(charset);
        let db = database.open();
        servers::check_taken_over(&db);
        let before = database.content();
        drop(database.open());
        assert_eq!(database.content(), before, "a second start changes nothing");
        for index in ["items_due", "pending_key", "creation_key"] {
            assert!(before.0.contains(index), "{}", before.0);
        }
        servers::check_is_wide_enough(&db);
        let insert = "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state) \
             values ('foreign', 'HTTPPOST', '', 'null', 1600000000, 1600000000, 0, 0)";
        database.connection().query_drop(insert).unwrap();
        servers::check_foreign_row(&db, "foreign");
    }
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn a_takeover_that_was_cut_off_goes_on() {
    let database = Database::original("latin1");
    drop(database.open());
    let before = database.content();
    // As if it had ended before the rows were marked, or before the last copy of the table.
    for undone in
        ["drop column lease_until", "drop column lease_until, drop column epoch, drop key items_due"]
    {
        let mut connection = database.connection();
        connection.query_drop(format!("alter table items {undone}")).unwrap();
        connection.query_drop("update items set once = 0").unwrap();
        let db = database.open();
        servers::check_taken_over(&db);
        assert_eq!(database.content().1, before.1);
    }
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn nodes_that_start_at_once_do_not_collide() {
    for database in [Database::original("latin1"), Database::new()] {
        let nodes = servers::open_at_once(|| database.open());
        let before = database.content();
        drop(database.open());
        assert_eq!(database.content(), before);
        assert!(nodes.iter().all(|db| db.ping().is_ok()));
    }
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn somebody_elses_table_is_left_alone() {
    let database = Database::new();
    database.connection().query_drop("create table items (id int primary key, price int)").unwrap();
    let error = MySql::connect(&database.dsn()).unwrap_err().to_string();
    assert!(error.contains("belongs to another program"), "{error}");
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn a_million_rows_are_taken_over() {
    if !servers::wants_million() {
        return;
    }
    for charset in ["utf8mb4", "latin1"] {
        let database = Database::original(charset);
        let insert = "insert into items select lpad(seq, 9, '0'), 'HTTPPOST', 'http://127.0.0.1:9/hook', \
             repeat('x', 200), 1600000000 + seq div 100, 1600000000 + seq, 0, 0, null from seq_1_to_1000000";
        database.connection().query_drop(insert).unwrap();
        println!("{charset}");
        servers::check_million(|| database.open());
    }
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn two_nodes_share_a_table() {
    let database = Database::new();
    servers::check_two_nodes(&database.open(), &database.open(), |id| {
        let expire = "update items set lease_until = unix_timestamp() - 1 where notify_id = ?";
        database.connection().exec_drop(expire, (id.as_bytes(),)).unwrap();
    });
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn what_does_not_fit_harms_no_other() {
    let (db, _database) = fresh();
    let long = Item { r#type: "t".repeat(256), ..servers::item("bad type") };
    let large = Item { content: vec![b'x'; 20 << 20], ..servers::item("bad content") };
    servers::check_bad_neighbours(&db, &[long, large]);
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn lost_connections_are_replaced() {
    let (db, database) = fresh();
    servers::check_lost_connections(&db, || {
        let mut server = server();
        let sessions = "select id from information_schema.processlist where db = ?";
        let ids: Vec<u64> = server.exec(sessions, (&database.0,)).unwrap();
        assert!(!ids.is_empty());
        for id in ids {
            // It may have ended by itself.
            let _ = server.query_drop(format!("kill {id}"));
        }
    });
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn a_claim_whose_answer_was_lost_is_found_again() {
    let (db, database) = fresh();
    let query = |sql: &str| database.connection().query_drop(sql).unwrap();
    servers::check_lost_claim(
        &db,
        || query("create trigger slow after update on items for each row set @slept = sleep(6)"),
        || {
            // It waits for whoever is using the table.
            query("drop trigger slow");
            let leased: Option<u64> = database
                .connection()
                .query_first("select count(*) from items where lease_token <> 0")
                .unwrap();
            assert_eq!(leased, Some(1), "it was done");
        },
    );
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn a_locked_row_fails_in_time() {
    let (db, database) = fresh();
    db.create(&servers::item("locked")).unwrap();
    let mut other = database.connection();
    other.query_drop("begin").unwrap();
    let _: Option<Vec<u8>> =
        other.query_first("select notify_id from items where notify_id = 'locked' for update").unwrap();
    servers::check_locked(&db, "locked");
    other.query_drop("rollback").unwrap();
    db.resend("locked", 32, servers::item("").next_at).unwrap();
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn refusals_are_clear_and_tell_no_secret() {
    let database = Database::new();
    let user = &database.0[..30];
    server().query_drop(format!("create user {user} identified by 'right'")).unwrap();
    let place = address();
    let (_, place) = place.rsplit_once('@').unwrap();
    for (dsn, reason) in [
        (format!("mysql://{user}:hush@{place}/{}", database.0), "refuses this user"),
        (format!("{user}:hush@tcp({place})/{}", database.0), "refuses this user"),
        (format!("mysql://{user}:right@{place}/{}", database.0), "refuses this user"),
        (format!("{}/nowhere_{}", address(), database.0), "no such database"),
        (format!("{}?tls=maybe", database.dsn()), "tls takes"),
    ] {
        let error = MySql::connect(&dsn).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("hush") && !error.contains('\n'), "{error}");
    }
    server().query_drop(format!("grant select on `{}`.* to {user}", database.0)).unwrap();
    drop(database.open());
    let db = MySql::connect(&format!("mysql://{user}:right@{place}/{}", database.0)).unwrap();
    assert!(db.newest().unwrap().is_none());
    match db.create(&servers::item("one")) {
        Err(DbError::Unavailable(reason)) => {
            assert!(reason.to_string().contains("refuses this user"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    server().query_drop(format!("drop user {user}")).unwrap();
}

#[test]
#[ignore = "needs MariaDB; run with --include-ignored"]
fn every_form_of_dsn_connects() {
    let database = Database::new();
    let place = address();
    let (login, place) = place.strip_prefix("mysql://").unwrap().rsplit_once('@').unwrap();
    for dsn in [
        format!("mysql://{login}@{place}/{}", database.0),
        format!("mysql://{login}@{place}/{}?charset=utf8mb4&loc=Local", database.0),
        format!("{login}@tcp({place})/{}?parseTime=true", database.0),
        format!("{login}@tcp({place})/{}?tls=preferred", database.0),
    ] {
        MySql::connect(&dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).ping().unwrap();
    }
}
