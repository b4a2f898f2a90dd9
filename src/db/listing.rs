//! A part of all rows, newest first.

use std::time::{Duration, Instant};

use super::Cursor;
use crate::notification::{Listed, State, Timestamp};

/// What [`DBDrv::list`](super::DBDrv::list) looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Rows in this state, or in any;
    pub state: Option<State>,
    /// of this type, or of any;
    pub r#type: Option<String>,
    /// created at this time or later,
    pub since: Timestamp,
    /// and strictly before this one, if there is one.
    pub before: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Where to go on.
    pub after: Option<Cursor>,
}

impl Query {
    /// All there are, at most so many of them.
    pub fn all(limit: usize) -> Self {
        Self { state: None, r#type: None, since: Timestamp::MIN, before: None, limit, after: None }
    }

    /// Whether a row like that is meant; the rest of a query is about its place.
    pub(super) fn takes(&self, state: State, kind: &str) -> bool {
        self.state.is_none_or(|wanted| wanted == state)
            && self.r#type.as_deref().is_none_or(|wanted| wanted == kind)
    }
}

/// What [`DBDrv::list`](super::DBDrv::list) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The newest first.
    pub items: Vec<Listed>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What [`DBDrv::figures`](super::DBDrv::figures) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many rows are pending.
    pub pending: u64,
    /// The earliest `next_at` of a pending row.
    pub earliest: Option<Timestamp>,
    /// How much room the database takes, if that is known.
    pub bytes: Option<u64>,
}

/// If so few rows are in a state, all of them are looked at, wherever they are.
pub(super) const FEW: usize = 5_000;

/// How much work a page may be. What is beyond it is for the next one.
pub(super) struct Effort {
    looks: usize,
    bytes: usize,
    begun: Instant,
}

impl Effort {
    /// Rows looked at.
    const LOOKS: usize = 10_000;
    /// Bytes of texts: as JSON they may be six times as many.
    const BYTES: usize = 1 << 20;
    /// An SD card may need a while for each row.
    const TIME: Duration = Duration::from_secs(2);

    pub(super) fn begin() -> Self {
        Self { looks: 0, bytes: 0, begun: Instant::now() }
    }

    /// A row was looked at.
    pub(super) fn look(&mut self) {
        self.looks += 1;
    }

    /// This one is in the page.
    pub(super) fn take(&mut self, item: &Listed) {
        let response = item.response.as_ref().map_or(0, String::len);
        self.bytes += item.id.as_str().len() + item.r#type.len() + item.endpoint.len() + response;
    }

    pub(super) fn is_over(&self) -> bool {
        self.looks >= Self::LOOKS || self.bytes >= Self::BYTES || self.begun.elapsed() >= Self::TIME
    }
}
