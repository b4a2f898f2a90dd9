use std::{collections::HashSet, sync::Barrier, thread};

use super::sample::*;
use crate::{
    db::{Claimed, DBDrv, DbError, Outcome, Sending, Wanted, Write, Written},
    notification::{Item, State, Timestamp},
};

/// The lease of the one that was claimed.
fn lease_of(claimed: &Claimed) -> u64 {
    let [item] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert_ne!(item.lease, 0, "there is a token");
    item.lease
}

fn write(db: &dyn DBDrv, write: Write) -> Result<Written, DbError> {
    db.write(&[write], &Sending::default()).unwrap().remove(0)
}

fn store(db: &dyn DBDrv, outcome: Outcome) -> Written {
    write(db, Write::Outcome(outcome)).unwrap()
}

pub(super) fn lease_keeps_from_a_second_claim(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, (0..3).map(|n| Item { next_at: at(n), ..item(&format!("no {n}")) }));
    let first = db.claim(&Wanted { limit: 2, ..wanted(db, at(9), &Sending::default()) }).unwrap();
    assert_eq!((names(&first), first.next_at), (vec!["no 0", "no 1"], Some(at(2))));
    let second = hold(db, at(9));
    assert_eq!((names(&second), second.next_at), (vec!["no 2"], None));
    assert_eq!(hold(db, at(9)), Claimed::default());
    assert_eq!(pending(db, at(9), &[]), None);
    assert_eq!(db.status("no 0").unwrap(), status(0, 0, 0, State::Pending), "nobody sees it in the status");
}

pub(super) fn lease_is_another_for_each_claim(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("one")]);
    let tokens: HashSet<u64> = (0..20).map(|_| lease_of(&claim(db, at(0)))).collect();
    assert_eq!(tokens.len(), 20);
}

pub(super) fn lease_given_back_can_be_claimed(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, ["a", "b", "c"].map(item));
    let held = hold(db, at(0));
    let (kept, given): (Vec<_>, Vec<_>) = leases(&held).into_iter().partition(|(id, _)| id.as_str() == "b");
    db.give_back(&given).unwrap();
    db.give_back(&given).unwrap();
    let mut again: Vec<String> = names(&hold(db, at(0))).into_iter().map(str::to_owned).collect();
    again.sort();
    assert_eq!(again, ["a", "c"]);
    db.give_back(&kept).unwrap();
    db.give_back(&[]).unwrap();
    assert_eq!(names(&hold(db, at(0))), ["b"]);
}

pub(super) fn lease_of_another_is_not_given_back(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("one")]);
    let lost = leases(&claim(db, at(0)));
    let held = leases(&hold(db, at(0)));
    db.give_back(&lost).unwrap();
    db.renew(&lost).unwrap();
    assert_eq!(hold(db, at(0)), Claimed::default());
    assert_eq!(store(db, Outcome { lease: held[0].1, ..outcome("one") }), Written::Done);
}

pub(super) fn lease_can_be_renewed(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, ["a", "b"].map(item));
    let held = leases(&hold(db, at(0)));
    db.renew(&held).unwrap();
    db.renew(&[]).unwrap();
    db.renew(&[(id("unknown"), 7)]).unwrap();
    assert_eq!(hold(db, at(0)), Claimed::default());
    for (id, lease) in held {
        assert_eq!(store(db, Outcome { id, lease, ..outcome("a") }), Written::Done);
    }
}

pub(super) fn lease_keeps_from_delete(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, ["one", "other"].map(item));
    let held = db.claim(&Wanted { limit: 1, ..wanted(db, at(0), &Sending::default()) }).unwrap();
    let leased = names(&held)[0];
    assert_fails!(db.delete(leased, &Sending::default()), Sending);
    assert_fails!(write(db, Write::Delete { id: id(leased) }), Sending);
    let free = if leased == "one" { "other" } else { "one" };
    db.delete(free, &Sending::default()).unwrap();
    assert_eq!(existing(db, &["one", "other"]), [leased]);
    assert_eq!(store(db, Outcome { lease: lease_of(&held), ..outcome(leased) }), Written::Done);
    db.delete(leased, &Sending::default()).unwrap();
    assert!(!exists(db, leased));
}

