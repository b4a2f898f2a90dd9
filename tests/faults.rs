//! A disk that is full, a database that another process has locked, receivers that
//! fail all the time: what is accepted stays, and all recovers by itself.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use notify_api::db::sqlite::Sqlite;
use rusqlite::Connection as Database;
use serde_json::json;
use support::harness::{
    Audience, Gate, Library, MOMENT, Receiver, Reply, Server, Setup, Stage, TenMethods, eventually, now,
    within,
};
use tempfile::{TempDir, tempdir};

/// Room for the database and some notifications.
const DISK_BYTES: usize = 4 << 20;

/// A small file system in memory.
struct SmallDisk {
    path: PathBuf,
    _directory: TempDir,
}

impl SmallDisk {
    /// Without the right to mount, the test is run again by a process in a
    /// namespace of its own that has it, and there is nothing left to do here.
    #[track_caller]
    fn mount() -> Option<Self> {
        const IN_NAMESPACE: &str = "TEST_IN_NAMESPACE";
        let directory = tempdir().unwrap();
        let path = directory.path().to_owned();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { path, _directory: directory });
        }
        let thread = thread::current();
        let test = thread.name().expect("a test's thread has its name");
        let again = std::env::var_os(IN_NAMESPACE).is_none().then(|| {
            Command::new("unshare")
                .arg("-rm")
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(IN_NAMESPACE, "1")
                .status()
        });
        let passed = again.is_some_and(|status| status.is_ok_and(|status| status.success()));
        assert!(
            passed,
            "this test needs a small disk, and neither mount nor unshare -rm gives it one (or it failed there)"
        );
        None
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let file = fs::File::create(self.path.join("ballast")).unwrap();
        let mut size = 64 << 10;
        while size > 0 {
            if std::io::Write::write_all(&mut &file, &vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Posts until the server refuses; the ids that were accepted.
fn post_until_refused(server: &Server, prefix: &str, url: &str) -> Vec<String> {
    let payload = "x".repeat(2000);
    let mut accepted = Vec::new();
    for number in 0..10_000 {
        let id = format!("{prefix}{number}");
        let body = json!({"id": id, "type": "HTTPPOST", "endpoint": url, "payload": {"body": payload}});
        let answer = server.api.post("/send", &body);
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
            assert!(answer.json()["error"].as_str().is_some_and(|sentence| !sentence.is_empty()));
            return accepted;
        }
        accepted.push(id);
    }
    panic!("the disk is never full");
}

/// The lines that tell of a change of health.
fn changes(server: &Server) -> (usize, usize) {
    (server.lines_with("ERROR").len(), server.lines_with("INFO").len() - 1)
}

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let server = Server::start(&disk.path, &[]);
    let url = receiver.url("/");
    for number in 0..5 {
        server.api.send(&format!("early{number}"), "HTTPPOST", &url);
    }
    receiver.await_id("early0", 1);
    disk.fill();
    let mut accepted = post_until_refused(&server, "late", &url);
    accepted.extend((0..5).map(|number| format!("early{number}")));
    assert_eq!(server.api.health(), 503);
    // Outcomes can't be stored either.
    gate.open();
    receiver.await_id("early0", 1);
    assert_eq!(server.api.state("early0"), 0, "reading goes on");
    disk.free();
    for id in &accepted {
        server.api.await_state(id, 1);
        assert!(receiver.count(id) >= 1);
    }
    within(Duration::from_secs(10), "health is green again", || (server.api.health() == 200).then_some(()));
    server.api.send("after", "HTTPPOST", &url);
    server.api.await_state("after", 1);
    // What was being sent meanwhile is not sent again: its outcome was kept.
    assert_eq!(receiver.count("early0"), 1);
    let (errors, recoveries) = changes(&server);
    assert!((1..=3).contains(&errors), "once per change:\n{}", server.lines_with("").join("\n"));
    assert_eq!(errors, recoveries, "{}", server.lines_with("").join("\n"));
}

#[test]
fn a_disk_that_fills_up_refuses_what_is_new_and_stores_what_becomes_of_the_rest() {
    let Some(disk) = SmallDisk::mount() else { return };
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let server = Server::start(&disk.path, &[("NOTIFY_HTTP_TIMEOUT", "600")]);
    let accepted = post_until_refused(&server, "n", &receiver.url("/"));
    let one_more =
        json!({"id": "more", "type": "HTTPPOST", "endpoint": receiver.url("/"), "payload": {"body": ""}});
    let refusal = server.api.post("/send", &one_more).json()["error"].to_string();
    assert!(refusal.contains("but for what deliveries need"), "{refusal}");
    assert_eq!(server.api.health(), 503);
    gate.open();
    for id in &accepted {
        server.api.await_state(id, 1);
    }
    assert_eq!(server.api.health(), 503, "it is as full as before");
    server.api.clear("/clear", now() + 100);
    // The file doesn't shrink, but its pages are free.
    within(Duration::from_secs(15), "health is green again", || (server.api.health() == 200).then_some(()));
    server.api.send("after", "HTTPPOST", &receiver.url("/"));
    server.api.await_state("after", 1);
    assert_eq!(server.lines_with("ERROR").len(), 1, "{}", server.lines_with("").join("\n"));
}

