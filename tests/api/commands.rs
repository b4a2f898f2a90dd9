//! What the commands do, and what is told about it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::{
    receiver::{Gate, Receiver},
    server::{Home, params},
};

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Holds up those who come to `/slow…`.
fn gated() -> (Gate, Receiver) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |received| {
        if received.target.starts_with("/slow") {
            held.pass();
        }
        (200, b"ok".to_vec())
    });
    (gate, receiver)
}

#[test]
fn status_and_detail_before_while_and_after() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[("NOTIFY_THREADS", "1")]);
    let begin = now();
    server.post("/send", params("a", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);

    let status = server.ask("/status", "a").json();
    let created = status["create_at"].as_i64().unwrap();
    assert!((begin..=now()).contains(&created));
    assert_eq!(status, json!({ "create_at": created, "next_at": created, "tried": 0, "state": 0 }));
    let mut detail = json!({
        "type": "HTTPPOST", "endpoint": receiver.url("/slow"), "content": "eyJib2R5IjoiaGVsbG8ifQ==", "response": null,
        "create_at": created, "next_at": created, "tried": 0, "state": 0,
    });
    assert_eq!(server.ask("/detail", "a").json(), detail);
    let result = server.ask("/result", "a");
    assert_eq!((result.status, result.text()), (200, ""));
    assert_eq!(result.header("content-type"), Some("application/octet-stream"));
    assert_eq!(server.get("/health").json(), json!({ "status": "ok", "sending": 1 }));

    gate.open();
    assert_eq!(
        server.settled("a"),
        json!({ "create_at": created, "next_at": created, "tried": 1, "state": 1 })
    );
    detail["response"] = json!("b2s=");
    detail["tried"] = json!(1);
    detail["state"] = json!(1);
    assert_eq!(server.ask("/detail", "a").json(), detail);
    assert_eq!(server.ask("/result", "a").text(), "ok");
}

#[test]
fn an_empty_answer_is_a_response() {
    let (home, receiver) = (Home::new(), Receiver::answering(|_| (200, vec![])));
    let server = home.start(&[]);
    server.post("/send", params("a", &receiver.url("/a")).to_string()).done("/send");
    server.settled("a");
    // A failure without a body would be a sentence; a success is what it is.
    assert_eq!(server.ask("/detail", "a").json()["response"], "");
    assert_eq!(server.ask("/result", "a").text(), "");
}

#[test]
fn the_result_is_raw() {
    let raw: Vec<u8> = (0..=255).collect();
    let answer = raw.clone();
    let (home, receiver) = (Home::new(), Receiver::answering(move |_| (200, answer.clone())));
    let server = home.start(&[]);
    server.post("/send", params("a", &receiver.url("/a")).to_string()).done("/send");
    server.settled("a");
    let result = server.ask("/result", "a");
    assert_eq!((result.status, &result.body), (200, &raw));
    assert_eq!(result.header("content-type"), Some("application/octet-stream"));
}

#[test]
fn a_failed_one_waits_and_send_once_does_not() {
    let (home, receiver) = (Home::new(), Receiver::answering(|_| (500, b"no".to_vec())));
    let server = home.start(&[]);
    let begin = now();
    server.post("/send", params("again", &receiver.url("/a")).to_string()).done("/send");
    server.post("/sendOnce", params("once", &receiver.url("/b")).to_string()).done("/sendOnce");
    let status = server.status_when("again", "tried", |status| status["tried"] == 1);
    assert_eq!(status["state"], 0);
    let wait = status["next_at"].as_i64().unwrap() - begin;
    assert!((60..=66 + 15).contains(&wait), "{wait}");
    let status = server.settled("once");
    // Created with all tries but one used up.
    assert_eq!((&status["state"], &status["tried"]), (&json!(2), &json!(32)));
    assert_eq!(server.ask("/result", "once").text(), "no");
}