pub(super) fn lease_keeps_from_clearing(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("leased"), Item { next_at: at(5), ..item("free") }]);
    let held = hold(db, at(0));
    db.clear(Timestamp::MAX, &Sending::default()).unwrap();
    db.force_clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert_eq!(existing(db, &["leased", "free"]), ["leased"]);
    store(db, Outcome { lease: lease_of(&held), ..outcome("leased") });
    db.clear(Timestamp::MAX, &Sending::default()).unwrap();
    assert!(!exists(db, "leased"));
}

pub(super) fn lease_ends_with_its_outcome(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("one")]);
    let lease = lease_of(&hold(db, at(0)));
    let retried = Outcome { lease, state: State::Pending, next_at: at(60), ..outcome("one") };
    assert_eq!(store(db, retried.clone()), Written::Done);
    assert_eq!(hold(db, at(59)).next_at, Some(at(60)));
    let second = lease_of(&hold(db, at(60)));
    assert_ne!(second, lease);
    assert_eq!(store(db, retried), Written::Lost, "a second outcome of the first attempt");
    assert_eq!(store(db, Outcome { lease: second, tried: 2, ..outcome("one") }), Written::Done);
    assert_eq!(db.status("one").unwrap(), status(0, 0, 2, State::Success));
}

pub(super) fn lease_lost_refuses_the_outcome(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("one")]);
    let lost = lease_of(&claim(db, at(0)));
    let late = || Outcome { lease: lost, response: b"late".to_vec(), ..outcome("one") };
    assert_eq!(store(db, late()), Written::Lost, "nobody has it");
    let held = lease_of(&hold(db, at(0)));
    assert_eq!(store(db, late()), Written::Lost, "somebody has it");
    assert_eq!(store(db, outcome("one")), Written::Lost, "without a lease");
    assert_eq!(db.result("one").unwrap(), None);
    assert_eq!(db.status("one").unwrap(), status(0, 0, 0, State::Pending));
    assert_eq!(store(db, Outcome { lease: held, ..outcome("one") }), Written::Done);
    assert_eq!(store(db, late()), Written::Lost, "it is over");
    assert_eq!(db.result("one").unwrap().as_deref(), Some(&b"delivered"[..]));
}

pub(super) fn lease_survives_a_resend(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, [item("one")]);
    let lease = lease_of(&hold(db, at(0)));
    db.resend("one", MAX_TRIES, at(5)).unwrap();
    assert_eq!(db.status("one").unwrap(), status(0, 5, MAX_TRIES - 1, State::Pending));
    assert_eq!(hold(db, at(9)), Claimed::default(), "the attempt that runs ends first");
    assert_eq!(store(db, Outcome { lease, ..outcome("one") }), Written::Superseded);
    let again = hold(db, at(9));
    let [item] = &again.items[..] else { panic!("{again:?}") };
    assert!(item.once && item.epoch != 0 && item.lease != lease);
    let ended = Outcome { lease: item.lease, epoch: item.epoch, tried: MAX_TRIES, ..outcome("one") };
    assert_eq!(store(db, ended), Written::Done);
    assert_eq!(db.status("one").unwrap().state, State::Success);
}

pub(super) fn lease_is_no_due_head(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    // A lease ends by the database's clock, long after these times.
    let head = || db.heads().unwrap().iter().find(|(lane, _)| *lane == self::lane()).map(|(_, at)| *at);
    create(db, [item("a"), item("b")]);
    let held = hold(db, at(9));
    assert!(head().is_some_and(|end| end > at(1_000)), "nothing is due, but something may be later");
    create(db, [Item { next_at: at(50), ..item("c") }]);
    assert_eq!(head(), Some(at(50)), "a free one is due before that");
    db.give_back(&leases(&held)[..1]).unwrap();
    assert_eq!(head(), Some(at(0)));
}

pub(super) fn lease_by_eight_threads_is_one(db: &dyn DBDrv) {
    if !db.is_shared() {
        return;
    }
    create(db, (0..200).map(|n| Item { next_at: at(n), ..item(&format!("no {n:03}")) }));
    let barrier = &Barrier::new(8);
    let claim_all = || {
        let mut mine = Vec::new();
        barrier.wait();
        loop {
            let none = Sending::default();
            let claimed = db.claim(&Wanted { limit: 7, ..wanted(db, at(500), &none) }).unwrap();
            // Others may have been quicker with all of these, but not with the next ones.
            if claimed.items.is_empty() && claimed.next_at.is_none() {
                return mine;
            }
            mine.extend(claimed.items.into_iter().map(|item| item.id));
        }
    };
    let claimed: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim_all)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let different: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), different.len()), (200, 200), "each was claimed once");
}
