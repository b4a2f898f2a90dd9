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
    window: Duration,
    windows: Arc<Mutex<HashMap<Lane, Window>>>,
}

struct Window {
    began: Instant,
    failures: u32,
    /// How many are left out will be told; until then the window stays.
    is_summed_up: bool,
}

impl FailureLog {
    pub(super) fn new(runtime: Handle) -> Self {
        Self::with_window(runtime, WINDOW)
    }

    fn with_window(runtime: Handle, window: Duration) -> Self {
        Self { runtime, window, windows: Arc::default() }
    }

    /// An attempt failed and left the notification in this state. A final failure
    /// is always told.
    pub(super) fn failed(&self, item: &Item, tried: u32, state: State, reason: &SendError) {
        // Quoted, so that a line break in an answer doesn't make a line of its own.
        let (id, kind, reason) = (item.id.as_str(), item.r#type.as_str(), reason.to_string());
        if state == State::Failed {
            tracing::error!(?id, r#type = kind, tried, ?reason, "FAILED");
        } else if self.is_worth_a_line(item, Instant::now()) {
            tracing::warn!(?id, r#type = kind, tried, ?reason, "an attempt failed");
        }
    }

    fn is_worth_a_line(&self, item: &Item, now: Instant) -> bool {
        let mut windows = self.windows.lock().expect(POISONED);
        let fresh = Window { began: now, failures: 0, is_summed_up: false };
        let window = windows.entry(item.lane).or_insert(fresh);
        // One that is over and still to be summed up counts on until it is: a
        // timer is never quite on time.
        if now.saturating_duration_since(window.began) >= self.window && !window.is_summed_up {
            *window = Window { began: now, failures: 0, is_summed_up: false };
        }
        window.failures = window.failures.saturating_add(1);
        if window.failures == LINES + 1 {
            window.is_summed_up = true;
            self.sum_up_at(window.began + self.window, item);
        }
        window.failures <= LINES
    }

    /// Tells, when the window ends, how many lines were left out of it.
    fn sum_up_at(&self, end: Instant, item: &Item) {
        let (windows, lane, kind, id) =
            (self.windows.clone(), item.lane, item.r#type.clone(), item.id.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep_until(end.into()).await;
            let window = windows.lock().expect(POISONED).remove(&lane);
            if let Some(more) = window.and_then(|window| window.failures.checked_sub(LINES)) {
                tracing::warn!(more, r#type = kind, like = ?id.as_str(), "more attempts failed the same way");
            }
        });
    }
}

const POISONED: &str = "counting doesn't panic";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::{Id, Timestamp};

    const SHORT: Duration = Duration::from_millis(100);

    fn item(lane: i64) -> Item {
        Item {
            id: Id::from_store("a"),
            r#type: "T".into(),
            endpoint: String::new(),
            content: Vec::new(),
            create_at: Timestamp::MIN,
            next_at: Timestamp::MIN,
            tried: 0,
            once: false,
            epoch: 0,
            lease: 0,
            lane: Lane::from_number(lane),
        }
    }

    fn lines(log: &FailureLog, failures: usize, lane: i64, now: Instant) -> usize {
        (0..failures).filter(|_| log.is_worth_a_line(&item(lane), now)).count()
    }

    #[tokio::test]
    async fn ten_lines_a_lane_and_window() {
        let log = FailureLog::with_window(Handle::current(), SHORT);
        let now = Instant::now();
        assert_eq!([lines(&log, 5, 1, now), lines(&log, 50, 1, now), lines(&log, 50, 2, now)], [5, 5, 10]);
        let quiet = now + SHORT * 2;
        assert_eq!(
            [lines(&log, 3, 3, now), lines(&log, 50, 3, quiet)],
            [3, 10],
            "a window that was not full"
        );
    }

    #[tokio::test]
    async fn a_full_window_stays_until_it_is_summed_up() {
        let log = FailureLog::with_window(Handle::current(), SHORT);
        let now = Instant::now();
        assert_eq!(lines(&log, 11, 1, now), 10);
        // The window is over, but its timer is late.
        assert_eq!(lines(&log, 5, 1, now + SHORT), 0);
        assert_eq!(log.windows.lock().unwrap()[&Lane::from_number(1)].failures, 16);
        while log.windows.lock().unwrap().contains_key(&Lane::from_number(1)) {
            tokio::task::yield_now().await;
        }
        assert!(now.elapsed() >= SHORT);
        assert_eq!(lines(&log, 11, 1, Instant::now()), 10, "a new one");
    }
}
