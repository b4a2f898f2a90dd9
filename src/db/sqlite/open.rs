//! Opens the file: who may own it, what it must hold, how connections are set up.

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use r2d2::{NopErrorHandler, Pool};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use scheduled_thread_pool::ScheduledThreadPool;

use super::{room::Room, rows};

/// What leads from each version of the schema to the next; `user_version` is how
/// many of them were applied.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// Added since, and nothing that an older version of this program would mind: no new
/// version of the schema. With millions of failed rows it takes some seconds, once.
const INDEXES: &str =
    "create index if not exists items_failed on items(create_at) where cur_state not in (0, 1)";

const FOREIGN_ROWS: &str = include_str!("foreign.sql");

/// Fails to compile against any other table than ours, of whatever version.
const ALL_COLUMNS: &str = "select seq, notify_id, cur_state, tried, next_at, create_at, lane, once, epoch, \
     driver, endpoint, content, response from items";

/// How long a statement waits for another program's lock, in milliseconds: less
/// than the time in which a call must be answered.
const BUSY_TIMEOUT_MS: u32 = 4_000;

/// The journal is used again and again, which is faster than a new one; what it has grown beyond
/// this, beside somebody who read for long, is given back.
const JOURNAL_BYTES: i64 = 64 << 20;

/// How long a read waits for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);

/// Reads at once. They take microseconds: more connections only cost memory.
const READERS: u32 = 4;

/// All statements there are, with room to spare.
const STATEMENTS: usize = 32;

/// Without `CREATE`: a file that is gone must not be replaced by an empty one.
pub(super) fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// What is open. The lock goes last.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Pool<SqliteConnectionManager>,
    pub(super) room: Room,
    pub(super) lock: File,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let name = canonical(path).map_err(|error| OpenError::io(path, error))?;
    let lock = lock(path, &name)?;
    let writer = writer(&name).map_err(|refusal| refusal.of(path))?;
    let page_bytes = writer
        .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
        .map_err(|error| Refusal::from(error).of(path))?;
    let room = Room::new(&name, page_bytes.unsigned_abs()).map_err(|error| OpenError::io(path, error))?;
    let manager = SqliteConnectionManager::file(&name).with_flags(flags()).with_init(|connection| {
        set_up(connection)?;
        connection.pragma_update(None, "query_only", true)
    });
    let readers = Pool::builder()
        .max_size(READERS)
        .min_idle(Some(0))
        // Its defaults wake up every 30 seconds, in three threads.
        .idle_timeout(None)
        .max_lifetime(None)
        .thread_pool(Arc::new(
            ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("sqlite-{}").build(),
        ))
        .test_on_check_out(false)
        .connection_timeout(CONNECTION_TIMEOUT)
        // The caller gets to hear of it.
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(manager);
    Ok(Opened { writer, readers, room, lock })
}

/// The one name of the file, so that a link to it is locked like the file itself.
///
/// A new file is made here, empty, to have its mode right; SQLite takes an empty
/// file for a new database. An existing one is left to SQLite: closing a file
/// gives up all locks that the process holds on it.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private().create(true).open(path)?.sync_all()?;
            let name = path.canonicalize()?;
            if let Some(directory) = name.parent() {
                File::open(directory)?.sync_all()?;
            }
            Ok(name)
        }
        known => known,
    }
}

/// Payloads are nobody else's business. SQLite gives its other files the same mode.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Two processes would send everything twice. The lock goes with its holder; the
/// file stays behind, since removing it would race with the next one's lock.
fn lock(path: &Path, name: &Path) -> Result<File, OpenError> {
    if !name.is_file() {
        return Err(OpenError::io(path, io::Error::other("it is not a regular file")));
    }
    lock_beside(path, name)
}

/// Takes the lock of the file that has this one name, whether it is there or not.
pub(super) fn lock_beside(path: &Path, name: &Path) -> Result<File, OpenError> {
    let mut beside = OsString::from(name);
    beside.push(".lock");
    let file =
        private().create(true).open(&beside).map_err(|error| OpenError::io(Path::new(&beside), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(Path::new(&beside), error)),
    }
}

fn writer(name: &Path) -> Result<Connection, Refusal> {
    let mut connection = Connection::open_with_flags(name, flags())?;
    set_up(&connection)?;
    // SQLite falls back to reading alone.
    if connection.is_readonly("main")? {
        return Err(Refusal::ReadOnly);
    }
    let applied = applied(&connection)?;
    if is_foreign(&connection, applied)? {
        return Err(Refusal::Foreign);
    }
    // Smaller pages than usual write a quarter less. It counts for new files only.
    connection.pragma_update(None, "page_size", 2048)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Refusal::Journal);
    }
    connection.pragma_update_and_check(None, "journal_size_limit", JOURNAL_BYTES, |_| Ok(()))?;
    for (version, migration) in (1..).zip(MIGRATIONS).skip(applied) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(INDEXES)?;
    transaction.execute_batch(FOREIGN_ROWS)?;
    transaction.commit()?;
    Ok(connection)
}

