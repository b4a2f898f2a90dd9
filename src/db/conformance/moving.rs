use super::sample::*;
use crate::{
    db::{DBDrv, DbError, Row},
    notification::{Item, State},
};

/// All rows, in steps of this size; `None` if the database can't export.
fn all(db: &dyn DBDrv, step: usize) -> Option<Vec<Row>> {
    let mut found: Vec<Row> = Vec::new();
    loop {
        let after = found.last().map(|row| row.item.id.clone());
        let Ok(rows) = db.export(after.as_ref(), step) else {
            assert!(found.is_empty(), "it can all of a sudden not export any more");
            return None;
        };
        assert!(rows.len() <= step);
        if rows.is_empty() {
            return Some(found);
        }
        found.extend(rows);
    }
}

fn row(name: &str, state: State, response: Option<&[u8]>) -> Row {
    let item =
        Item { tried: 3, once: true, epoch: 7, next_at: at(9), content: vec![0, 255, b'\n'], ..item(name) };
    Row { item, state, response: response.map(<[u8]>::to_vec) }
}

fn assert_imported(db: &dyn DBDrv, rows: &[Row]) {
    for result in db.import(rows).unwrap() {
        result.unwrap();
    }
}

pub(super) fn export_meets_each_row_once(db: &dyn DBDrv) {
    create(db, ALIKE.iter().map(|name| item(name)));
    for step in [1, 7, 1000] {
        let Some(found) = all(db, step) else { return };
        let mut expected: Vec<_> = ALIKE.iter().map(|name| id(name)).collect();
        expected.sort();
        assert_eq!(found.into_iter().map(|row| row.item.id).collect::<Vec<_>>(), expected, "step {step}");
    }
}

pub(super) fn export_tells_all_that_is_known(db: &dyn DBDrv) {
    create(db, [Item { create_at: at(-5), next_at: at(5), once: true, tried: 2, ..item("pending") }]);
    create_in(db, item("done"), State::Success);
    let Some(found) = all(db, 10) else { return };
    let [done, pending] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (done.state, done.item.tried, done.response.as_deref()),
        (State::Success, 1, Some(&b"answer"[..]))
    );
    assert_eq!((pending.state, &pending.response), (State::Pending, &None));
    let expected = Item { create_at: at(-5), next_at: at(5), once: true, tried: 2, ..item("pending") };
    assert_same(db, &pending.item, &expected);
}

pub(super) fn import_stores_rows_as_they_are(db: &dyn DBDrv) {
    let rows = [
        row("a", State::Pending, None),
        row("b", State::Success, Some(b"")),
        row("c", State::Failed, Some(&[0, 255])),
    ];
    if all(db, 1).is_none() {
        return;
    }
    assert_imported(db, &rows);
    assert_eq!(all(db, 2).unwrap(), rows);
    assert_eq!(pending(db, at(9), &[]).as_deref(), Some("a"));
}

pub(super) fn import_can_be_repeated(db: &dyn DBDrv) {
    if all(db, 1).is_none() {
        return;
    }
    let rows = [row("a", State::Pending, None), row("b", State::Success, Some(b"answer"))];
    assert_imported(db, &rows[..1]);
    db.update("a", 4, at(9), State::Success, b"meanwhile").unwrap();
    assert_imported(db, &rows);
    assert_eq!(db.status("a").unwrap().state, State::Success, "what is there is left as it is");
    assert_eq!(all(db, 10).unwrap().len(), 2);
}

pub(super) fn import_refuses_other_content(db: &dyn DBDrv) {
    if all(db, 1).is_none() {
        return;
    }
    create(db, [item("taken")]);
    let rows =
        [row("a", State::Pending, None), row("taken", State::Failed, None), row("z", State::Pending, None)];
    let results = db.import(&rows).unwrap();
    assert!(matches!(results[..], [Ok(()), Err(DbError::Exists), Ok(())]), "{results:?}");
    assert_eq!(db.detail("taken").unwrap().content, item("taken").content);
    assert_eq!(existing(db, &["a", "taken", "z"]), ["a", "taken", "z"]);
}
