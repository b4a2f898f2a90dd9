//! PostgreSQL: the suite of all databases, and what only this one has to do.
//!
//! It takes a server: `NOTIFY_TEST_POSTGRES` is its address, with a user who may make databases.
#![cfg(feature = "postgres")]

use std::env;

use notify_api::{DBDrv, DbError, Item, db::postgres::Postgres};
use tokio_postgres::{NoTls, SimpleQueryMessage};

#[path = "support/servers.rs"]
mod servers;

mod conformance {
    notify_api::dbdrv_conformance!(super::fresh, ignore = "needs PostgreSQL; run with --include-ignored");
}

/// A schema that is dropped in the end.
struct Database(String);

impl Database {
    fn new() -> Self {
        let name = format!("notify_test_{}", uuid::Uuid::now_v7().simple());
        let database = Self(name);
        query(&address(), &format!("create schema {}", database.0));
        database
    }

    fn dsn(&self) -> String {
        format!("{}?options=-csearch_path%3D{}", address(), self.0)
    }

    fn open(&self) -> Postgres {
        Postgres::connect(&self.dsn()).unwrap()
    }

    /// Asks it beside the driver.
    fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        query(&self.dsn(), sql)
    }

    /// The table as the original makes it, with rows in every state.
    fn original() -> Self {
        let database = Self::new();
        database.query(
            "create table items (notify_id varchar(128) primary key, driver varchar(16), endpoint text, \
             content bytea, create_at bigint, next_at bigint, tried integer, cur_state smallint, response bytea); \
             create index items_pending_idx on items (cur_state); create index clear_idx on items (create_at)",
        );
        for (id, tried, state, response) in servers::ORIGINAL_ROWS {
            let response = response.map_or("null".into(), |response| format!("'{response}'"));
            database.query(&format!(
                "insert into items values ('{id}', 'HTTPPOST', 'http://127.0.0.1:9/hook', '{{\"body\":\"\"}}', \
                 1600000000, 1600000000, {tried}, {state}, {response})"
            ));
        }
        database
    }

    /// The definition of the table and what it holds.
    fn content(&self) -> Vec<Vec<Option<String>>> {
        let mut content = self.query(
            "select column_name, data_type, character_maximum_length, column_default, is_nullable \
             from information_schema.columns where table_schema = current_schema() and table_name = 'items' \
             order by column_name",
        );
        content.extend(self.query(
            "select indexname, indexdef from pg_indexes where schemaname = current_schema() order by indexname",
        ));
        content.extend(self.query(
            "select notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state, response, lane, \
             once, epoch, lease_token, lease_until from items order by notify_id",
        ));
        content
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        query(&address(), &format!("drop schema {} cascade", self.0));
    }
}

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
fn address() -> String {
    env::var("NOTIFY_TEST_POSTGRES").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into())
}

fn query(dsn: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        connection.await.unwrap().unwrap();
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    })
}

