//! Copies of a database, also of one that is in use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    CareError,
    partial::{Partial, target},
    read::read,
    time_for_names,
};

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Where it is.
    pub file: PathBuf,
    /// How many notifications are in it.
    pub notifications: u64,
    /// Its size.
    pub bytes: u64,
}

/// Copies a database into a new file: all that was stored when it began, whether a server has
/// the database open or not. The copy is on the disk when this returns; before that, nothing
/// has its name.
///
/// # Errors
/// `file` exists, there is no room for it, or the database can't be read.
pub fn backup(database: &Path, file: &Path) -> Result<Copied, CareError> {
    let (directory, file, name) = target(file)?;
    if fs::symlink_metadata(&file).is_ok() {
        return Err(CareError::Exists { path: file });
    }
    copy(database, &directory, &name, |_| Ok(file.clone()))
}

/// Copies a database into a file of this directory whose name tells the time, and removes the
/// oldest ones of such names beyond `keep`.
///
/// # Errors
/// Those of [`backup`]; an older copy can't be removed.
pub fn backup_in(database: &Path, directory: &Path, keep: Option<usize>) -> Result<Copied, CareError> {
    let directory = directory.canonicalize().map_err(|error| CareError::io(directory, error))?;
    let copy = || {
        copy(database, &directory, "notify-backup", |time| {
            Ok(directory.join(format!("{PREFIX}{time}{SUFFIX}")))
        })
    };
    let copied = match copy() {
        // There was one in this second already: the next one has another name.
        Err(CareError::Exists { .. }) => {
            thread::sleep(Duration::from_secs(1));
            copy()?
        }
        copied => copied?,
    };
    if let Some(keep) = keep {
        remove_old(&directory, &copied.file, keep).map_err(|error| CareError::io(&directory, error))?;
    }
    Ok(copied)
}

fn copy(
    database: &Path,
    directory: &Path,
    name: &str,
    file: impl Fn(&str) -> Result<PathBuf, CareError>,
) -> Result<Copied, CareError> {
    let (partial, copied) = read(database, |source| {
        let time = time_for_names(source).map_err(|error| CareError::sqlite(database, &error))?;
        let partial = Partial::create(directory, name)?;
        let copied = partial.fill(source)?;
        Ok((partial, Copied { file: file(&time)?, ..copied }))
    })?;
    partial.place(&copied.file)?;
    Ok(copied)
}

const PREFIX: &str = "notify-";
const SUFFIX: &str = ".db";

/// Whether it is a name like `notify-20261125T031500Z.db`.
fn tells_the_time(name: &str) -> bool {
    let time = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    time.is_some_and(|time| {
        let pattern = b"ddddddddTddddddZ";
        let fits = |(byte, pattern): (u8, &u8)| match pattern {
            b'd' => byte.is_ascii_digit(),
            letter => byte == *letter,
        };
        time.len() == pattern.len() && time.bytes().zip(pattern).all(fits)
    })
}

/// Leaves so many, the new one among them, whatever time a wrong clock has given it.
fn remove_old(directory: &Path, new: &Path, keep: usize) -> io::Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().is_some_and(tells_the_time);
        if is_ours && entry.file_type()?.is_file() && entry.path() != new {
            others.push(entry.path());
        }
    }
    others.sort_unstable();
    let surplus = others.len().saturating_sub(keep.saturating_sub(1));
    others.iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_tell_the_time() {
        assert!(tells_the_time("notify-20261125T031500Z.db"));
        for name in [
            "notify.db",
            "notify-.db",
            "notify-20261125T031500Z.db.gz",
            "notify-20261125T031500Z.db-wal",
            "notify-20261125T03150xZ.db",
            "notify-20261125t031500Z.db",
            "notify-202611250T31500Z.db",
            "my-notify-20261125T031500Z.db",
        ] {
            assert!(!tells_the_time(name), "{name}");
        }
    }

    #[test]
    fn the_oldest_ones_go_but_never_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let name = |year: u32| format!("notify-{year}0101T000000Z.db");
        let others = ["notify.db", "notify-20200101T000000Z.db.old", "letter"];
        for name in (2020..2026).map(name).chain(others.map(str::to_owned)) {
            fs::write(path(&name), "").unwrap();
        }
        let left = || (2000..2030).filter(|year| path(&name(*year)).exists()).collect::<Vec<_>>();
        remove_old(directory.path(), &path(&name(2025)), 4).unwrap();
        assert_eq!(left(), [2022, 2023, 2024, 2025]);
        // A clock that has lost its battery.
        fs::write(path(&name(2000)), "").unwrap();
        remove_old(directory.path(), &path(&name(2000)), 3).unwrap();
        assert_eq!(left(), [2000, 2024, 2025]);
        remove_old(directory.path(), &path(&name(2000)), 1).unwrap();
        assert_eq!(left(), [2000]);
        assert!(others.iter().all(|name| path(name).exists()));
    }
}
