//! Receivers that want nothing before some time.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
};

use crate::notification::{Lane, Timestamp};

/// How many are remembered; any more are left to their rows' own `next_at`.
const MOST: usize = 65_536;

/// Which destinations are held back. Hashes stand for the names, which may be long.
#[derive(Debug, Default)]
pub(super) struct Holds {
    holds: HashMap<u64, Hold>,
    hasher: RandomState,
}

/// A destination wants nothing for now.
#[derive(Debug)]
struct Hold {
    until: Timestamp,
    /// The lanes of rows that wait for it, and until when: a hold can be prolonged.
    rows: BTreeSet<(Lane, Timestamp)>,
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// Nothing for this destination before then; a row of this lane says so.
    pub(super) fn add(&mut self, destination: &str, lane: Lane, until: Timestamp, now: Timestamp) {
        self.holds.retain(|_, hold| hold.until > now);
        if self.holds.len() >= MOST {
            return;
        }
        let fresh = || Hold { until, rows: BTreeSet::new() };
        let hold = self.holds.entry(self.hasher.hash_one(destination)).or_insert_with(fresh);
        hold.until = until.max(hold.until);
        hold.rows.retain(|(_, until)| *until > now);
        hold.rows.insert((lane, until));
    }

    /// Until when this destination is held back, if it is.
    pub(super) fn until(&self, destination: &str, now: Timestamp) -> Option<Timestamp> {
        let hold = self.holds.get(&self.hasher.hash_one(destination))?;
        Some(hold.until).filter(|until| *until > now)
    }

    /// A row of this lane waits for the end of the hold.
    pub(super) fn wait(&mut self, destination: &str, lane: Lane) {
        if let Some(hold) = self.holds.get_mut(&self.hasher.hash_one(destination)) {
            hold.rows.insert((lane, hold.until));
        }
    }

    /// Ends a hold before its time; returns which rows wait for it: their lanes,
    /// and when they would be due.
    pub(super) fn end(&mut self, destination: &str) -> Option<BTreeSet<(Lane, Timestamp)>> {
        self.holds.remove(&self.hasher.hash_one(destination)).map(|hold| hold.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_until_its_time_or_its_end() {
        let (at, lane) = (Timestamp::from_secs, Lane::from_number);
        let mut holds = Holds::default();
        holds.add("a", lane(1), at(20), at(10));
        holds.add("a", lane(1), at(15), at(10));
        assert_eq!((holds.until("a", at(19)), holds.until("a", at(20))), (Some(at(20)), None));
        assert_eq!(holds.until("b", at(10)), None);
        holds.wait("a", lane(2));
        let rows = BTreeSet::from([(lane(1), at(15)), (lane(1), at(20)), (lane(2), at(20))]);
        assert_eq!((holds.end("a"), holds.end("a")), (Some(rows), None));
        holds.add("a", lane(1), at(20), at(10));
        holds.add("b", lane(1), at(30), at(20));
        assert_eq!(holds.holds.len(), 1, "what is over is forgotten");
    }
}
