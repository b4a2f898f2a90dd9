//! Removing many rows, a slice at a time.

use crate::notification::{Id, State, Timestamp};

/// A clearing under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear {
    /// Which ones go,
    pub scope: Scope,
    /// if they were created strictly before this.
    pub before: Timestamp,
    /// What was created before this isn't looked at.
    pub since: Timestamp,
    /// Where to go on.
    pub cursor: Option<Cursor>,
}

impl Clear {
    /// A clearing of all those in its scope, from its beginning.
    pub fn new(scope: Scope, before: Timestamp) -> Self {
        Self { scope, before, since: Timestamp::MIN, cursor: None }
    }
}

/// Which notifications a clearing removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Delivered ones.
    Success,
    /// Failed ones.
    Failed,
    /// Those in a final state.
    Finished,
    /// All.
    All,
}

impl Scope {
    /// Whether it removes notifications in this state.
    pub fn takes(self, state: State) -> bool {
        match self {
            Self::Success => state == State::Success,
            Self::Failed => state == State::Failed,
            Self::Finished => state != State::Pending,
            Self::All => true,
        }
    }
}

/// What a slice of a clearing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many it deleted, as far as that is known.
    pub removed: usize,
    /// What is left to do, `None` at the end.
    pub rest: Option<Clear>,
}

/// A place in the order of creation. What tells rows of one second apart is the
/// database's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The second.
    pub create_at: Timestamp,
    /// A row's number.
    pub seq: i64,
    /// A row's id.
    pub id: Option<Id>,
}
