//! What becomes of one notification: when it is attempted, what each ending
//! leads to, and what resending, deleting and clearing do to it.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use notify_api::{Attempt, Delivery, Driver, Next, Rejected, SendError};
use serde_json::json;
use support::harness::{
    Api, Audience, Gate, Library, MOMENT, PATIENCE, Receiver, Reply, Server, Setup, Stage, Table, eventually,
    now,
};
use tempfile::{TempDir, tempdir};

const PENDING: i64 = 0;
const SUCCESS: i64 = 1;
const FAILED: i64 = 2;

/// A server with one driver, `STAGE`, that the test plays.
fn stage(setup: Setup) -> (TempDir, Library, Audience) {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), setup);
    (directory, server, audience)
}

fn stage_in(directory: &Path, setup: Setup) -> (Library, Audience) {
    let (driver, audience) = Stage::new("STAGE");
    let server = Library::start(directory, setup, move |server| {
        server.register(driver).unwrap();
    });
    (server, audience)
}

// --- The first attempt.

#[test]
fn delivery_follows_a_send_within_milliseconds() {
    let (directory, receiver) = (tempdir().unwrap(), Receiver::friendly());
    let server = Server::start(directory.path(), &[]);
    let url = receiver.url("/hook");
    let mut delays: Vec<Duration> = (0..21)
        .map(|number| {
            let id = format!("n{number}");
            server.api.send(&id, "HTTPPOST", &url);
            let answered = Instant::now();
            receiver.await_id(&id, 1).at.saturating_duration_since(answered)
        })
        .collect();
    delays.sort();
    assert!(delays[10] < Duration::from_millis(50), "the median: {delays:?}");
}

#[test]
fn the_driver_gets_the_payload_byte_for_byte() {
    let (_directory, server, audience) = stage(Setup::default());
    let payload = "{ \"b\" : 1.0e2,\n\t\"a\":\"\\u00e9\",\"b\":2 }";
    let body = format!("{{\"id\":\"n\",\"type\":\"STAGE\",\"endpoint\":\"a/ä\",\"payload\":{payload}}}");
    assert_eq!(server.api.call("POST", "/send", &body).unwrap().status, 200);
    let sending = audience.expect("n");
    assert_eq!((sending.content.as_slice(), sending.endpoint.as_str()), (payload.as_bytes(), "a/ä"));
    sending.deliver("ok");
}

#[test]
fn a_success_stores_its_response_and_leaves_next_at() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    let sending = audience.expect("n");
    let before = server.api.status("n");
    assert_eq!((before["state"].as_i64(), before["tried"].as_i64()), (Some(PENDING), Some(0)));
    assert_eq!(server.api.response("n"), None, "null before the first attempt");
    sending.deliver("");
    let after = server.api.await_state("n", SUCCESS);
    assert_eq!((&after["tried"], &after["next_at"]), (&json!(1), &before["next_at"]));
    assert_eq!(server.api.response("n"), Some(Vec::new()), "empty after an empty answer");
}

// --- Retries.

#[test]
fn the_scheduler_is_asked_with_the_tries_before_each_attempt() {
    type Asked = (String, String, i64, u32);
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let seen = asked.clone();
    let scheduler = move |attempt: &Attempt<'_>| {
        let (kind, id) = (attempt.r#type.to_owned(), attempt.id.to_owned());
        seen.lock().unwrap().push((kind, id, attempt.ended_at.as_secs(), attempt.tried));
        Next::At(attempt.ended_at)
    };
    let (_directory, server, audience) = stage(Setup::default().scheduler(scheduler));
    let began = now();
    server.api.send("n", "STAGE", "a");
    for _ in 0..3 {
        audience.expect("n").fail();
    }
    audience.expect("n").deliver("at last");
    let status = server.api.await_state("n", SUCCESS);
    assert_eq!(status["tried"], 4);
    assert_eq!(server.api.response_text("n"), "at last");
    let asked = asked.lock().unwrap();
    for (number, (kind, id, ended_at, tried)) in asked.iter().enumerate().take(3) {
        assert_eq!((kind.as_str(), id.as_str(), *tried), ("STAGE", "n", number as u32));
        assert!((began..=now()).contains(ended_at), "{ended_at}");
    }
}

