use super::sample::*;
use crate::{db::DBDrv, notification::State};

pub(super) fn update_stores_what_it_is_given(db: &dyn DBDrv) {
    create(db, [item("one")]);
    let before = db.detail("one").unwrap();
    for (tried, next, state) in [(1, 60, State::Pending), (2, 120, State::Failed), (3, 180, State::Success)] {
        db.update("one", tried, at(next), state, b"answer").unwrap();
        let after = db.detail("one").unwrap();
        assert_eq!(after.status, status(0, next, tried, state));
        assert_eq!(after.response.as_deref(), Some(&b"answer"[..]));
        assert_eq!((after.r#type, after.endpoint), (before.r#type.clone(), before.endpoint.clone()));
        assert_eq!(after.content, before.content);
        assert_eq!(db.status("one").unwrap(), after.status);
        assert_eq!(db.result("one").unwrap(), after.response);
    }
}

pub(super) fn update_unknown_id_is_no_error(db: &dyn DBDrv) {
    create(db, [item("known")]);
    for id in ["unknown", "Known", "known ", "%"] {
        db.update(id, 1, at(1), State::Success, b"answer").unwrap();
        assert!(!exists(db, id), "an update must not create {id:?}");
    }
    assert_eq!(db.status("known").unwrap(), status(0, 0, 0, State::Pending));
}

pub(super) fn update_tells_an_empty_response_from_none(db: &dyn DBDrv) {
    create(db, [item("empty"), item("none")]);
    db.update("empty", 1, at(1), State::Success, b"").unwrap();
    assert_eq!(db.result("empty").unwrap(), Some(Vec::new()));
    assert_eq!(db.detail("empty").unwrap().response, Some(Vec::new()));
    assert_eq!(db.result("none").unwrap(), None);
}

pub(super) fn update_keeps_a_response_byte_for_byte(db: &dyn DBDrv) {
    create(db, [item("one")]);
    let every: Vec<u8> = (0..=255).collect();
    for response in [&b"\0"[..], b"a\0b", b"\xff\xfe", b" x \r\n", b"'\"\\", "é😀".as_bytes(), &every] {
        db.update("one", 1, at(1), State::Pending, response).unwrap();
        assert_eq!(db.result("one").unwrap().as_deref(), Some(response));
        assert_eq!(db.detail("one").unwrap().response.as_deref(), Some(response));
    }
}

pub(super) fn update_takes_a_large_response(db: &dyn DBDrv) {
    create(db, [item("large")]);
    let response: Vec<u8> = (0..(1 << 20) + 256).map(|byte: u32| (byte % 253) as u8).collect();
    db.update("large", 1, at(1), State::Success, &response).unwrap();
    assert!(db.result("large").unwrap() == Some(response));
}

pub(super) fn update_replaces_the_response(db: &dyn DBDrv) {
    create(db, [item("one")]);
    for response in [&b"a long first answer"[..], b"short", b""] {
        db.update("one", 1, at(1), State::Pending, response).unwrap();
        assert_eq!(db.result("one").unwrap().as_deref(), Some(response));
    }
}

pub(super) fn update_takes_the_largest_number_of_tries(db: &dyn DBDrv) {
    create(db, [item("most")]);
    for tried in [i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
        db.update("most", tried, at(1), State::Failed, b"").unwrap();
        assert_eq!(db.status("most").unwrap().tried, tried);
        assert_eq!(db.detail("most").unwrap().status.tried, tried);
    }
}

pub(super) fn update_can_be_repeated(db: &dyn DBDrv) {
    create(db, [item("again")]);
    for _ in 0..2 {
        db.update("again", 1, at(1), State::Success, b"answer").unwrap();
    }
    assert_eq!(db.status("again").unwrap(), status(0, 1, 1, State::Success));
}

pub(super) fn update_touches_no_other(db: &dyn DBDrv) {
    create(db, ALIKE.iter().map(|id| item(id)));
    for (number, updated) in (1..).zip(ALIKE) {
        db.update(updated, number, at(1), State::Success, updated.as_bytes()).unwrap();
    }
    for (number, id) in (1..).zip(ALIKE) {
        assert_eq!(db.status(id).unwrap().tried, number, "{id:?}");
        assert_eq!(db.result(id).unwrap().as_deref(), Some(id.as_bytes()), "{id:?}");
    }
}
