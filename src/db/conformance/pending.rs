use super::sample::*;
use crate::{
    db::{DBDrv, Sending},
    notification::{Item, State, Timestamp},
};

pub(super) fn pending_of_nothing_is_none(db: &dyn DBDrv) {
    assert_eq!(pending(db, Timestamp::MAX, &[]), None);
    create(db, [item("one")]);
    assert_eq!(db.pending(at(0), MAX_TRIES, &[], &Sending::default()).unwrap(), None, "no type, nothing");
}

pub(super) fn pending_finds_the_oldest_next_at(db: &dyn DBDrv) {
    // Neither the order of creation nor that of the ids.
    let times = [("c", 30), ("a", 20), ("d", 10), ("b", 40)];
    create(db, times.map(|(id, next)| Item { next_at: at(next), create_at: at(50 - next), ..item(id) }));
    let mut sent = Vec::new();
    for id in ["d", "a", "c", "b"] {
        assert_eq!(pending(db, at(100), &sent).as_deref(), Some(id));
        sent.push(id);
    }
    assert_eq!(pending(db, at(100), &sent), None);
}

pub(super) fn pending_is_due_at_its_second(db: &dyn DBDrv) {
    create(db, [Item { next_at: at(10), ..item("one") }]);
    assert_eq!(pending(db, at(9), &[]), None);
    assert_eq!(pending(db, at(10), &[]).as_deref(), Some("one"));
    assert_eq!(pending(db, at(11), &[]).as_deref(), Some("one"));
    db.update("one", 1, at(60), State::Pending, b"later").unwrap();
    assert_eq!(pending(db, at(59), &[]), None);
    assert_eq!(pending(db, at(60), &[]).as_deref(), Some("one"));
    assert_eq!(pending(db, Timestamp::MAX, &[]).as_deref(), Some("one"));
}

pub(super) fn pending_passes_over_what_is_finished(db: &dyn DBDrv) {
    create_in(db, item("delivered"), State::Success);
    create_in(db, item("failed"), State::Failed);
    assert_eq!(pending(db, at(100), &[]), None);
    create(db, [Item { next_at: at(50), ..item("waits") }]);
    assert_eq!(pending(db, at(100), &[]).as_deref(), Some("waits"));
}

pub(super) fn pending_passes_over_used_up_attempts(db: &dyn DBDrv) {
    create(
        db,
        [2, 3, 4].map(|tried| Item {
            tried,
            next_at: at(-i64::from(tried)),
            ..item(&format!("{tried} tried"))
        }),
    );
    let find = |max_tries| {
        let found = db.pending(at(0), max_tries, &[TYPE], &Sending::default()).unwrap();
        found.map(|item| item.tried)
    };
    assert_eq!(find(5), Some(4));
    assert_eq!(find(4), Some(3));
    assert_eq!(find(3), Some(2));
    assert_eq!(find(2), None);
    assert_eq!(find(u32::MAX), Some(4));
    create(db, [Item { tried: u32::MAX, next_at: at(-9), ..item("all tried") }]);
    assert_eq!(find(u32::MAX), Some(4), "u32::MAX of u32::MAX attempts are used up");
}

pub(super) fn pending_finds_one_that_is_once(db: &dyn DBDrv) {
    let made = Item { tried: 31, once: true, ..item("once") };
    create(db, [made.clone()]);
    for max_tries in [1, 31, 32, 33] {
        let found = db.pending(at(0), max_tries, &[TYPE], &Sending::default()).unwrap();
        assert_same(db, &found.expect("its one attempt is left"), &made);
    }
    db.update("once", 32, at(0), State::Failed, b"").unwrap();
    assert_eq!(db.pending(at(0), 100, &[TYPE], &Sending::default()).unwrap(), None);
}

pub(super) fn pending_passes_over_other_types(db: &dyn DBDrv) {
    let kinds = ["HTTPPOST", "HTTPGET", "httppost", "HTTPPOST ", "'", "%"];
    create(
        db,
        (0..).zip(kinds).map(|(n, kind)| Item {
            r#type: kind.into(),
            next_at: at(n),
            ..item(&format!("of {kind}"))
        }),
    );
    let find = |drivers: &[&str]| {
        let found = db.pending(at(100), MAX_TRIES, drivers, &Sending::default()).unwrap();
        found.map(|item| item.r#type)
    };
    for kind in kinds {
        assert_eq!(find(&[kind]).as_deref(), Some(kind));
    }
    assert_eq!(find(&["%", "HTTPGET", "unknown"]).as_deref(), Some("HTTPGET"), "the oldest of both");
    assert_eq!(find(&["HTTP", "unknown", ""]), None);
}

pub(super) fn pending_passes_over_what_is_being_sent(db: &dyn DBDrv) {
    create(db, [1, 2, 3].map(|n| Item { next_at: at(n), ..item(&format!("no {n}")) }));
    assert_eq!(pending(db, at(9), &["no 1"]).as_deref(), Some("no 2"));
    assert_eq!(pending(db, at(9), &["no 2", "unknown"]).as_deref(), Some("no 1"));
    assert_eq!(pending(db, at(9), &["no 1", "no 2", "no 3"]), None);
}

pub(super) fn pending_compares_sending_byte_by_byte(db: &dyn DBDrv) {
    for one in ALIKE {
        create(db, [item(one)]);
        let others: Vec<&str> = ALIKE.iter().copied().filter(|id| id != one).collect();
        assert_eq!(pending(db, at(0), &others).as_deref(), Some(*one));
        assert_eq!(pending(db, at(0), ALIKE), None, "{one:?}");
        db.delete(one, &Sending::default()).unwrap();
    }
}

pub(super) fn pending_finds_the_last_of_many(db: &dyn DBDrv) {
    let ids: Vec<String> = (0..300).map(|n| format!("{n:03} {}", "😀".repeat(120))).collect();
    create(db, (0..).zip(&ids).map(|(n, id)| Item { next_at: at(n), ..item(id) }));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (last, sent) = ids.split_last().unwrap();
    assert_eq!(pending(db, at(1_000), sent).as_deref(), Some(*last));
}
