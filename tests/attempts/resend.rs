//! One more attempt, whatever became of the others.

use super::*;

#[test]
fn resending_one_whose_next_try_is_far_away_sends_it_at_once() {
    let (_directory, server, audience) = stage(Setup::default().tries(9));
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    server.api.await_tried("n", 1);
    server.api.resend("n");
    let sending = audience.expect("n");
    let status = server.api.status("n");
    assert_eq!((status["tried"].as_i64(), status["state"].as_i64()), (Some(8), Some(PENDING)));
    assert!((now() - 5..=now()).contains(&status["next_at"].as_i64().unwrap()), "{status}");
    assert_eq!(server.api.response_text("n"), "not now", "the latest one stays");
    sending.fail();
    assert_eq!(server.api.await_state("n", FAILED)["tried"], 9, "no retry");
    audience.none();
}

#[test]
fn resending_a_finished_one_makes_one_more_attempt() {
    let (_directory, server, audience) = stage(Setup::default().retry_at_once());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").refuse();
    server.api.await_state("n", FAILED);
    server.api.resend("n");
    audience.expect("n").deliver("first");
    server.api.await_state("n", SUCCESS);
    server.api.resend("n");
    audience.expect("n").deliver("second");
    eventually("the second response", || (server.api.response_text("n") == "second").then_some(()));
    assert_eq!(server.api.state("n"), SUCCESS);
    server.api.resend("n");
    audience.expect("n").fail();
    server.api.await_state("n", FAILED);
    audience.none();
    assert_eq!(server.api.command("/resend", "unknown"), 404);
}

#[test]
fn resending_one_that_waits_in_line_sends_it_once() {
    let (_directory, server, audience) = stage(Setup::default().threads(1));
    server.api.send("first", "STAGE", "a");
    let first = audience.expect("first");
    server.api.send("waiting", "STAGE", "a");
    server.api.resend("waiting");
    server.api.resend("waiting");
    first.deliver("ok");
    audience.expect("waiting").deliver("ok");
    server.api.await_state("waiting", SUCCESS);
    audience.none();
}

#[test]
fn resending_during_an_attempt_adds_one_after_it() {
    let endings: [fn(support::harness::Sending); 4] =
        [|it| it.deliver("first"), |it| it.fail(), |it| it.refuse(), |it| it.unreachable()];
    for ending in endings {
        let (_directory, server, audience) = stage(Setup::default().tries(6));
        server.api.send("n", "STAGE", "a");
        let first = audience.expect("n");
        server.api.resend("n");
        audience.none();
        ending(first);
        let second = audience.expect("n");
        let status = server.api.status("n");
        assert_eq!((status["tried"].as_i64(), status["state"].as_i64()), (Some(5), Some(PENDING)));
        assert!(server.api.response("n").is_some(), "the first attempt's response is stored");
        second.deliver("second");
        assert_eq!(server.api.await_state("n", SUCCESS)["tried"], 6);
        assert_eq!(server.api.response_text("n"), "second");
        audience.none();
    }
}

#[test]
fn a_resend_during_an_attempt_survives_a_kill() {
    let gate = Gate::default();
    let (held, directory) = (gate.clone(), tempdir().unwrap());
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let mut server = Server::start(directory.path(), &[]);
    server.api.send("n", "HTTPPOST", &receiver.url("/"));
    receiver.await_id("n", 1);
    server.api.resend("n");
    server.kill();
    gate.open();
    receiver.await_closed();
    let server = Server::start(directory.path(), &[]);
    receiver.await_id("n", 2);
    assert_eq!(server.api.await_state("n", SUCCESS)["tried"], 32);
    thread::sleep(MOMENT);
    assert_eq!(receiver.count("n"), 2);
}

#[test]
fn what_a_kill_cuts_off_is_not_counted() {
    let gate = Gate::default();
    let (held, directory) = (gate.clone(), tempdir().unwrap());
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let mut server = Server::start(directory.path(), &[]);
    server.api.send("n", "HTTPPOST", &receiver.url("/"));
    receiver.await_id("n", 1);
    server.kill();
    gate.open();
    receiver.await_closed();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.api.await_state("n", SUCCESS)["tried"], 1);
    assert_eq!(receiver.count("n"), 2);
}