#[test]
fn next_at_is_what_the_scheduler_says() {
    let scheduler = |attempt: &Attempt<'_>| Next::At(attempt.ended_at + Duration::from_secs(1000));
    let (_directory, server, audience) = stage(Setup::default().scheduler(scheduler));
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let status = server.api.await_tried("n", 1);
    let next_at = status["next_at"].as_i64().unwrap();
    assert!((now() + 990..=now() + 1000).contains(&next_at), "{status}");
    assert_eq!(status["state"], PENDING);
    assert_eq!(server.api.response_text("n"), "not now", "the error text, if there is no response");
    audience.none();
}

#[test]
fn a_retry_happens_when_it_is_due() {
    let scheduler = |attempt: &Attempt<'_>| Next::At(attempt.ended_at + Duration::from_secs(2));
    let (_directory, server, audience) = stage(Setup::default().scheduler(scheduler));
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let next_at = server.api.await_tried("n", 1)["next_at"].as_i64().unwrap();
    let again = audience.expect("n");
    assert!((next_at..=next_at + 1).contains(&now()), "due at {next_at}, now it is {}", now());
    again.deliver("ok");
}

#[test]
fn stop_is_final_and_sets_tried_to_max_tries() {
    let scheduler = |attempt: &Attempt<'_>| match attempt.tried {
        0 => Next::At(attempt.ended_at),
        _ => Next::Stop,
    };
    let (_directory, server, audience) = stage(Setup::default().tries(7).scheduler(scheduler));
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let second = audience.expect("n");
    let before = server.api.status("n");
    second.fail();
    let after = server.api.await_state("n", FAILED);
    assert_eq!((&after["tried"], &after["next_at"]), (&json!(7), &before["next_at"]));
    // A delivered one makes the scheduler's answer irrelevant.
    server.api.send("o", "STAGE", "a");
    audience.expect("o").fail();
    audience.expect("o").deliver("ok");
    assert_eq!(server.api.await_state("o", SUCCESS)["tried"], 2);
    audience.none();
}

#[test]
fn one_try_means_no_retry() {
    let (_directory, server, audience) = stage(Setup::default().tries(1).retry_at_once());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let status = server.api.await_state("n", FAILED);
    assert_eq!(status["tried"], 1);
    audience.none();
}

#[test]
fn the_last_try_leaves_next_at() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let scheduler = move |attempt: &Attempt<'_>| {
        // Different each time, and in the past: due at once.
        let at =
            notify_api::Timestamp::from_secs(attempt.ended_at.as_secs() - 100 + i64::from(attempt.tried));
        seen.lock().unwrap().push(at.as_secs());
        Next::At(at)
    };
    let (_directory, server, audience) = stage(Setup::default().tries(3).scheduler(scheduler));
    server.api.send("n", "STAGE", "a");
    for _ in 0..3 {
        audience.expect("n").fail();
    }
    let status = server.api.await_state("n", FAILED);
    assert_eq!(status["tried"], 3);
    assert_eq!(status["next_at"], times.lock().unwrap()[1], "the time of the last try");
    audience.none();
}

#[test]
fn no_limit_is_the_largest_number() {
    let scheduler = |_: &Attempt<'_>| Next::Stop;
    let (_directory, server, audience) = stage(Setup::default().tries(0).scheduler(scheduler));
    server.api.send_once("once", "STAGE", "a");
    let sending = audience.expect("once");
    assert_eq!(server.api.number("once", "tried"), i64::from(u32::MAX) - 1);
    sending.fail();
    assert_eq!(server.api.await_state("once", FAILED)["tried"], u32::MAX);
    server.api.send("stopped", "STAGE", "a");
    audience.expect("stopped").fail();
    assert_eq!(server.api.await_state("stopped", FAILED)["tried"], u32::MAX);
    server.api.resend("stopped");
    let sending = audience.expect("stopped");
    assert_eq!(server.api.number("stopped", "tried"), i64::from(u32::MAX) - 1);
    sending.deliver("ok");
    assert_eq!(server.api.await_state("stopped", SUCCESS)["tried"], u32::MAX);
}

