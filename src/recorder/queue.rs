//! What waits for the writing thread, and whether that sleeps meanwhile.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::POISONED;
use crate::{
    claims::Owed,
    db::{Clear, Cleared, DbError, Write, Written},
};

/// So many outcomes are stored at once: few enough that others can end while a disk
/// under load takes its time, before as many as may be unrecorded have,
pub(super) const GATHER: usize = 24;

/// or all there are, so long after the first.
pub(super) const GATHER_FOR: Duration = Duration::from_millis(5);

#[derive(Default)]
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    /// There is something to write, or it's time to stop.
    pub(super) wake: Condvar,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) requests: VecDeque<Request>,
    pub(super) clears: VecDeque<Clearing>,
    pub(super) owed: Vec<Owed>,
    pub(super) owed_since: Option<Instant>,
    /// Who waits for the writer to go round.
    pub(super) rounds: Vec<oneshot::Sender<()>>,
    pub(super) sleep: Sleep,
    /// Fewer requests than that aren't worth waking the writer, which looks by itself soon.
    pub(super) wanted: usize,
    pub(super) closing: bool,
}

/// Whether the writer sleeps: waking it is a system call, which it needs only then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It looks at the queue before it sleeps.
    #[default]
    Awake,
    /// It looks again then.
    Until(Instant),
    /// It waits to be woken.
    UntilWoken,
}

/// A client's write.
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) client: Client,
}

/// Who waits for a write.
pub(super) struct Client {
    pub(super) reply: oneshot::Sender<Result<Written, DbError>>,
    /// The payload's share of the memory budget, held until it is written.
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

pub(super) struct Clearing {
    pub(super) clear: Clear,
    /// Slice after slice, to its end.
    pub(super) whole: bool,
    pub(super) reply: oneshot::Sender<Result<Cleared, DbError>>,
}

impl Queue {
    /// Whether there are that many requests, or something that doesn't wait for any.
    pub(super) fn has(&self, requests: usize) -> bool {
        self.requests.len() >= requests || !self.clears.is_empty() || self.closing
    }

    pub(super) fn owe(&mut self, owed: impl IntoIterator<Item = Owed>) {
        self.owed.extend(owed);
        if !self.owed.is_empty() {
            self.owed_since.get_or_insert_with(Instant::now);
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect(POISONED)
    }

    /// Takes what the sender has to store.
    pub(super) fn owe(&self, owed: impl IntoIterator<Item = Owed>) {
        let mut queue = self.lock();
        let before = queue.owed.len();
        queue.owe(owed);
        let after = queue.owed.len();
        let looks_in_time = match (queue.sleep, queue.owed_since) {
            (Sleep::Until(at), Some(since)) => at <= since + GATHER_FOR,
            _ => false,
        };
        // The first one starts the clock, the last one stops it.
        let starts = before == 0 && after > 0 && !looks_in_time;
        if starts || (before < GATHER && after >= GATHER) {
            self.wake_up(queue);
        }
    }

    /// Has the writer sleep until it's woken, or until then.
    pub(super) fn sleep<'q>(
        &self,
        mut queue: MutexGuard<'q, Queue>,
        until: Option<Instant>,
    ) -> MutexGuard<'q, Queue> {
        queue.sleep = until.map_or(Sleep::UntilWoken, Sleep::Until);
        queue = match until {
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                self.wake.wait_timeout(queue, time).expect(POISONED).0
            }
            None => self.wake.wait(queue).expect(POISONED),
        };
        queue.sleep = Sleep::Awake;
        queue
    }

    /// There is something new to look at.
    pub(super) fn wake_up(&self, mut queue: MutexGuard<'_, Queue>) {
        let sleep = std::mem::take(&mut queue.sleep);
        drop(queue);
        if sleep != Sleep::Awake {
            self.wake.notify_one();
        }
    }
}
