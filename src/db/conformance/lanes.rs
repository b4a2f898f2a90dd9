use std::collections::{BTreeMap, BTreeSet};

use super::sample::*;
use crate::{
    db::{DBDrv, DbError, Sending, Wanted, Write, Written},
    notification::{Item, Lane, State, Timestamp},
};

fn in_lane(name: &str, lane: &str, next: i64) -> Item {
    Item { lane: Lane::named(lane), next_at: at(next), ..item(name) }
}

fn unassigned_item(name: &str) -> Item {
    Item { lane: Lane::NONE, ..item(name) }
}

fn heads(db: &dyn DBDrv) -> BTreeMap<Lane, Timestamp> {
    let heads = db.heads().unwrap();
    let by_lane: BTreeMap<_, _> = heads.iter().copied().collect();
    assert_eq!(by_lane.len(), heads.len(), "each lane is there once: {heads:?}");
    by_lane
}

fn write(db: &dyn DBDrv, write: Write) -> Written {
    let answers = db.write(&[write], &Sending::default()).unwrap();
    match answers[..] {
        [Ok(written)] => written,
        _ => panic!("{answers:?}"),
    }
}

pub(super) fn claim_keeps_to_its_lane(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [in_lane("x1", "x", 3), in_lane("y1", "y", 1), in_lane("x2", "x", 4), in_lane("y2", "y", 2)]);
    create(db, [Item { next_at: at(0), ..unassigned_item("none") }]);
    let none = Sending::default();
    for (lane, found) in [
        (Lane::named("x"), &["x1", "x2"][..]),
        (Lane::named("y"), &["y1", "y2"]),
        (Lane::named("z"), &[]),
        (Lane::NONE, &["none"]),
    ] {
        let claimed = db.claim(&Wanted { lane, ..wanted(db, at(9), &none) }).unwrap();
        assert_eq!((names(&claimed), claimed.next_at), (found.to_vec(), None));
        assert!(claimed.items.iter().all(|item| item.lane == lane));
    }
}

pub(super) fn claim_finds_used_up_attempts(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    // Somebody has to end them.
    let used_up = |name, tried, next| Item { tried, next_at: at(next), ..item(name) };
    create(db, [used_up("a", MAX_TRIES, 0), used_up("b", 1, 1), used_up("c", u32::MAX, 2)]);
    assert_eq!(pending(db, at(9), &[]).as_deref(), Some("b"));
    assert_eq!(names(&claim(db, at(9))), ["a", "b", "c"]);
}

pub(super) fn claim_tells_lane_and_epoch(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let seven = Item { epoch: 7, ..item("seven") };
    let most = Item { epoch: u32::MAX, next_at: at(1), ..item("most") };
    create(db, [seven.clone(), most.clone()]);
    create(db, [Item { id: id("raised"), ..seven.clone() }, Item { id: id("wrapped"), ..most.clone() }]);
    for id in ["raised", "wrapped"] {
        db.resend(id, MAX_TRIES, at(2)).unwrap();
    }
    let claimed = claim(db, at(2));
    let [first, second, resent @ ..] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert_same(db, first, &seven);
    assert_same(db, second, &most);
    assert_eq!(resent.len(), 2);
    for item in resent {
        assert_eq!(item.lane, lane());
        assert!(item.epoch != if item.id.as_str() == "raised" { 7 } else { u32::MAX }, "{item:?}");
    }
}