#[test]
fn no_threads_means_one() {
    let (_directory, server, audience) = stage(Setup::default().threads(0));
    server.api.send("a", "STAGE", "a");
    let first = audience.expect("a");
    server.api.send("b", "STAGE", "b");
    audience.none();
    first.deliver("ok");
    audience.expect("b").deliver("ok");
}

/// Fails at once, and counts.
struct Failing(Arc<AtomicUsize>);

impl Driver for Failing {
    fn r#type(&self) -> &str {
        "FAILING"
    }

    fn send(&self, _delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(SendError::temporary("not now"))
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }
}

#[test]
fn a_second_that_begins_while_all_are_busy_stops_nobody() {
    let (directory, sends) = (tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
    // Some keep all threads busy, others fall due as each second begins.
    let scheduler = |attempt: &Attempt<'_>| match attempt.id.starts_with("busy") {
        true => Next::At(attempt.ended_at),
        false => Next::At(attempt.ended_at + Duration::from_secs(1)),
    };
    let setup = Setup::default().threads(10).tries(0).scheduler(scheduler);
    let driver = Failing(sends.clone());
    let server = Library::start(directory.path(), setup, |server| {
        server.register(driver).unwrap();
    });
    for number in 0..40 {
        server.api.send(&format!("busy{number}"), "FAILING", &format!("b{number}"));
        server.api.send(&format!("second{number}"), "FAILING", &format!("s{number}"));
    }
    let api = server.api;
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        // A delete keeps attempts from beginning until it is on the disk.
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed)
                    && api.call("POST", "/delete", "{\"id\":\"x\"}").is_ok()
                {}
            });
        }
        let goes_on = (0..6).all(|_| {
            let before = sends.load(Ordering::Relaxed);
            thread::sleep(Duration::from_secs(1));
            sends.load(Ordering::Relaxed) > before + 10
        });
        is_over.store(true, Ordering::Relaxed);
        // The deletes would wait for ever otherwise.
        drop(server);
        assert!(goes_on, "the server has stopped sending");
    });
}

// --- Exactly one attempt.

#[test]
fn send_once_makes_exactly_one_attempt() {
    let (_directory, server, audience) = stage(Setup::default().tries(5).retry_at_once());
    server.api.send_once("n", "STAGE", "a");
    let sending = audience.expect("n");
    assert_eq!(server.api.number("n", "tried"), 4);
    sending.fail();
    assert_eq!(server.api.await_state("n", FAILED)["tried"], 5);
    audience.none();
}

#[test]
fn one_attempt_stays_one_when_max_tries_changes() {
    for max_tries in [1, 2, 5, 50] {
        let directory = tempdir().unwrap();
        let setup = || Setup::default().threads(1).retry_at_once();
        let (server, audience) = stage_in(directory.path(), setup().tries(5));
        server.api.send("resent", "STAGE", "a");
        audience.expect("resent").deliver("ok");
        server.api.await_state("resent", SUCCESS);
        // It holds the only slot until the server is stopped.
        server.api.send_once("blocker", "STAGE", "b");
        let blocker = audience.expect("blocker");
        server.api.send_once("once", "STAGE", "a");
        server.api.resend("resent");
        server.stop(Duration::ZERO);
        drop(blocker);
        let (server, audience) = stage_in(directory.path(), setup().tries(max_tries));
        let mut attempts = HashMap::new();
        for _ in 0..3 {
            let sending = audience.next();
            *attempts.entry(sending.id.clone()).or_insert(0) += 1;
            sending.fail();
        }
        for id in ["blocker", "once", "resent"] {
            assert_eq!(attempts.get(id), Some(&1), "{id} with {max_tries}: {attempts:?}");
            server.api.await_state(id, FAILED);
        }
        audience.none();
    }
}

#[test]
fn stop_sets_tried_to_max_tries_also_of_one_that_had_one_attempt() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default().threads(1).tries(2));
    server.api.send("blocker", "STAGE", "b");
    let blocker = audience.expect("blocker");
    server.api.send_once("n", "STAGE", "a");
    assert_eq!(server.api.delete("blocker"), 409);
    server.stop(Duration::ZERO);
    drop(blocker);
    let setup = Setup::default().threads(1).tries(7).scheduler(|_: &Attempt<'_>| Next::Stop);
    let (server, audience) = stage_in(directory.path(), setup);
    for _ in 0..2 {
        audience.next().fail();
    }
    assert_eq!(server.api.await_state("n", FAILED)["tried"], 7);
}

