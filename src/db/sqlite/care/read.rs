//! Reads a file, whoever owns it and whether a server has it open or not, and makes no
//! others beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::{super::open, CareError, beside};

/// What stands for itself in a URI's path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// Does that with a connection that reads this file, which must be a database of ours.
///
/// A file that no one has open is read as one that doesn't change: otherwise SQLite would make
/// a journal beside it, which root would leave behind. If somebody began to use
/// it meanwhile, what was read is worth nothing, and is read again beside them.
pub(super) fn read<T>(
    path: &Path,
    mut work: impl FnMut(&Connection) -> Result<T, CareError>,
) -> Result<T, CareError> {
    let name = path.canonicalize().map_err(|error| CareError::io(path, error))?;
    if let Some(before) = Resting::look(&name).map_err(|error| CareError::io(path, error))? {
        let done = connect(path, &name, true).and_then(|connection| work(&connection));
        if Resting::look(&name).is_ok_and(|after| after == Some(before)) {
            return done;
        }
    }
    work(&connect(path, &name, false)?)
}

/// A file without a journal, as long as it looks the same.
#[derive(PartialEq, Eq)]
struct Resting {
    modified: SystemTime,
    bytes: u64,
}

impl Resting {
    fn look(name: &Path) -> io::Result<Option<Self>> {
        for suffix in ["-wal", "-journal"] {
            if beside(name, suffix).try_exists()? {
                return Ok(None);
            }
        }
        let file = fs::metadata(name)?;
        Ok(Some(Self { modified: file.modified()?, bytes: file.len() }))
    }
}

fn connect(path: &Path, name: &PathBuf, immutable: bool) -> Result<Connection, CareError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = if immutable {
        let uri = percent_encode(name.as_os_str().as_encoded_bytes(), IN_PATH);
        Connection::open_with_flags(format!("file:{uri}?immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI)
    } else {
        Connection::open_with_flags(name, flags)
    };
    let connection = opened.map_err(|error| CareError::sqlite(path, &error))?;
    match open::check(&connection) {
        Err(refusal) => Err(refusal.of(path).into()),
        Ok(()) => Ok(connection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::sqlite::Sqlite;

    #[test]
    fn a_file_that_somebody_begins_to_use_meanwhile_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("with space & ?#%.db");
        drop(Sqlite::open(&path).unwrap());
        let count = |connection: &Connection| {
            let count = connection.query_row("select count(*) from items", [], |row| row.get::<_, i64>(0));
            count.map_err(|error| CareError::sqlite(&path, &error))
        };
        let mut server = None;
        let mut counts = Vec::new();
        let read = read(&path, |connection| {
            counts.push(count(connection)?);
            let server = server.get_or_insert_with(|| Connection::open(&path).unwrap());
            let insert = "insert into items(driver, endpoint, content, create_at, next_at, notify_id) \
                 select '', '', '', 0, 0, count(*) from items";
            server.execute(insert, []).unwrap();
            count(connection)
        });
        assert_eq!(counts, [0, 1], "the first time, nobody had it open");
        assert_eq!(read.unwrap(), 2, "the second time beside the server");
    }
}
