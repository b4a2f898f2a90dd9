//! Whether the service does its work: what `/health` tells, and a log line when
//! that changes.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// How the service is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The troubles there are, by the part of the service that has them.
    troubles: Mutex<Vec<(Part, String)>>,
    /// Told when one comes or goes.
    changed: Notify,
    /// Notifications that were given up since the start.
    given_up: AtomicU64,
}

/// A part of the service that can be in trouble.
pub(crate) type Part = &'static str;

impl Health {
    /// Reading from the table what is to be sent.
    pub(crate) const CLAIMING: Part = "deliveries pause";
    /// Writing to the table.
    pub(crate) const RECORDING: Part = "nothing can be stored";
    /// Room for new notifications, where everything else can still be stored.
    pub(crate) const ROOM: Part = "nothing new is taken";
    /// The sender's own threads.
    pub(crate) const SENDER: Part = "the sender has stopped";

    /// This part is in trouble; logged if it wasn't before.
    pub(crate) fn failed(&self, part: Part, reason: &dyn fmt::Display) {
        let mut troubles = self.troubles.lock().expect("keeping a list doesn't panic");
        match troubles.iter_mut().find(|(name, _)| *name == part) {
            Some((_, known)) => *known = reason.to_string(),
            None => {
                tracing::error!(%reason, "{part}");
                troubles.push((part, reason.to_string()));
                self.changed.notify_one();
            }
        }
    }

    /// This part works; logged if it didn't before.
    pub(crate) fn works(&self, part: Part) {
        let mut troubles = self.troubles.lock().expect("keeping a list doesn't panic");
        let before = troubles.len();
        troubles.retain(|(name, _)| *name != part);
        if troubles.len() < before {
            tracing::info!("over: {part}");
            self.changed.notify_one();
        }
    }

    /// One sentence for each trouble, `None` if all is well.
    pub(crate) fn trouble(&self) -> Option<String> {
        let troubles = self.troubles.lock().expect("keeping a list doesn't panic");
        let sentences: Vec<String> =
            troubles.iter().map(|(part, reason)| format!("{part}: {reason}")).collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }

    /// Waits until a trouble has come or gone. For one who waits at a time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A notification is FAILED.
    pub(crate) fn gave_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// How many notifications have become FAILED since the start.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }
}
