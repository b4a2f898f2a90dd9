use super::sample::*;
use crate::{
    db::{DBDrv, DbError, Figures, Outcome, Page, Query, Sending, Write},
    notification::{Item, Listed, State, Timestamp},
};

const STATES: [State; 3] = [State::Pending, State::Success, State::Failed];

/// One page; `None` if the database has no lists.
fn page(db: &dyn DBDrv, query: &Query) -> Option<Page> {
    match db.list(query) {
        Ok(page) => {
            assert!(page.items.len() <= query.limit, "no more than asked for");
            Some(page)
        }
        Err(DbError::Unsupported(_)) => None,
        Err(error) => panic!("list({query:?}): {error}"),
    }
}

/// All pages together; `between` is called after each.
fn pages(db: &dyn DBDrv, query: Query, mut between: impl FnMut(usize)) -> Option<Vec<Listed>> {
    let mut found = Vec::new();
    let mut query = query;
    for number in 0.. {
        assert!(number < 10_000, "it comes to an end");
        let Page { items, next } = page(db, &query)?;
        found.extend(items);
        between(number);
        match next {
            None => return Some(found),
            next => query.after = next,
        }
    }
    unreachable!()
}

fn ids(items: &[Listed]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

fn created(name: &str, create_at: i64) -> Item {
    Item { create_at: at(create_at), ..item(name) }
}

/// Three in each second, their states in turns, the oldest first.
fn create_many(db: &dyn DBDrv, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("row {n:05}")).collect();
    let rows: Vec<_> = (0..).zip(&names).map(|(n, name)| Write::Create(created(name, n / 3))).collect();
    let ended = names.iter().zip(STATES.iter().cycle()).filter(|(_, state)| **state != State::Pending);
    let ended = ended.map(|(name, state)| Write::Outcome(Outcome { state: *state, ..outcome(name) }));
    for batch in rows.into_iter().chain(ended).collect::<Vec<_>>().chunks(500) {
        assert!(db.write(batch, &Sending::default()).unwrap().iter().all(Result::is_ok));
    }
    names
}

pub(super) fn list_of_nothing_is_empty(db: &dyn DBDrv) {
    for state in [None, Some(State::Pending), Some(State::Success), Some(State::Failed)] {
        let Some(page) = page(db, &Query { state, ..Query::all(10) }) else { return };
        assert_eq!(page, Page::default());
    }
}

pub(super) fn list_is_newest_first(db: &dyn DBDrv) {
    for state in STATES {
        for (name, second) in [("b", 2), ("d", 4), ("a", 1), ("c", 3)] {
            create_in(db, created(&format!("{name} {state:?}"), second * 10 + state as i64), state);
        }
    }
    let Some(found) = pages(db, Query::all(100), |_| {}) else { return };
    let expected = |state: State| ["d", "c", "b", "a"].map(|name| format!("{name} {state:?}"));
    assert_eq!(found.len(), 12);
    assert!(found.is_sorted_by(|a, b| a.create_at > b.create_at), "{found:?}");
    for state in STATES {
        let found = pages(db, Query { state: Some(state), ..Query::all(100) }, |_| {}).unwrap();
        assert_eq!(ids(&found), expected(state));
    }
}

pub(super) fn list_tells_what_is_known(db: &dyn DBDrv) {
    let (endpoint, kind) = ("http://user:pass@host/'\"\\?\u{1F980}", "example.com/some/type");
    let row = Item {
        r#type: kind.into(),
        endpoint: endpoint.into(),
        next_at: at(7),
        tried: 3,
        ..created("the one", 5)
    };
    create(db, [row]);
    let Some(found) = page(db, &Query::all(1)) else { return };
    let fresh = Listed {
        id: id("the one"),
        r#type: kind.into(),
        endpoint: endpoint.into(),
        state: State::Pending,
        tried: 3,
        create_at: at(5),
        next_at: at(7),
        response: None,
    };
    assert_eq!(found.items, std::slice::from_ref(&fresh));
    let long = "\u{1F980}".repeat(100_000);
    for (response, shown) in [
        (&b""[..], String::new()),
        (b"no\nsuch\x1b host", "no\nsuch\x1b host".into()),
        (b"\xff\xfe", "\u{fffd}\u{fffd}".into()),
        (&[b'x'; 200], "x".repeat(200)),
        (long.as_bytes(), format!("{}…", "\u{1F980}".repeat(50))),
    ] {
        db.update("the one", u32::MAX, at(9), State::Failed, response).unwrap();
        let found = page(db, &Query::all(1)).unwrap();
        let expected = Listed {
            state: State::Failed,
            tried: u32::MAX,
            next_at: at(9),
            response: Some(shown),
            ..fresh.clone()
        };
        assert_eq!(found.items, [expected]);
    }
}

