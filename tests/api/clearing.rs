//! `/clear` and `/forceClear`.

use serde_json::json;

use crate::support::{
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

/// A server with one notification of each kind, a thousand seconds apart: `sent`, `failed`, `waiting`, and one
/// `sending`, the oldest of all, until the gate is opened.
fn one_of_each(home: &Home) -> (Server, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |received| match received.target.as_str() {
        "/sent" => (200, vec![]),
        "/sending" => {
            held.pass();
            (200, vec![])
        }
        _ => (500, vec![]),
    });
    let server = home.start(&[]);
    for id in ["sent", "failed", "waiting"] {
        let path = if id == "failed" { "/sendOnce" } else { "/send" };
        server.post(path, params(id, &receiver.url(&format!("/{id}"))).to_string()).done(id);
    }
    server.settled("sent");
    server.settled("failed");
    server.status_when("waiting", "tried", |status| status["tried"] == 1);
    server.stop();
    for (id, create_at) in [("sent", 2000), ("failed", 3000), ("waiting", 4000)] {
        let aged =
            home.database().execute("update items set create_at = ? where notify_id = ?", (create_at, id));
        assert_eq!(aged, Ok(1));
    }
    let insert = "insert into items(notify_id, driver, endpoint, content, create_at, next_at) values(?, ?, ?, ?, 1000, 0)";
    let row = ("sending", "HTTPPOST", receiver.url("/sending"), r#"{"body":"hello"}"#);
    assert_eq!(home.database().execute(insert, row), Ok(1));
    let server = home.start(&[]);
    receiver.wait_for(4);
    (server, gate)
}

fn left(server: &Server) -> Vec<&'static str> {
    let known = |id: &&str| server.ask("/status", id).status == 200;
    ["sending", "sent", "failed", "waiting"].into_iter().filter(known).collect()
}

fn call(server: &Server, path: &str, before: i64) {
    server.post(path, json!({ "before": before }).to_string()).done((path, before));
}

#[test]
fn clear_takes_the_finished_ones_before_a_time() {
    let home = Home::new();
    let (server, gate) = one_of_each(&home);
    for before in [i64::MIN, -1, 0, 2000] {
        call(&server, "/clear", before);
        assert_eq!(left(&server), ["sending", "sent", "failed", "waiting"], "{before}");
    }
    call(&server, "/clear", 2001);
    assert_eq!(left(&server), ["sending", "failed", "waiting"]);
    call(&server, "/clear", i64::MAX);
    assert_eq!(left(&server), ["sending", "waiting"]);
    gate.open();
    server.settled("sending");
    call(&server, "/clear", 1000);
    assert_eq!(left(&server), ["sending", "waiting"]);
    call(&server, "/clear", 1001);
    assert_eq!(left(&server), ["waiting"]);
}

#[test]
fn force_clear_takes_all_before_a_time_but_what_is_being_sent() {
    let home = Home::new();
    let (server, gate) = one_of_each(&home);
    call(&server, "/forceClear", 2000);
    assert_eq!(left(&server), ["sending", "sent", "failed", "waiting"]);
    call(&server, "/forceClear", 4000);
    assert_eq!(left(&server), ["sending", "waiting"]);
    call(&server, "/forceClear", 4001);
    assert_eq!(left(&server), ["sending"]);
    gate.open();
    assert_eq!(server.settled("sending")["state"], 1);
    call(&server, "/forceClear", 1001);
    assert_eq!((left(&server).len(), home.rows()), (0, 0));
}

#[test]
fn before_is_an_integer_literal() {
    let home = Home::new();
    let server = home.start(&[]);
    for literal in ["0", "-0", "-5", "1700000000", "9223372036854775807", "-9223372036854775808", " 7 "] {
        for path in ["/clear", "/forceClear"] {
            server.post(path, format!(r#"{{"before":{literal}}}"#)).done(literal);
        }
    }
}

#[test]
fn many_are_cleared() {
    let home = Home::new();
    home.start(&[]).stop();
    let insert = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
        insert into items(notify_id, driver, endpoint, content, create_at, next_at, cur_state)
        select 'n' || i, 'HTTPPOST', 'http://127.0.0.1:1/', '{}', i, 0, 1 + i % 2 from n";
    assert_eq!(home.database().execute(insert, ()), Ok(5000));
    let server = home.start(&[]);
    call(&server, "/clear", 4001);
    assert_eq!(home.rows(), 1000);
    call(&server, "/forceClear", 5001);
    assert_eq!(home.rows(), 0);
}
