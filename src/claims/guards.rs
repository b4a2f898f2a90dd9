//! Claims, slots and the critical section as guards: whatever happens to their
//! holder, a panic included, they end.

use std::sync::{Arc, MutexGuard, atomic::Ordering};

use super::{Answer, Claims, Inner};
use crate::{
    db::{DbError, Sending},
    driver::Driver,
    notification::{Id, Item, Lane, Timestamp},
};

/// An attempt that has begun.
pub(crate) struct Begun {
    pub(crate) item: Item,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) claim: Claim,
    pub(crate) slot: Slot,
}

/// A row that is taken. Dropping it gives the row back.
pub(crate) struct Claim {
    pub(super) claims: Arc<Claims>,
    /// `None` once it is settled.
    pub(super) id: Option<Id>,
    pub(super) lane: Lane,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let mut state = self.claims.lock();
            state.give_back(&id, self.lane);
            state.lanes.note(self.lane, Timestamp::MIN);
            self.claims.unlock(state);
        }
    }
}

/// The slot of a running attempt. Dropping it ends the attempt; the claim lives
/// on until the outcome is stored.
pub(crate) struct Slot {
    claims: Arc<Claims>,
    lane: Lane,
    /// What the attempt says about its lane.
    pub(crate) answer: Answer,
    /// The length of the response that waits to be stored then.
    pub(crate) unrecorded_bytes: usize,
    ended: bool,
}

impl Slot {
    /// For an attempt that begins in the critical section that this is called in.
    pub(super) fn begin(claims: Arc<Claims>, lane: Lane) -> Self {
        claims.running.fetch_add(1, Ordering::Relaxed);
        Self { claims, lane, answer: Answer::Answered, unrecorded_bytes: 0, ended: false }
    }

    /// Ends the attempt; dropping it does nothing more then.
    pub(super) fn end_within(&mut self, state: &mut Inner) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        state.lanes.end(self.lane, self.answer);
        state.unrecorded_bytes += self.unrecorded_bytes as isize;
        self.claims.running.fetch_sub(1, Ordering::Relaxed);
        // Only a stop waits for that, and telling is a system call.
        if state.lanes.running() == 0 && self.claims.is_stopping() {
            self.claims.idle.notify_all();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.ended {
            let claims = self.claims.clone();
            let mut state = claims.lock();
            self.end_within(&mut state);
            claims.unlock(state);
        }
    }
}

/// As long as it lives, no row is claimed and no attempt begins.
pub(crate) struct Exclusive<'a> {
    pub(super) claims: &'a Claims,
    pub(super) state: Option<MutexGuard<'a, Inner>>,
}

impl Exclusive<'_> {
    /// What is being sent.
    pub(crate) fn sending(&self) -> &Sending {
        &self.state.as_ref().expect(HELD).sending
    }

    /// Whether the row is still to be held back.
    pub(crate) fn is_held(&self, id: &Id) -> bool {
        self.state.as_ref().expect(HELD).holding.get(id).copied().unwrap_or(false)
    }

    /// Those of these that are merely next in line, or about to be held back,
    /// aren't any more.
    pub(crate) fn revoke<'i>(&mut self, ids: impl IntoIterator<Item = &'i Id>) -> Result<(), DbError> {
        let state = self.state.as_mut().expect(HELD);
        for id in ids {
            state.revoke(id);
        }
        self.claims.return_leases(state)
    }

    /// Nothing is next in line any more.
    pub(crate) fn revoke_all(&mut self) -> Result<(), DbError> {
        let state = self.state.as_mut().expect(HELD);
        state.revoke_all();
        self.claims.return_leases(state)
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.claims.unlock(self.state.take().expect(HELD));
    }
}

const HELD: &str = "the guard is held until it is dropped";
