use super::sample::*;
use crate::{
    db::{DBDrv, Sending},
    notification::{Item, State},
};

const STATES: [(&str, State); 3] =
    [("pending", State::Pending), ("delivered", State::Success), ("failed", State::Failed)];

pub(super) fn resend_unknown_id_is_not_found(db: &dyn DBDrv) {
    create(db, [item("known")]);
    for id in ["unknown", "Known", "known ", "%", "know_"] {
        assert_fails!(db.resend(id, MAX_TRIES, at(1)), NotFound);
    }
    assert_eq!(db.status("known").unwrap(), status(0, 0, 0, State::Pending));
}

pub(super) fn resend_leaves_one_attempt(db: &dyn DBDrv) {
    create_in(db, item("one"), State::Failed);
    for max_tries in [1, 2, MAX_TRIES] {
        db.resend("one", max_tries, at(7)).unwrap();
        assert_eq!(db.status("one").unwrap(), status(0, 7, max_tries - 1, State::Pending));
    }
}

pub(super) fn resend_gives_an_attempt_whatever_the_state(db: &dyn DBDrv) {
    for (id, state) in STATES {
        create_in(db, Item { next_at: at(100), ..item(id) }, state);
        db.resend(id, MAX_TRIES, at(5)).unwrap();
        assert_eq!(db.status(id).unwrap(), status(0, 5, MAX_TRIES - 1, State::Pending));
        assert_eq!(pending(db, at(4), &[]), None, "{id} is not due yet");
        assert_eq!(pending(db, at(5), &[]).as_deref(), Some(id));
        db.delete(id, &Sending::default()).unwrap();
    }
}

pub(super) fn resend_keeps_what_is_known(db: &dyn DBDrv) {
    for (id, state) in STATES {
        create_in(db, item(id), state);
        let before = db.detail(id).unwrap();
        db.resend(id, MAX_TRIES, at(5)).unwrap();
        let after = db.detail(id).unwrap();
        assert_eq!(after.response, before.response, "the latest response stays");
        assert_eq!((after.r#type, after.endpoint), (before.r#type, before.endpoint));
        assert_eq!(after.content, before.content);
        assert_eq!(after.status.create_at, before.status.create_at);
    }
}

pub(super) fn resend_can_be_repeated(db: &dyn DBDrv) {
    create_in(db, item("again"), State::Success);
    for _ in 0..3 {
        // The second changes nothing, which doesn't make the id unknown.
        db.resend("again", MAX_TRIES, at(5)).unwrap();
    }
    assert_eq!(db.status("again").unwrap(), status(0, 5, MAX_TRIES - 1, State::Pending));
}

pub(super) fn resend_is_once_though_the_limit_is_lowered(db: &dyn DBDrv) {
    create_in(db, item("once"), State::Failed);
    db.resend("once", 32, at(1)).unwrap();
    let found = db.pending(at(1), 1, &[TYPE], &Sending::default()).unwrap().expect("one attempt is left");
    assert_eq!((found.id.as_str(), found.tried, found.once), ("once", 31, true));
}

pub(super) fn resend_takes_the_largest_limit(db: &dyn DBDrv) {
    create(db, [item("most")]);
    db.resend("most", u32::MAX, at(1)).unwrap();
    assert_eq!(db.status("most").unwrap().tried, u32::MAX - 1);
    let found = db.pending(at(1), u32::MAX, &[TYPE], &Sending::default()).unwrap();
    assert_eq!(found.unwrap().tried, u32::MAX - 1);
}

pub(super) fn resend_touches_no_other(db: &dyn DBDrv) {
    for id in ALIKE {
        create_in(db, item(id), State::Failed);
    }
    for resent in ["a", "%", "_", "'", "ß", "1"] {
        db.resend(resent, MAX_TRIES, at(5)).unwrap();
        for id in ALIKE {
            let state = db.status(id).unwrap().state;
            assert_eq!(state == State::Pending, *id == resent, "{id:?} after a resend of {resent:?}");
        }
        db.update(resent, 1, at(0), State::Failed, b"").unwrap();
    }
}
