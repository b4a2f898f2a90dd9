//! MySQL: the suite of all databases, and what only this one has to do.
//!
//! It takes a server: `NOTIFY_TEST_MYSQL` is its address, with a user who may make databases.
#![cfg(feature = "mysql")]

use std::env;

use mysql::{Conn, Opts, prelude::Queryable};
use notify_api::db::mysql::MySql;

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