// --- Resend.

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

// --- Delete and clear.

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

/// Answers every send at once.
struct Instantly;

impl Driver for Instantly {
    fn r#type(&self) -> &str {
        "INSTANTLY"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        match delivery.endpoint {
            "fail" => Err(SendError::permanent("never")),
            "panic" => panic!("the driver has a bug"),
            "panic with a number" => std::panic::panic_any(5),
            endpoint => Ok(endpoint.into()),
        }
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }
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

// --- A lowered limit, other programs' rows, types that are not registered.

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

// --- Kinds of failure.

#[test]
fn a_permanent_failure_ends_at_once() {
    let (_directory, server, audience) = stage(Setup::default().tries(9).retry_at_once());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let second = audience.expect("n");
    let before = server.api.status("n");
    second.answer(Err(SendError::permanent("gone").with_response("410: gone")));
    let after = server.api.await_state("n", FAILED);
    assert_eq!((&after["tried"], &after["next_at"]), (&json!(2), &before["next_at"]));
    assert_eq!(server.api.response_text("n"), "410: gone");
    audience.none();
}

#[test]
fn an_unreachable_one_is_retried() {
    let (_directory, server, audience) = stage(Setup::default().tries(3).retry_at_once());
    server.api.send("n", "STAGE", "a");
    for _ in 0..3 {
        audience.expect("n").unreachable();
    }
    let status = server.api.await_state("n", FAILED);
    assert_eq!((status["tried"].as_i64(), server.api.response_text("n")), (Some(3), "nobody there".into()));
    audience.none();
}

#[test]
fn one_attempt_means_one_whatever_the_failure() {
    let endings: [fn(support::harness::Sending); 4] =
        [|it| it.fail(), |it| it.unreachable(), |it| it.refuse(), |it| it.not_before(Duration::from_secs(1))];
    let (_directory, server, audience) = stage(Setup::default().tries(4).retry_at_once());
    for (number, ending) in endings.into_iter().enumerate() {
        let id = format!("n{number}");
        server.api.send_once(&id, "STAGE", &id);
        ending(audience.expect(&id));
        assert_eq!(server.api.await_state(&id, FAILED)["tried"], 4);
    }
    assert_eq!(audience.next_within(Duration::from_millis(1500)).map(|sending| sending.id), None);
}

// --- Not before.

#[test]
fn not_before_holds_the_destination_until_a_resend() {
    let (_directory, server, audience) = stage(Setup::default().retry_at_once());
    let api = server.api;
    api.send("first", "STAGE", "lane/held");
    let first = audience.expect("first");
    for id in ["h1", "h2", "h3"] {
        api.send(id, "STAGE", "lane/held");
    }
    api.send("free", "STAGE", "lane/free");
    let asked = now();
    first.not_before(Duration::from_secs(3000));
    // Another destination of the same lane, behind three that are held.
    audience.expect("free").deliver("ok");
    let until = api.await_tried("first", 1)["next_at"].as_i64().unwrap();
    assert!((asked + 3000..=now() + 3001).contains(&until), "{until}");
    for id in ["h1", "h2", "h3"] {
        eventually("next_at tells when it will be tried", || {
            (api.number(id, "next_at") == until).then_some(())
        });
        assert_eq!(api.number(id, "tried"), 0);
    }
    api.send("late", "STAGE", "lane/held");
    eventually("a new one waits too", || (api.number("late", "next_at") == until).then_some(()));
    audience.none();
    api.resend("h2");
    audience.expect("h2").deliver("ok");
    let mut released: Vec<String> = (0..4).map(|_| audience.next()).map(answered).collect();
    released.sort();
    assert_eq!(released, ["first", "h1", "h3", "late"]);
}

fn answered(sending: support::harness::Sending) -> String {
    let id = sending.id.clone();
    sending.deliver("ok");
    id
}

