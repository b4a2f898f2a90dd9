use super::sample::*;
use crate::{
    db::{DBDrv, Outcome, Sending, Write, Written},
    notification::State,
};

fn store(db: &dyn DBDrv, outcome: Outcome) -> Written {
    let answers = db.write(&[Write::Outcome(outcome)], &Sending::default()).unwrap();
    match answers[..] {
        [Ok(written)] => written,
        _ => panic!("{answers:?}"),
    }
}

fn resend(db: &dyn DBDrv, name: &str) {
    let resend = Write::Resend { id: id(name), max_tries: MAX_TRIES, now: at(5) };
    let answers = db.write(&[resend], &Sending::default()).unwrap();
    assert!(matches!(answers[..], [Ok(Written::Resent(_))]), "{answers:?}");
}

pub(super) fn outcome_is_stored(db: &dyn DBDrv) {
    create(db, [item("one"), item("other")]);
    claim(db, at(0));
    assert_eq!(store(db, outcome("one")), Written::Done);
    assert_eq!(db.status("one").unwrap(), status(0, 0, 1, State::Success));
    assert_eq!(db.result("one").unwrap().as_deref(), Some(&b"delivered"[..]));
    assert_eq!(db.status("other").unwrap(), status(0, 0, 0, State::Pending));
}

pub(super) fn outcome_of_every_state_is_stored(db: &dyn DBDrv) {
    let states = [("retried", State::Pending), ("delivered", State::Success), ("failed", State::Failed)];
    create(db, states.map(|(id, _)| item(id)));
    claim(db, at(0));
    for (id, state) in states {
        let made =
            Outcome { state, next_at: at(60), tried: u32::MAX - 1, response: vec![0, 255], ..outcome(id) };
        assert_eq!(store(db, made), Written::Done);
        assert_eq!(db.status(id).unwrap(), status(0, 60, u32::MAX - 1, state));
        assert_eq!(db.result(id).unwrap(), Some(vec![0, 255]));
    }
    let found = db.pending(at(60), u32::MAX, &[TYPE], &Sending::default()).unwrap();
    assert_eq!(found.unwrap().id.as_str(), "retried");
}

pub(super) fn outcome_of_an_unknown_id_is_done(db: &dyn DBDrv) {
    create(db, [item("deleted")]);
    claim(db, at(0));
    db.delete("deleted", &Sending::default()).unwrap();
    assert_eq!(store(db, outcome("deleted")), Written::Done);
    assert!(!exists(db, "deleted"));
}

pub(super) fn outcome_before_a_resend_is_superseded(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    for state in [State::Success, State::Failed, State::Pending] {
        create(db, [item("one")]);
        assert_eq!(names(&claim(db, at(0))), ["one"]);
        resend(db, "one");
        let ended = Outcome { state, next_at: at(90), ..outcome("one") };
        assert_eq!(store(db, ended), Written::Superseded);
        assert_eq!(
            db.status("one").unwrap(),
            status(0, 5, MAX_TRIES - 1, State::Pending),
            "one more follows"
        );
        assert_eq!(db.result("one").unwrap().as_deref(), Some(&b"delivered"[..]), "its response is stored");
        db.delete("one", &Sending::default()).unwrap();
    }
}

pub(super) fn outcome_after_a_resend_ends_it(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    create(db, [item("one")]);
    claim(db, at(0));
    // Also by the method that every database has.
    resend(db, "one");
    db.resend("one", MAX_TRIES, at(5)).unwrap();
    assert_eq!(store(db, outcome("one")), Written::Superseded);
    let claimed = claim(db, at(5));
    let [again] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert!(again.epoch != 0 && again.once);
    let ended = Outcome { epoch: again.epoch, tried: MAX_TRIES, next_at: at(5), ..outcome("one") };
    assert_eq!(store(db, ended), Written::Done);
    assert_eq!(db.status("one").unwrap(), status(0, 5, MAX_TRIES, State::Success));
}

pub(super) fn outcome_of_an_older_epoch_in_one_batch(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let batch = [
        Write::Create(item("one")),
        Write::Resend { id: id("one"), max_tries: MAX_TRIES, now: at(5) },
        Write::Outcome(outcome("one")),
    ];
    let answers = db.write(&batch, &Sending::default()).unwrap();
    assert!(
        matches!(answers[..], [Ok(Written::Done), Ok(Written::Resent(_)), Ok(Written::Superseded)]),
        "{answers:?}"
    );
    assert_eq!(db.status("one").unwrap(), status(0, 5, MAX_TRIES - 1, State::Pending));
    assert_eq!(db.result("one").unwrap().as_deref(), Some(&b"delivered"[..]));
}

pub(super) fn outcome_keeps_a_response_if_told_so(db: &dyn DBDrv) {
    if !db.has_lanes() {
        return;
    }
    let keep =
        |id, epoch| Outcome { keep_response: true, epoch, response: b"given up".to_vec(), ..outcome(id) };
    create(db, [item("none"), item("empty"), item("some"), item("resent")]);
    for (id, response) in [("empty", &b""[..]), ("some", b"first")] {
        db.update(id, 1, at(0), State::Pending, response).unwrap();
    }
    db.update("resent", 1, at(0), State::Pending, b"first").unwrap();
    claim(db, at(0));
    resend(db, "resent");
    for (id, written, kept) in [
        ("none", Written::Done, &b"given up"[..]),
        ("empty", Written::Done, b""),
        ("some", Written::Done, b"first"),
        ("resent", Written::Superseded, b"first"),
    ] {
        assert_eq!(store(db, keep(id, 0)), written, "{id}");
        assert_eq!(db.result(id).unwrap().as_deref(), Some(kept), "{id}");
    }
}