pub(super) fn list_keeps_to_what_is_asked_for(db: &dyn DBDrv) {
    for (number, second) in (0..).zip([1, 2, 2, 3, 4, 5]) {
        for state in STATES {
            let kind = if number % 2 == 0 { "EVEN" } else { "ODD" };
            let row = Item { r#type: kind.into(), ..created(&format!("{state:?} {number}"), second) };
            create_in(db, row, state);
        }
    }
    if page(db, &Query::all(1)).is_none() {
        return;
    }
    let all = pages(db, Query::all(100), |_| {}).unwrap();
    for state in [None, Some(State::Pending), Some(State::Success), Some(State::Failed)] {
        for kind in [None, Some("EVEN"), Some("ODD"), Some("even"), Some("EVEN "), Some("")] {
            for since in [Timestamp::MIN, at(0), at(2), at(3), at(6), Timestamp::MAX] {
                for before in [None, Some(Timestamp::MIN), Some(at(2)), Some(at(5)), Some(Timestamp::MAX)] {
                    let r#type = kind.map(str::to_owned);
                    let query = Query { state, r#type, since, before, limit: 4, after: None };
                    let found = ids(&pages(db, query.clone(), |_| {}).unwrap()).join(",");
                    let is_meant = |item: &&Listed| {
                        state.is_none_or(|state| item.state == state)
                            && kind.is_none_or(|kind| item.r#type == kind)
                            && item.create_at >= since
                            && before.is_none_or(|before| item.create_at < before)
                    };
                    let expected: Vec<&str> =
                        all.iter().filter(is_meant).map(|item| item.id.as_str()).collect();
                    // The order within a second is the database's choice, but always the same.
                    assert_eq!(found, expected.join(","), "{query:?}");
                }
            }
        }
    }
}

pub(super) fn list_keeps_ids_apart_that_look_alike(db: &dyn DBDrv) {
    create(db, ALIKE.iter().map(|name| item(name)));
    for limit in [1, 3, 1_000] {
        let Some(found) = pages(db, Query::all(limit), |_| {}) else { return };
        let mut found = ids(&found);
        let mut expected = ALIKE.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{limit} a page");
    }
}

pub(super) fn list_pages_meet_each_row_once(db: &dyn DBDrv) {
    let names = create_many(db, 300);
    for state in [None, Some(State::Pending), Some(State::Success), Some(State::Failed)] {
        for limit in [1, 7, 100, 1_000] {
            let Some(found) = pages(db, Query { state, ..Query::all(limit) }, |_| {}) else { return };
            assert!(found.is_sorted_by(|a, b| a.create_at >= b.create_at));
            let mut found = ids(&found);
            found.sort_unstable();
            let expected = names.iter().zip(STATES.iter().cycle());
            let expected = expected.filter(|(_, is)| state.is_none_or(|state| state == **is));
            let expected: Vec<&str> = expected.map(|(name, _)| name.as_str()).collect();
            assert_eq!(found, expected, "{state:?}, {limit} a page");
        }
    }
}

pub(super) fn list_pages_mind_no_changes(db: &dyn DBDrv) {
    let names = create_many(db, 150);
    let query = Query { state: Some(State::Failed), ..Query::all(10) };
    // What a page has shown is sent again, deleted, or stays; and new ones come.
    let mut shown = 0;
    let found = pages(db, query, |number| {
        let shown_names = names.iter().rev().skip(3 * shown).step_by(3).take(10);
        for (n, name) in shown_names.enumerate() {
            match n % 3 {
                0 => db.resend(name, MAX_TRIES, at(0)).unwrap(),
                1 => db.delete(name, &Sending::default()).unwrap(),
                _ => {}
            }
        }
        shown += 10;
        create_in(db, created(&format!("new {number}"), 1_000 + number as i64), State::Failed);
    });
    let Some(found) = found else { return };
    let expected: Vec<&str> = names.iter().skip(2).step_by(3).rev().map(String::as_str).collect();
    assert_eq!(ids(&found), expected);
}

pub(super) fn list_finds_the_old_among_many(db: &dyn DBDrv) {
    if page(db, &Query::all(1)).is_none() {
        return;
    }
    for state in STATES {
        create_in(db, created(&format!("{state:?}"), -5), state);
    }
    create_many(db, 15_300);
    for state in STATES {
        for kind in [None, Some(TYPE.to_owned())] {
            let query = Query { state: Some(state), r#type: kind, ..Query::all(1_000) };
            let found = pages(db, query, |_| {}).unwrap();
            assert_eq!(found.len(), 5_101);
            assert!(found.iter().all(|item| item.state == state));
            assert_eq!(found.last().unwrap().id.as_str(), format!("{state:?}"));
        }
    }
    let none = Query { r#type: Some("OTHER".into()), ..Query::all(1_000) };
    assert_eq!(pages(db, none, |_| {}), Some(Vec::new()));
}

pub(super) fn figures_tell_what_is_pending(db: &dyn DBDrv) {
    let figures = || match db.figures() {
        Ok(Figures { pending, earliest, .. }) => Some((pending, earliest)),
        Err(DbError::Unsupported(_)) => None,
        Err(error) => panic!("figures: {error}"),
    };
    let Some(empty) = figures() else { return };
    assert_eq!(empty, (0, None));
    for (name, next) in [("a", 30), ("b", 10), ("c", 20)] {
        create(db, [Item { next_at: at(next), ..item(name) }]);
    }
    create_in(db, Item { next_at: at(5), ..item("done") }, State::Success);
    create_in(db, Item { next_at: at(5), ..item("failed") }, State::Failed);
    assert_eq!(figures(), Some((3, Some(at(10)))));
    db.delete("b", &Sending::default()).unwrap();
    assert_eq!(figures(), Some((2, Some(at(20)))));
}
