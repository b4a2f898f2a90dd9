//! What the cases are made of.

use crate::{
    db::{Claimed, DBDrv, DbError, Outcome, Sending, Wanted},
    notification::{Id, Item, Lane, State, Status, Timestamp},
};

/// The limit of attempts in force, unless a case is about it.
pub(super) const MAX_TRIES: u32 = 32;

/// The one registered type, unless a case is about types.
pub(super) const TYPE: &str = "TEST";

/// Ids that a careless comparison takes for one another.
pub(super) const ALIKE: &[&str] = &[
    "a", "A", "a ", " a", "a  ", "á", "a\u{301}", "ａ", "%", "_", "a%", "a_", "'", "''", "\"", "\\", "\\\\",
    "\\%", "?", "?1", "$1", ":a", "0", "00", "0.0", "1", "1.0", "1e0", "ss", "ß", "SS", "ı", "i", "I", "İ",
    "null", "NULL", "--", ";", "😀", "😁", "é", "e",
];

/// That many seconds after a time long ago.
pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_600_000_000 + secs)
}

pub(super) fn id(id: &str) -> Id {
    Id::new(id).unwrap()
}

/// A notification that was created at 0 and is due since.
pub(super) fn item(name: &str) -> Item {
    Item {
        id: id(name),
        r#type: TYPE.into(),
        endpoint: "somewhere".into(),
        content: format!("\"{name}\"").into_bytes(),
        create_at: at(0),
        next_at: at(0),
        tried: 0,
        once: false,
        epoch: 0,
        lease: 0,
        lane: lane(),
    }
}

/// The lane of everything, unless a case is about lanes.
pub(super) fn lane() -> Lane {
    Lane::named("somewhere")
}

pub(super) fn create(db: &dyn DBDrv, items: impl IntoIterator<Item = Item>) {
    for item in items {
        if let Err(error) = db.create(&item) {
            panic!("create({:?}): {error}", item.id);
        }
    }
}

/// Creates one and brings it to that state, by one attempt.
pub(super) fn create_in(db: &dyn DBDrv, item: Item, state: State) {
    create(db, [item.clone()]);
    if state != State::Pending {
        db.update(item.id.as_str(), item.tried + 1, item.next_at, state, b"answer").unwrap();
    }
}

pub(super) fn sending(ids: &[&str]) -> Sending {
    ids.iter().copied().map(id).collect()
}

/// The id of the pending one.
pub(super) fn pending(db: &dyn DBDrv, now: Timestamp, sent: &[&str]) -> Option<String> {
    let found = db.pending(now, MAX_TRIES, &[TYPE], &sending(sent)).unwrap();
    found.map(|item| item.id.as_str().to_owned())
}

pub(super) fn wanted<'a>(db: &dyn DBDrv, now: Timestamp, skip: &'a Sending) -> Wanted<'a> {
    Wanted {
        lane: if db.has_lanes() { lane() } else { Lane::NONE },
        now,
        drivers: &[TYPE],
        skip,
        max_tries: MAX_TRIES,
        limit: usize::MAX,
        max_bytes: usize::MAX,
    }
}

/// Claims all that are due in the usual lane. Where claims are leases, they are given
/// back at once: what follows is about something else.
pub(super) fn claim(db: &dyn DBDrv, now: Timestamp) -> Claimed {
    let claimed = hold(db, now);
    db.give_back(&leases(&claimed)).unwrap();
    claimed
}

/// Claims all that are due in the usual lane, and keeps the leases.
pub(super) fn hold(db: &dyn DBDrv, now: Timestamp) -> Claimed {
    db.claim(&wanted(db, now, &Sending::default())).unwrap()
}

pub(super) fn leases(claimed: &Claimed) -> Vec<(Id, u64)> {
    claimed.items.iter().map(|item| (item.id.clone(), item.lease)).collect()
}

pub(super) fn names(claimed: &Claimed) -> Vec<&str> {
    claimed.items.iter().map(|item| item.id.as_str()).collect()
}

/// A success at the first attempt.
pub(super) fn outcome(name: &str) -> Outcome {
    Outcome {
        id: id(name),
        epoch: 0,
        lease: 0,
        tried: 1,
        next_at: at(0),
        state: State::Success,
        response: b"delivered".to_vec(),
        keep_response: false,
    }
}

pub(super) fn status(create_at: i64, next_at: i64, tried: u32, state: State) -> Status {
    Status { create_at: at(create_at), next_at: at(next_at), tried, state }
}

/// Whether there is such a row.
pub(super) fn exists(db: &dyn DBDrv, id: &str) -> bool {
    match db.status(id) {
        Ok(_) => true,
        Err(DbError::NotFound) => false,
        Err(error) => panic!("status({id:?}): {error}"),
    }
}

/// Those that are there, in the order asked for.
pub(super) fn existing<'a>(db: &dyn DBDrv, ids: &[&'a str]) -> Vec<&'a str> {
    ids.iter().copied().filter(|id| exists(db, id)).collect()
}

/// A row that was found is the one that was created; what only a database with
/// lanes keeps counts there. A lease is the database's choice.
#[track_caller]
pub(super) fn assert_same(db: &dyn DBDrv, found: &Item, expected: &Item) {
    let kept = match db.has_lanes() {
        true => Item { lease: found.lease, ..expected.clone() },
        false => Item { lease: found.lease, lane: found.lane, epoch: found.epoch, ..expected.clone() },
    };
    assert!(*found == kept, "found {found:?}\nexpected {kept:?}");
}

macro_rules! assert_fails {
    ($result:expr, $error:ident) => {
        match $result {
            Err($crate::db::DbError::$error) => {}
            other => panic!("{} is {other:?}, not {}", stringify!($result), stringify!($error)),
        }
    };
}
pub(super) use assert_fails;
