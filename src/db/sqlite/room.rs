//! Room for new notifications: less than there is on the disk, so that what becomes of
//! the ones there are can still be stored, and less than the size that was allowed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;

use super::rows;
use crate::{db::DbError, notification::Item};

/// So much of the disk is left to outcomes and the journal: of a large one this many bytes,
const RESERVE_BYTES: u64 = 16 << 20;

/// of a small one the so-manieth part.
const RESERVE_PART: u64 = 10;

/// With so much free there is no need to look closer.
const PLENTY_BYTES: u64 = 16 * RESERVE_BYTES;

/// Once it was full, a part as small as that must be free again, so that it doesn't come and go
/// with every row.
const LIMIT_SLACK: u64 = 64;
const RESERVE_SLACK: u64 = 4;

/// What a row takes beside its texts: numbers, lengths, its places in three indexes.
const ROW_BYTES: usize = 128;

const PAGES: &str = "pragma page_count";
const FREE_PAGES: &str = "pragma freelist_count";

/// Where the room is looked up.
#[derive(Debug)]
pub(super) struct Room {
    /// The directory of the file: any file will do to ask how full its file system is.
    directory: File,
    file: PathBuf,
    page_bytes: u64,
    limit: OnceLock<Limit>,
    /// The latest create was refused.
    was_full: AtomicBool,
}

#[derive(Debug)]
struct Limit {
    bytes: u64,
    name: String,
}

impl Room {
    pub(super) fn new(file: &Path, page_bytes: u64) -> io::Result<Self> {
        let directory = File::open(file.parent().unwrap_or(Path::new("/")))?;
        Ok(Self {
            directory,
            file: file.into(),
            page_bytes,
            limit: OnceLock::new(),
            was_full: AtomicBool::new(false),
        })
    }

    /// The database may grow to this size; the first call counts.
    pub(super) fn limit(&self, bytes: u64, name: String) {
        let _ = self.limit.set(Limit { bytes, name });
    }

    /// What there is at the beginning of a transaction. Asking takes a microsecond or two.
    pub(super) fn look(&self, connection: &Connection) -> rusqlite::Result<Left<'_>> {
        let was_full = self.was_full.load(Ordering::Relaxed);
        let mut left = Left { room: self, disk: self.on_disk(connection, was_full)?, within_limit: u64::MAX };
        if let Some(Limit { bytes, .. }) = self.limit.get() {
            let pages = number(connection, PAGES)?.saturating_sub(number(connection, FREE_PAGES)?);
            let ceiling = if was_full { bytes - bytes / LIMIT_SLACK } else { *bytes };
            left.within_limit = ceiling.saturating_sub(pages.saturating_mul(self.page_bytes));
        }
        Ok(left)
    }

    fn on_disk(&self, connection: &Connection, was_full: bool) -> rusqlite::Result<u64> {
        // The write itself will tell.
        let Some(Disk { free, reserve }) = Disk::of(&self.directory) else { return Ok(u64::MAX) };
        if free > PLENTY_BYTES {
            return Ok(free - reserve);
        }
        let reserve = if was_full { reserve + reserve / RESERVE_SLACK } else { reserve };
        // Free pages are used before the file grows; but what is in the journal will be in the
        // file as well.
        let will_be = number(connection, PAGES)?.saturating_mul(self.page_bytes);
        let is = fs::metadata(&self.file).map_or(0, |file| file.len());
        let free = free.saturating_add(number(connection, FREE_PAGES)?.saturating_mul(self.page_bytes));
        Ok(free.saturating_sub(will_be.saturating_sub(is)).saturating_sub(reserve))
    }
}

/// How full a file system is, in bytes.
pub(super) struct Disk {
    pub(super) free: u64,
    /// So much of that is left to outcomes.
    pub(super) reserve: u64,
}

impl Disk {
    /// That of this file; some don't know.
    pub(super) fn of(file: &File) -> Option<Self> {
        let disk = rustix::fs::fstatvfs(file).ok().filter(|disk| disk.f_blocks > 0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let reserve = RESERVE_BYTES.min(bytes(disk.f_blocks) / RESERVE_PART);
        Some(Self { free: bytes(disk.f_bavail), reserve })
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.prepare_cached(pragma)?.query_row([], |row| rows::quantity(row, 0))
}

/// What is left for the creates of one transaction, in bytes.
pub(super) struct Left<'a> {
    room: &'a Room,
    disk: u64,
    within_limit: u64,
}

impl Left<'_> {
    /// Takes the room that this one needs.
    pub(super) fn take(&mut self, item: &Item) -> Result<(), DbError> {
        // The id stands in the row and in its index.
        let texts = 2 * item.id.as_str().len() + item.r#type.len() + item.endpoint.len() + item.content.len();
        let needed = (texts + ROW_BYTES) as u64;
        let (Some(disk), Some(within_limit)) =
            (self.disk.checked_sub(needed), self.within_limit.checked_sub(needed))
        else {
            self.room.was_full.store(true, Ordering::Relaxed);
            return Err(DbError::Full(self.reason(needed)));
        };
        (self.disk, self.within_limit) = (disk, within_limit);
        self.room.was_full.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn reason(&self, needed: u64) -> String {
        match self.room.limit.get() {
            Some(Limit { name, .. }) if self.within_limit < needed => format!(
                "the database has reached {name}: nothing new is stored before old notifications are removed; \
                 deliveries go on"
            ),
            _ => {
                "the disk is full but for what deliveries need: nothing new is stored before there is room; \
                  deliveries go on"
                    .into()
            }
        }
    }
}
