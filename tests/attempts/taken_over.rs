//! A lowered limit, other programs' rows, types that are not registered.

use super::*;

#[test]
fn one_over_a_lowered_limit_fails_when_it_falls_due() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default().tries(9));
    for id in ["due", "soon", "late"] {
        server.api.send(id, "STAGE", id);
        audience.next().fail();
        server.api.await_tried(id, 1);
    }
    server.stop(PATIENCE);
    let soon = now() + 3;
    {
        let table = Table::open(directory.path());
        table.set("tried = 5", "1");
        table.set("next_at = 0, response = null", "notify_id = 'due'");
        table.set(&format!("next_at = {soon}"), "notify_id = 'soon'");
    }
    let (server, audience) = stage_in(directory.path(), Setup::default().tries(4));
    let status = server.api.await_state("due", FAILED);
    assert_eq!((&status["tried"], &status["next_at"]), (&json!(5), &json!(0)));
    assert!(!server.api.response_text("due").is_empty(), "the reason");
    if now() < soon {
        let state = server.api.state("soon");
        assert!(state == PENDING || now() >= soon);
    }
    server.api.await_state("soon", FAILED);
    assert!(now() >= soon);
    assert_eq!(server.api.response_text("soon"), "not now", "the response that was there");
    assert_eq!(server.api.state("late"), PENDING);
    audience.none();
    server.api.resend("due");
    audience.expect("due").deliver("ok");
}

#[test]
fn a_type_that_is_not_registered_waits() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    server.api.await_tried("n", 1);
    server.api.resend("n");
    drop(audience.expect("n"));
    server.api.await_state("n", FAILED);
    server.stop(PATIENCE);
    Table::open(directory.path()).set("cur_state = 0, tried = 1, once = 0, next_at = 0", "1");
    let without = Library::start(directory.path(), Setup::default().tries(1), |server| {
        server.register(Instantly).unwrap();
    });
    without.api.send("other", "INSTANTLY", "a");
    without.api.await_state("other", SUCCESS);
    // Not even given up: it would be over the limit here.
    assert_eq!(without.api.state("n"), PENDING);
    assert_eq!(without.api.health(), 200);
    without.stop(PATIENCE);
    let (server, audience) = stage_in(directory.path(), Setup::default());
    audience.expect("n").deliver("ok");
    server.api.await_state("n", SUCCESS);
}

#[test]
fn rows_of_another_program_are_delivered() {
    let (directory, receiver) = (tempdir().unwrap(), Receiver::friendly());
    {
        let table = Table::open(directory.path());
        for number in 0..1200 {
            let url = receiver.url(&format!("/{}", number % 7));
            table.insert(&format!("row {number}"), "HTTPPOST", &url, "{\"body\":\"ä\"}", now() - number % 5);
        }
        table.insert("soon", "HTTPPOST", &receiver.url("/"), "{\"body\":\"ä\"}", now() + 2);
        table.insert("bad payload", "HTTPPOST", &receiver.url("/"), "no json", 0);
        table.insert("bad endpoint", "HTTPPOST", "nowhere", "{\"body\":\"ä\"}", 0);
        table.insert("other type", "FAX", "123", "null", 0);
    }
    let server = Server::start(directory.path(), &[]);
    receiver.await_hits(PATIENCE, "all rows", |hits| (hits.len() >= 1201).then_some(()));
    assert_eq!(receiver.ids().len(), 1201);
    server.api.await_state("soon", SUCCESS);
    for id in ["bad payload", "bad endpoint"] {
        server.api.await_state(id, FAILED);
        assert!(!server.api.response_text(id).is_empty(), "the reason");
    }
    assert_eq!(server.api.state("other type"), PENDING);
    assert_eq!(server.api.delete("other type"), 200);
}

#[test]
fn within_a_lane_the_oldest_comes_first_and_equal_ones_as_they_arrived() {
    let directory = tempdir().unwrap();
    {
        let table = Table::open(directory.path());
        for (id, next_at) in [("d", 30), ("b", 20), ("c", 20), ("a", 10), ("e", 30)] {
            table.insert(id, "STAGE", "a", "null", next_at);
        }
    }
    let (_server, audience) = stage_in(directory.path(), Setup::default().threads(1));
    for id in ["a", "b", "c", "d", "e"] {
        audience.expect(id).deliver("ok");
    }
}