#[test]
fn not_before_is_never_shorter_than_what_was_asked() {
    let (_directory, server, audience) = stage(Setup::default().retry_at_once());
    // Begin late in a second, where rounding hurts most.
    let into_second =
        |at: std::time::SystemTime| at.duration_since(std::time::UNIX_EPOCH).unwrap().subsec_millis();
    server.api.send("n", "STAGE", "a");
    let first = audience.expect("n");
    while into_second(std::time::SystemTime::now()) < 850 {
        thread::sleep(Duration::from_millis(10));
    }
    let asked = Instant::now();
    first.not_before(Duration::from_secs(1));
    let second = audience.expect("n");
    assert!(asked.elapsed() >= Duration::from_secs(1), "after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(4), "after {:?}", asked.elapsed());
    second.deliver("ok");
}

#[test]
fn not_before_is_the_later_of_two_times_and_at_most_a_day() {
    let (_directory, server, audience) = stage(Setup::default());
    for (id, wait, least, most) in
        [("short", 60, 3595, 3605), ("long", 7200, 7195, 7205), ("endless", 99_999_999, 86_395, 86_405)]
    {
        server.api.send(id, "STAGE", id);
        audience.expect(id).not_before(Duration::from_secs(wait));
        let next_at = server.api.await_tried(id, 1)["next_at"].as_i64().unwrap();
        assert!((now() + least..=now() + most).contains(&next_at), "{id}: {}", next_at - now());
    }
}

#[test]
fn the_held_go_out_when_the_time_has_come() {
    let (_directory, server, audience) = stage(Setup::default().retry_at_once());
    server.api.send("first", "STAGE", "a/x");
    let first = audience.expect("first");
    for number in 0..20 {
        server.api.send(&format!("n{number}"), "STAGE", "a/x");
    }
    first.not_before(Duration::from_secs(2));
    let until = server.api.await_tried("first", 1)["next_at"].as_i64().unwrap();
    let mut ids = Vec::new();
    for _ in 0..21 {
        let sending = audience.next();
        assert!(now() >= until, "{} went out {} s early", sending.id, until - now());
        ids.push(answered(sending));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 21);
}

#[test]
fn a_resend_ends_a_hold_that_was_prolonged() {
    let (_directory, server, audience) = stage(Setup::default().threads(10).retry_at_once());
    let api = server.api;
    // Three slots for the lane.
    for id in ["w1", "w2"] {
        api.send(id, "STAGE", "lane/x");
        audience.expect(id).deliver("ok");
        api.await_state(id, SUCCESS);
    }
    let [f1, f2, h1] = ["f1", "f2", "h1"].map(|id| {
        api.send(id, "STAGE", "lane/x");
        audience.expect(id)
    });
    api.send("h2", "STAGE", "lane/x");
    f1.not_before(Duration::from_secs(3000));
    let first = api.await_tried("f1", 1)["next_at"].as_i64().unwrap();
    eventually("h2 is held", || (api.number("h2", "next_at") == first).then_some(()));
    f2.not_before(Duration::from_secs(6000));
    api.await_tried("f2", 1);
    h1.deliver("ok");
    api.await_state("h1", SUCCESS);
    api.resend("h1");
    audience.expect("h1").deliver("ok");
    let mut released: Vec<String> = (0..3).map(|_| audience.next()).map(answered).collect();
    released.sort();
    assert_eq!(released, ["f1", "f2", "h2"]);
}

#[test]
fn a_resend_ends_a_hold_in_every_lane_of_the_destination() {
    let directory = tempdir().unwrap();
    let (driver, audience) = Stage::new("STAGE");
    let driver = driver.with_one_destination();
    let server = Library::start(directory.path(), Setup::default().retry_at_once(), move |server| {
        server.register(driver).unwrap();
    });
    let api = server.api;
    api.send("first", "STAGE", "l1");
    audience.expect("first").not_before(Duration::from_secs(3000));
    let until = api.await_tried("first", 1)["next_at"].as_i64().unwrap();
    for (id, lane) in [("h1", "l1"), ("h2", "l2"), ("h3", "l3")] {
        api.send(id, "STAGE", lane);
        eventually("it is held", || (api.number(id, "next_at") == until).then_some(()));
    }
    audience.none();
    api.resend("h1");
    audience.expect("h1").deliver("ok");
    let mut released: Vec<String> = (0..3).map(|_| audience.next()).map(answered).collect();
    released.sort();
    assert_eq!(released, ["first", "h2", "h3"]);
}

#[test]
fn a_resend_of_one_that_is_just_being_held_back_goes_out_at_once() {
    let (_directory, server, audience) = stage(Setup::default().threads(2));
    let api = server.api;
    for round in 0..60 {
        let (destination, first, held) = (format!("l{round}/x"), format!("f{round}"), format!("h{round}"));
        api.send(&first, "STAGE", &destination);
        let sending = audience.expect(&first);
        api.send(&held, "STAGE", &destination);
        sending.not_before(Duration::from_secs(3000));
        // Meets the writing back of the held one at a different moment each time.
        thread::sleep(Duration::from_micros(150 * round));
        api.resend(&held);
        audience.expect(&held).deliver("ok");
        api.await_state(&held, SUCCESS);
    }
}

#[test]
fn a_retry_after_of_a_webhook_is_honoured() {
    let (directory, answered) = (tempdir().unwrap(), Mutex::new(0));
    let receiver = Receiver::start(move |hit| {
        let mut answered = answered.lock().unwrap();
        *answered += 1;
        match (hit.path.as_str(), *answered) {
            ("/busy", 1) => Reply::Header(429, "Retry-After", "1000".into()),
            _ => Reply::ok(),
        }
    });
    let server = Server::start(directory.path(), &[]);
    server.api.send("first", "HTTPPOST", &receiver.url("/busy"));
    let until = server.api.await_tried("first", 1)["next_at"].as_i64().unwrap();
    assert!((now() + 990..=now() + 1001).contains(&until));
    server.api.send("held", "HTTPGET", &receiver.url("/busy"));
    server.api.send("free", "HTTPGET", &receiver.url("/other"));
    receiver.await_id("free", 1);
    eventually("it is held", || (server.api.number("held", "next_at") == until).then_some(()));
    server.api.resend("first");
    receiver.await_id("first", 2);
    receiver.await_id("held", 1);
}

// --- Responses.

#[test]
fn a_long_response_is_cut_with_a_mark() {
    const LIMIT: usize = 1 << 20;
    let (_directory, server, audience) = stage(Setup::default());
    let whole: Vec<u8> = (0..LIMIT).map(|at| b'a' + (at % 26) as u8).collect();
    for (id, extra) in [("exact", 0), ("one more", 1), ("double", LIMIT)] {
        let mut response = whole.clone();
        response.extend(std::iter::repeat_n(b'x', extra));
        server.api.send(id, "STAGE", id);
        audience.expect(id).answer(Ok(response));
        server.api.await_state(id, SUCCESS);
        let stored = server.api.response(id).unwrap();
        assert!(stored.starts_with(&whole[..LIMIT - 256]));
        let mark = stored.len().saturating_sub(LIMIT);
        assert!(mark <= 256, "{mark}");
        assert_eq!(stored == whole, extra == 0, "a mark if it was cut");
        assert_eq!(server.api.post("/result", &json!({"id": id})).body, stored);
    }
    server.api.send("failed", "STAGE", "failed");
    audience.expect("failed").answer(Err(SendError::temporary("x".repeat(LIMIT + 1))));
    server.api.await_tried("failed", 1);
    let stored = server.api.response("failed").unwrap();
    assert!(stored.len() > LIMIT - 256 && stored.len() <= LIMIT + 256);
}

#[test]
fn a_long_answer_of_a_webhook_is_cut() {
    let (directory, receiver) =
        (tempdir().unwrap(), Receiver::start(|_| Reply::Status(200, vec![b'x'; 3 << 20])));
    let server = Server::start(directory.path(), &[]);
    server.api.send("n", "HTTPPOST", &receiver.url("/"));
    server.api.await_state("n", SUCCESS);
    let stored = server.api.response("n").unwrap();
    assert!(((1 << 20) - 256..=(1 << 20) + 256).contains(&stored.len()), "{}", stored.len());
    assert_ne!(stored.last(), Some(&b'x'), "a mark");
}

#[test]
fn what_the_driver_answers_beats_the_error_text() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").answer(Err(SendError::temporary("status 500").with_response("<oops>")));
    server.api.await_tried("n", 1);
    assert_eq!(server.api.response_text("n"), "<oops>");
}

