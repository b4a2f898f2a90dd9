//! Care of the file from outside: copies of it, their way back, and whether it is sound.
//!
//! All of it works beside a running server, but for [`restore()`], and leaves nothing behind
//! that the server's user couldn't open, also when it is done by root.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use super::{OpenError, rows};

mod backup;
mod partial;
mod read;
mod restore;
mod verify;

pub use backup::{Copied, backup, backup_in};
pub use restore::{Restored, restore};
pub use verify::{Verified, verify};

/// Why a copy can't be made, put back or looked at. Its [`Display`](fmt::Display) is one line
/// for the one who asked for it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CareError {
    /// There is no such file.
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Nothing is overwritten.
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// Another process is writing the same copy.
    Busy {
        /// What it is writing to.
        path: PathBuf,
    },
    /// There is not enough room for the copy.
    NoRoom {
        /// The copy.
        path: PathBuf,
        /// The bytes that it needs, with what is left to the server.
        needed: u64,
        /// The bytes there are.
        free: u64,
    },
    /// A server, or another program, has it open.
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// It holds notifications, which would be lost.
    Holds {
        /// The database.
        path: PathBuf,
        /// How many, `None` if it can't be read.
        notifications: Option<u64>,
    },
    /// It is damaged.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that was found.
        finding: String,
    },
    /// It can't be opened, or is no database of ours.
    Open(OpenError),
    /// The operating system or SQLite refuses.
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: Box<dyn Error + Send + Sync>,
    },
}

impl CareError {
    fn io(path: &Path, reason: io::Error) -> Self {
        let path = path.into();
        match reason.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Failed { path, reason: reason.into() },
        }
    }

    fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.into();
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { path, finding: rows::sentence(error) }
            }
            _ => Self::Failed { path, reason: rows::sentence(error).into() },
        }
    }
}

impl From<OpenError> for CareError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked { path } => Self::InUse { path },
            error => Self::Open(error),
        }
    }
}

impl fmt::Display for CareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no file or directory {path:?}"),
            Self::Exists { path } => write!(f, "{path:?} exists, and nothing is overwritten"),
            Self::Busy { path } => write!(f, "another process is writing {path:?}"),
            Self::NoRoom { path, needed, free } => {
                write!(f, "there is no room for {path:?}: it takes {needed} bytes, and {free} are free")
            }
            Self::InUse { path } => write!(f, "{path:?} is in use: stop the server first"),
            Self::Holds { path, notifications: Some(notifications) } => {
                write!(
                    f,
                    "{path:?} holds {notifications} notifications; --force replaces it, and keeps it under another name"
                )
            }
            Self::Holds { path, notifications: None } => {
                write!(f, "{path:?} can't be read; --force replaces it, and keeps it under another name")
            }
            Self::Damaged { path, finding } => write!(f, "{path:?} is damaged: {finding}"),
            Self::Open(error) => error.fmt(f),
            Self::Failed { path, reason } => write!(f, "{path:?}: {reason}"),
        }
    }
}

impl Error for CareError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Failed { reason, .. } => Some(reason.as_ref()),
            _ => None,
        }
    }
}

/// The directory of a file and the file in it, by their one name.
fn place(path: &Path) -> Result<(PathBuf, PathBuf), CareError> {
    let failed = |error| CareError::io(path, error);
    let name = path.file_name().ok_or_else(|| failed(io::Error::other("it names no file")))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = directory.canonicalize().map_err(|error| CareError::io(directory, error))?;
    let file = directory.join(name);
    Ok((directory, file))
}

/// The name of a file that SQLite keeps beside the database, or one of ours.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Now, as a part of a file's name.
fn time_for_names(connection: &rusqlite::Connection) -> rusqlite::Result<String> {
    connection.query_row("select strftime('%Y%m%dT%H%M%SZ', 'now')", [], |row| row.get(0))
}
