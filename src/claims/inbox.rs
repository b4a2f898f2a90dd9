//! What the recorder tells. It leaves things here, and whoever locks the claims next finds
//! them: so it never waits for a query of the sender's, and those who make attempts do
//! the work while it goes on writing.

use std::sync::{MutexGuard, atomic::Ordering};

use super::{Claims, Inner, POISONED, filling::BYTES, owed::Settled};
use crate::{
    db::{DbError, Write, Written},
    notification::{Item, Lane, Timestamp},
};

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

/// What the recorder has noted, and who is to see to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub(crate) enum Noted {
    Nothing,
    /// The recorder: nobody else may come for it soon.
    Changes,
    /// One of those who make attempts, who is called for the new rows.
    Work,
}

impl Claims {
    /// Rows fall due in these lanes then.
    pub(crate) fn note(&self, due: impl IntoIterator<Item = (Lane, Timestamp)>) {
        self.inbox().due.extend(due);
        self.look();
    }

    /// These writes of clients are in the table now, with what has become of each;
    /// [`catch_up`](Self::catch_up) sees to it.
    ///
    /// If they were `only_new` rows, nobody has touched them since: whoever deletes or changes rows
    /// does so in a critical section, which begins with a look in here.
    pub(crate) fn committed<'r>(
        &self,
        done: impl Iterator<Item = (Write, &'r Result<Written, DbError>)>,
        only_new: bool,
    ) -> Noted {
        // What is leased has to be read.
        let as_they_are = only_new && !self.db.is_shared();
        let mut inbox = self.inbox();
        let was_empty = inbox.is_empty();
        let mut noted = Noted::Nothing;
        for written in done {
            match written {
                (Write::Create(item), Ok(Written::Done)) => {
                    if as_they_are && item.weight() <= SHORT && inbox.created.len() < MAX_CREATED {
                        inbox.created.push(item);
                    } else {
                        inbox.due.push((item.lane, item.next_at));
                    }
                }
                (Write::Resend { now, .. }, Ok(Written::Resent(lane))) => inbox.due.push((*lane, now)),
                _ => continue,
            }
            // Something that still lies here tells that nobody has come since the last call, which
            // may take as long as an attempt. Until then there was no slot for anything new.
            noted = if was_empty && as_they_are { Noted::Work } else { Noted::Changes };
        }
        noted
    }

    /// These owed writes are done; [`catch_up`](Self::catch_up) sees to it.
    pub(crate) fn settled(&self, done: impl ExactSizeIterator<Item = Settled>) -> Noted {
        if done.len() == 0 {
            return Noted::Nothing;
        }
        self.inbox().settled.extend(done);
        Noted::Changes
    }

    /// Sees to what was noted.
    pub(crate) fn catch_up(&self, noted: Noted) {
        match noted {
            Noted::Nothing => {}
            // Whoever comes takes everything out.
            Noted::Work => self.wake(),
            Noted::Changes => self.look(),
        }
    }

    /// Empties the inbox, unless somebody is about to.
    fn look(&self) {
        if !self.asking.load(Ordering::SeqCst) {
            self.unlock(self.lock());
        }
    }

    /// Takes everything out, in a critical section that has just begun.
    pub(super) fn empty_inbox(&self, state: &mut Inner) {
        let mut noted = std::mem::take(&mut state.spare_inbox);
        std::mem::swap(&mut noted, &mut self.inbox());
        for (lane, at) in noted.due.drain(..) {
            state.lanes.note(lane, at);
        }
        for item in noted.created.drain(..) {
            self.line_up(state, item);
        }
        self.settle_in(state, noted.settled.drain(..));
        state.spare_inbox = noted;
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
    use std::sync::{Arc, atomic::AtomicUsize};

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

    /// Tells of rows that were just created.
    fn create(claims: &Claims, items: impl IntoIterator<Item = Item>) {
        let items = items.into_iter().map(|item| (Write::Create(item), &Ok(Written::Done)));
        claims.catch_up(claims.committed(items, true));
    }

    fn begin(claims: &Arc<Claims>) -> Option<String> {
        let begun = claims.next(None).begun?;
        Some(begun.item.id.as_str().to_owned())
    }

    #[test]
    fn a_row_that_was_just_created_is_begun_without_being_read() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        create(&claims, [item("one")]);
        assert_eq!(begin(&claims).as_deref(), Some("one"));
        assert_eq!(begin(&claims), None);
    }

    #[test]
    fn one_that_is_deleted_before_that_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        create(&claims, [item("one"), item("two")]);
        claims.exclusive().revoke([&item("one").id]).unwrap();
        assert_eq!(begin(&claims).as_deref(), Some("two"));
        assert_eq!(begin(&claims), None);
    }

    #[test]
    fn what_is_older_in_its_lane_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        claims.note([(item("one").lane, NOW)]);
        create(&claims, [item("one")]);
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
    fn what_nobody_comes_for_is_seen_to_by_the_one_who_tells() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        claims.on_due(move || {
            called.fetch_add(1, Ordering::Relaxed);
        });
        create(&claims, [item("one")]);
        assert_eq!((claims.inbox().created.len(), calls.load(Ordering::Relaxed)), (1, 1));
        create(&claims, [item("two")]);
        assert!(claims.inbox().is_empty(), "whoever was called may be busy for long");
        assert_eq!([begin(&claims), begin(&claims)], [Some("one".into()), Some("two".into())]);
    }

    #[test]
    fn a_long_one_is_left_in_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let claims = claims(&directory);
        create(&claims, [Item { content: vec![b' '; SHORT], ..item("one") }]);
        assert_eq!(begin(&claims), None);
    }
}
