//! Several nodes on one database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Database, Kind,
    support::harness::{Connection, Gate, Hit, PATIENCE, Receiver, Reply, eventually},
};

/// Each node looks once in a second: that long for one that gives back and one that finds,
/// on a busy machine.
const SCANS: Duration = Duration::from_secs(5);

pub(crate) fn four_nodes_deliver_each_once(kind: Kind) {
    const POSTED: usize = 1_250;
    const INSERTED: usize = 5_000;
    let database = &Database::new(kind);
    let receiver = Receiver::friendly();
    let url = &receiver.url("/");
    let nodes: Vec<_> = (0..4).map(|_| database.node(&[("NOTIFY_THREADS", "4")])).collect();
    thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                let mut connection = Connection::open(node.api.0).unwrap();
                for n in 0..POSTED {
                    let id = format!("posted-{number}-{n}");
                    let body =
                        json!({"id": id, "type": "HTTPPOST", "endpoint": url, "payload": {"body": ""}});
                    let answer = connection.call("POST", "/send", &body.to_string()).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
        scope.spawn(|| database.insert("inserted", INSERTED, url));
    });
    let all = 4 * POSTED + INSERTED;
    receiver.await_hits(PATIENCE * 3, "all", |hits| (hits.len() >= all).then_some(()));
    eventually("all outcomes are stored", || (database.count("cur_state = 1") == all).then_some(()));
    assert_eq!((receiver.hits().len(), receiver.ids().len()), (all, all));
    assert_eq!(database.count("tried <> 1 or lease_token <> 0 or lease_until <> 0"), 0);
}

pub(crate) fn what_a_killed_node_held_is_delivered_by_another(kind: Kind) {
    const HELD: usize = 100;
    let database = Database::new(kind);
    let answers = Arc::new(AtomicBool::new(false));
    let does = answers.clone();
    let receiver = Receiver::start(move |hit| match hit.path == "/warm" || does.load(Ordering::Relaxed) {
        true => Reply::ok(),
        false => Reply::Hang,
    });
    // The last free slot isn't for a lane that has others.
    let mut a = database.node(&[("NOTIFY_THREADS", "101"), ("NOTIFY_HTTP_TIMEOUT", "60")]);
    // Each answer gives the lane one more slot.
    database.insert("warm", HELD, &receiver.url("/warm"));
    eventually("all slots are the lane's", || (database.count("cur_state = 1") == HELD).then_some(()));
    database.insert("held", HELD, &receiver.url("/held"));
    receiver.await_hits(PATIENCE, "it holds 100", |hits| (hits.len() >= 2 * HELD).then_some(()));
    let b = database.node(&[("NOTIFY_THREADS", "20")]);
    let clock = match kind {
        Kind::MySql => "unix_timestamp()",
        Kind::Postgres => "extract(epoch from clock_timestamp())",
    };
    a.kill();
    receiver.await_closed();
    answers.store(true, Ordering::Relaxed);
    let leased = format!("cur_state = 0 and lease_until > {clock} - 5 and lease_until <= {clock} + 60");
    assert_eq!(database.count(&leased), HELD, "within a minute they are free");
    assert_eq!(receiver.hits().len(), 2 * HELD, "until then nobody sends them");
    database.expire();
    eventually("all are delivered", || (database.count("cur_state = 1") == 2 * HELD).then_some(()));
    let hits = receiver.hits();
    let count = |id: &str| hits.iter().filter(|hit| hit.id == id).count();
    assert!((0..HELD).all(|n| count(&format!("held-{n}")) == 2 && count(&format!("warm-{n}")) == 1));
    drop(b);
}

pub(crate) fn a_late_result_is_refused(kind: Kind) {
    let database = Database::new(kind);
    let (gate, is_late) = (Gate::default(), AtomicBool::new(true));
    let held = gate.clone();
    let receiver = Receiver::start(move |hit| {
        if hit.id == "one" && is_late.swap(false, Ordering::Relaxed) {
            held.pass();
            return Reply::Status(500, b"late".to_vec());
        }
        Reply::ok()
    });
    let a = database.node(&[]);
    a.api.send("one", "HTTPPOST", &receiver.url("/"));
    receiver.await_id("one", 1);
    a.signal("STOP");
    let b = database.node(&[]);
    assert_eq!(b.api.delete("one"), 409);
    database.expire();
    receiver.await_id("one", 2);
    b.api.await_state("one", 1);
    gate.open();
    a.signal("CONT");
    eventually("the late one has ended", || {
        (a.api.call("GET", "/health", "").unwrap().json()["sending"] == 0).then_some(())
    });
    // What it has to store goes along with, or before, this.
    a.api.send("other", "HTTPPOST", &receiver.url("/"));
    a.api.await_state("other", 1);
    let status = b.api.status("one");
    assert_eq!((&status["state"], &status["tried"]), (&json!(1), &json!(1)));
    assert_eq!(b.api.response_text("one"), "taken");
    assert_eq!(b.api.delete("one"), 200);
    assert_eq!(receiver.count("one"), 2);
}

