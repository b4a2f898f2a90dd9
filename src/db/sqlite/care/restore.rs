//! Puts a copy in the place of a database.

use std::{
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode};

use super::{
    CareError, beside,
    partial::{Partial, sync, target},
    read::read,
    time_for_names,
    verify::verify,
};
use crate::db::sqlite::{open, rows};

/// A database that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// How many notifications are in it,
    pub notifications: u64,
    /// and how many of them are pending and will be sent.
    pub pending: u64,
    /// Where the one before is now, if it held anything.
    pub before: Option<PathBuf>,
}

/// Puts a copy of `from` in the place of `database`, which no server may have open. A
/// database that holds notifications, or can't be read, is replaced only if `force` says so, and
/// kept under another name. The new one has its owner and its mode, or its directory's owner.
///
/// # Errors
/// `from` is damaged or no database of ours, `database` is in use or holds something, there is no
/// room, or a file can't be written. `database` is as it was then.
pub fn restore(from: &Path, database: &Path, force: bool) -> Result<Restored, CareError> {
    let verified = verify(from)?;
    if let Some(finding) = verified.findings.into_iter().next() {
        return Err(CareError::Damaged { path: from.into(), finding });
    }
    // A link stays one: what it leads to is replaced.
    let database = database.canonicalize().unwrap_or_else(|_| database.into());
    let (directory, database, name) = target(&database)?;
    let failed = |error| CareError::io(&database, error);
    let old = Old::at(&database).map_err(failed)?;
    let owner = match &old {
        Some(old) => Owner::of(&old.metadata, old.metadata.mode()),
        None => Owner::of(&fs::metadata(&directory).map_err(failed)?, 0o600),
    };
    let lock = open::lock_beside(&database, &database)?;
    owner.take(&lock).map_err(failed)?;
    let held = old.as_ref().map_or(Ok(Held::Nothing), |_| Held::by(&database))?;
    if let (false, Some(notifications)) = (force, held.notifications()) {
        return Err(CareError::Holds { path: database, notifications });
    }
    let partial = Partial::create(&directory, &name)?;
    let (copied, time) = read(from, |source| {
        let time = time_for_names(source).map_err(|error| CareError::sqlite(from, &error))?;
        partial.file.set_len(0).map_err(failed)?;
        Ok((partial.fill(source)?, time))
    })?;
    owner.take(&partial.file).map_err(failed)?;
    partial.file.set_permissions(Permissions::from_mode(owner.mode)).map_err(failed)?;
    partial.file.sync_all().map_err(failed)?;
    // From here on it takes moments.
    if old.is_some() {
        fold_journal(&database)?;
    }
    let before = match held {
        Held::Nothing => None,
        _ => Some(keep(&database, &free_name(&database, &time)).map_err(failed)?),
    };
    for suffix in ["-wal", "-shm", "-journal"] {
        remove(&beside(&database, suffix)).map_err(failed)?;
    }
    sync(&directory).map_err(failed)?;
    partial.replace(&database)?;
    Ok(Restored { notifications: copied.notifications, pending: verified.pending, before })
}

/// What is in the place.
struct Old {
    metadata: Metadata,
}

impl Old {
    fn at(database: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(database) {
            Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
            Ok(metadata) => Ok(Some(Self { metadata })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What the database holds that is to be replaced.
enum Held {
    Nothing,
    Notifications(u64),
    /// It can't be read.
    Unknown,
}

impl Held {
    fn by(database: &Path) -> Result<Self, CareError> {
        let count = "select count(*) from items";
        let count = read(database, |connection| {
            connection
                .query_row(count, [], |row| rows::quantity(row, 0))
                .map_err(|error| CareError::sqlite(database, &error))
        });
        match count {
            Ok(0) => Ok(Self::Nothing),
            Ok(count) => Ok(Self::Notifications(count)),
            Err(_) if fs::metadata(database).is_ok_and(|file| file.len() == 0) => Ok(Self::Nothing),
            Err(_) => Ok(Self::Unknown),
        }
    }

    /// `None` if there is nothing to lose.
    fn notifications(&self) -> Option<Option<u64>> {
        match self {
            Self::Nothing => None,
            Self::Notifications(count) => Some(Some(*count)),
            Self::Unknown => Some(None),
        }
    }
}

/// Brings what a crash has left in the journal into the file, so that the file is all there is,
/// and finds out whether another program has it open: closing it, that one would remove
/// the journal of the new database.
fn fold_journal(database: &Path) -> Result<(), CareError> {
    let folded = Connection::open_with_flags(database, open::flags()).and_then(|connection| {
        connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))
    });
    match folded {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ) =>
        {
            Err(CareError::InUse { path: database.into() })
        }
        // One that is damaged is kept as it is, with its journal.
        _ => Ok(()),
    }
}

/// A name for the old file that nothing has yet, also for the second one within a second.
fn free_name(database: &Path, time: &str) -> PathBuf {
    let name = |suffix: &str| beside(database, &format!(".before-restore-{time}{suffix}"));
    let mut names = std::iter::once(name("")).chain((2..).map(|number| name(&format!("-{number}"))));
    names.find(|name| fs::symlink_metadata(name).is_err()).expect("there is no end to them")
}

/// Gives the old file, and the journal that is left of it, another name, and leaves both names
/// for now: at each moment there is a database in the place.
fn keep(database: &Path, kept: &Path) -> io::Result<PathBuf> {
    let journal = beside(database, "-wal");
    if journal.try_exists()? {
        link(&journal, &beside(kept, "-wal"))?;
    }
    link(database, kept)?;
    Ok(kept.into())
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // A file system without links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut copy = open::private().create_new(true).open(to)?;
            io::copy(&mut File::open(from)?, &mut copy)?;
            copy.sync_all()
        }
        linked => linked,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Who may open the files.
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

impl Owner {
    fn of(metadata: &Metadata, mode: u32) -> Self {
        Self { user: metadata.uid(), group: metadata.gid(), mode: mode & 0o7777 }
    }

    /// Gives a file to them, if it isn't theirs.
    fn take(&self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) == (self.user, self.group) {
            return Ok(());
        }
        fchown(file, Some(self.user), Some(self.group))
    }
}
