//! A copy under way: it has another name until it is whole and on the disk.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{CareError, Copied, place};
use crate::db::sqlite::{open, room, rows};

/// A file that is being written; removed when it is dropped. One that a crash has left is
/// written anew by the next copy of that name.
pub(super) struct Partial {
    directory: PathBuf,
    path: PathBuf,
    pub(super) file: File,
    is_placed: bool,
}

impl Partial {
    /// An empty file, for the eyes of its owner, beside the place where it will be.
    pub(super) fn create(directory: &Path, name: &str) -> Result<Self, CareError> {
        let path = directory.join(format!(".{name}.partial"));
        let failed = |error| CareError::io(&path, error);
        let file = open::private().create(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CareError::Busy { path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever had the lock before may have put the file in its place, which is not to be touched.
        let is_same = |there: fs::Metadata| Ok(there.ino() == file.metadata()?.ino());
        if !fs::symlink_metadata(&path).and_then(is_same).unwrap_or(false) {
            return Err(CareError::Busy { path });
        }
        let partial = Self { directory: directory.into(), path, file, is_placed: false };
        partial.file.set_len(0).map_err(|error| CareError::io(&partial.path, error))?;
        Ok(partial)
    }

    /// Writes all that is in that database, as of one moment and without its gaps, and has it
    /// on the disk. Its writers aren't held up; its journal grows by what they write meanwhile.
    pub(super) fn fill(&self, source: &Connection) -> Result<Copied, CareError> {
        let failed = |error: rusqlite::Error| CareError::sqlite(&self.path, &error);
        let number = |pragma| source.pragma_query_value(None, pragma, |row| rows::quantity(row, 0));
        let used = number("page_count").map_err(failed)? - number("freelist_count").map_err(failed)?;
        let needed = used * number("page_size").map_err(failed)?;
        if let Some(disk) = room::Disk::of(&self.file)
            && disk.free < needed + disk.reserve
        {
            let path = self.path.clone();
            return Err(CareError::NoRoom { path, needed: needed + disk.reserve, free: disk.free });
        }
        let name = self.path.to_str().ok_or_else(|| {
            let reason = "its name isn't UTF-8".into();
            CareError::Failed { path: self.path.clone(), reason }
        })?;
        source.execute("vacuum into ?1", [name]).map_err(failed)?;
        let on_disk = || {
            self.file.sync_all()?;
            self.file.metadata()
        };
        let bytes = on_disk().map_err(|error| CareError::io(&self.path, error))?.len();
        let count = "select count(*) from items";
        let notifications = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|copy| copy.query_row(count, [], |row| rows::quantity(row, 0)))
            .map_err(failed)?;
        Ok(Copied { file: self.path.clone(), notifications, bytes })
    }

    /// Gives it this name, unless there is such a file, even one that is being made just now.
    pub(super) fn place(mut self, target: &Path) -> Result<(), CareError> {
        let failed = |error| CareError::io(target, error);
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => self.is_placed = true,
            // Not every file system knows that. Then the drop removes the first name.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::hard_link(&self.path, target).map_err(failed)?;
            }
            Err(error) => return Err(failed(error.into())),
        }
        sync(&self.directory).map_err(failed)
    }

    /// Gives it this name, in the place of what has it.
    pub(super) fn replace(mut self, target: &Path) -> Result<(), CareError> {
        let replaced = fs::rename(&self.path, target);
        self.is_placed = replaced.is_ok();
        replaced.and_then(|()| sync(&self.directory)).map_err(|error| CareError::io(target, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_placed {
            // What can't be removed is written anew by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Has the names in a directory on the disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory of a copy, its whole name there, and the last part of that.
pub(super) fn target(path: &Path) -> Result<(PathBuf, PathBuf, String), CareError> {
    let (directory, file) = place(path)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((directory, file, name))
}