#[test]
fn the_number_of_tries_is_what_was_set() {
    let (home, receiver) = (Home::new(), Receiver::answering(|_| (500, b"no".to_vec())));
    let server = home.start(&[("NOTIFY_MAX_TRY", "1")]);
    server.post("/send", params("a", &receiver.url("/a")).to_string()).done("/send");
    let status = server.settled("a");
    assert_eq!((&status["state"], &status["tried"]), (&json!(2), &json!(1)));
    server.stop();

    let server = home.start(&[("NOTIFY_MAX_TRY", "4294967295")]);
    server.post("/sendOnce", params("b", &receiver.url("/a")).to_string()).done("/sendOnce");
    assert_eq!(server.settled("b")["tried"], 4294967295u32);
    server.post("/send", params("c", &receiver.url("/a")).to_string()).done("/send");
    assert_eq!(server.status_when("c", "tried", |status| status["tried"] == 1)["state"], 0);
}

#[test]
fn resend_is_one_more_attempt_whatever_the_state() {
    let attempts = AtomicUsize::new(0);
    let (home, receiver) = (
        Home::new(),
        Receiver::answering(move |received| {
            let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
            let status = if received.target == "/bad" { 500 } else { 200 };
            (status, format!("answer {attempt}").into_bytes())
        }),
    );
    let server = home.start(&[]);
    let begin = now();

    server.post("/send", params("good", &receiver.url("/good")).to_string()).done("/send");
    server.settled("good");
    server.ask("/resend", "good").done("/resend of a success");
    receiver.wait_for(2);
    server.status_when("good", "sent again", |status| status["state"] == 1 && status["tried"] == 32);
    assert_eq!(server.ask("/result", "good").text(), "answer 2");

    server.post("/send", params("bad", &receiver.url("/bad")).to_string()).done("/send");
    let waiting = server.status_when("bad", "tried", |status| status["tried"] == 1);
    assert!(waiting["next_at"].as_i64().unwrap() >= begin + 60);
    server.ask("/resend", "bad").done("/resend of a waiting one");
    let failed = server.settled("bad");
    assert_eq!((&failed["state"], &failed["tried"]), (&json!(2), &json!(32)));
    // Due at once, not when it would have been.
    assert!((begin..=now()).contains(&failed["next_at"].as_i64().unwrap()), "{failed}");

    server.ask("/resend", "bad").done("/resend of a failure");
    receiver.wait_for(5);
    server.status_when("bad", "failed again", |status| status["state"] == 2);
    assert_eq!(server.ask("/result", "bad").text(), "answer 5");
    server.ask("/resend", "unknown").failure(404, "/resend");
    assert_eq!(home.rows(), 2);
}

#[test]
fn resend_of_one_being_sent_is_one_more() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/send", params("a", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);
    server.ask("/resend", "a").done("/resend");
    assert_eq!(server.ask("/status", "a").json()["state"], 0);
    gate.open();
    receiver.wait_for(2);
    assert_eq!(server.settled("a")["state"], 1);
    assert_eq!(receiver.count("/slow"), 2);
}

#[test]
fn delete_takes_what_is_not_being_sent() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[("NOTIFY_THREADS", "1")]);
    for id in ["first", "next", "last"] {
        server.post("/send", params(id, &receiver.url(&format!("/slow/{id}"))).to_string()).done(id);
    }
    receiver.wait_for(1);
    let sentence = server.ask("/delete", "first").failure(409, "being sent");
    assert!(sentence.contains("sent"), "{sentence}");
    server.ask("/delete", "next").done("merely next in line");
    server.ask("/status", "next").failure(404, "deleted");
    server.ask("/delete", "next").done("deleted twice");
    gate.open();
    let targets: Vec<String> = receiver.wait_for(2).into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/slow/first", "/slow/last"]);
    for id in ["first", "last"] {
        server.settled(id);
        server.ask("/delete", id).done("as soon as it is final");
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn all_that_was_accepted_survives_a_kill() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[]);
    for number in 0..50 {
        let id = format!("{number:02}");
        server.post("/send", params(&id, &receiver.url(&format!("/slow/{id}"))).to_string()).done(number);
    }
    // Killed.
    drop(server);
    gate.open();
    let server = home.start(&[]);
    for number in 0..50 {
        let status: Value = server.settled(&format!("{number:02}"));
        assert_eq!((&status["state"], &status["tried"]), (&json!(1), &json!(1)), "{number}");
        assert!(receiver.count(&format!("/slow/{number:02}")) >= 1);
    }
    assert_eq!(home.rows(), 50);
}
