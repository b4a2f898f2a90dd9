//! PostgreSQL: the suite of all databases, and what only this one has to do.
//!
//! It takes a server: `NOTIFY_TEST_POSTGRES` is its address, with a user who may make databases.
#![cfg(feature = "postgres")]

use std::env;

use notify_api::db::postgres::Postgres;
use tokio_postgres::{NoTls, SimpleQueryMessage};

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
