//! Looks at a server at work from outside.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::routes::Api;

/// Tells how a server is, for a service manager for instance. Nothing of it happens by itself.
#[derive(Clone)]
pub struct Monitor(Arc<Api>);

/// What a server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Notifications that are pending, those being sent among them. No more than
    /// [`MOST_COUNTED`](Self::MOST_COUNTED) are counted; `None` if the database can't tell.
    pub pending: Option<usize>,
    /// Attempts that are running.
    pub sending: usize,
    /// Notifications that have become FAILED since the start.
    pub given_up: u64,
    /// What keeps it from its work, in one sentence.
    pub trouble: Option<String>,
}

impl Activity {
    /// Counting more would take too long to be done again and again.
    pub const MOST_COUNTED: usize = 10_000;
}

impl Monitor {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self(api)
    }

    /// Returns when the sender and the recorder have each gone round once, and the database has
    /// answered. What hangs keeps it waiting for ever; a database that says within its time limit
    /// that it can't be reached doesn't hang.
    pub async fn responds(&self) {
        let api = self.0.clone();
        // It can only fail by a panic, and a thread that panicked is told of elsewhere.
        let _ = spawn_blocking(move || api.sender.go_round()).await;
    }

    /// Waits until a trouble has come or gone. For one who waits at a time.
    pub async fn trouble_changed(&self) {
        self.0.sender.health.changed().await;
    }

    /// What it is doing now.
    pub async fn activity(&self) -> Activity {
        let sender = &self.0.sender;
        let trouble = sender.trouble();
        let mut pending = None;
        if trouble.is_none() {
            let db = sender.db.clone();
            let counting = spawn_blocking(move || db.count_pending(Activity::MOST_COUNTED));
            pending = counting.await.ok().and_then(Result::ok).flatten();
        }
        Activity { pending, sending: sender.running(), given_up: sender.health.given_up(), trouble }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
