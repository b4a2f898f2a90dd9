//! What a batch of writes has made due.

use crate::{
    claims::Claims,
    db::{DbError, Write, Written},
    notification::{Item, Lane, Timestamp},
};

/// What a batch has made due.
pub(super) enum FallenDue {
    /// All that was written are new rows, and these are among them.
    Created(Vec<Item>),
    /// Rows in these lanes.
    Rows(Vec<(Lane, Timestamp)>),
}

impl FallenDue {
    pub(super) fn of(batch: Vec<Write>, results: &[Result<Written, DbError>]) -> Self {
        // A row that was created may have been deleted by the same batch.
        let only_new = batch.iter().all(|write| matches!(write, Write::Create(_)));
        let done = batch.into_iter().zip(results);
        if !only_new {
            let due = done.filter_map(|(write, result)| match (write, result) {
                (Write::Create(item), Ok(Written::Done)) => Some((item.lane, item.next_at)),
                (Write::Resend { now, .. }, Ok(Written::Resent(lane))) => Some((*lane, now)),
                _ => None,
            });
            return Self::Rows(due.collect());
        }
        Self::Created(
            done.filter_map(|(write, result)| match (write, result) {
                (Write::Create(item), Ok(Written::Done)) => Some(item),
                _ => None,
            })
            .collect(),
        )
    }

    pub(super) fn tell(self, claims: &Claims) {
        match self {
            Self::Created(items) if !items.is_empty() => claims.created(items),
            Self::Rows(due) if !due.is_empty() => claims.note(due),
            _ => {}
        }
    }
}
