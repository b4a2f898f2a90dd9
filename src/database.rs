//! The database that a DSN names.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;

use notify_api::DBDrv;

use crate::config::{DbMax, Dsn};
#[cfg(feature = "sqlite")]
use crate::{
    cli::Refusal,
    config::{self, Environment},
};

/// Opens or connects to it; what is wrong is told in a sentence without secrets.
pub(crate) fn open(dsn: &Dsn) -> Result<Arc<dyn DBDrv>, String> {
    open_within(dsn, None)
}

/// The same with a size limit, which only an SQLite file has.
#[cfg_attr(not(feature = "sqlite"), allow(unused_variables))]
pub(crate) fn open_within(dsn: &Dsn, max: Option<DbMax>) -> Result<Arc<dyn DBDrv>, String> {
    match dsn {
        #[cfg(feature = "sqlite")]
        Dsn::Sqlite(path) => match notify_api::db::sqlite::Sqlite::open(path) {
            Ok(db) => Ok(Arc::new(match max {
                Some(DbMax { bytes, name }) => db.max_bytes(bytes, name),
                None => db,
            })),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "sqlite"))]
        Dsn::Sqlite(_) => Err(lacks("sqlite")),
        #[cfg(feature = "mysql")]
        Dsn::MySql(dsn) => match notify_api::db::mysql::MySql::connect(dsn) {
            Ok(db) => Ok(Arc::new(db)),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "mysql"))]
        Dsn::MySql(_) => Err(lacks("mysql")),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => match notify_api::db::postgres::Postgres::connect(dsn) {
            Ok(db) => Ok(Arc::new(db)),
            Err(error) => Err(error.to_string()),
        },
        #[cfg(not(feature = "postgres"))]
        Dsn::Postgres(_) => Err(lacks("postgres")),
    }
}

/// The file that is the database; a database server has no command like that.
#[cfg(feature = "sqlite")]
pub(crate) fn file(env: &Environment<'_>, command: &str) -> Result<PathBuf, Refusal> {
    match config::database(env).map_err(|error| error.to_string())? {
        Dsn::Sqlite(path) => Ok(path),
        server @ (Dsn::MySql(_) | Dsn::Postgres(_)) => {
            Err(config::wrong_dsn(format_args!("{server} has no {command}")).to_string())
        }
    }
}

#[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
fn lacks(feature: &str) -> String {
    format!("this program was built without the feature {feature:?}, which this database needs")
}