fn fresh() -> (Postgres, Database) {
    let database = Database::new();
    (database.open(), database)
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn an_original_table_is_taken_over() {
    let database = Database::original();
    let db = database.open();
    servers::check_taken_over(&db);
    let before = database.content();
    drop(database.open());
    assert_eq!(database.content(), before, "a second start changes nothing");
    for index in ["items_due", "items_created", "items_failed", "items_pending_idx", "clear_idx"] {
        assert!(before.iter().any(|row| row[0].as_deref() == Some(index)), "{index}");
    }
    servers::check_is_wide_enough(&db);
    database.query(
        "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state) \
         values ('foreign', 'HTTPPOST', '', 'null', 1600000000, 1600000000, 0, 0)",
    );
    servers::check_foreign_row(&db, "foreign");
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn a_takeover_that_was_cut_off_goes_on() {
    let database = Database::original();
    drop(database.open());
    let before = database.content();
    // As if it had ended before the rows were marked, or after the first statement.
    for undone in
        ["alter table items drop lease_until", "alter table items drop lease_until; drop index items_due"]
    {
        database.query(&format!("{undone}; update items set once = 0"));
        let db = database.open();
        servers::check_taken_over(&db);
        assert_eq!(database.content(), before);
    }
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn nodes_that_start_at_once_do_not_collide() {
    for database in [Database::original(), Database::new()] {
        let nodes = servers::open_at_once(|| database.open());
        let before = database.content();
        drop(database.open());
        assert_eq!(database.content(), before);
        assert!(nodes.iter().all(|db| db.ping().is_ok()));
    }
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn somebody_elses_table_is_left_alone() {
    let database = Database::new();
    database.query("create table items (id integer primary key, price integer)");
    let error = Postgres::connect(&database.dsn()).unwrap_err().to_string();
    assert!(error.contains("belongs to another program"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn a_million_rows_are_taken_over() {
    if !servers::wants_million() {
        return;
    }
    let database = Database::original();
    database.query(
        "insert into items select lpad(seq::text, 9, '0'), 'HTTPPOST', 'http://127.0.0.1:9/hook', \
         repeat('x', 200)::bytea, 1600000000 + seq / 100, 1600000000 + seq, 0, 0, null \
         from generate_series(1, 1000000) as seq",
    );
    servers::check_million(|| database.open());
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn two_nodes_share_a_table() {
    let database = Database::new();
    servers::check_two_nodes(&database.open(), &database.open(), |id| {
        database.query(&format!(
            "update items set lease_until = extract(epoch from now()) - 2 where notify_id = '{id}'"
        ));
    });
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn what_does_not_fit_harms_no_other() {
    let (db, _database) = fresh();
    let long = Item { r#type: "t".repeat(256), ..servers::item("bad type") };
    let nul = Item { endpoint: "a\0b".into(), ..servers::item("bad endpoint") };
    servers::check_bad_neighbours(&db, &[long, nul]);
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn lost_connections_are_replaced() {
    let database = Database::new();
    let db = Postgres::connect(&format!("{}&application_name={}", database.dsn(), database.0)).unwrap();
    servers::check_lost_connections(&db, || {
        let ended = query(
            &address(),
            &format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{}'",
                database.0
            ),
        );
        assert!(!ended.is_empty());
    });
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn a_locked_row_fails_in_time() {
    let (db, database) = fresh();
    db.create(&servers::item("locked")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            database.query(
                "begin; select notify_id from items where notify_id = 'locked' for update; select pg_sleep(5); commit",
            )
        });
        let is_locked =
            "select 1 from pg_stat_activity where query like '%pg_sleep(5)%' and wait_event = 'PgSleep'";
        while query(&address(), is_locked).is_empty() {}
        servers::check_locked(&db, "locked");
    });
    db.resend("locked", 32, servers::item("").next_at).unwrap();
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn refusals_are_clear_and_tell_no_secret() {
    let database = Database::new();
    drop(database.open());
    for (dsn, reason) in [
        (format!("{}/nowhere_{}", address().rsplit_once('/').unwrap().0, database.0), "no such database"),
        (format!("{}&sslmode=maybe", database.dsn()), "sslmode takes"),
        ("host=127.0.0.1 port=x user=u password=hush".into(), "port"),
    ] {
        let error = Postgres::connect(&dsn).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("hush") && !error.contains('\n'), "{error}");
    }
    let read_only = format!("{}%20-cdefault_transaction_read_only%3Don", database.dsn());
    let db = Postgres::connect(&read_only).unwrap();
    assert!(db.newest().unwrap().is_none());
    match db.create(&servers::item("one")) {
        Err(DbError::Unavailable(reason)) => assert!(reason.to_string().contains("read-only"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs PostgreSQL; run with --include-ignored"]
fn every_form_of_dsn_connects() {
    let database = Database::new();
    let address = address();
    let (login, place) = address.strip_prefix("postgres://").unwrap().rsplit_once('@').unwrap();
    let (host, name) = place.split_once('/').unwrap();
    let (host, port) = host.split_once(':').unwrap();
    let options = format!("options=-csearch_path%3D{}", database.0);
    let words =
        format!("host={host} port={port} user={login} dbname={name} options='-csearch_path={}'", database.0);
    for dsn in [
        format!("postgres://{login}@{place}?{options}&sslmode=disable"),
        format!("postgresql://{login}@{place}?{options}&sslmode=require&binary_parameters=yes"),
        format!("{words} sslmode=prefer connect_timeout=5"),
    ] {
        Postgres::connect(&dsn).unwrap_or_else(|error| panic!("{dsn}: {error}")).ping().unwrap();
    }
    let unverified = Postgres::connect(&format!("{words} sslmode=verify-full")).map(drop);
    // The server's certificate is one that it has made itself, or it has none.
    assert!(unverified.is_err());
}