/// How many migrations were applied.
fn applied(connection: &Connection) -> Result<usize, Refusal> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(version) {
        Ok(applied) if applied <= MIGRATIONS.len() => Ok(applied),
        _ => Err(Refusal::Version(version)),
    }
}

/// Fails if it isn't a database of ours that this program knows.
pub(super) fn check(connection: &Connection) -> Result<(), Refusal> {
    set_up(connection)?;
    applied(connection)?;
    connection.prepare(ALL_COLUMNS).map(drop).map_err(|error| match error {
        rusqlite::Error::SqlInputError { .. } => Refusal::Foreign,
        error if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Refusal::Foreign,
        error => error.into(),
    })
}

/// Whether it is somebody else's: it isn't empty, but has no table like ours.
fn is_foreign(connection: &Connection, applied: usize) -> rusqlite::Result<bool> {
    match connection.prepare(ALL_COLUMNS) {
        Ok(_) => return Ok(false),
        // A column is missing, or the table.
        Err(rusqlite::Error::SqlInputError { .. }) => {}
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {}
        Err(error) => return Err(error),
    }
    let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    Ok(tables > 0 || applied > 0)
}

/// What every connection needs; the rest is kept in the file.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "busy_timeout", BUSY_TIMEOUT_MS, |_| Ok(()))?;
    // A commit is on the disk when it returns, also after a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Why [`Sqlite::open`](super::Sqlite::open) failed. Its
/// [`Display`](fmt::Display) is one line for the one who started the program.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory of the file doesn't exist.
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// The file, or its directory, can't be written.
    NotWritable {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else, or damaged.
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// It is a database of another program.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program has changed the schema.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that is known here.
        known: usize,
    },
    /// Another process has it open.
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Where it is, there can't be the shared memory that readers need.
    NoJournal {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        reason: io::Error,
    },
    /// SQLite refuses.
    Database {
        /// The file.
        path: PathBuf,
        /// Its reason.
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    fn io(path: &Path, reason: io::Error) -> Self {
        let path = path.into();
        match reason.kind() {
            io::ErrorKind::NotFound => Self::NoDirectory { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path },
            _ => Self::Io { path, reason },
        }
    }
}

impl fmt::Display for OpenError {
    /// Paths are quoted with everything escaped that would break the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory { path } => {
                write!(f, "can't open database {path:?}: its directory does not exist")
            }
            Self::NotWritable { path } => {
                write!(f, "can't open database {path:?}: it or its directory can't be written")
            }
            Self::NotADatabase { path } => {
                write!(
                    f,
                    "can't open database {path:?}: the file is not an SQLite database, or it is damaged"
                )
            }
            Self::Foreign { path } => {
                write!(f, "can't open database {path:?}: it belongs to another program")
            }
            Self::Newer { path, found, known } => write!(
                f,
                "can't open database {path:?}: its schema has version {found}, made by a newer version of this \
                 program; this one knows versions up to {known}"
            ),
            Self::Locked { path } => {
                write!(f, "can't open database {path:?}: another process is using it")
            }
            Self::NoJournal { path } => write!(
                f,
                "can't open database {path:?}: its file system has no shared memory for SQLite's WAL mode; use a \
                 local disk"
            ),
            Self::Io { path, reason } => write!(f, "can't open database {path:?}: {reason}"),
            Self::Database { path, reason } => write!(f, "can't open database {path:?}: {reason}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { reason, .. } => Some(reason),
            Self::Database { reason, .. } => Some(reason.as_ref()),
            _ => None,
        }
    }
}

/// An [`OpenError`] that has no path yet.
pub(super) enum Refusal {
    ReadOnly,
    Foreign,
    Journal,
    Version(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Refusal {
    pub(super) fn of(self, path: &Path) -> OpenError {
        let path = path.into();
        match self {
            Self::ReadOnly => OpenError::NotWritable { path },
            Self::Foreign => OpenError::Foreign { path },
            Self::Journal => OpenError::NoJournal { path },
            Self::Version(found) => OpenError::Newer { path, found, known: MIGRATIONS.len() },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    OpenError::NotADatabase { path }
                }
                Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::NotWritable { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
                _ => OpenError::Database { path, reason: rows::sentence(&error).into() },
            },
        }
    }
}
