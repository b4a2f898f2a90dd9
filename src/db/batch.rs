//! Writes that go into one transaction, and what became of each.

use crate::notification::{Id, Item, Lane, State, Timestamp};

/// One write of a batch.
#[derive(Clone, Debug)]
pub enum Write {
    /// [`DBDrv::create`](super::DBDrv::create), told apart from a repeat by its content.
    Create(Item),
    /// What an attempt led to.
    Outcome(Outcome),
    /// [`DBDrv::resend`](super::DBDrv::resend); also raises [`Item::epoch`].
    Resend {
        /// Which one.
        id: Id,
        /// The limit of attempts now in force.
        max_tries: u32,
        /// When it is due: now.
        now: Timestamp,
    },
    /// [`DBDrv::delete`](super::DBDrv::delete).
    Delete {
        /// Which one.
        id: Id,
    },
    /// Gives rows of [`Lane::NONE`] their lanes.
    Assign(Vec<(Id, Lane)>),
    /// Pending rows for a receiver that wants nothing before a time become due then.
    /// A row that was resent (once, with an epoch above 0) stays: it goes out at once.
    Hold {
        /// Which ones.
        ids: Vec<Id>,
        /// When they are due.
        until: Timestamp,
    },
    /// Undoes [`Write::Hold`] for at most 500 pending rows of a lane: what is due
    /// exactly at `from` becomes due at `to`.
    /// [`Written::Released`] tells whether that many were found.
    Release {
        /// Which lane.
        lane: Lane,
        /// When they were to be due.
        from: Timestamp,
        /// When they are due instead.
        to: Timestamp,
    },
}

/// What became of one write of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored; nothing else is to tell.
    Done,
    /// Nothing was stored: the id exists.
    Exists {
        /// When the other one was created.
        create_at: Timestamp,
        /// It has the same type, endpoint and payload.
        same: bool,
    },
    /// The attempt had begun before a resend: its response was stored, and one
    /// more attempt is due.
    Superseded,
    /// Nothing was stored: the lease was lost, and somebody else has the row.
    Lost,
    /// It waits in this lane and is due.
    Resent(Lane),
    /// How many rows were released.
    Released(usize),
}

/// What an attempt led to. `tried`, `next_at` and `state` are the row's new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which notification.
    pub id: Id,
    /// Its epoch when the attempt began. If the row's is another one now, it was
    /// resent meanwhile: only the response is stored, and the row stays as it is.
    pub epoch: u32,
    /// The lease under which it was claimed, see [`Item::lease`]; it ends with this. If
    /// the row holds another one now, nothing is stored.
    pub lease: u64,
    /// Attempts made.
    pub tried: u32,
    /// When the next one is due.
    pub next_at: Timestamp,
    /// What has become of it.
    pub state: State,
    /// What to store as the latest response.
    pub response: Vec<u8>,
    /// Leave a response that is there already.
    pub keep_response: bool,
}
