use std::collections::HashSet;

use super::sample::*;
use crate::{
    db::{Clear, DBDrv, Scope, Sending},
    notification::{Item, State, Timestamp},
};

const NAMES: [&str; 6] = ["old waits", "old done", "old failed", "new waits", "new done", "new failed"];

/// Three states, each of them created at 10 and at 20.
fn create_all(db: &dyn DBDrv) {
    let states = [State::Pending, State::Success, State::Failed];
    for (number, id) in NAMES.iter().enumerate() {
        let create_at = at(if number < 3 { 10 } else { 20 });
        create_in(db, Item { create_at, ..item(id) }, states[number % 3]);
    }
}

/// Clears slice by slice, and tells how many calls it took.
fn clear_in_slices(db: &dyn DBDrv, clear: Clear, sending: &Sending, mut between: impl FnMut()) -> usize {
    let mut rest = Some(clear);
    let mut calls = 0;
    while let Some(clear) = rest {
        rest = db.clear_slice(&clear, sending).unwrap().rest;
        calls += 1;
        assert!(calls < 1_000, "it doesn't come to an end");
        between();
    }
    calls
}

fn count(db: &dyn DBDrv, ids: &[String]) -> usize {
    ids.iter().filter(|id| exists(db, id)).count()
}

/// Creates that many, three in a second.
fn create_many(db: &dyn DBDrv, count: i64) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|n| format!("row {n:05}")).collect();
    let rows: Vec<_> = (0..)
        .zip(&ids)
        .map(|(n, id)| crate::db::Write::Create(Item { create_at: at(n / 3), next_at: at(n), ..item(id) }))
        .collect();
    for batch in rows.chunks(500) {
        assert!(db.write(batch, &Sending::default()).unwrap().iter().all(Result::is_ok));
    }
    ids
}

pub(super) fn clear_of_nothing_is_no_error(db: &dyn DBDrv) {
    db.clear(Timestamp::MAX, &Sending::default()).unwrap();
    db.force_clear(Timestamp::MAX, &sending(&["unknown"])).unwrap();
    assert_eq!(clear_in_slices(db, Clear::new(Scope::All, Timestamp::MAX), &Sending::default(), || ()), 1);
}

pub(super) fn clear_removes_what_is_finished(db: &dyn DBDrv) {
    create_all(db);
    db.clear(at(100), &Sending::default()).unwrap();
    assert_eq!(existing(db, &NAMES), ["old waits", "new waits"]);
    assert_eq!(pending(db, at(100), &["old waits"]).as_deref(), Some("new waits"));
}

pub(super) fn clear_goes_strictly_before(db: &dyn DBDrv) {
    create_all(db);
    for before in [Timestamp::MIN, Timestamp::from_secs(0), at(10)] {
        db.clear(before, &Sending::default()).unwrap();
        assert_eq!(existing(db, &NAMES), NAMES);
    }
    for before in [at(11), at(20)] {
        db.clear(before, &Sending::default()).unwrap();
        assert_eq!(existing(db, &NAMES), ["old waits", "new waits", "new done", "new failed"]);
    }
    db.clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert_eq!(existing(db, &NAMES), ["old waits", "new waits"]);
}

pub(super) fn clear_keeps_what_is_being_sent(db: &dyn DBDrv) {
    create_all(db);
    db.clear(at(100), &sending(&["old done", "new failed", "unknown"])).unwrap();
    assert_eq!(existing(db, &NAMES), ["old waits", "old done", "new waits", "new failed"]);
}

pub(super) fn force_clear_removes_every_state(db: &dyn DBDrv) {
    create_all(db);
    db.force_clear(at(100), &Sending::default()).unwrap();
    assert!(existing(db, &NAMES).is_empty());
    assert_eq!(pending(db, at(100), &[]), None);
}

pub(super) fn force_clear_goes_strictly_before(db: &dyn DBDrv) {
    create_all(db);
    for before in [Timestamp::MIN, Timestamp::from_secs(0), at(10)] {
        db.force_clear(before, &Sending::default()).unwrap();
        assert_eq!(existing(db, &NAMES), NAMES);
    }
    for before in [at(11), at(20)] {
        db.force_clear(before, &Sending::default()).unwrap();
        assert_eq!(existing(db, &NAMES), NAMES[3..]);
    }
    db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert!(existing(db, &NAMES).is_empty());
}

pub(super) fn force_clear_keeps_what_is_being_sent(db: &dyn DBDrv) {
    create_all(db);
    db.force_clear(at(100), &sending(&["old waits", "new done"])).unwrap();
    assert_eq!(existing(db, &NAMES), ["old waits", "new done"]);

    create(db, ALIKE.iter().map(|id| item(id)));
    db.force_clear(at(100), &sending(&["a", "%", "ß"])).unwrap();
    assert_eq!(existing(db, ALIKE), ["a", "%", "ß"], "compared byte by byte");
}