pub(super) fn heads_are_the_lanes_with_pending_ones(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    assert!(heads(db).is_empty());
    create(
        db,
        [in_lane("x", "x", 3), in_lane("y", "y", 1_000), in_lane("z", "z", 1), unassigned_item("none")],
    );
    create(db, [Item { r#type: "ELSE".into(), ..in_lane("else", "else", 1) }]);
    db.update("z", 1, at(0), State::Success, b"").unwrap();
    let lanes: BTreeSet<Lane> = ["x", "y", "else"].map(Lane::named).into_iter().chain([Lane::NONE]).collect();
    assert_eq!(heads(db).into_keys().collect::<BTreeSet<_>>(), lanes);
    db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert!(heads(db).is_empty());
}

pub(super) fn heads_are_never_later_than_the_truth(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let no_later = |next| {
        let head = heads(db)[&lane()];
        assert!(head <= at(next), "the head is due at {next}, not at {head}");
    };
    create(db, [("a", 30), ("b", 20), ("c", 40)].map(|(id, next)| Item { next_at: at(next), ..item(id) }));
    no_later(20);
    db.update("b", 1, at(60), State::Pending, b"").unwrap();
    no_later(30);
    db.resend("c", MAX_TRIES, at(10)).unwrap();
    no_later(10);
    db.delete("c", &Sending::default()).unwrap();
    no_later(30);
    write(db, Write::Hold { ids: vec![id("a")], until: at(100) });
    no_later(60);
    write(db, Write::Release { lane: lane(), from: at(100), to: at(5) });
    no_later(5);
}

pub(super) fn heads_of_a_thousand_lanes(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let mut expected = BTreeMap::new();
    let batch: Vec<Write> = (0..1_500_i64)
        .map(|n| {
            let made = in_lane(&format!("row {n}"), &format!("lane {}", n % 1_000), (n * 7) % 500);
            let head = expected.entry(made.lane).or_insert(made.next_at);
            *head = made.next_at.min(*head);
            Write::Create(made)
        })
        .collect();
    db.write(&batch, &Sending::default()).unwrap();
    let found = heads(db);
    assert!(found.keys().eq(expected.keys()));
    assert!(found.iter().all(|(lane, head)| *head <= expected[lane]));
}

pub(super) fn resend_tells_the_lane(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [in_lane("x", "x", 3), in_lane("y", "y", 3), unassigned_item("none")]);
    db.update("y", 1, at(0), State::Failed, b"").unwrap();
    for (name, lane) in [("x", Lane::named("x")), ("y", Lane::named("y")), ("none", Lane::NONE)] {
        let resent = write(db, Write::Resend { id: id(name), max_tries: MAX_TRIES, now: at(5) });
        assert_eq!(resent, Written::Resent(lane));
        assert!(heads(db)[&lane] <= at(5));
    }
}

pub(super) fn unassigned_are_those_without_a_lane(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    assert!(db.unassigned(10).unwrap().is_empty());
    create(db, [item("assigned"), Item { next_at: at(9), ..unassigned_item("later") }]);
    create_in(db, unassigned_item("done"), State::Success);
    create(db, [Item { r#type: "ELSE".into(), endpoint: "else".into(), ..unassigned_item("else") }]);
    let mut found = db.unassigned(10).unwrap();
    found.sort_by_key(|row| row.id.clone());
    let [other, later] = &found[..] else { panic!("{found:?}") };
    assert_eq!((other.id.as_str(), &*other.r#type, &*other.endpoint), ("else", "ELSE", "else"));
    assert_eq!((later.id.as_str(), &*later.r#type, &*later.endpoint), ("later", TYPE, "somewhere"));
    assert_eq!((other.next_at, later.next_at), (at(0), at(9)));
}

pub(super) fn unassigned_keeps_to_its_limit(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, (0..5).map(|n| unassigned_item(&format!("no {n}"))));
    let mut seen = BTreeSet::new();
    for expected in [2, 2, 1, 0] {
        let found = db.unassigned(2).unwrap();
        assert_eq!(found.len(), expected);
        let lanes = found.iter().map(|row| (row.id.clone(), lane())).collect();
        assert!(found.into_iter().all(|row| seen.insert(row.id)), "one came twice");
        write(db, Write::Assign(lanes));
    }
}

pub(super) fn assign_gives_a_lane(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [unassigned_item("none"), in_lane("has one", "x", 0)]);
    let lanes = ["none", "has one", "unknown"].map(|name| (id(name), Lane::named("y")));
    assert_eq!(write(db, Write::Assign(lanes.to_vec())), Written::Done);
    assert!(db.unassigned(10).unwrap().is_empty());
    let none = Sending::default();
    for (lane, found) in [("y", ["none"]), ("x", ["has one"])] {
        let claimed = db.claim(&Wanted { lane: Lane::named(lane), ..wanted(db, at(9), &none) }).unwrap();
        assert_eq!(names(&claimed), found, "only rows without a lane get one");
    }
}

pub(super) fn hold_moves_pending_ones(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [item("held"), item("kept"), Item { next_at: at(500), ..item("later") }]);
    let ids = ["held", "later", "unknown"].map(id).to_vec();
    assert_eq!(write(db, Write::Hold { ids, until: at(100) }), Written::Done);
    assert_eq!(db.status("held").unwrap(), status(0, 100, 0, State::Pending));
    assert_eq!(db.status("later").unwrap().next_at, at(100));
    assert_eq!(db.status("kept").unwrap().next_at, at(0));
    let claimed = claim(db, at(99));
    assert_eq!((names(&claimed), claimed.next_at), (vec!["kept"], Some(at(100))));
}

pub(super) fn hold_leaves_finished_ones(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create_in(db, item("done"), State::Success);
    create_in(db, item("failed"), State::Failed);
    write(db, Write::Hold { ids: ["done", "failed"].map(id).to_vec(), until: at(100) });
    assert_eq!(db.status("done").unwrap(), status(0, 0, 1, State::Success));
    assert_eq!(db.status("failed").unwrap(), status(0, 0, 1, State::Failed));
}

pub(super) fn hold_leaves_a_resent_one(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [item("again"), Item { once: true, ..item("once") }]);
    db.resend("again", MAX_TRIES, at(50)).unwrap();
    write(db, Write::Hold { ids: ["again", "once"].map(id).to_vec(), until: at(100) });
    assert_eq!(db.status("again").unwrap().next_at, at(50), "it goes out at once");
    assert_eq!(db.status("once").unwrap().next_at, at(100));
}

pub(super) fn release_undoes_a_hold(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [item("one"), item("two")]);
    write(db, Write::Hold { ids: ["one", "two"].map(id).to_vec(), until: at(100) });
    let release = Write::Release { lane: lane(), from: at(100), to: at(7) };
    assert_eq!(write(db, release.clone()), Written::Released(2));
    assert_eq!(db.status("one").unwrap(), status(0, 7, 0, State::Pending));
    assert_eq!(write(db, release), Written::Released(0), "none is left");
}

pub(super) fn release_keeps_to_lane_and_time(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(
        db,
        [
            in_lane("x", "x", 100),
            in_lane("early", "x", 99),
            in_lane("late", "x", 101),
            in_lane("y", "y", 100),
        ],
    );
    create_in(db, in_lane("done", "x", 100), State::Success);
    let released = write(db, Write::Release { lane: Lane::named("x"), from: at(100), to: at(7) });
    assert_eq!(released, Written::Released(1));
    let next: Vec<_> = ["x", "early", "late", "y", "done"].map(|id| db.status(id).unwrap().next_at).into();
    assert_eq!(next, [7, 99, 101, 100, 100].map(at));
}

pub(super) fn release_goes_in_steps(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let rows: Vec<Write> =
        (0..1_100).map(|n| Write::Create(Item { next_at: at(100), ..item(&format!("row {n}")) })).collect();
    assert!(db.write(&rows, &Sending::default()).unwrap().iter().all(Result::is_ok));
    let release = Write::Release { lane: lane(), from: at(100), to: at(7) };
    let steps = [release.clone(), release.clone(), release.clone(), release];
    let answers: Result<Vec<_>, DbError> =
        db.write(&steps, &Sending::default()).unwrap().into_iter().collect();
    assert_eq!(answers.unwrap(), [500, 500, 100, 0].map(Written::Released));
}

pub(super) fn hasten_moves_attempted_ones(db: &dyn DBDrv) {
    let tried = |item: Item| Item { tried: 1, ..item };
    create(
        db,
        [
            tried(in_lane("far", "x", 1_000)),
            tried(in_lane("at the limit", "x", 500)),
            in_lane("somebody's choice", "x", 1_000),
            tried(in_lane("other lane", "y", 501)),
            tried(in_lane("near", "z", 9)),
        ],
    );
    create_in(db, in_lane("done", "x", 1_000), State::Success);
    let hastened = db.hasten(at(500), at(7)).unwrap();
    let next: Vec<_> = ["far", "at the limit", "somebody's choice", "other lane", "near", "done"]
        .map(|id| db.status(id).unwrap().next_at)
        .into();
    match hastened {
        // It can't.
        0 => assert_eq!(next, [1_000, 500, 1_000, 501, 9, 1_000].map(at)),
        _ => assert_eq!((hastened, next), (2, [7, 500, 1_000, 7, 9, 1_000].map(at).into())),
    }
    assert_eq!(db.hasten(at(500), at(7)).unwrap(), 0, "none is left");
}

pub(super) fn count_pending_stops_at_its_limit(db: &dyn DBDrv) {
    let counted = |limit| db.count_pending(limit).unwrap();
    let is = |limit, count| counted(limit).is_none_or(|counted| counted == count);
    assert!(is(10, 0));
    create(db, (0..5).map(|n| in_lane(&format!("row {n}"), if n % 2 == 0 { "x" } else { "y" }, n)));
    create_in(db, item("done"), State::Success);
    create_in(db, item("failed"), State::Failed);
    assert!(is(10, 5) && is(5, 5) && is(4, 4), "{:?}", counted(10));
}
