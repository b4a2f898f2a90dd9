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

/// How often to renew leases, which last 60 seconds.
const RENEW: Duration = Duration::from_secs(15);

impl Claims {
    /// What has to be done once in each [`SCAN`]. The table is not asked while
    /// the claims are locked.
    pub(super) fn look_around(&self, renewed: &mut Instant) -> Result<(), DbError> {
        let mut state = self.lock();
        // Whatever couldn't begin within a scan is for whoever has a slot free.
        state.revoke_all();
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
