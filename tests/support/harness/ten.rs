//! A third party's database: the ten required methods and no more, and it can be
//! made to fail.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use notify_api::{
    DBDrv, DbError, Detail, Item, State, Status, Timestamp,
    db::{Sending, sqlite::Sqlite},
};

#[derive(Clone)]
pub(crate) struct TenMethods {
    db: Arc<Sqlite>,
    /// Every write fails.
    pub(crate) is_broken: Arc<AtomicBool>,
}

impl TenMethods {
    pub(crate) fn new(db: Sqlite) -> Self {
        Self { db: Arc::new(db), is_broken: Arc::default() }
    }

    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    fn writable(&self) -> Result<&Sqlite, DbError> {
        match self.is_broken.load(Ordering::SeqCst) {
            true => Err(DbError::unavailable("it is broken")),
            false => Ok(&self.db),
        }
    }
}

impl DBDrv for TenMethods {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        self.writable()?.create(item)
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        self.writable()?.resend(id, max_tries, now)
    }

    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        self.writable()?.update(id, tried, next_at, state, response)
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.db.result(id)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.db.status(id)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.db.detail(id)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        self.db.pending(now, max_tries, drivers, sending)
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        self.writable()?.delete(id, sending)
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.writable()?.clear(before, sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.writable()?.force_clear(before, sending)
    }
}
