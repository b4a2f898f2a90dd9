//! Deleting and clearing.

use super::*;

#[test]
fn one_that_is_being_sent_cannot_be_deleted() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    let sending = audience.expect("n");
    assert_eq!(server.api.delete("n"), 409);
    server.api.clear("/clear", now() + 100);
    server.api.clear("/forceClear", now() + 100);
    assert_eq!(server.api.state("n"), PENDING);
    sending.deliver("ok");
    server.api.await_state("n", SUCCESS);
    assert_eq!(server.api.delete("n"), 200);
    assert_eq!(server.api.find("n"), None);
    assert_eq!(server.api.delete("n"), 200, "also if unknown");
}

#[test]
fn one_that_was_resent_while_being_sent_cannot_be_deleted() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    let sending = audience.expect("n");
    server.api.resend("n");
    assert_eq!(server.api.delete("n"), 409);
    sending.deliver("ok");
    audience.expect("n").deliver("ok");
}

#[test]
fn one_that_is_next_in_line_can_be_deleted_and_is_not_sent() {
    let (_directory, server, audience) = stage(Setup::default());
    for id in ["a1", "a2", "a3", "a4"] {
        server.api.send(id, "STAGE", "a");
    }
    let first = audience.expect("a1");
    assert_eq!(server.api.delete("a2"), 200);
    assert_eq!(server.api.find("a2"), None);
    first.deliver("ok");
    // The lane has two slots now.
    let mut next = [audience.next(), audience.next()].map(answered);
    next.sort();
    assert_eq!(next, ["a3", "a4"]);
    audience.none();
}

#[test]
fn a_failed_one_that_waits_for_its_retry_can_be_deleted() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    server.api.await_tried("n", 1);
    assert_eq!(server.api.delete("n"), 200);
    assert_eq!(server.api.find("n"), None);
}

#[test]
fn clearing_is_strictly_before() {
    let (_directory, server, audience) = stage(Setup::default().tries(2));
    for id in ["delivered", "failed", "retried"] {
        server.api.send(id, "STAGE", id);
    }
    let mut sendings: HashMap<_, _> =
        (0..3).map(|_| audience.next()).map(|sending| (sending.id.clone(), sending)).collect();
    sendings.remove("delivered").unwrap().deliver("ok");
    sendings.remove("failed").unwrap().refuse();
    sendings.remove("retried").unwrap().fail();
    server.api.await_state("delivered", SUCCESS);
    server.api.await_state("failed", FAILED);
    server.api.await_tried("retried", 1);
    let created = server.api.number("delivered", "create_at");
    server.api.clear("/clear", created);
    server.api.clear("/forceClear", created);
    assert!(server.api.find("delivered").is_some() && server.api.find("failed").is_some());
    // They may have been created in different seconds.
    let after = server.api.number("retried", "create_at") + 1;
    server.api.clear("/clear", after);
    assert_eq!((server.api.find("delivered"), server.api.find("failed")), (None, None));
    assert!(server.api.find("retried").is_some(), "a pending one stays");
    server.api.clear("/forceClear", after);
    assert_eq!(server.api.find("retried"), None);
}

#[test]
fn what_is_cleared_by_force_is_not_sent() {
    let (_directory, server, audience) = stage(Setup::default().threads(2));
    for number in 0..8 {
        server.api.send(&format!("a{number}"), "STAGE", "a");
        server.api.send(&format!("b{number}"), "STAGE", "b");
    }
    let running = [audience.next(), audience.next()];
    server.api.clear("/forceClear", now() + 100);
    for sending in &running {
        assert_eq!(server.api.state(&sending.id), PENDING, "one that is being sent stays");
    }
    assert_eq!(server.api.find("a7"), None);
    running.into_iter().for_each(|sending| sending.deliver("ok"));
    audience.none();
    server.api.send("new", "STAGE", "a");
    audience.expect("new").deliver("ok");
}

#[test]
fn what_is_seen_to_be_finished_can_be_deleted() {
    let directory = tempdir().unwrap();
    let server = Library::start(directory.path(), Setup::default(), |server| {
        server.register(Instantly).unwrap();
    });
    let api = server.api;
    let client = |name: &'static str, endpoint: &'static str| {
        move || {
            for number in 0..120 {
                let id = format!("{name}{number}");
                api.send(&id, "INSTANTLY", endpoint);
                eventually("it is finished", || (api.state(&id) != PENDING).then_some(()));
                assert_eq!(api.delete(&id), 200, "{id}");
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(client("a", "ok"));
        scope.spawn(client("b", "fail"));
    });
}

#[test]
fn what_is_seen_to_be_finished_can_be_cleared() {
    let directory = tempdir().unwrap();
    let server = Library::start(directory.path(), Setup::default(), |server| {
        server.register(Instantly).unwrap();
    });
    for number in 0..120 {
        let id = format!("n{number}");
        server.api.send(&id, "INSTANTLY", if number % 2 == 0 { "ok" } else { "fail" });
        eventually("it is finished", || (server.api.state(&id) != PENDING).then_some(()));
        server.api.clear(if number % 3 == 0 { "/forceClear" } else { "/clear" }, now() + 100);
        assert_eq!(server.api.find(&id), None, "{id}");
    }
}
