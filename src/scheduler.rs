//! When a failed notification is tried again.

use std::time::Duration;

use crate::notification::Timestamp;

/// Decides, after a failed attempt, when the next one is due.
///
/// Closures are schedulers:
///
/// ```
/// use notify_api::{Attempt, Next, Scheduler, Timestamp};
/// use std::time::Duration;
///
/// let twice_a_minute = |attempt: &Attempt<'_>| {
///     if attempt.tried >= 10 { Next::Stop } else { Next::At(attempt.ended_at + Duration::from_secs(30)) }
/// };
/// let attempt = Attempt { r#type: "HTTPPOST", id: "a", ended_at: Timestamp::from_secs(100), tried: 0 };
/// assert_eq!(twice_a_minute.next(&attempt), Next::At(Timestamp::from_secs(130)));
/// ```
pub trait Scheduler: Send + Sync + 'static {
    /// What follows this attempt. It is asked after every attempt; a delivered
    /// one makes its answer irrelevant.
    fn next(&self, attempt: &Attempt<'_>) -> Next;

    /// The longest that it lets a notification wait, if it can tell. What is found to be due
    /// later than that at the start of a server, after an attempt, was given that time by a clock
    /// that stood wrong, and is due at once. `None`, the default: it stays as it is.
    fn longest(&self) -> Option<Duration> {
        None
    }
}

impl<F: Fn(&Attempt<'_>) -> Next + Send + Sync + 'static> Scheduler for F {
    fn next(&self, attempt: &Attempt<'_>) -> Next {
        self(attempt)
    }
}

/// An attempt that has just ended.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The driver's type.
    pub r#type: &'a str,
    /// The notification's id.
    pub id: &'a str,
    /// When the attempt ended.
    pub ended_at: Timestamp,
    /// How many attempts were made before this one.
    pub tried: u32,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, due then, if `max_tries` allows one.
    At(Timestamp),
    /// None: the failure is final.
    Stop,
}

/// One minute after each of the first ten attempts, then twice as long each
/// time, at most an hour; up to a tenth is added at random, so that what failed
/// together doesn't come back together.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultScheduler;

impl DefaultScheduler {
    const FIRST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(3600);
    const STEADY_TRIES: u32 = 10;

    fn wait(tries: u32) -> Duration {
        let doublings = tries.saturating_sub(Self::STEADY_TRIES);
        2u32.checked_pow(doublings)
            .map_or(Self::LONGEST, |factor| Self::FIRST.saturating_mul(factor))
            .min(Self::LONGEST)
    }
}

impl Scheduler for DefaultScheduler {
    fn next(&self, attempt: &Attempt<'_>) -> Next {
        let wait = Self::wait(attempt.tried.saturating_add(1));
        Next::At(attempt.ended_at + wait + wait.mul_f64(fastrand::f64() / 10.0))
    }

    fn longest(&self) -> Option<Duration> {
        Some(Self::LONGEST + Self::LONGEST / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_a_minute_ten_times_then_doubles_up_to_an_hour() {
        let waits = |n| DefaultScheduler::wait(n).as_secs();
        assert_eq!((1..=10).map(waits).collect::<Vec<_>>(), vec![60; 10]);
        assert_eq!((11..=17).map(waits).collect::<Vec<_>>(), [120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(waits(u32::MAX), 3600);
    }

    #[test]
    fn the_spread_is_at_most_a_tenth() {
        for tried in [0, 9, 10, 31, u32::MAX] {
            let at = Timestamp::from_secs(1000);
            let attempt = Attempt { r#type: "T", id: "a", ended_at: at, tried };
            let wait = DefaultScheduler::wait(tried.saturating_add(1)).as_secs() as i64;
            for _ in 0..200 {
                let Next::At(next) = DefaultScheduler.next(&attempt) else { panic!("never stops") };
                let waited = next.as_secs() - 1000;
                assert!((wait..=wait + wait / 10 + 1).contains(&waited), "{tried}: {waited}");
                assert!(waited <= DefaultScheduler.longest().unwrap().as_secs() as i64 + 1);
            }
        }
    }
}
