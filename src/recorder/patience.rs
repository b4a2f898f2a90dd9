//! How long a commit waits for company.
//!
//! Clients that were answered together come back together, one after the other. A commit that
//! begins with the first of them leaves the others to the next one, and both write much the
//! same pages. So it waits until there are half as many as a commit had lately, but only for a
//! part of the time that a commit takes. Up to three clients never wait, unless there were more
//! a few commits ago.

use std::time::Duration;

/// So many of the latest commits tell how many clients there are.
const COMMITS: usize = 8;

/// This part of the time that the latest commit took, from when the writer sees the first client,
const PART: u32 = 3;

/// and so long at most, be the disk as slow as it may.
const LONGEST: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Clients of the latest commits, in no order.
    clients: [usize; COMMITS],
    oldest: usize,
    time: Duration,
}

impl Patience {
    /// So many clients' writes were committed, which took that long.
    pub(super) fn committed(&mut self, clients: usize, took: Duration) {
        self.clients[self.oldest] = clients;
        self.oldest = (self.oldest + 1) % COMMITS;
        self.time = LONGEST.min(took / PART);
    }

    /// With so many clients the next commit begins at once,
    pub(super) fn enough(&self) -> usize {
        self.clients.iter().max().map_or(0, |most| most / 2)
    }

    /// and so long after the writer saw the first one with fewer.
    pub(super) fn time(&self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSYNC: Duration = Duration::from_micros(300);

    #[test]
    fn a_few_do_not_wait() {
        let mut patience = Patience::default();
        assert!(patience.enough() <= 1);
        for clients in [1, 2, 3, 1] {
            patience.committed(clients, FSYNC);
            assert!(patience.enough() <= 1);
        }
    }

    #[test]
    fn half_as_many_as_lately_are_enough() {
        let mut patience = Patience::default();
        patience.committed(40, FSYNC);
        assert_eq!((patience.enough(), patience.time()), (20, FSYNC / PART));
        for _ in 1..COMMITS {
            patience.committed(1, FSYNC);
            assert_eq!(patience.enough(), 20);
        }
        patience.committed(1, FSYNC);
        assert_eq!(patience.enough(), 0, "they don't come any more");
    }

    #[test]
    fn a_slow_disk_does_not_make_it_endless() {
        let mut patience = Patience::default();
        patience.committed(40, Duration::from_secs(4));
        assert_eq!(patience.time(), LONGEST);
    }
}