pub(super) fn force_clear_removes_many(db: &dyn DBDrv) {
    let ids = create_many(db, 1_203);
    db.force_clear(at(400), &sending(&["row 00000", "row 00601"])).unwrap();
    let left: Vec<_> = ids.iter().filter(|id| exists(db, id)).collect();
    assert_eq!(left, ["row 00000", "row 00601", "row 01200", "row 01201", "row 01202"]);
}

pub(super) fn clear_slice_comes_to_an_end(db: &dyn DBDrv) {
    for (scope, left) in [(Scope::Finished, "old waits"), (Scope::All, "new waits")] {
        create_all(db);
        clear_in_slices(db, Clear::new(scope, at(20)), &Sending::default(), || ());
        assert_eq!(existing(db, &NAMES)[0], left);
        assert_eq!(existing(db, &NAMES[3..]), NAMES[3..]);
        db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    }
}

pub(super) fn clear_slice_passes_pending_ones(db: &dyn DBDrv) {
    let ids = create_many(db, 4_500);
    for id in [&ids[0], &ids[2_250], &ids[4_499]] {
        db.update(id, 1, at(0), State::Success, b"").unwrap();
    }
    clear_in_slices(db, Clear::new(Scope::Finished, at(10_000)), &Sending::default(), || ());
    assert_eq!(count(db, &ids), 4_497);
    assert!(!exists(db, &ids[0]) && !exists(db, &ids[2_250]) && !exists(db, &ids[4_499]));
}

pub(super) fn clear_slice_keeps_what_is_being_sent(db: &dyn DBDrv) {
    let ids = create_many(db, 1_100);
    let sent = [&*ids[0], &*ids[499], &*ids[500], &*ids[1_099]];
    clear_in_slices(db, Clear::new(Scope::All, at(10_000)), &sending(&sent), || ());
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(existing(db, &ids), sent);
}

pub(super) fn clear_slice_stays_short(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let ids = create_many(db, 1_300);
    let mut left = ids.len();
    let calls = clear_in_slices(db, Clear::new(Scope::All, at(10_000)), &Sending::default(), || {
        let now_left = count(db, &ids);
        assert!(left - now_left <= 500, "one call deleted {} rows", left - now_left);
        left = now_left;
    });
    assert_eq!(left, 0);
    assert!(calls >= 3);
}

pub(super) fn clear_slice_lets_new_ones_in(db: &dyn DBDrv) {
    let mut ids: HashSet<String> = create_many(db, 1_100).into_iter().collect();
    let mut made = 0;
    clear_in_slices(db, Clear::new(Scope::All, at(5_000)), &Sending::default(), || {
        made += 1;
        let new = Item { create_at: at(5_000), ..item(&format!("new {made}")) };
        ids.insert(new.id.as_str().to_owned());
        create(db, [new]);
    });
    let left = ids.iter().filter(|id| exists(db, id)).count();
    assert_eq!(left, made, "all the old ones are gone and none of the new ones");
}

pub(super) fn clear_slice_takes_a_single_state(db: &dyn DBDrv) {
    for (scope, gone) in [(Scope::Success, "old done"), (Scope::Failed, "old failed")] {
        create_all(db);
        clear_in_slices(db, Clear::new(scope, at(20)), &sending(&["new done"]), || ());
        // What can't be removed alone is kept.
        let gone = if db.has_lanes() { gone } else { "nothing" };
        let left: Vec<&str> = NAMES.into_iter().filter(|name| *name != gone).collect();
        assert_eq!(existing(db, &NAMES), left, "{scope:?}");
        db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    }
}

pub(super) fn clear_slice_begins_where_it_is_told(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let ids = create_many(db, 4_500);
    // Three a second: the first of them are those of second 700.
    let clear = Clear { since: at(700), ..Clear::new(Scope::All, at(1_400)) };
    clear_in_slices(db, clear, &Sending::default(), || ());
    assert_eq!((count(db, &ids[..2_100]), count(db, &ids[2_100..4_200])), (2_100, 0));
    assert_eq!(count(db, &ids[4_200..]), 300);
}

pub(super) fn clear_slice_tells_how_many(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create_many(db, 1_300);
    create_all(db);
    let mut rest = Some(Clear::new(Scope::All, at(10_000)));
    let mut removed = 0;
    while let Some(clear) = rest {
        let slice = db.clear_slice(&clear, &sending(&["old waits"])).unwrap();
        removed += slice.removed;
        rest = slice.rest;
    }
    assert_eq!(removed, 1_305);
}
