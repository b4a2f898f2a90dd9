//! Receivers that want nothing before some time.

use super::*;

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
