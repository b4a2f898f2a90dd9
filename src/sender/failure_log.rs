//! Log lines about failed attempts, few enough that a dead receiver doesn't
//! fill the disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    driver::SendError,
    notification::{Item, Lane, State},
};

/// So many lines about one lane in one window; the rest is counted.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Writes about failed attempts.
pub(super) struct FailureLog {
    runtime: Handle,
    windows: Arc<Mutex<HashMap<Lane, Window>>>,
}

struct Window {
    began: Instant,
    failures: u32,
}

impl FailureLog {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, windows: Arc::default() }
    }

    /// An attempt failed and left the notification in this state. A final failure
    /// is always told.
    pub(super) fn failed(&self, item: &Item, tried: u32, state: State, reason: &SendError) {
        // Quoted, so that a line break in an answer doesn't make a line of its own.
        let (id, kind, reason) = (item.id.as_str(), item.r#type.as_str(), reason.to_string());
        if state == State::Failed {
            tracing::error!(?id, r#type = kind, tried, ?reason, "FAILED");
        } else if self.is_worth_a_line(item) {
            tracing::warn!(?id, r#type = kind, tried, ?reason, "an attempt failed");
        }
    }

    fn is_worth_a_line(&self, item: &Item) -> bool {
        let now = Instant::now();
        let mut windows = self.windows.lock().expect(POISONED);
        let window = windows.entry(item.lane).or_insert(Window { began: now, failures: 0 });
        if now - window.began >= WINDOW {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        if window.failures == LINES + 1 {
            self.sum_up_at(window.began + WINDOW, item);
        }
        window.failures <= LINES
    }

    /// Tells, when the window ends, how many lines were left out of it.
    fn sum_up_at(&self, end: Instant, item: &Item) {
        let (windows, lane, kind, id) =
            (self.windows.clone(), item.lane, item.r#type.clone(), item.id.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep_until(end.into()).await;
            if let Some(window) = windows.lock().expect(POISONED).remove(&lane) {
                let more = window.failures - LINES;
                tracing::warn!(more, r#type = kind, like = ?id.as_str(), "more attempts failed the same way");
            }
        });
    }
}

const POISONED: &str = "counting doesn't panic";