// --- A driver with bugs.

#[test]
fn a_panic_is_a_failed_attempt() {
    let directory = tempdir().unwrap();
    let (stage, audience) = Stage::new("STAGE");
    let server = Library::start(directory.path(), Setup::default().tries(2).retry_at_once(), |server| {
        server.register(Instantly).unwrap().register(stage).unwrap();
    });
    // More often than there are threads.
    for number in 0..6 {
        let id = format!("n{number}");
        server.api.send(&id, "INSTANTLY", if number % 2 == 0 { "panic" } else { "panic with a number" });
        assert_eq!(server.api.await_state(&id, FAILED)["tried"], 2);
        assert!(!server.api.response_text(&id).is_empty());
    }
    server.api.send("good", "INSTANTLY", "fine");
    server.api.await_state("good", SUCCESS);
    server.api.send("other", "STAGE", "a");
    audience.expect("other").deliver("ok");
    assert_eq!(server.api.health(), 200);
}

/// Asks for time, and can't say for which destination, nor always in which lane.
struct Lost(Mutex<mpsc::Sender<()>>);

impl Driver for Lost {
    fn r#type(&self) -> &str {
        "LOST"
    }

    fn send(&self, _delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let _ = self.0.lock().unwrap().send(());
        Err(SendError::not_before("slow down", Duration::from_secs(3000)))
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }

    fn lane(&self, endpoint: &str) -> String {
        assert_ne!(endpoint, "nowhere", "the driver has a bug");
        endpoint.into()
    }

    fn destination(&self, _endpoint: &str) -> String {
        panic!("the driver has a bug")
    }
}

