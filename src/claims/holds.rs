//! Receivers that want nothing before some time.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::notification::Timestamp;

/// How many are remembered; any more are left to their rows' own `next_at`.
const MOST: usize = 65_536;

/// Until when which destination is held back. Hashes stand for the names, which may be long.
#[derive(Debug, Default)]
pub(super) struct Holds {
    until: HashMap<u64, Timestamp>,
    hasher: RandomState,
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Nothing for this destination before then.
    pub(super) fn add(&mut self, destination: &str, until: Timestamp, now: Timestamp) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() < MOST {
            let held = self.until.entry(self.hasher.hash_one(destination)).or_insert(until);
            *held = until.max(*held);
        }
    }

    /// Until when this destination is held back, if it is.
    pub(super) fn until(&self, destination: &str, now: Timestamp) -> Option<Timestamp> {
        self.until.get(&self.hasher.hash_one(destination)).copied().filter(|until| *until > now)
    }

    /// Ends a hold before its time; returns when that would have been.
    pub(super) fn end(&mut self, destination: &str, now: Timestamp) -> Option<Timestamp> {
        self.until.remove(&self.hasher.hash_one(destination)).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_until_its_time_or_its_end() {
        let at = Timestamp::from_secs;
        let mut holds = Holds::default();
        holds.add("a", at(20), at(10));
        holds.add("a", at(15), at(10));
        assert_eq!(
            (holds.until("a", at(19)), holds.until("a", at(20)), holds.until("b", at(10))),
            (Some(at(20)), None, None)
        );
        assert_eq!((holds.end("a", at(12)), holds.end("a", at(12))), (Some(at(20)), None));
        holds.add("a", at(20), at(10));
        holds.add("b", at(30), at(20));
        assert_eq!(holds.until.len(), 1, "what is over is forgotten");
    }
}
