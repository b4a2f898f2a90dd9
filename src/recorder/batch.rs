//! What the writing thread has taken out of the queue.

use std::collections::VecDeque;

use super::queue::{Clearing, Client, Request};
use crate::{
    claims::{Due, Owed},
    db::Write,
};

/// What to write next.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) requests: VecDeque<Request>,
    pub(super) owed: Vec<Owed>,
    /// Both of them: what goes into one transaction, clients' writes first,
    pub(super) writes: Vec<Write>,
    /// who waits for those,
    pub(super) clients: Vec<Client>,
    /// and what becomes possible with the others.
    pub(super) dues: Vec<Due>,
    pub(super) clearing: Option<Clearing>,
}

impl Batch {
    /// Puts what came out of the queue in order.
    pub(super) fn arrange(&mut self) {
        for Request { write, client } in self.requests.drain(..) {
            self.writes.push(write);
            self.clients.push(client);
        }
        for Owed { write, due } in self.owed.drain(..) {
            self.writes.push(write);
            self.dues.push(due);
        }
    }

    /// Leaves clients' writes only.
    pub(super) fn split_off_owed(&mut self) -> Self {
        let writes = self.writes.split_off(self.clients.len());
        Self { writes, dues: std::mem::take(&mut self.dues), ..Self::default() }
    }
}
