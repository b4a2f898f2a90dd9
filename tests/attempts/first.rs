//! The first attempt, retries, and notifications with exactly one attempt.

use super::*;

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