#[test]
fn a_driver_that_cannot_name_a_lane_or_a_destination_harms_nobody() {
    let directory = tempdir().unwrap();
    Table::open(directory.path()).insert("n0", "LOST", "nowhere", "null", 0);
    let (sent, sends) = mpsc::channel();
    let server = Library::start(directory.path(), Setup::default().threads(2), |server| {
        server.register(Lost(Mutex::new(sent))).unwrap().register(Instantly).unwrap();
    });
    for number in 0..4 {
        let id = format!("n{number}");
        if number > 0 {
            server.api.send(&id, "LOST", if number == 1 { "nowhere" } else { &id });
        }
        server.api.await_tried(&id, 1);
    }
    // Holds exist now, so that each begin asks for its destination.
    server.api.send("good", "INSTANTLY", "fine");
    server.api.await_state("good", SUCCESS);
    thread::sleep(MOMENT);
    assert_eq!(sends.try_iter().count(), 4, "one attempt each, no hot loop");
    assert_eq!(server.api.health(), 200);
}

// --- Stop.

#[test]
fn after_a_stop_the_database_is_free_at_once() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").deliver("ok");
    server.api.await_state("n", SUCCESS);
    server.stop(PATIENCE);
    let stopped = Instant::now();
    Table::open(directory.path());
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
}

#[test]
fn a_stop_waits_for_what_is_being_sent_and_stores_its_outcome() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default().threads(1));
    let api: Api = server.api;
    api.send("running", "STAGE", "a");
    let running = audience.expect("running");
    api.send("waiting", "STAGE", "a");
    let stopping = thread::spawn(move || server.stop(PATIENCE));
    // It has begun to stop when it doesn't let anybody in any more.
    while api.call("GET", "/health", "").is_ok() {
        thread::yield_now();
    }
    running.deliver("in time");
    stopping.join().unwrap();
    assert!(audience.0.try_recv().is_err(), "no new attempts");
    let table = Table::open(directory.path());
    assert_eq!(table.count("cur_state = 1 and tried = 1 and response = cast('in time' as blob)"), 1);
    assert_eq!(table.count("cur_state = 0 and tried = 0"), 1);
}