#[test]
fn outcomes_on_a_full_disk_are_kept_and_nothing_new_begins() {
    let Some(disk) = SmallDisk::mount() else { return };
    let gate = Gate::default();
    let held = gate.clone();
    // A response that needs room.
    let receiver = Receiver::start(move |_| {
        held.pass();
        Reply::Status(200, vec![b'x'; 500_000])
    });
    let server = Server::start(&disk.path, &[("NOTIFY_THREADS", "2")]);
    for number in 0..4 {
        server.api.send(&format!("n{number}"), "HTTPPOST", &receiver.url("/"));
    }
    receiver.await_id("n0", 1);
    disk.fill();
    gate.open();
    server.await_line(Duration::from_secs(10), |line| line.contains("ERROR"));
    assert_eq!(server.api.health(), 503);
    let begun = receiver.hits().len();
    // Several pauses long.
    thread::sleep(Duration::from_millis(1500));
    assert!(receiver.hits().len() <= begun + 2, "no new attempts while outcomes can't be stored");
    assert_eq!(server.lines_with("ERROR").len(), 1, "once:\n{}", server.lines_with("").join("\n"));
    disk.free();
    for number in 0..4 {
        let id = format!("n{number}");
        server.api.await_state(&id, 1);
        assert_eq!(receiver.count(&id), 1, "{id}");
    }
    within(Duration::from_secs(10), "health is green again", || (server.api.health() == 200).then_some(()));
}

#[test]
fn health_recovers_without_anybody_writing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::start(&disk.path, &[]);
    disk.fill();
    post_until_refused(&server, "n", "http://127.0.0.1:9/");
    assert_eq!(server.api.health(), 503);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(server.api.health(), 503, "as long as the disk is full");
    disk.free();
    within(Duration::from_secs(15), "health is green again", || (server.api.health() == 200).then_some(()));
}