pub(crate) fn what_was_next_in_line_is_looked_at_again_after_a_standstill(kind: Kind) {
    let database = Database::new(kind);
    let (gate, is_first) = (Gate::default(), AtomicBool::new(true));
    let held = gate.clone();
    let receiver = Receiver::start(move |_| match is_first.swap(false, Ordering::Relaxed) {
        true => Reply::Wait(held.clone()),
        false => Reply::ok(),
    });
    let a = database.node(&[("NOTIFY_THREADS", "1"), ("NOTIFY_HTTP_TIMEOUT", "60")]);
    database.insert("n", 6, &receiver.url("/"));
    receiver.await_hits(PATIENCE, "it sends one", |hits| (!hits.is_empty()).then_some(()));
    a.signal("STOP");
    let stopped = Instant::now();
    let b = database.node(&[]);
    database.expire();
    eventually("the other node delivers all", || (database.count("cur_state = 1") == 6).then_some(()));
    assert_eq!(receiver.hits().len(), 7);
    // This is what it takes to see that it stood still; nothing tells when.
    thread::sleep(Duration::from_secs(6).saturating_sub(stopped.elapsed()));
    gate.open();
    a.signal("CONT");
    a.api.send("other", "HTTPPOST", &receiver.url("/"));
    b.api.await_state("other", 1);
    eventually("all attempts have ended", || {
        (a.api.call("GET", "/health", "").unwrap().json()["sending"] == 0).then_some(())
    });
    assert_eq!(receiver.hits().len(), 8, "it sends none of them again");
    assert_eq!(database.count("tried = 1 and cur_state = 1"), 7);
}

/// A receiver that answers what is sent to `/slow` when the gate is open.
fn slow() -> (Receiver, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::start(move |hit| match hit.path.as_str() {
        "/slow" => Reply::Wait(held.clone()),
        _ => Reply::ok(),
    });
    (receiver, gate)
}

pub(crate) fn what_one_node_sends_no_other_deletes(kind: Kind) {
    let database = Database::new(kind);
    let (receiver, gate) = slow();
    let (a, b) = (database.node(&[]), database.node(&[]));
    a.api.send("one", "HTTPPOST", &receiver.url("/slow"));
    receiver.await_id("one", 1);
    assert_eq!(b.api.delete("one"), 409);
    b.api.clear("/forceClear", 1 << 40);
    assert_eq!(b.api.state("one"), 0);
    gate.open();
    b.api.await_state("one", 1);
    assert_eq!(b.api.delete("one"), 200);
    assert_eq!(a.api.find("one"), None);
    assert_eq!(receiver.count("one"), 1);
}

pub(crate) fn what_one_node_cannot_take_another_does(kind: Kind) {
    let database = Database::new(kind);
    let (receiver, gate) = slow();
    let (elsewhere, _) = slow();
    let a = database.node(&[("NOTIFY_THREADS", "1")]);
    // It claims several of a lane at once, but has one slot.
    database.insert("same", 6, &receiver.url("/slow"));
    let ids = |hits: &[Hit]| (!hits.is_empty()).then(|| hits[0].id.clone());
    let busy = receiver.await_hits(PATIENCE, "it is busy", ids);
    a.api.send("other", "HTTPPOST", &elsewhere.url("/"));
    let b = database.node(&[]);
    elsewhere.await_hits(SCANS, "another lane's", |hits| (hits.len() == 1).then_some(()));
    // A lane begins with one slot, so the next one shows it.
    receiver.await_hits(SCANS, "one of the same lane", |hits| (hits.len() >= 2).then_some(()));
    gate.open();
    eventually("all", || (database.count("cur_state = 1") == 7).then_some(()));
    assert_eq!(receiver.hits().len(), 6);
    assert_eq!((receiver.count(&busy), elsewhere.count("other")), (1, 1));
    drop((a, b));
}

pub(crate) fn a_resend_anywhere_is_one_more_attempt(kind: Kind) {
    let database = Database::new(kind);
    let (receiver, gate) = slow();
    let (a, b) = (database.node(&[]), database.node(&[]));
    a.api.send("one", "HTTPPOST", &receiver.url("/slow"));
    receiver.await_id("one", 1);
    b.api.resend("one");
    assert_eq!(a.api.state("one"), 0);
    gate.open();
    receiver.await_id("one", 2);
    let status = a.api.await_state("one", 1);
    assert_eq!(status["tried"], 32, "it was the last attempt");
    assert_eq!(receiver.count("one"), 2);
}
