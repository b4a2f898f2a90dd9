use std::{sync::Barrier, thread};

use super::sample::*;
use crate::{
    db::{DBDrv, DbError, Sending, Write, Written},
    notification::{Item, State},
};

type Answers = Vec<Result<Written, DbError>>;

fn write(db: &dyn DBDrv, batch: &[Write]) -> Answers {
    let answers = db.write(batch, &Sending::default()).unwrap();
    assert_eq!(answers.len(), batch.len(), "one answer each");
    answers
}

fn resend(name: &str) -> Write {
    Write::Resend { id: id(name), max_tries: MAX_TRIES, now: at(5) }
}

fn delete(name: &str) -> Write {
    Write::Delete { id: id(name) }
}

pub(super) fn write_of_nothing_answers_nothing(db: &dyn DBDrv) {
    assert!(write(db, &[]).is_empty());
}

pub(super) fn write_answers_in_order(db: &dyn DBDrv) {
    create(db, [item("old"), item("gone")]);
    let answers = write(db, &[Write::Create(item("new")), delete("gone"), resend("old"), resend("gone")]);
    assert!(
        matches!(
            answers[..],
            [Ok(Written::Done), Ok(Written::Done), Ok(Written::Resent(_)), Err(DbError::NotFound)]
        ),
        "{answers:?}"
    );
    assert_eq!(db.status("new").unwrap(), status(0, 0, 0, State::Pending));
    assert!(!exists(db, "gone"));
    assert_eq!(db.status("old").unwrap(), status(0, 5, MAX_TRIES - 1, State::Pending));
}

pub(super) fn write_takes_a_large_batch(db: &dyn DBDrv) {
    let ids: Vec<String> = (0..600).map(|n| format!("row {n}")).collect();
    let batch: Vec<Write> =
        ids.iter().map(|id| Write::Create(Item { content: vec![b'x'; 2_000], ..item(id) })).collect();
    assert!(write(db, &batch).iter().all(|answer| matches!(answer, Ok(Written::Done))));
    assert!(ids.iter().all(|id| db.detail(id).unwrap().content.len() == 2_000));
}

pub(super) fn write_tells_a_repeat_from_other_content(db: &dyn DBDrv) {
    let first = Item { create_at: at(3), content: b"\0{}\xff".to_vec(), ..item("one") };
    create(db, [first.clone()]);
    let repeats = [
        (true, Item { create_at: at(9), next_at: at(9), tried: 9, once: true, ..first.clone() }),
        (false, Item { r#type: "test".into(), ..first.clone() }),
        (false, Item { endpoint: "somewhere ".into(), ..first.clone() }),
        (false, Item { endpoint: "SOMEWHERE".into(), ..first.clone() }),
        (false, Item { content: b"\0{}\xfe".to_vec(), ..first.clone() }),
        (false, Item { content: b"\0{} \xff".to_vec(), ..first.clone() }),
        (false, Item { content: Vec::new(), ..first.clone() }),
    ];
    let expect = |state| {
        for (same, repeat) in &repeats {
            let answers = write(db, &[Write::Create(repeat.clone())]);
            match answers[..] {
                [Ok(Written::Exists { create_at, same: told })] if create_at == at(3) && told == *same => {}
                _ => panic!("{answers:?} for {repeat:?}"),
            }
        }
        assert_eq!(db.status("one").unwrap().state, state, "nothing was stored");
        assert_eq!(db.detail("one").unwrap().content, first.content);
    };
    expect(State::Pending);
    db.update("one", 1, at(1), State::Success, b"answer").unwrap();
    expect(State::Success);
}

pub(super) fn write_tells_repeats_inside_a_batch(db: &dyn DBDrv) {
    let other = Item { content: b"other".to_vec(), ..item("one") };
    let answers = write(db, &[item("one"), item("one"), other, item("two")].map(Write::Create));
    assert!(
        matches!(
            answers[..],
            [
                Ok(Written::Done),
                Ok(Written::Exists { same: true, .. }),
                Ok(Written::Exists { same: false, .. }),
                Ok(Written::Done)
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(db.detail("one").unwrap().content, item("one").content);
}

pub(super) fn write_is_not_harmed_by_a_bad_neighbour(db: &dyn DBDrv) {
    create(db, [item("taken"), item("sent")]);
    let batch = [
        Write::Create(item("first")),
        Write::Create(Item { endpoint: "else".into(), ..item("taken") }),
        resend("unknown"),
        Write::Outcome(outcome("unknown")),
        delete("unknown"),
        delete("sent"),
        Write::Create(item("last")),
    ];
    let answers = db.write(&batch, &sending(&["sent"])).unwrap();
    assert!(
        matches!(
            answers[..],
            [
                Ok(Written::Done),
                Ok(Written::Exists { same: false, .. }),
                Err(DbError::NotFound),
                Ok(Written::Done),
                Ok(Written::Done),
                Err(DbError::Sending),
                Ok(Written::Done),
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(
        existing(db, &["first", "taken", "unknown", "sent", "last"]),
        ["first", "taken", "sent", "last"]
    );
    assert_eq!(db.detail("taken").unwrap().endpoint, "somewhere");
}

pub(super) fn write_sees_what_it_wrote(db: &dyn DBDrv) {
    let again = Item { content: b"again".to_vec(), ..item("one") };
    let answers = write(
        db,
        &[Write::Create(item("one")), resend("one"), delete("one"), resend("one"), Write::Create(again)],
    );
    assert!(
        matches!(
            answers[..],
            [
                Ok(Written::Done),
                Ok(Written::Resent(_)),
                Ok(Written::Done),
                Err(DbError::NotFound),
                Ok(Written::Done),
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(db.detail("one").unwrap().content, b"again");
    assert_eq!(db.status("one").unwrap(), status(0, 0, 0, State::Pending));
}

pub(super) fn write_delete_refuses_what_is_being_sent(db: &dyn DBDrv) {
    create(db, ALIKE.iter().map(|id| item(id)));
    let batch: Vec<Write> = ALIKE.iter().map(|id| delete(id)).collect();
    let answers = db.write(&batch, &sending(&["a", "ß"])).unwrap();
    for (id, answer) in ALIKE.iter().zip(&answers) {
        match answer {
            Err(DbError::Sending) if ["a", "ß"].contains(id) => {}
            Ok(Written::Done) if !["a", "ß"].contains(id) => {}
            _ => panic!("{answer:?} for {id:?}"),
        }
    }
    assert_eq!(existing(db, ALIKE), ["a", "ß"]);
}

pub(super) fn write_by_eight_threads_creates_once(db: &dyn DBDrv) {
    let ids: Vec<String> = (0..50).map(|n| format!("race {n}")).collect();
    let barrier = &Barrier::new(8);
    let create = |thread: usize| {
        // Not in the same order: two databases' locks must not wait for each other.
        let mut batch: Vec<Write> = ids.iter().map(|id| Write::Create(item(id))).collect();
        batch.rotate_left(thread * 6);
        if thread % 2 == 1 {
            batch.reverse();
        }
        barrier.wait();
        write(db, &batch)
            .into_iter()
            .filter(|answer| match answer {
                Ok(Written::Done) => true,
                Ok(Written::Exists { same: true, .. }) => false,
                _ => panic!("{answer:?}"),
            })
            .count()
    };
    let created: usize = thread::scope(|scope| {
        let create = &create;
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || create(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(created, ids.len());
}
