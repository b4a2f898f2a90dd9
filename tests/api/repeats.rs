//! The same id again: a repeat, a conflict, or another night.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};

use crate::support::{
    http::Request,
    receiver::Receiver,
    server::{Home, Server, params},
};

const DAY: i64 = 24 * 60 * 60;

/// Shows that nothing but this has come to the receiver: one more to the same place is the next to come.
fn nothing_else_came(server: &Server, receiver: &Receiver, count: usize) {
    server.post("/send", params("the last", &receiver.url("/last")).to_string()).done("the last");
    let received = receiver.wait_for(count + 1);
    assert_eq!(received.len(), count + 1);
    assert_eq!(received[count].target, "/last");
    assert_eq!(server.settled("the last")["state"], 1);
}

#[test]
fn an_identical_repeat_is_stored_and_sent_once() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let mut count = 0;
    for first in ["/send", "/sendOnce"] {
        let body = params(first, &receiver.url(first)).to_string();
        server.post(first, &body).done("at first");
        for again in ["/send", "/sendOnce", "/send"] {
            server.post(again, &body).done("while it may be sent");
        }
        let status = server.settled(first);
        for again in ["/send", "/sendOnce"] {
            server.post(again, &body).done("when it is sent");
        }
        assert_eq!(server.ask("/status", first).json(), status);
        count += 1;
    }
    assert_eq!(home.rows(), count as i64);
    nothing_else_came(&server, &receiver, count);
}

#[test]
fn a_repeat_of_a_failed_one_is_a_repeat() {
    let (home, receiver) = (
        Home::new(),
        Receiver::answering(|received| match received.target.as_str() {
            "/last" => (200, vec![]),
            _ => (500, b"no".to_vec()),
        }),
    );
    let server = home.start(&[]);
    let (failed, waiting) = (params("failed", &receiver.url("/a")), params("waiting", &receiver.url("/b")));
    server.post("/sendOnce", failed.to_string()).done("/sendOnce");
    server.post("/send", waiting.to_string()).done("/send");
    assert_eq!(server.settled("failed")["state"], 2);
    server.status_when("waiting", "tried", |status| status["tried"] == 1);
    for path in ["/send", "/sendOnce"] {
        server.post(path, failed.to_string()).done(path);
        server.post(path, waiting.to_string()).done(path);
    }
    nothing_else_came(&server, &receiver, 2);
}

#[test]
fn other_content_changes_nothing() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    server.post("/send", params("a", &receiver.url("/a")).to_string()).done("/send");
    server.settled("a");
    let before = server.ask("/detail", "a").json();
    for path in ["/send", "/sendOnce"] {
        let sentence = server.post(path, params("a", &receiver.url("/b")).to_string()).failure(409, path);
        assert!(sentence.contains("nothing was sent"), "{sentence}");
    }
    assert_eq!(server.ask("/detail", "a").json(), before);
    nothing_else_came(&server, &receiver, 1);
}

#[test]
fn a_deleted_id_can_be_used_again() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    for number in 1..4 {
        server.post("/send", params("a", &receiver.url(&format!("/{number}"))).to_string()).done(number);
        assert_eq!(receiver.wait_for(number)[number - 1].target, format!("/{number}"));
        server.settled("a");
        server.ask("/delete", "a").done(number);
    }
}

/// Makes a notification older while no server runs.
fn age(home: &Home, id: &str, seconds: i64) -> i64 {
    let database = home.database();
    let aged = "update items set create_at = create_at - ?, next_at = next_at - ? where notify_id = ? returning create_at";
    database.query_row(aged, (seconds, seconds, id), |row| row.get(0)).unwrap()
}

#[test]
fn after_a_day_a_repeat_is_a_conflict_that_says_when() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let body = |id| params(id, &receiver.url("/a")).to_string();
    let server = home.start(&[]);
    let ids = ["yesterday", "once", "today", "long ago"];
    for id in ids {
        server.post(if id == "once" { "/sendOnce" } else { "/send" }, body(id)).done(id);
        assert_eq!(server.settled(id)["state"], 1);
    }
    assert_eq!(server.stop().code, Some(0));

    let yesterday =
        [age(&home, "yesterday", DAY), age(&home, "once", DAY + 1), age(&home, "long ago", 400 * DAY)];
    // Half a minute is left of its day.
    age(&home, "today", DAY - 30);
    let server = home.start(&[("NOTIFY_KEEP_SUCCESS", "forever")]);
    for path in ["/send", "/sendOnce"] {
        for (id, create_at) in ["yesterday", "once", "long ago"].into_iter().zip(yesterday) {
            let sentence = server.post(path, body(id)).failure(409, id);
            assert!(sentence.contains(&create_at.to_string()), "{sentence}");
            assert!(sentence.contains("nothing was sent"), "{sentence}");
            assert_eq!(server.ask("/status", id).json()["create_at"], create_at);
        }
        server.post(path, body("today")).done("today");
        server.post(path, params("yesterday", &receiver.url("/b")).to_string()).failure(409, "other content");
    }
    assert_eq!(home.rows(), ids.len() as i64);
    nothing_else_came(&server, &receiver, ids.len());
}

#[test]
fn many_at_once_are_one() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let (body, start) = (params("a", &receiver.url("/a")).to_string(), Barrier::new(32));
    thread::scope(|scope| {
        for number in 0..32 {
            let (server, body, start) = (&server, &body, &start);
            scope.spawn(move || {
                let mut connection = server.connect();
                start.wait();
                let path = if number % 2 == 0 { "/send" } else { "/sendOnce" };
                connection.call(&Request::post(path, body)).done(number);
            });
        }
    });
    assert_eq!(home.rows(), 1);
    assert_eq!(server.settled("a")["state"], 1);
    nothing_else_came(&server, &receiver, 1);
}

#[test]
fn of_many_at_once_with_other_content_one_wins() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let start = Barrier::new(32);
    let answers: Vec<(Value, u16)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|number| {
                let (server, receiver, start) = (&server, &receiver, &start);
                scope.spawn(move || {
                    let endpoint = receiver.url(&format!("/{number}"));
                    let (body, mut connection) = (params("a", &endpoint).to_string(), server.connect());
                    start.wait();
                    (json!(endpoint), connection.call(&Request::post("/send", &body)).status)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, status)| *status == 200);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|(_, status)| *status == 409), "{lost:?}");
    assert_eq!(server.ask("/detail", "a").json()["endpoint"], won[0].0);
    assert_eq!(server.settled("a")["state"], 1);
    nothing_else_came(&server, &receiver, 1);
}
