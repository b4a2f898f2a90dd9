//! Wall clocks that are wrong, and that are set while the program runs or between two runs. libfaketime
//! gives the program such a clock; its monotonic one stays as it is.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

mod support;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use support::{
    receiver::Receiver,
    server::{Home, Server, params},
};

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// Seconds that anything but a wait takes on a busy machine.
const SLACK: i64 = 20;

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is missing: install the Debian package libfaketime")
}

/// The true time.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A program with a clock that the test sets.
struct Machine {
    home: Home,
    receiver: Receiver,
}

impl Machine {
    /// Its clock is this many seconds ahead of the true time. `/bad` is never delivered.
    fn with_clock(ahead: i64) -> Self {
        let receiver = Receiver::answering(|received| match received.target.as_str() {
            "/bad" => (500, Vec::new()),
            _ => (200, b"ok".to_vec()),
        });
        let machine = Self { home: Home::new(), receiver };
        machine.set_clock(ahead);
        machine
    }

    fn set_clock(&self, ahead: i64) {
        // At once, since it is read at any time.
        fs::write(self.home.path("clock.new"), format!("{ahead:+}\n")).unwrap();
        fs::rename(self.home.path("clock.new"), self.home.path("clock")).unwrap();
    }

    fn start(&self) -> Server {
        self.home.start(&[
            ("LD_PRELOAD", library().to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.home.path("clock").to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ])
    }

    fn send(&self, server: &Server, id: &str, path: &str) {
        server.post("/send", params(id, &self.receiver.url(path)).to_string()).done(id);
    }

    /// Sends one that arrives; returns when it was created.
    fn deliver(&self, server: &Server, id: &str) -> i64 {
        self.send(server, id, "/good");
        let status = server.settled(id);
        assert_eq!((&status["state"], &status["tried"]), (&json!(1), &json!(1)), "{id}");
        status["create_at"].as_i64().unwrap()
    }

    /// Sends one without an id; returns that.
    fn name(&self, server: &Server) -> String {
        let body =
            json!({"type": "HTTPPOST", "endpoint": self.receiver.url("/good"), "payload": {"body": "a"}});
        let answer = server.post("/send", body.to_string());
        answer.header("notification-id").unwrap().to_owned()
    }
}

/// Waits until so many attempts have failed.
fn tried(server: &Server, id: &str, times: i64) -> Value {
    let status = server.status_when(id, "tried", |status| status["tried"].as_i64() >= Some(times));
    assert_eq!((&status["tried"], &status["state"]), (&json!(times), &json!(0)), "{id}");
    status
}

/// Its next attempt comes after the first wait of the schedule, counted from that time.
#[track_caller]
fn is_scheduled(status: &Value, from: i64) {
    let wait = status["next_at"].as_i64().unwrap() - from;
    assert!((60 - SLACK..=67 + SLACK).contains(&wait), "{status} {from}");
}

#[track_caller]
fn is_about(time: i64, expected: i64) {
    assert!((expected - SLACK..=expected + SLACK).contains(&time), "{time} instead of {expected}");
}

fn warnings(server: &Server, text: &str) -> usize {
    let lines = server.log().lines();
    lines.iter().filter(|line| line.contains("WARN") && line.contains(text)).count()
}

#[test]
#[ignore = "needs libfaketime"]
fn a_machine_without_a_clock_boots_in_1970_and_is_set_right_later() {
    let machine = Machine::with_clock(-now() + 10);
    let server = machine.start();
    is_about(machine.deliver(&server, "early"), 10);
    let first = machine.name(&server);
    machine.send(&server, "retried", "/bad");
    is_scheduled(&tried(&server, "retried", 1), 10);

    machine.set_clock(0);
    is_about(machine.deliver(&server, "late"), now());
    assert!(machine.name(&server) > first);
    // It was created seconds ago, whatever the clocks say: still a repeat.
    machine.send(&server, "early", "/good");
    assert_eq!(machine.receiver.count("/good"), 4);
    // Due by now; once, not again and again.
    is_scheduled(&tried(&server, "retried", 2), now());
    machine.deliver(&server, "later");
    assert_eq!(machine.receiver.count("/bad"), 2);
    assert_eq!(warnings(&server, "has gone ahead"), 1);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
#[ignore = "needs libfaketime"]
fn a_table_from_later_makes_time_go_on_from_there() {
    let machine = Machine::with_clock(0);
    let server = machine.start();
    machine.send(&server, "retried", "/bad");
    tried(&server, "retried", 1);
    let known = machine.deliver(&server, "known");
    let first = machine.name(&server);
    assert_eq!(server.stop().code, Some(0));

    for ahead in [-now() + 10, -10 * YEAR] {
        machine.set_clock(ahead);
        let server = machine.start();
        let created = machine.deliver(&server, &format!("after {ahead}"));
        assert!((known..=now() + SLACK).contains(&created), "{created}");
        assert!(machine.name(&server) > first);
        machine.send(&server, "known", "/good");
        assert_eq!(warnings(&server, "behind the newest notification"), 1);
        // It goes on, too, and catches up without a jump.
        machine.set_clock(0);
        is_about(machine.deliver(&server, &format!("caught up {ahead}")), now());
        assert_eq!(server.stop().code, Some(0));
    }
    assert_eq!(machine.receiver.count("/good"), 8, "none of them was sent twice");
}

#[test]
#[ignore = "needs libfaketime"]
fn ten_years_ahead_while_it_runs_is_one_attempt_for_each_that_waits() {
    let machine = Machine::with_clock(0);
    let server = machine.start();
    for number in 0..50 {
        machine.send(&server, &format!("retried {number}"), "/bad");
    }
    for number in 0..50 {
        is_scheduled(&tried(&server, &format!("retried {number}"), 1), now());
    }
    machine.set_clock(10 * YEAR);
    is_about(machine.deliver(&server, "ahead"), now() + 10 * YEAR);
    for number in 0..50 {
        is_scheduled(&tried(&server, &format!("retried {number}"), 2), now() + 10 * YEAR);
    }
    assert_eq!(machine.receiver.count("/bad"), 100);
    // And back: nothing is due again.
    machine.set_clock(0);
    is_about(machine.deliver(&server, "back"), now() + 10 * YEAR);
    assert_eq!(machine.receiver.count("/bad"), 100);
    assert_eq!((warnings(&server, "has gone ahead"), warnings(&server, "was set back")), (1, 1));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
#[ignore = "needs libfaketime"]
fn ten_years_back_while_it_runs_holds_up_nothing() {
    let machine = Machine::with_clock(0);
    let server = machine.start();
    machine.send(&server, "retried", "/bad");
    tried(&server, "retried", 1);
    let (failed, first) = (Instant::now(), machine.name(&server));
    machine.set_clock(-10 * YEAR);
    is_about(machine.deliver(&server, "back"), now());
    assert!(machine.name(&server) > first);
    assert_eq!(warnings(&server, "was set back"), 1);
    // A minute and up to a tenth: the wait that was promised.
    thread::sleep(Duration::from_secs(55).saturating_sub(failed.elapsed()));
    assert_eq!(machine.receiver.count("/bad"), 1);
    is_scheduled(&tried(&server, "retried", 2), now());
    assert!((58..=66 + SLACK as u64).contains(&failed.elapsed().as_secs()), "{:?}", failed.elapsed());
    assert_eq!(warnings(&server, "was set back"), 1, "each step is named once");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
#[ignore = "needs libfaketime"]
fn a_retry_that_was_scheduled_by_a_clock_far_ahead_does_not_wait_for_that_time() {
    let machine = Machine::with_clock(0);
    let server = machine.start();
    machine.send(&server, "retried", "/bad");
    tried(&server, "retried", 1);
    assert_eq!(server.stop().code, Some(0));

    machine.set_clock(14 * YEAR);
    let server = machine.start();
    is_scheduled(&tried(&server, "retried", 2), now() + 14 * YEAR);
    assert_eq!(server.stop().code, Some(0));
    let later = now() + 7 * DAY;
    let database = machine.home.database();
    let row = "insert into items(notify_id, driver, endpoint, content, create_at, next_at) \
               values('scheduled', 'HTTPPOST', ?1, '{\"body\":\"a\"}', ?2, ?3)";
    database.execute(row, (machine.receiver.url("/good"), now(), later)).unwrap();

    machine.set_clock(0);
    let server = machine.start();
    is_scheduled(&tried(&server, "retried", 3), now());
    assert_eq!(warnings(&server, "far in the future"), 1);
    is_about(machine.deliver(&server, "new"), now());
    // Somebody's own choice of a time is kept.
    let scheduled = server.ask("/status", "scheduled").json();
    assert_eq!((&scheduled["tried"], &scheduled["next_at"]), (&json!(0), &json!(later)));
    assert_eq!(server.stop().code, Some(0));
}
