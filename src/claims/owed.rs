//! Writes that the table still owes to the sender: unlike a client's, they are kept
//! until they are stored, and the rows they concern stay claimed until then.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::{Claim, Claims, Inner, Slot};
use crate::{
    db::{DbError, Outcome, Write, Written},
    notification::{Lane, State, Timestamp},
};

/// A row whose outcome the database refuses is looked at again so much later.
const REFUSED: Duration = Duration::from_secs(60);

/// A write, and what becomes possible once it is stored.
pub(crate) struct Owed {
    pub(crate) write: Write,
    pub(crate) due: Due,
}

/// What becomes possible once an owed write is stored.
#[derive(Default)]
pub(crate) struct Due {
    /// These rows can be claimed again.
    pub(super) claims: SmallVec<[Claim; 1]>,
    /// Something falls due in these lanes.
    pub(super) notes: Vec<(Lane, Timestamp)>,
    /// This lane waits for it.
    pub(super) written_back: Option<Lane>,
    /// So many bytes of a response are not in memory any more.
    pub(super) bytes: usize,
}

impl Owed {
    /// What an attempt led to. Its slot is to be kept until the recorder has it: a stop
    /// waits for slots.
    pub(crate) fn outcome(outcome: Outcome, claim: Claim, slot: &mut Slot) -> Self {
        slot.unrecorded_bytes = outcome.response.len();
        let mut owed = Self::end(outcome, claim);
        owed.due.bytes = slot.unrecorded_bytes;
        owed
    }

    /// What becomes of a notification without an attempt.
    pub(super) fn end(outcome: Outcome, claim: Claim) -> Self {
        let next = (claim.lane, outcome.next_at);
        let notes = if outcome.state == State::Pending { vec![next] } else { Vec::new() };
        let due = Due { claims: smallvec![claim], notes, ..Due::default() };
        Self { write: Write::Outcome(outcome), due }
    }
}

/// An owed write that is done, with its result.
pub(crate) type Settled = (Owed, Result<Written, DbError>);

impl Claims {
    /// These owed writes are done, with these results. Returns what has to be
    /// done again.
    pub(crate) fn settle(&self, done: impl IntoIterator<Item = Settled>) -> Vec<Owed> {
        let mut state = self.lock();
        let again = self.settle_in(&mut state, done);
        self.unlock(state);
        again
    }

    /// The same within a critical section.
    pub(super) fn settle_in(&self, state: &mut Inner, done: impl IntoIterator<Item = Settled>) -> Vec<Owed> {
        let mut again = Vec::new();
        for (mut owed, written) in done {
            state.unrecorded_bytes -= owed.due.bytes as isize;
            for claim in &mut owed.due.claims {
                let id = claim.id.take().expect("a claim is settled once");
                let is_overruled = state.holding.get(&id) == Some(&false);
                match (&owed.write, &written) {
                    // Its lease has ended with it.
                    (Write::Outcome(_), Ok(_)) => state.forget(&id),
                    _ => state.give_back(&id, claim.lane),
                }
                match written {
                    _ if is_overruled => state.lanes.note(claim.lane, Timestamp::MIN),
                    Ok(Written::Superseded) => state.lanes.note(claim.lane, Timestamp::MIN),
                    Ok(_) => {}
                    Err(_) => state.lanes.note(claim.lane, self.clock.now() + REFUSED),
                }
            }
            for (lane, at) in owed.due.notes.drain(..) {
                state.lanes.note(lane, at);
            }
            if let Some(lane) = owed.due.written_back {
                state.lanes.set_writing_back(lane, false);
            }
            match (&owed.write, written) {
                (Write::Release { lane, to, .. }, Ok(Written::Released(rows))) if rows > 0 => {
                    state.lanes.note(*lane, *to);
                    again.push(owed);
                }
                (_, Err(error)) => tracing::error!(%error, "the database refused an outcome"),
                _ => {}
            }
        }
        again
    }
}
