use super::sample::*;
use crate::{
    db::{DBDrv, Sending},
    notification::State,
};

pub(super) fn delete_removes_it(db: &dyn DBDrv) {
    for (id, state) in [("waits", State::Pending), ("delivered", State::Success), ("failed", State::Failed)] {
        create_in(db, item(id), state);
        db.delete(id, &sending(&["another"])).unwrap();
        assert!(!exists(db, id));
        assert_fails!(db.detail(id), NotFound);
        assert_fails!(db.result(id), NotFound);
        assert_fails!(db.resend(id, MAX_TRIES, at(1)), NotFound);
        assert_eq!(pending(db, at(100), &[]), None);
    }
}

pub(super) fn delete_unknown_id_is_no_error(db: &dyn DBDrv) {
    db.delete("unknown", &Sending::default()).unwrap();
    create(db, [item("known")]);
    for id in ["unknown", "", "Known", "known ", "%"] {
        db.delete(id, &Sending::default()).unwrap();
    }
    db.delete("unknown", &sending(&["known"])).unwrap();
    assert!(exists(db, "known"));
}

pub(super) fn delete_refuses_what_is_being_sent(db: &dyn DBDrv) {
    for (id, state) in [("waits", State::Pending), ("delivered", State::Success), ("failed", State::Failed)] {
        create_in(db, item(id), state);
        assert_fails!(db.delete(id, &sending(&["another", id])), Sending);
        assert!(exists(db, id));
        db.delete(id, &Sending::default()).unwrap();
        assert!(!exists(db, id));
    }
}

pub(super) fn delete_touches_no_other(db: &dyn DBDrv) {
    create(db, ALIKE.iter().map(|id| item(id)));
    for (number, deleted) in ALIKE.iter().enumerate() {
        // That others are being sent is none of its business.
        db.delete(deleted, &sending(&ALIKE[number + 1..])).unwrap();
        assert_eq!(existing(db, ALIKE), ALIKE[number + 1..], "after a delete of {deleted:?}");
    }
}
