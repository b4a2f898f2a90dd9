//! What a server does while its database doesn't.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Database, Kind,
    database::{PASSWORD, alone},
    support::harness::{Answer, Gate, PATIENCE, Receiver, Reply, Server, eventually},
};

/// Every call is answered within this.
const ANSWERED: Duration = Duration::from_secs(11);

/// `/send`, or another call with the same body.
fn post(node: &Server, path: &str, id: &str, url: &str) -> Answer {
    let begun = Instant::now();
    let body = json!({"id": id, "type": "HTTPPOST", "endpoint": url, "payload": {"body": ""}});
    let answer = node.api.post(path, &body);
    assert!(begun.elapsed() < ANSWERED, "{path} took {:?}", begun.elapsed());
    answer
}

/// A 503 that says why and when to come back.
#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    assert!(answer.json()["error"].as_str().is_some_and(|error| error.len() > 20), "{answer:?}");
}

#[track_caller]
fn assert_logged_once(node: &Server, trouble: &str) {
    let lines = node.lines_with(trouble);
    let (over, begun): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("over: "));
    assert_eq!((begun.len(), over.len()), (1, 1), "{lines:#?}");
}

const RECORDING: &str = "nothing can be stored";

pub(crate) fn cut_connections_lose_nothing(kind: Kind) {
    let database = &Database::new(kind);
    let receiver = Receiver::friendly();
    let url = receiver.url("/");
    let node = database.node(&[]);
    let is_over = &AtomicBool::new(false);
    let accepted = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                database.cut();
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut accepted = Vec::new();
        let begun = Instant::now();
        while accepted.len() < 20 || begun.elapsed() < Duration::from_secs(3) {
            let id = format!("n{}", accepted.len());
            let answer = post(&node, "/send", &id, &url);
            match answer.status {
                200 => accepted.push(id),
                _ => assert_unavailable(&answer),
            }
            assert!(begun.elapsed() < PATIENCE, "{} were accepted", accepted.len());
        }
        is_over.store(true, Ordering::Relaxed);
        accepted
    });
    // A row whose claim was stored and never answered waits for the end of its lease.
    let deadline = Instant::now() + LEASE + PATIENCE;
    let is_delivered = |id: &str| {
        let answer = node.api.post("/status", &json!({ "id": id }));
        answer.status == 200 && answer.json()["state"] == 1
    };
    for id in &accepted {
        while !is_delivered(id) {
            assert!(Instant::now() < deadline, "{id} is not delivered");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(receiver.count(id), 1, "{id}");
    }
    eventually("it is healthy", || (node.api.health() == 200).then_some(()));
}

/// How long a claim lasts that nobody renews.
const LEASE: Duration = Duration::from_secs(60);

pub(crate) fn a_read_only_server_is_waited_for(kind: Kind) {
    let _alone = alone();
    let mut database = Database::with_user(kind);
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::start(move |hit| match hit.path.as_str() {
        "/slow" => Reply::Wait(held.clone()),
        _ => Reply::ok(),
    });
    let node = database.node(&[]);
    node.api.send("slow", "HTTPPOST", &receiver.url("/slow"));
    receiver.await_id("slow", 1);
    database.set_read_only(true);
    gate.open();
    for n in 0..3 {
        let answer = post(&node, "/send", &format!("refused {n}"), &receiver.url("/"));
        assert_unavailable(&answer);
        let reason = answer.json()["error"].to_string();
        assert!(reason.contains("read-only"), "{reason}");
    }
    assert_unavailable(&post(&node, "/resend", "slow", ""));
    assert_eq!(node.api.state("slow"), 0, "reading works");
    assert_eq!(node.api.health(), 503);
    database.set_read_only(false);
    node.await_line(PATIENCE, |line| line.contains("over: ") && line.contains(RECORDING));
    node.api.await_state("slow", 1);
    assert_eq!(receiver.count("slow"), 1, "its outcome was kept");
    node.api.send("after", "HTTPPOST", &receiver.url("/"));
    node.api.await_state("after", 1);
    eventually("it is healthy", || (node.api.health() == 200).then_some(()));
    assert_logged_once(&node, RECORDING);
    assert_eq!(receiver.ids().len(), 2, "what was refused isn't sent");
}

pub(crate) fn leases_that_could_not_be_returned_are_returned_later(kind: Kind) {
    let _alone = alone();
    let mut database = Database::with_user(kind);
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let a = database.node(&[("NOTIFY_THREADS", "1")]);
    database.insert("n", 6, &receiver.url("/"));
    receiver.await_hits(PATIENCE, "it is busy", |hits| (!hits.is_empty()).then_some(()));
    // It has claimed more than it can take, and is about to return them.
    database.set_read_only(true);
    thread::sleep(Duration::from_millis(1_500));
    database.set_read_only(false);
    // Its sessions may have to be replaced first; a lease would last a minute.
    let b = database.node(&[]);
    receiver.await_hits(PATIENCE, "the other node has one", |hits| (hits.len() >= 2).then_some(()));
    gate.open();
    eventually("all are delivered", || (database.count("cur_state = 1") == 6).then_some(()));
    assert_eq!(receiver.hits().len(), 6);
    drop((a, b));
}

pub(crate) fn a_locked_table_is_answered_in_time(kind: Kind) {
    let _alone = alone();
    let database = Database::new(kind);
    let receiver = Receiver::friendly();
    let url = receiver.url("/");
    let node = database.node(&[]);
    node.api.send("before", "HTTPPOST", &url);
    node.api.await_state("before", 1);
    let mut other = database.session();
    other.ask(match kind {
        Kind::MySql => "lock tables items write",
        Kind::Postgres => "begin; lock table items in access exclusive mode",
    });
    thread::scope(|scope| {
        let calls = ["/send", "/status", "/send", "/status"].map(|path| {
            let (node, url) = (&node, &url);
            scope.spawn(move || post(node, path, "before", url))
        });
        for call in calls {
            assert_unavailable(&call.join().unwrap());
        }
    });
    assert_unavailable(&post(&node, "/send", "during", &url));
    assert_eq!(node.api.health(), 503);
    other.ask(match kind {
        Kind::MySql => "unlock tables",
        Kind::Postgres => "commit",
    });
    node.await_line(PATIENCE, |line| line.contains("over: ") && line.contains(RECORDING));
    assert_eq!(post(&node, "/send", "after", &url).status, 200);
    node.api.await_state("after", 1);
    eventually("it is healthy", || (node.api.health() == 200).then_some(()));
    assert_logged_once(&node, RECORDING);
    assert_eq!((receiver.count("before"), receiver.count("after")), (1, 1));
}

pub(crate) fn a_wrong_login_is_one_line(kind: Kind) {
    let database = Database::with_user(kind);
    // PostgreSQL may be told to trust any password, but not any user.
    let user = match kind {
        Kind::MySql => database.name.as_str(),
        Kind::Postgres => "notify_test_nobody",
    };
    for password in ["hush", "h/u@s:h"] {
        let password: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_notify-api"))
            .env_clear()
            .env("NOTIFY_DSN", database.dsn_of(user, &password))
            .env("NOTIFY_HTTP_BIND", "127.0.0.1:0")
            .output()
            .unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains("NOTIFY_DSN") && line.contains("refuses this user"), "{line}");
        let secrets = ["hush", "h/u@s:h", &password, PASSWORD];
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
}
