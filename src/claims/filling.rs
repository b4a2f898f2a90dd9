//! Reading due rows of a lane from the table: some are next in line then, others
//! can't be attempted now and are written back.

use std::{collections::HashMap, sync::Arc};

use super::{Claim, Claims, Due, Inner, Owed};
use crate::{
    db::{DbError, Outcome, Wanted, Write},
    driver::{self, Driver},
    notification::{Id, Item, Lane, State, Timestamp},
};

/// Payload bytes next in line in one lane, and bytes in all lanes together.
const BYTES_A_LANE: usize = 256 << 10;
pub(super) const BYTES: usize = 4 << 20;

/// Rows next in line for each send that a lane may have running. Each look at the
/// table passes over the rows that are claimed already, so it should bring many;
/// but what one process has claimed of a shared table, no other one can send.
const ROWS_A_SEND: usize = 16;
const ROWS_A_SEND_SHARED: usize = 2;

/// Rows that are written back at once.
const WRITE_BACK: usize = 500;

impl Claims {
    /// Claims the oldest due rows of a lane.
    pub(super) fn fill(
        self: &Arc<Self>,
        state: &mut Inner,
        lane: Lane,
        now: Timestamp,
        owed: &mut Vec<Owed>,
    ) -> Result<(), DbError> {
        if lane == Lane::NONE && self.db.has_lanes() {
            return self.assign_lanes(state, owed);
        }
        let types: Vec<&str> = self.drivers.types().collect();
        let mut wanted = Wanted {
            lane,
            now,
            drivers: &types,
            skip: &state.claimed,
            max_tries: self.max_tries,
            limit: if state.waiting_bytes > BYTES { 1 } else { self.line(state, lane) },
            max_bytes: BYTES_A_LANE,
        };
        let mut claimed = self.db.claim(&wanted)?;
        if !claimed.items.is_empty() && claimed.items.iter().all(|item| self.is_out(state, item)) {
            // Nothing but rows to write back: take them in larger portions.
            let more = WRITE_BACK.saturating_sub(claimed.items.len());
            let mut skip = state.claimed.clone();
            skip.extend(claimed.items.iter().map(|item| item.id.clone()));
            wanted = Wanted { skip: &skip, limit: more, max_bytes: BYTES, ..wanted };
            let others = self.db.claim(&wanted)?;
            claimed.items.extend(others.items);
            claimed.next_at = others.next_at;
        }
        state.lanes.set_due(lane, claimed.next_at);
        let mut held: HashMap<Timestamp, Vec<Id>> = HashMap::new();
        for mut item in claimed.items {
            item.lane = lane;
            state.lease(&item);
            if self.is_exhausted(&item) {
                owed.push(self.give_up(state, item));
            } else if let Some((destination, until)) = self.held_until(state, &item) {
                state.holds.wait(&destination, lane);
                held.entry(until).or_default().push(item.id);
            } else {
                state.push_waiting(item);
            }
        }
        for (until, ids) in held {
            self.hold_back(state, lane, ids, until, owed);
        }
        Ok(())
    }

    /// How many rows of the lane may be next in line.
    pub(super) fn line(&self, state: &Inner, lane: Lane) -> usize {
        let rows = if self.db.is_shared() { ROWS_A_SEND_SHARED } else { ROWS_A_SEND };
        state.lanes.allowed(lane).saturating_mul(rows)
    }

    /// Whether this row can't be attempted now and has to be written back.
    fn is_out(&self, state: &Inner, item: &Item) -> bool {
        self.is_exhausted(item) || self.held_until(state, item).is_some()
    }

    fn is_exhausted(&self, item: &Item) -> bool {
        !item.once && item.tried >= self.max_tries
    }

