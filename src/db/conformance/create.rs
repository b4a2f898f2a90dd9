use std::{sync::Barrier, thread};

use super::sample::*;
use crate::{
    db::{DBDrv, DbError, Sending},
    notification::{Item, State, Timestamp},
};

pub(super) fn create_stores_every_field(db: &dyn DBDrv) {
    let made = Item { create_at: at(1), next_at: at(2), tried: 3, ..item("all") };
    create(db, [made.clone()]);
    let detail = db.detail("all").unwrap();
    assert_eq!(detail.r#type, made.r#type);
    assert_eq!(detail.endpoint, made.endpoint);
    assert_eq!(detail.content, made.content);
    assert_eq!(detail.response, None);
    assert_eq!(detail.status, status(1, 2, 3, State::Pending));
    assert_eq!(db.status("all").unwrap(), detail.status);
    assert_eq!(db.result("all").unwrap(), None);
}

pub(super) fn create_makes_it_pending(db: &dyn DBDrv) {
    let made = Item { next_at: at(5), tried: 2, ..item("new") };
    create(db, [made.clone()]);
    let found = db.pending(at(5), MAX_TRIES, &[TYPE], &Sending::default()).unwrap();
    assert_same(db, &found.expect("it is due"), &made);
}

pub(super) fn create_refuses_a_taken_id(db: &dyn DBDrv) {
    create(db, [item("taken"), item("other")]);
    let before = db.detail("taken").unwrap();
    assert_fails!(db.create(&item("taken")), Exists);
    let different = Item {
        r#type: "ELSE".into(),
        endpoint: "elsewhere".into(),
        content: b"else".to_vec(),
        create_at: at(9),
        next_at: at(9),
        tried: 9,
        ..item("taken")
    };
    assert_fails!(db.create(&different), Exists);
    assert_eq!(db.detail("taken").unwrap(), before);

    db.update("taken", 1, at(1), State::Success, b"sent").unwrap();
    assert_fails!(db.create(&item("taken")), Exists);
    assert_eq!(db.status("taken").unwrap(), status(0, 1, 1, State::Success));
    assert_eq!(db.result("taken").unwrap().as_deref(), Some(&b"sent"[..]));
}

pub(super) fn create_keeps_ids_apart_that_look_alike(db: &dyn DBDrv) {
    for (number, id) in (0..).zip(ALIKE) {
        assert!(!exists(db, id), "{id:?} is taken for an earlier one");
        create(db, [Item { tried: number, ..item(id) }]);
    }
    for (number, id) in (0..).zip(ALIKE) {
        assert_eq!(db.status(id).unwrap().tried, number, "{id:?}");
        let content = format!("\"{id}\"").into_bytes();
        assert_eq!(db.detail(id).unwrap().content, content, "{id:?}");
        assert_eq!(db.result(id).unwrap(), None, "{id:?}");
    }
}

pub(super) fn create_takes_the_longest_id(db: &dyn DBDrv) {
    let longest = "😀".repeat(128);
    let sibling = format!("{}😁", "😀".repeat(127));
    create(db, [item(&longest), item(&sibling)]);
    assert!(exists(db, &longest) && exists(db, &sibling));
    let found = db.pending(at(0), MAX_TRIES, &[TYPE], &sending(&[&sibling])).unwrap();
    assert_eq!(found.unwrap().id.as_str(), longest);
    assert_fails!(db.create(&item(&longest)), Exists);
}

pub(super) fn create_takes_the_longest_type_and_endpoint(db: &dyn DBDrv) {
    let kind = format!("example.com/{}", "t".repeat(243));
    let endpoint = format!("'\"\\%_\u{1}\n{}", "😀".repeat(2046));
    assert_eq!((kind.len(), endpoint.len()), (255, 8191));
    let made = Item { r#type: kind.clone(), endpoint, ..item("long") };
    create(db, [made.clone()]);
    let detail = db.detail("long").unwrap();
    assert!(detail.r#type == made.r#type && detail.endpoint == made.endpoint);
    let found = db.pending(at(0), MAX_TRIES, &[&kind], &Sending::default()).unwrap();
    assert_same(db, &found.unwrap(), &made);
}

pub(super) fn create_keeps_content_byte_for_byte(db: &dyn DBDrv) {
    let every: Vec<u8> = (0..=255).collect();
    let contents: &[&[u8]] = &[
        b"",
        b"null",
        b"\0",
        b"a\0b",
        b" {} \r\n",
        b"'\"\\",
        b"\xff\xfe",
        b"\xc3",
        "é😀".as_bytes(),
        &every,
    ];
    for (number, content) in contents.iter().enumerate() {
        let id = format!("content {number}");
        create(db, [Item { content: content.to_vec(), ..item(&id) }]);
        assert_eq!(db.detail(&id).unwrap().content, *content);
        let found = db.pending(at(0), MAX_TRIES, &[TYPE], &Sending::default()).unwrap().unwrap();
        assert_eq!(found.content, *content);
        db.delete(&id, &Sending::default()).unwrap();
    }
}

pub(super) fn create_takes_a_large_content(db: &dyn DBDrv) {
    let content: Vec<u8> = (0..4 << 20).map(|byte: u32| (byte % 251) as u8).collect();
    create(db, [Item { content: content.clone(), ..item("large") }]);
    assert!(db.detail("large").unwrap().content == content);
    let found = db.pending(at(0), MAX_TRIES, &[TYPE], &Sending::default()).unwrap().unwrap();
    assert!(found.content == content);
}

pub(super) fn create_keeps_the_largest_numbers(db: &dyn DBDrv) {
    let late = Timestamp::from_secs(253_402_300_799);
    create(db, [Item { create_at: late, next_at: late, tried: u32::MAX, ..item("large") }]);
    create(
        db,
        [Item { create_at: Timestamp::from_secs(0), next_at: Timestamp::from_secs(-1), ..item("early") }],
    );
    let large = db.status("large").unwrap();
    assert_eq!((large.create_at, large.next_at, large.tried), (late, late, u32::MAX));
    let early = db.status("early").unwrap();
    assert_eq!((early.create_at.as_secs(), early.next_at.as_secs()), (0, -1));
}

pub(super) fn create_takes_the_id_of_a_deleted_one(db: &dyn DBDrv) {
    create_in(db, item("again"), State::Success);
    db.delete("again", &Sending::default()).unwrap();
    create(db, [Item { create_at: at(7), ..item("again") }]);
    assert_eq!(db.status("again").unwrap(), status(7, 0, 0, State::Pending));
    assert_eq!(db.result("again").unwrap(), None);
}

pub(super) fn create_by_eight_threads_succeeds_once(db: &dyn DBDrv) {
    for round in 0..10 {
        let made = item(&format!("race {round}"));
        let (barrier, made) = (&Barrier::new(8), &made);
        let created: usize = thread::scope(|scope| {
            let create = || {
                barrier.wait();
                match db.create(made) {
                    Ok(()) => 1,
                    Err(DbError::Exists) => 0,
                    Err(error) => panic!("{error}"),
                }
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(created, 1);
    }
}

pub(super) fn create_by_eight_threads_loses_none(db: &dyn DBDrv) {
    let name = |thread: usize, number: usize| format!("{thread}-{number}");
    thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || create(db, (0..20).map(|number| item(&name(thread, number)))));
        }
    });
    for thread in 0..8 {
        assert!((0..20).all(|number| exists(db, &name(thread, number))));
    }
}

pub(super) fn reads_of_an_unknown_id_are_not_found(db: &dyn DBDrv) {
    create(db, [item("known"), item("deleted")]);
    db.delete("deleted", &Sending::default()).unwrap();
    for id in ["unknown", "deleted", "", "Known", "known ", "know", "kno%", "_nown", "'"] {
        assert_fails!(db.result(id), NotFound);
        assert_fails!(db.status(id), NotFound);
        assert_fails!(db.detail(id), NotFound);
    }
}

pub(super) fn ping_answers(db: &dyn DBDrv) {
    db.ping().unwrap();
    create(db, [item("one")]);
    db.ping().unwrap();
}

pub(super) fn newest_is_the_newest(db: &dyn DBDrv) {
    assert_eq!(db.newest().unwrap(), None);
    create(db, [3, 9, 5].map(|secs| Item { create_at: at(secs), ..item(&format!("at {secs}")) }));
    let newest = db.newest().unwrap();
    assert!(newest == Some(at(9)) || (newest.is_none() && !db.has_lanes()), "{newest:?}");
}

pub(super) fn close_is_harmless_twice(db: &dyn DBDrv) {
    create(db, [item("kept")]);
    db.close();
    db.close();
}
