//! What the recorder tells. It never waits for a query of the sender's: while the
//! table is asked, it leaves things here, and whoever locks the claims next finds them.

use std::sync::{MutexGuard, atomic::Ordering};

use super::{Claims, Inner, POISONED, filling::BYTES, owed::Settled};
use crate::notification::{Item, Lane, Timestamp};

/// A row of at most so many bytes may wait for its attempt without being read from
/// the table; so many may be in the inbox.
const SHORT: usize = 4 << 10;
const MAX_CREATED: usize = 512;

#[derive(Default)]
pub(super) struct Inbox {
    due: Vec<(Lane, Timestamp)>,
    created: Vec<Item>,
    settled: Vec<Settled>,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.created.is_empty() && self.settled.is_empty()
    }
}

impl Claims {
    /// Rows fall due in these lanes then.
    pub(crate) fn note(&self, due: impl IntoIterator<Item = (Lane, Timestamp)>) {
        self.tell(|inbox| inbox.due.extend(due));
    }

    /// These rows are in the table now, are due, and nobody has touched them since: the
    /// next write to the table is the caller's.
    pub(crate) fn created(&self, items: impl IntoIterator<Item = Item>) {
        let shared = self.db.is_shared();
        self.tell(|inbox| {
            for item in items {
                // What is leased has to be read.
                if shared || item.weight() > SHORT || inbox.created.len() >= MAX_CREATED {
                    inbox.due.push((item.lane, item.next_at));
                } else {
                    inbox.created.push(item);
                }
            }
        });
    }

    /// These owed writes are done.
    pub(super) fn settled(&self, done: Vec<Settled>) {
        self.tell(|inbox| inbox.settled.extend(done));
    }

    fn tell(&self, tell: impl FnOnce(&mut Inbox)) {
        tell(&mut self.inbox());
        if !self.asking.load(Ordering::SeqCst) {
            self.unlock(self.lock());
        }
    }

    /// Takes everything out, in a critical section that has just begun.
    pub(super) fn empty_inbox(&self, state: &mut Inner) {
        let Inbox { due, created, settled } = std::mem::take(&mut *self.inbox());
        for (lane, at) in due {
            state.lanes.note(lane, at);
        }
        for item in created {
            self.line_up(state, item);
        }
        self.settle_in(state, settled);
    }

    /// A row that was just created is next in line if nothing in its lane is older: it
    /// needn't be read from the table. It is one more claim, and as revocable as any.
    fn line_up(&self, state: &mut Inner, item: Item) {
        if state.claimed.contains(item.id.as_str()) {
            // A look at the table was quicker; or an older row of this id is still being
            // written back, which has been deleted.
            state.lanes.note(item.lane, item.next_at);
            return;
        }
        let room = state.waiting_bytes + item.weight() <= BYTES;
        if room && state.lanes.is_latest(item.lane, item.next_at, self.line(state, item.lane)) {
            state.push_waiting(item);
        } else {
            state.lanes.note(item.lane, item.next_at);
        }
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect(POISONED)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Clock,
        db::sqlite::Sqlite,
        driver::{Delivery, Driver, Drivers, Rejected, SendError},
        health::Health,
        notification::Id,
    };

    struct Nothing;

    impl Driver for Nothing {
        fn r#type(&self) -> &str {
            "NOTHING"
        }

        fn send(&self, _delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
            Ok(Vec::new())
        }

        fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
            Ok(())
        }

        fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
            Ok(())
        }
    }

    const NOW: Timestamp = Timestamp::from_secs(1000);

    /// Claims on a table that stays empty: what is begun was not read from it.
    fn claims(directory: &tempfile::TempDir) -> Arc<Claims> {
        let db = Arc::new(Sqlite::open(directory.path().join("notify.db")).unwrap());
        let mut drivers = Drivers::default();
        drivers.register(Arc::new(Nothing)).unwrap();
        let clock = Arc::new(Clock::not_before(NOW));
        Arc::new(Claims::new(db, drivers, clock, Arc::new(Health::default()), 32, 4))
    }

    fn item(id: &str) -> Item {
        Item {
            id: Id::from_store(id),
            r#type: "NOTHING".into(),
            endpoint: "anywhere".into(),
            content: b"null".to_vec(),
            create_at: NOW,
            next_at: NOW,
            tried: 0,
            once: false,
            epoch: 0,
            lease: 0,
            lane: Lane::named("lane"),
        }
    }

    fn begin(claims: &Arc<Claims>) -> Option<String> {
        let begun = claims.next(None).begun?;
        Some(begun.item.id.as_str().to_owned())
    }

    #[test]
    fn a_row_that_was_just_created_is_begun_without_being_read() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        claims.created([item("one")]);
        assert_eq!(begin(&claims).as_deref(), Some("one"));
        assert_eq!(begin(&claims), None);
    }

    #[test]
    fn one_that_is_deleted_before_that_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        claims.created([item("one"), item("two")]);
        claims.exclusive().revoke([&item("one").id]).unwrap();
        assert_eq!(begin(&claims).as_deref(), Some("two"));
        assert_eq!(begin(&claims), None);
    }

    #[test]
    fn what_is_older_in_its_lane_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        claims.note([(item("one").lane, NOW)]);
        claims.created([item("one")]);
        assert_eq!(begin(&claims), None, "it is to be read with the older ones");
    }

    #[test]
    fn one_whose_id_is_claimed_is_looked_for_in_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        let mut state = claims.lock();
        state.claimed.insert(item("one").id);
        claims.line_up(&mut state, item("one"));
        assert_eq!(claims.pick(&mut state, NOW), Some(item("one").lane));
    }

    #[test]
    fn a_long_one_is_left_in_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        claims.created([Item { content: vec![b' '; SHORT], ..item("one") }]);
        assert_eq!(begin(&claims), None);
    }
}
