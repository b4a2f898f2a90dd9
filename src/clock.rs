//! What time it is: the wall clock, kept from running backwards.

use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::notification::Timestamp;

/// A clock that never runs behind a time it has shown, nor behind the newest row.
///
/// A machine without a clock of its own boots in 1970 and is set right later; a
/// wall clock that is behind is ignored, and time goes on by the monotonic clock
/// until the wall clock has caught up.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Anchor>);

/// A moment on both clocks: `since_epoch` was shown at `at`.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    since_epoch: Duration,
    at: Instant,
}

impl Clock {
    /// A clock that shows at least `floor`.
    pub(crate) fn not_before(floor: Timestamp) -> Self {
        let floor = Duration::from_secs(u64::try_from(floor.as_secs()).unwrap_or(0));
        Self(Mutex::new(Anchor { since_epoch: floor, at: Instant::now() }))
    }

    /// Now, in whole seconds.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_secs(i64::try_from(self.since_epoch().as_secs()).unwrap_or(i64::MAX))
    }

    /// When that much time will have passed, in whole seconds: never before it has.
    pub(crate) fn after(&self, wait: Duration) -> Timestamp {
        let then = self.since_epoch().saturating_add(wait);
        Timestamp::from_secs(0) + then
    }

    /// How long it takes until `then`; zero if it has come.
    pub(crate) fn until(&self, then: Timestamp) -> Duration {
        let then = Duration::from_secs(u64::try_from(then.as_secs()).unwrap_or(0));
        then.saturating_sub(self.since_epoch())
    }

    /// Now, since the Unix epoch.
    pub(crate) fn since_epoch(&self) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut anchor = self.0.lock().expect("reading a clock doesn't panic");
        let at = Instant::now();
        let steady = anchor.since_epoch.saturating_add(at - anchor.at);
        if wall >= steady {
            *anchor = Anchor { since_epoch: wall, at };
        }
        wall.max(steady)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_wall_clock() {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let shown = Clock::not_before(Timestamp::MIN).now().as_secs();
        assert!((wall..=wall + 5).contains(&shown));
    }

    #[test]
    fn what_is_to_be_waited_for_has_passed_afterwards() {
        let clock = Clock::not_before(Timestamp::MIN);
        for wait in [1, 999, 1000, 1001, 60_000].map(Duration::from_millis) {
            let (before, then) = (clock.since_epoch(), clock.after(wait).as_secs() as u64);
            assert!(Duration::from_secs(then) >= before + wait);
            assert!(Duration::from_secs(then) <= clock.since_epoch() + wait + Duration::from_secs(1));
        }
    }

    #[test]
    fn goes_on_from_a_floor_in_the_future() {
        let floor = Timestamp::from_secs(7_000_000_000);
        let clock = Clock::not_before(floor);
        assert!(clock.now() >= floor);
        assert!(clock.now() <= floor + Duration::from_secs(5));
        assert!(clock.until(floor + Duration::from_secs(10)) <= Duration::from_secs(10));
        assert_eq!(clock.until(floor), Duration::ZERO);
    }
}