    /// Which destination's hold keeps the row, and until when. A resent one goes
    /// out at once.
    pub(super) fn held_until(&self, state: &Inner, item: &Item) -> Option<(String, Timestamp)> {
        if state.holds.is_empty() || item.is_resent() {
            return None;
        }
        let driver = self.drivers.find(&item.r#type)?;
        let destination = driver::destination(driver.as_ref(), &item.endpoint)?;
        let until = state.holds.until(&destination, self.clock.now())?;
        Some((destination, until))
    }

    /// A resent one is attempted: that ends the hold of its destination.
    pub(super) fn end_hold(
        &self,
        state: &mut Inner,
        driver: &dyn Driver,
        item: &Item,
        owed: &mut Vec<Owed>,
        now: Timestamp,
    ) {
        if state.holds.is_empty() {
            return;
        }
        let Some(destination) = driver::destination(driver, &item.endpoint) else { return };
        let Some(rows) = state.holds.end(&destination) else { return };
        for (lane, from) in rows.into_iter().filter(|(_, until)| *until > now) {
            owed.push(Owed { write: Write::Release { lane, from, to: now }, due: Due::default() });
        }
        // Those on their way into the table are met again, and held back if
        // another hold keeps them.
        state.holding.values_mut().for_each(|holds| *holds = false);
    }

    /// Rows for a held destination become due when it wants something again.
    pub(super) fn hold_back(
        self: &Arc<Self>,
        state: &mut Inner,
        lane: Lane,
        ids: Vec<Id>,
        until: Timestamp,
        owed: &mut Vec<Owed>,
    ) {
        state.lanes.set_writing_back(lane, true);
        state.holding.extend(ids.iter().map(|id| (id.clone(), true)));
        let due = Due {
            claims: ids.iter().map(|id| self.claim(state, id, lane)).collect(),
            notes: vec![(lane, until)],
            written_back: Some(lane),
            ..Due::default()
        };
        owed.push(Owed { write: Write::Hold { ids, until }, due });
    }

    /// A row that used up its attempts before `max_tries` was lowered.
    fn give_up(self: &Arc<Self>, state: &mut Inner, item: Item) -> Owed {
        let reason =
            format!("given up: {} attempts were made, the limit is {} now", item.tried, self.max_tries);
        tracing::error!(id = ?item.id.as_str(), r#type = item.r#type, reason, "FAILED");
        self.health.gave_up();
        let claim = self.claim(state, &item.id, item.lane);
        let outcome = Outcome {
            id: item.id,
            epoch: item.epoch,
            lease: item.lease,
            tried: item.tried,
            next_at: item.next_at,
            state: State::Failed,
            response: reason.into_bytes(),
            keep_response: true,
        };
        Owed::end(outcome, claim)
    }

    /// Rows that another program wrote get their lanes.
    fn assign_lanes(&self, state: &mut Inner, owed: &mut Vec<Owed>) -> Result<(), DbError> {
        let rows = self.db.unassigned(WRITE_BACK)?;
        state.lanes.set_due(Lane::NONE, None);
        if rows.is_empty() {
            return Ok(());
        }
        state.lanes.set_writing_back(Lane::NONE, true);
        let mut notes = vec![(Lane::NONE, Timestamp::MIN)];
        let mut lanes = Vec::with_capacity(rows.len());
        for row in rows {
            let lane = self.drivers.lane(&row.r#type, &row.endpoint);
            notes.push((lane, row.next_at));
            lanes.push((row.id, lane));
        }
        let due = Due { notes, written_back: Some(Lane::NONE), ..Due::default() };
        owed.push(Owed { write: Write::Assign(lanes), due });
        Ok(())
    }

    fn claim(self: &Arc<Self>, state: &mut Inner, id: &Id, lane: Lane) -> Claim {
        state.claimed.insert(id.clone());
        Claim { claims: self.clone(), id: Some(id.clone()), lane }
    }
}

impl Item {
    /// About what it takes in memory while it waits, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.id.as_str().len() + self.endpoint.len() + self.content.len()
    }

    /// Its next attempt is the one that a resend gave it.
    pub(super) fn is_resent(&self) -> bool {
        self.once && self.epoch > 0
    }
}
