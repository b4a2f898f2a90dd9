//! What several processes on one table need: leases are renewed while they are
//! held and returned when they aren't used, and others' rows are looked for.

use std::time::{Duration, Instant};

use super::{Claims, Inner};
use crate::{
    db::DbError,
    notification::{Item, Lane, Timestamp},
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
        if !held.is_empty() {
            self.db.renew(&held)?;
        }
        if renewed.elapsed() >= RENEW {
            *renewed = Instant::now();
        }
        let leases: Vec<_> = returned.iter().map(|(id, lease, _)| (id.clone(), *lease)).collect();
        if !leases.is_empty() {
            self.db.give_back(&leases)?;
        }
        let heads = self.db.heads()?;
        self.note(heads.into_iter().chain(returned.into_iter().map(|(_, _, lane)| (lane, Timestamp::MIN))));
        Ok(())
    }

    /// Returns at once the leases of rows that are about to be changed.
    pub(super) fn return_leases(&self, state: &mut Inner) -> Result<(), DbError> {
        if state.returned.is_empty() {
            return Ok(());
        }
        let leases: Vec<_> = state.returned.drain(..).map(|(id, lease, _)| (id, lease)).collect();
        self.db.give_back(&leases)
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
