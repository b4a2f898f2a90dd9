//! What several processes on one table need: leases are renewed while they are
//! held and returned when they aren't used, and others' rows are looked for.

use std::time::{Duration, Instant};

use super::{Claims, Inner};
use crate::{
    db::DbError,
    notification::{Id, Item, Lane, Timestamp},
};

/// How often to look for rows that nobody has told this process about.
pub(super) const SCAN: Duration = Duration::from_secs(1);

/// What was claimed longer ago is looked at once more: far less than a lease lasts.
const STALE: Duration = Duration::from_secs(5);

/// How often to renew leases, which last 60 seconds.
const RENEW: Duration = Duration::from_secs(15);

impl Claims {
    /// What has to be done once in each [`SCAN`]. The table is not asked while
    /// the claims are locked.
    pub(super) fn look_around(&self, renewed: &mut Instant) -> Result<(), DbError> {
        let mut state = self.lock();
        // Whatever couldn't begin within a scan is for whoever has a slot free.
        state.revoke_all();
        state.looked_at = Instant::now();
        let returned = std::mem::take(&mut state.returned);
        let held: Vec<_> = match renewed.elapsed() >= RENEW {
            true => state.leases.iter().map(|(id, lease)| (id.clone(), *lease)).collect(),
            false => Vec::new(),
        };
        drop(state);
        if let Err(error) = self.tell_leases(&held, &returned, renewed) {
            // Nobody could send these rows before their leases end: once more, next time.
            self.lock().returned.extend(returned);
            return Err(error);
        }
        let freed = returned.into_iter().map(|(_, _, lane)| (lane, Timestamp::MIN));
        let heads = self.db.heads();
        self.note(heads.as_deref().unwrap_or_default().iter().copied().chain(freed));
        heads.map(drop)
    }

    /// Renews what is held, and returns what isn't any more.
    fn tell_leases(
        &self,
        held: &[(Id, u64)],
        returned: &[(Id, u64, Lane)],
        renewed: &mut Instant,
    ) -> Result<(), DbError> {
        if renewed.elapsed() >= RENEW {
            if !held.is_empty() {
                self.db.renew(held)?;
            }
            *renewed = Instant::now();
        }
        let leases: Vec<_> = returned.iter().map(|(id, lease, _)| (id.clone(), *lease)).collect();
        if leases.is_empty() { Ok(()) } else { self.db.give_back(&leases) }
    }

    /// Returns at once the leases of rows that are about to be changed.
    pub(super) fn return_leases(&self, state: &mut Inner) -> Result<(), DbError> {
        if state.returned.is_empty() {
            return Ok(());
        }
        let leases: Vec<_> = state.returned.iter().map(|(id, lease, _)| (id.clone(), *lease)).collect();
        self.db.give_back(&leases)?;
        state.returned.clear();
        Ok(())
    }
}

impl Inner {
    /// What has been next in line for so long isn't any more: this process, or the database,
    /// has stood still, and somebody else may have those rows. No attempt may begin under a lease
    /// that is about to end.
    pub(super) fn revoke_stale(&mut self) {
        if self.looked_at.elapsed() >= STALE {
            self.revoke_all();
            self.looked_at = Instant::now();
        }
    }

    /// Remembers under which lease a row is claimed.
    pub(super) fn lease(&mut self, item: &Item) {
        if item.lease != 0 {
            self.leases.insert(item.id.clone(), item.lease);
        }
    }

    /// A row isn't claimed any more; its lease, if any, is to be returned.
    pub(super) fn unlease(&mut self, id: &str, lane: Lane) {
        if let Some((id, lease)) = self.leases.remove_entry(id) {
            self.returned.push((id, lease, lane));
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{clock::Clock, db::sqlite::Sqlite, driver::Drivers, health::Health};

    #[test]
    fn what_was_claimed_before_a_standstill_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let db = Arc::new(Sqlite::open(directory.path().join("notify.db")).unwrap());
        let clock = Arc::new(Clock::not_before(Timestamp::MIN));
        let claims = Claims::new(db, Drivers::default(), clock, Arc::new(Health::default()), 32, 4);
        let item = Item {
            id: Id::from_store("one"),
            r#type: "HTTPPOST".into(),
            endpoint: "http://127.0.0.1:9/".into(),
            content: b"null".to_vec(),
            create_at: Timestamp::MIN,
            next_at: Timestamp::MIN,
            tried: 0,
            once: false,
            epoch: 0,
            lease: 7,
            lane: Lane::named("lane"),
        };
        let mut state = claims.lock();
        state.lease(&item);
        state.push_waiting(item.clone());
        state.revoke_stale();
        assert!(state.waiting.contains_key(&item.id), "it was claimed just now");
        state.looked_at = Instant::now().checked_sub(STALE).unwrap();
        state.revoke_stale();
        assert!(state.waiting.is_empty() && state.take_waiting(item.lane).is_none());
        assert_eq!(state.returned, [(item.id, 7, item.lane)]);
    }
}
