//! What time it is: the wall clock, kept from running backwards.
//!
//! A machine without a clock of its own boots in 1970, or at the hour of its last stop, and is
//! set right later; others are set wrong for a while. Five rules keep that from harm:
//!
//! * Time never runs behind a time that was shown, nor, at the start, behind the newest row. A
//!   wall clock that is behind is ignored, and time goes on by the monotonic clock until the
//!   wall clock has caught up. So ids sort, and what is due stays due.
//! * A wall clock that is ahead is followed: nobody can tell a wrong one from one that has been set
//!   right. Whatever is pending is due then, each with one attempt, and the lanes bound how
//!   many run at once.
//! * Waits use the monotonic clock, and nothing tells when the wall clock is set; so no wait is
//!   longer than an hour (see `claims`), and whatever falls due by a jump is attempted within
//!   that. A timer that the system ends when the clock is set would save that hour,
//!   for a crate and a descriptor more; a retry waits about as long anyway.
//! * How long ago something was created in this process is told by the monotonic clock.
//! * At the start, an attempted row that is due later than any schedule asks for was given that
//!   time by a wrong clock, and is due now (see `sender`).

use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::notification::Timestamp;

/// A difference between the clocks from which on it is worth a line in the log.
const NOTABLE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many jumps are remembered; the oldest is forgotten first.
const MOST_ERAS: usize = 16;

/// A clock that never runs behind a time it has shown, nor behind the newest row.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The latest reading.
    latest: Reading,
    /// The first readings at the start and after each jump ahead.
    eras: Vec<Reading>,
}

/// What the clocks say at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    /// Since the Unix epoch, by the wall clock,
    wall: Duration,
    /// and as it is shown.
    shown: Duration,
}

impl Clock {
    /// A clock that shows at least `floor`.
    pub(crate) fn not_before(floor: Timestamp) -> Self {
        let floor = since_epoch(floor);
        let (at, wall) = (Instant::now(), wall());
        // In a table times are whole seconds; what was made in that one comes before.
        let shown = if wall < floor { floor.saturating_add(Duration::from_secs(1)) } else { wall };
        let first = Reading { at, wall, shown };
        if floor.saturating_sub(wall) > NOTABLE {
            tracing::warn!(
                "the system clock is {} behind the newest notification: time goes on from {} until it has caught up",
                days(floor - wall),
                date(floor)
            );
        }
        Self(Mutex::new(State { latest: first, eras: vec![first] }))
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
        since_epoch(then).saturating_sub(self.since_epoch())
    }

    /// How long ago `then` was. Since the start, jumps of the wall clock don't count.
    pub(crate) fn age(&self, then: Timestamp) -> Duration {
        let now = self.read();
        let then = since_epoch(then);
        let state = self.0.lock().expect(POISONED);
        // In whole seconds: what was shown in the first second of an era belongs to it.
        let era = state.eras.iter().rev().find(|era| era.shown.as_secs() <= then.as_secs());
        match era {
            Some(era) => (now.at - era.at).saturating_sub(then.saturating_sub(era.shown)),
            None => now.shown.saturating_sub(then),
        }
    }

    /// Now, since the Unix epoch.
    pub(crate) fn since_epoch(&self) -> Duration {
        self.read().shown
    }

    fn read(&self) -> Reading {
        let mut state = self.0.lock().expect(POISONED);
        // One after the other, within the lock: readings are in order.
        let (at, wall) = (Instant::now(), wall());
        let before = state.latest;
        let passed = at - before.at;
        let steady = before.shown.saturating_add(passed);
        let expected = before.wall.saturating_add(passed);
        let now = Reading { at, wall, shown: steady.max(wall) };
        state.latest = now;
        if now.shown - steady > NOTABLE {
            if state.eras.len() == MOST_ERAS {
                // Not the first: it tells what is older than this process.
                state.eras.remove(1);
            }
            state.eras.push(now);
        }
        drop(state);
        if wall.saturating_sub(expected) > NOTABLE {
            let ahead = days(wall - expected);
            tracing::warn!("the system clock has gone ahead by {ahead}: it is {} now", date(wall));
        } else if expected.saturating_sub(wall) > NOTABLE {
            let back = days(expected - wall);
            tracing::warn!(
                "the system clock was set back by {back}: time goes on from {} until it has caught up",
                date(now.shown)
            );
        }
        now
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn since_epoch(then: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(then.as_secs()).unwrap_or(0))
}

fn days(span: Duration) -> String {
    format!("{} days", span.as_secs() / (24 * 60 * 60))
}

/// Something that people can read, if the year has four digits.
fn date(since_epoch: Duration) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    match since_epoch.as_secs() {
        secs if secs < YEAR_10000 => httpdate::fmt_http_date(UNIX_EPOCH + since_epoch),
        secs => format!("second {secs}"),
    }
}

const POISONED: &str = "reading a clock doesn't panic";

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

    /// A clock whose wall clock was this much ahead of, or behind, the real one until now.
    fn wrong_by(ahead: i64, since: Duration) -> Clock {
        let clock = Clock::not_before(Timestamp::MIN);
        let mut state = clock.0.lock().unwrap();
        let at = Instant::now().checked_sub(since).unwrap();
        let right = wall() - since;
        let wrong = if ahead < 0 {
            right - Duration::from_secs(-ahead as u64)
        } else {
            right + Duration::from_secs(ahead as u64)
        };
        let reading = Reading { at, wall: wrong, shown: wrong };
        *state = State { latest: reading, eras: vec![reading] };
        drop(state);
        clock
    }

    const YEAR: i64 = 365 * 24 * 60 * 60;
    const A_MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_wall_clock_that_is_set_ahead_is_followed_and_ages_are_not() {
        let clock = wrong_by(-10 * YEAR, A_MINUTE);
        let (start, wall) = (clock.0.lock().unwrap().latest.shown, wall());
        let created = Timestamp::from_secs(start.as_secs() as i64 + 10);
        assert!(clock.since_epoch() >= wall);
        for _ in 0..2 {
            let age = clock.age(created).as_secs();
            assert!((48..=55).contains(&age), "{age}");
        }
        assert!(clock.age(clock.now()) <= Duration::from_secs(1));
        // What is older than the process has the age that the wall clock gives it.
        assert!(clock.age(Timestamp::from_secs(created.as_secs() - 3600)).as_secs() as i64 >= 10 * YEAR);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_ignored() {
        let clock = wrong_by(10 * YEAR, A_MINUTE);
        let shown = clock.0.lock().unwrap().latest.shown;
        let now = clock.since_epoch();
        assert!(now >= shown + A_MINUTE && now < shown + 2 * A_MINUTE);
        assert_eq!(clock.0.lock().unwrap().eras.len(), 1);
    }

    #[test]
    fn many_jumps_are_bounded() {
        let clock = Clock::not_before(Timestamp::MIN);
        for _ in 0..100 {
            // As if both clocks had stood two days ago.
            let mut state = clock.0.lock().unwrap();
            state.latest.wall -= 2 * NOTABLE;
            state.latest.shown -= 2 * NOTABLE;
            drop(state);
            clock.now();
        }
        assert_eq!(clock.0.lock().unwrap().eras.len(), MOST_ERAS);
    }

    #[test]
    fn dates_of_any_size() {
        assert!(date(Duration::from_secs(1_800_000_000)).contains("2027"));
        assert!(date(Duration::from_secs(u64::MAX)).contains("second"));
    }
}
