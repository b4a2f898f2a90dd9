use super::sample::*;
use crate::{
    db::{Claimed, DBDrv, Sending, Wanted},
    notification::{Item, State},
};

pub(super) fn claim_of_nothing_is_empty(db: &dyn DBDrv) {
    assert_eq!(claim(db, at(100)), Claimed::default());
    create_in(db, item("done"), State::Success);
    create_in(db, item("failed"), State::Failed);
    assert_eq!(claim(db, at(100)), Claimed::default());
}

pub(super) fn claim_finds_the_due_ones_in_order(db: &dyn DBDrv) {
    let times = [("c", 30), ("a", 20), ("e", 51), ("d", 10), ("b", 50)];
    create(db, times.map(|(id, next)| Item { next_at: at(next), create_at: at(90 - next), ..item(id) }));
    let claimed = claim(db, at(50));
    assert_eq!(names(&claimed), ["d", "a", "c", "b"]);
    assert_eq!(claimed.next_at, Some(at(51)));
}

pub(super) fn claim_tells_when_the_next_is_due(db: &dyn DBDrv) {
    create(db, [1, 2, 3].map(|n| Item { next_at: at(n), ..item(&format!("no {n}")) }));
    let claimed = claim(db, at(0));
    assert_eq!((names(&claimed).len(), claimed.next_at), (0, Some(at(1))), "none is due yet");
    let claimed = db.claim(&Wanted { limit: 1, ..wanted(db, at(9), &Sending::default()) }).unwrap();
    assert_eq!(
        (names(&claimed), claimed.next_at),
        (vec!["no 1"], Some(at(2))),
        "the next one is due already"
    );
    let claimed = db.claim(&wanted(db, at(9), &sending(&["no 1"]))).unwrap();
    assert_eq!((names(&claimed), claimed.next_at), (vec!["no 2", "no 3"], None), "there is no other");
}

pub(super) fn claim_takes_no_more_than_the_limit(db: &dyn DBDrv) {
    create(db, (0..5).map(|n| Item { next_at: at(n), ..item(&format!("no {n}")) }));
    let claimed = db.claim(&Wanted { limit: 3, ..wanted(db, at(9), &Sending::default()) }).unwrap();
    assert_eq!(names(&claimed), ["no 0", "no 1", "no 2"]);
    assert_eq!(claimed.next_at, Some(at(3)));
}

pub(super) fn claim_takes_one_however_large(db: &dyn DBDrv) {
    create(
        db,
        [0, 1].map(|n| Item { next_at: at(n), content: vec![b'x'; 1 << 20], ..item(&format!("no {n}")) }),
    );
    let claimed = db.claim(&Wanted { max_bytes: 0, ..wanted(db, at(9), &Sending::default()) }).unwrap();
    assert_eq!((names(&claimed), claimed.next_at), (vec!["no 0"], Some(at(1))));
    assert_eq!(claimed.items[0].content.len(), 1 << 20);
}

pub(super) fn claim_stops_beyond_the_bytes(db: &dyn DBDrv) {
    create(db, (0..9).map(|n| Item { next_at: at(n), content: vec![b'x'; 10], ..item(&format!("no {n}")) }));
    let claimed = db.claim(&Wanted { max_bytes: 25, ..wanted(db, at(9), &Sending::default()) }).unwrap();
    assert_eq!((names(&claimed), claimed.next_at), (vec!["no 0", "no 1", "no 2"], Some(at(3))));
}

pub(super) fn claim_passes_over_what_is_skipped(db: &dyn DBDrv) {
    create(db, (0..6).map(|n| Item { next_at: at(n), ..item(&format!("no {n}")) }));
    let skip = sending(&["no 0", "no 2", "no 5", "unknown"]);
    let claimed = db.claim(&wanted(db, at(3), &skip)).unwrap();
    assert_eq!((names(&claimed), claimed.next_at), (vec!["no 1", "no 3"], Some(at(4))));
    let skip = sending(&["no 0", "no 1", "no 2", "no 3", "no 4", "no 5"]);
    assert_eq!(db.claim(&wanted(db, at(9), &skip)).unwrap(), Claimed::default());
}

pub(super) fn claim_passes_over_other_types(db: &dyn DBDrv) {
    let kinds = [("a", "ELSE"), ("b", TYPE), ("c", "test"), ("d", "MORE"), ("e", "ELSE")];
    create(
        db,
        (0..).zip(kinds).map(|(n, (id, kind))| Item { r#type: kind.into(), next_at: at(n), ..item(id) }),
    );
    let none = Sending::default();
    assert_eq!(db.claim(&Wanted { drivers: &[], ..wanted(db, at(9), &none) }).unwrap(), Claimed::default());
    let claimed = db.claim(&Wanted { drivers: &[TYPE, "MORE"], ..wanted(db, at(2), &none) }).unwrap();
    assert_eq!((names(&claimed), claimed.next_at), (vec!["b"], Some(at(3))));
}

pub(super) fn claim_returns_every_field(db: &dyn DBDrv) {
    let made = Item {
        content: (0..=255).collect(),
        create_at: at(-5),
        next_at: at(-4),
        tried: 3,
        ..item("all 'of' it")
    };
    create(db, [made.clone()]);
    let claimed = claim(db, at(0));
    let [found] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert_same(db, found, &made);
}

pub(super) fn claim_finds_one_that_is_once(db: &dyn DBDrv) {
    let made = Item { tried: MAX_TRIES + 5, once: true, ..item("once") };
    create(db, [made.clone()]);
    let claimed = claim(db, at(0));
    let [found] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert_same(db, found, &made);
}
