//! The database that a DSN names.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

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

/// What can be said of it without changing it, and without a network.
pub(crate) fn describe(dsn: &Dsn) -> Result<String, String> {
    let (feature, is_built) = match dsn {
        Dsn::Sqlite(_) => ("sqlite", cfg!(feature = "sqlite")),
        Dsn::MySql(_) => ("mysql", cfg!(feature = "mysql")),
        Dsn::Postgres(_) => ("postgres", cfg!(feature = "postgres")),
    };
    match dsn {
        _ if !is_built => Err(lacks(feature)),
        Dsn::Sqlite(path) => describe_file(path),
        Dsn::MySql(_) | Dsn::Postgres(_) => Ok(dsn.to_string()),
    }
}

fn describe_file(path: &Path) -> Result<String, String> {
    /// What every SQLite file begins with that isn't empty.
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let metadata = match path.metadata() {
        Ok(metadata) if !metadata.is_file() => return Err(format!("{path:?} is not a regular file")),
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return match parent.is_dir() {
                true => Ok(format!("{}, which the first start makes", path.display())),
                false => Err(format!("{path:?} can't be made: there is no directory {parent:?}")),
            };
        }
        Err(error) => return Err(format!("{path:?}: {error}")),
    };
    let mut beginning = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut beginning))
        .map_err(|error| format!("{path:?} can't be read: {error}"))?;
    if !beginning.is_empty() && beginning != MAGIC {
        return Err(format!("{path:?} is no SQLite database"));
    }
    Ok(format!("{}, {:.1} MB", path.display(), metadata.len() as f64 / 1e6))
}

/// Tries a server, and changes nothing; `None` for a file.
pub(crate) fn check(dsn: &Dsn) -> Option<Result<String, String>> {
    match dsn {
        #[cfg(feature = "mysql")]
        Dsn::MySql(dsn) => Some(checked(notify_api::db::mysql::MySql::check(dsn))),
        #[cfg(feature = "postgres")]
        Dsn::Postgres(dsn) => Some(checked(notify_api::db::postgres::Postgres::check(dsn))),
        _ => None,
    }
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
fn checked(steps: Result<Vec<&str>, impl ToString>) -> Result<String, String> {
    match steps.map_err(|error| error.to_string())?.as_slice() {
        [] => Ok("its table is there".into()),
        steps => Ok(format!("a start begins with {}", steps.join(", "))),
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

fn lacks(feature: &str) -> String {
    format!("this program was built without the feature {feature:?}, which this database needs")
}