/// Another process that has the database locked, as far as SQLite can tell: a
/// connection with locks of its own.
fn lock(directory: &Path) -> Database {
    let other = Database::open(directory.join("notify.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    other
}

#[test]
fn a_locked_database_refuses_in_time_and_recovers_by_itself() {
    let (directory, gate) = (tempdir().unwrap(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let server = Server::start(directory.path(), &[]);
    let (api, url) = (server.api, receiver.url("/"));
    api.send("running", "HTTPPOST", &url);
    receiver.await_id("running", 1);
    let other = lock(directory.path());
    gate.open();
    let calls = thread::scope(|scope| {
        let bodies = [
            ("/send", json!({"id": "new", "type": "HTTPPOST", "endpoint": url, "payload": {"body": ""}})),
            ("/delete", json!({"id": "unknown"})),
            ("/resend", json!({"id": "running"})),
            ("/clear", json!({"before": 1})),
        ];
        let calls = bodies.map(|(path, body)| {
            scope.spawn(move || {
                let began = Instant::now();
                (path, api.post(path, &body).status, began.elapsed())
            })
        });
        // Reading goes on meanwhile, and so does the server.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            let asked = Instant::now();
            api.status("running");
            let status = asked.elapsed();
            api.health();
            let health = asked.elapsed() - status;
            assert!(status < Duration::from_secs(1), "/status took {status:?}");
            assert!(health < Duration::from_secs(1), "/health took {health:?}");
            thread::sleep(Duration::from_millis(20));
        }
        calls.map(|call| call.join().unwrap())
    });
    for (path, status, took) in calls {
        assert!(took < Duration::from_secs(10), "{path} took {took:?}");
        assert_eq!(status, 503, "{path}");
    }
    assert_eq!(api.health(), 503);
    assert_eq!(receiver.count("running"), 1);
    drop(other);
    api.await_state("running", 1);
    within(Duration::from_secs(10), "health is green again", || (api.health() == 200).then_some(()));
    api.send("after", "HTTPPOST", &url);
    api.await_state("after", 1);
    let (errors, recoveries) = changes(&server);
    assert_eq!((errors, recoveries), (1, 1), "once per change:\n{}", server.lines_with("").join("\n"));
}

#[test]
fn a_lock_that_is_given_up_in_time_is_not_noticed() {
    let (directory, receiver) = (tempdir().unwrap(), Receiver::friendly());
    let server = Server::start(directory.path(), &[]);
    let (api, url) = (server.api, receiver.url("/"));
    let other = lock(directory.path());
    thread::scope(|scope| {
        let sending = scope.spawn(move || api.send("n", "HTTPPOST", &url));
        thread::sleep(Duration::from_millis(500));
        drop(other);
        sending.join().unwrap();
    });
    api.await_state("n", 1);
    assert_eq!((api.health(), changes(&server)), (200, (0, 0)));
}

/// A server on a database of ten methods.
fn ten_methods() -> (TempDir, TenMethods, Library, Audience) {
    let directory = tempdir().unwrap();
    let db = TenMethods::new(Sqlite::open(directory.path().join("notify.db")).unwrap());
    let (driver, audience) = Stage::new("STAGE");
    let server =
        Library::start_on(Arc::new(db.clone()), Setup::default().tries(3).retry_at_once(), |server| {
            server.register(driver).unwrap();
        });
    (directory, db, server, audience)
}

#[test]
fn ten_methods_make_a_working_server() {
    let (_directory, _db, server, audience) = ten_methods();
    let api = server.api;
    api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let second = audience.expect("n");
    assert_eq!(api.delete("n"), 409);
    second.deliver("second");
    assert_eq!(api.await_state("n", 1)["tried"], 2);
    api.resend("n");
    audience.expect("n").deliver("third");
    eventually("the third", || (api.response_text("n") == "third").then_some(()));
    api.send_once("once", "STAGE", "b");
    audience.expect("once").fail();
    assert_eq!(api.await_state("once", 2)["tried"], 3);
    assert_eq!(api.delete("once"), 200);
    api.clear("/clear", now() + 100);
    assert_eq!((api.find("n"), api.find("once")), (None, None));
    let listed = api.call("GET", "/list", "").unwrap();
    assert_eq!((listed.status, listed.json()), (501, json!({ "error": "this database has no list" })));
    let metrics = api.call("GET", "/metrics", "").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(
        metrics.contains("\nnotify_healthy 1\n") && metrics.contains("\nnotify_sending 0\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("notify_pending"), "nobody knows");
    audience.none();
}

#[test]
fn ten_methods_that_fail_for_a_while_lose_and_repeat_nothing() {
    let (_directory, db, server, audience) = ten_methods();
    let api = server.api;
    api.send("n", "STAGE", "a");
    let sending = audience.expect("n");
    api.send("waiting", "STAGE", "a");
    db.set_broken(true);
    sending.deliver("delivered");
    within(Duration::from_secs(5), "health is red", || (api.health() == 503).then_some(()));
    assert_eq!(api.command("/resend", "waiting"), 503);
    let refused = json!({"id": "refused", "type": "STAGE", "endpoint": "a", "payload": 1});
    assert_eq!(api.post("/send", &refused).status, 503);
    // It may have begun before anybody knew.
    let begun = audience.next_within(MOMENT);
    db.set_broken(false);
    api.await_state("n", 1);
    within(Duration::from_secs(10), "health is green again", || (api.health() == 200).then_some(()));
    let waiting = begun.unwrap_or_else(|| audience.next());
    assert_eq!(waiting.id, "waiting");
    waiting.deliver("ok");
    api.await_state("waiting", 1);
    audience.none();
}

#[test]
fn failures_of_a_lane_are_logged_ten_times_a_minute() {
    let (directory, receiver) =
        (tempdir().unwrap(), Receiver::start(|_| Reply::Status(500, b"evil\nERROR line".to_vec())));
    let other = Receiver::start(|_| Reply::Close);
    let server = Server::start(directory.path(), &[]);
    for number in 0..60 {
        server.api.send(&format!("n{number}"), "HTTPPOST", &receiver.url("/"));
    }
    for number in 0..3 {
        server.api.send(&format!("o{number}"), "HTTPPOST", &other.url("/"));
    }
    for id in (0..60).map(|number| format!("n{number}")).chain((0..3).map(|number| format!("o{number}"))) {
        server.api.await_tried(&id, 1);
    }
    // A final failure is always told.
    server.api.send_once("last", "HTTPPOST", &receiver.url("/"));
    server.api.await_state("last", 2);
    eventually("the failure is told", || (server.lines_with("ERROR").len() == 1).then_some(()));
    let warnings = server.lines_with("WARN");
    assert_eq!(warnings.len(), 13, "ten for one lane, three for the other:\n{}", warnings.join("\n"));
}
