//! How long finished notifications are kept.
//!
//! About once an hour, or more often if they are kept for hours only, those that are older than
//! that are removed, a slice at a time through the recorder, with pauses between the slices: a
//! `/send` waits for one slice at most. A pass goes on where the one before ended, so that it
//! costs what there is to remove; at least once a day it begins at the oldest one, for those that
//! were pending when it came by.
//!
//! Age is told by the wall clock, and a clock that stands wrong must not cost all there is: see
//! [`Confidence`].

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant as Later, sleep, sleep_until},
};

use crate::{
    db::{Clear, DbError, Scope},
    notification::Timestamp,
    recorder::{Recorder, Refusal},
};

/// From the beginning of one pass to the next, at most and at least. In between it is a quarter
/// of what is to be kept, so that nothing is kept for much longer.
const LONGEST_PERIOD: Duration = Duration::from_secs(60 * 60);
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

/// After that, at most, a pass begins at the oldest notification; or after four times as long
/// as is to be kept.
const WHOLE: Duration = Duration::from_secs(24 * 60 * 60);

/// After a slice, so many times as long as it took is left to others, and at least that.
const PAUSES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// How long finished notifications are kept after they were created; `None` is for ever, the
/// default. Pending ones are never removed.
///
/// Removing a single state takes a database that [has lanes](crate::DBDrv::has_lanes); another one
/// keeps everything as long as the longer of the two says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Delivered ones.
    pub success: Option<Duration>,
    /// Failed ones.
    pub failed: Option<Duration>,
}

impl Retention {
    /// Begins to remove what is older; nothing to do is `None`. `newest` is the newest
    /// `create_at` that was in the table at the start.
    pub(crate) fn start(
        self,
        recorder: Arc<Recorder>,
        newest: Option<Timestamp>,
        runtime: &Handle,
    ) -> Option<JoinHandle<()>> {
        let keeps_all = self == Self::default();
        (!keeps_all).then(|| runtime.spawn(self.run(recorder, newest)))
    }

    async fn run(self, recorder: Arc<Recorder>, newest: Option<Timestamp>) {
        let mut confidence = Confidence::begin(newest, wall_clock(), Instant::now());
        if confidence.is_doubtful() {
            tracing::info!(
                "the clock isn't within a year of the newest notification: nothing old is removed \
                 before it has run steadily for a day"
            );
        }
        let mut begin = Later::now();
        let (mut done, mut whole) = (Reach::default(), begin);
        loop {
            if begin >= whole {
                (done, whole) = (Reach::default(), begin + WHOLE.min(self.shortest() * 4));
            }
            let now = wall_clock();
            if confidence.look(now, Instant::now()) {
                let reach = self.reach(now);
                let mut removed = 0;
                let over = remove(&recorder, reach.after(done), &mut removed).await;
                if removed > 0 {
                    tracing::info!("removed {removed} notifications that were kept long enough");
                }
                match over {
                    Ok(()) => done = reach,
                    Err(Broken::Closing) => return,
                    Err(Broken::Off(error)) => tracing::warn!(%error, "removing old notifications broke off"),
                }
            }
            begin += self.period();
            sleep_until(begin).await;
        }
    }

    fn period(self) -> Duration {
        (self.shortest() / 4).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
    }

    fn shortest(self) -> Duration {
        self.success.into_iter().chain(self.failed).min().unwrap_or(WHOLE).min(WHOLE)
    }

    /// How far a pass goes that begins now.
    fn reach(self, now: Timestamp) -> Reach {
        let before = |keep: Option<Duration>| {
            let keep = keep.map(|keep| i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
            keep.map_or(Timestamp::MIN, |keep| Timestamp::from_secs(now.as_secs().saturating_sub(keep)))
        };
        Reach { success: before(self.success), failed: before(self.failed) }
    }
}

/// What was created before these times is removed, of each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    success: Timestamp,
    failed: Timestamp,
}

impl Default for Reach {
    fn default() -> Self {
        Self { success: Timestamp::MIN, failed: Timestamp::MIN }
    }
}

impl Reach {
    /// The clearings that lead here from what is done already: both states up to the earlier
    /// of the two times, and from there on one of them alone.
    fn after(self, done: Self) -> [Clear; 2] {
        let both = self.success.min(self.failed);
        let (scope, one, one_done) = if self.success > self.failed {
            (Scope::Success, self.success, done.success)
        } else {
            (Scope::Failed, self.failed, done.failed)
        };
        [
            Clear { since: done.success.min(done.failed), ..Clear::new(Scope::Finished, both) },
            Clear { since: one_done.max(both), ..Clear::new(scope, one) },
        ]
    }
}

/// Why a pass ends early.
enum Broken {
    Closing,
    Off(DbError),
}

/// Does these clearings slice by slice, at leisure.
async fn remove(recorder: &Recorder, clears: [Clear; 2], removed: &mut usize) -> Result<(), Broken> {
    for clear in clears {
        let mut rest = Some(clear).filter(|clear| clear.since < clear.before);
        while let Some(clear) = rest {
            let began = Instant::now();
            rest = match recorder.clear_slice(clear.clone()) {
                Ok(answer) => {
                    let slice = answer.await.map_err(|_| Broken::Closing)?.map_err(Broken::Off)?;
                    *removed += slice.removed;
                    slice.rest
                }
                Err(Refusal::Full) => Some(clear),
                Err(Refusal::Closing) => return Err(Broken::Closing),
            };
            sleep(PAUSE.max(began.elapsed() * PAUSES)).await;
        }
    }
    Ok(())
}

fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

/// Whether the wall clock can be believed.
///
/// It is, at a start, if it shows a time at most a year after the newest notification, and none
/// before it; or if there is none that it could be compared with, nor removed. It isn't any more once it has gone another way than the monotonic clock by more
/// than a day. Then it is again when both have gone together for a day: a machine that
/// boots with a wrong clock has been set right, or set by hand, by then.
#[derive(Debug)]
struct Confidence {
    wall: Timestamp,
    at: Instant,
    /// Since when both clocks go together; `None` if the wall clock is believed.
    doubtful_since: Option<Instant>,
}

/// How long nothing may have been accepted before a start.
const IDLE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A clock that is kept right is set back by no more than that.
const SLEW: Duration = Duration::from_secs(2);

/// A larger difference between the clocks is a jump.
const JUMP: Duration = Duration::from_secs(24 * 60 * 60);

/// How long both clocks must go together.
const STEADY: Duration = Duration::from_secs(24 * 60 * 60);

impl Confidence {
    fn begin(newest: Option<Timestamp>, wall: Timestamp, at: Instant) -> Self {
        let is_near = newest.is_none_or(|newest| wall + SLEW >= newest && wall.since(newest) <= IDLE);
        Self { wall, at, doubtful_since: (!is_near).then_some(at) }
    }

    fn is_doubtful(&self) -> bool {
        self.doubtful_since.is_some()
    }

    /// Whether it is believed now.
    fn look(&mut self, wall: Timestamp, at: Instant) -> bool {
        let expected = self.wall + (at - self.at);
        let error = wall.since(expected).max(expected.since(wall));
        // It is looked at every hour: if both have leapt, the monotonic clock isn't one.
        let leap = (at - self.at).max(error);
        (self.wall, self.at) = (wall, at);
        if leap > JUMP {
            self.doubtful_since = Some(at);
        } else if self.doubtful_since.is_some_and(|since| at - since >= STEADY) {
            self.doubtful_since = None;
        }
        !self.is_doubtful()
    }
}

#[cfg(test)]
mod tests;
