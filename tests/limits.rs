//! What the server bears: connections, slow clients, large bodies, a database that is held up.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rusqlite::Connection as Database;
use serde_json::json;

use support::{
    http::{Connection, Request},
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

mod support;

const MIB: usize = 1 << 20;

/// What all payloads in memory may take together.
const BUDGET: usize = 32 * MIB;

/// What the process may take beside them: itself, its buffers, and one copy or two of what it works on.
const REST: usize = 64 * MIB;

/// The most memory that the process has had, in bytes.
fn peak_memory(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    support::server::word_after(&status, "VmHWM:").parse::<usize>().unwrap() * 1024
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process())).unwrap().count()
}

/// Waits until this holds; there is nothing to wait for.
#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(15), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Real time, all at once: it takes as long as the longest.
#[test]
fn a_head_has_10_seconds_a_body_30_and_an_idle_connection_longer() {
    let home = Home::new();
    let server = home.start(&[]);
    let begin = Instant::now();
    let seconds = |what: &str, expected: std::ops::Range<f64>| {
        let took = begin.elapsed().as_secs_f64();
        assert!(expected.contains(&took), "{what}: {took}");
    };
    let trickle = |connection: &mut Connection, bytes: &[u8]| {
        for byte in bytes {
            if connection.write([*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_secs(1));
        }
    };
    let health = Request::bodiless("GET", "/health");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = server.connect();
            assert!(silent.is_closed());
            seconds("no head at all", 9.0..14.0);
        });
        scope.spawn(|| {
            let mut partial = server.connect();
            partial.write("POST /send HTTP/1.1\r\nhost: a\r\n").unwrap();
            assert!(partial.is_closed());
            seconds("a part of a head", 9.0..14.0);
        });
        scope.spawn(|| {
            let mut slow = server.connect();
            trickle(&mut slow, b"GET /health H");
            seconds("a head byte by byte", 9.0..16.0);
            assert!(slow.is_closed());
        });
        scope.spawn(|| {
            let mut second = server.connect();
            assert_eq!(second.call(&health).status, 200);
            second.write("GET").unwrap();
            assert!(second.is_closed());
            seconds("a part of a second head", 9.0..14.0);
        });
        scope.spawn(|| {
            let mut idle = server.connect();
            assert_eq!(idle.call(&health).status, 200);
            thread::sleep(Duration::from_secs(15));
            assert_eq!(idle.call(&health).status, 200, "after 15 idle seconds");
        });
        scope.spawn(|| {
            let mut in_time = server.connect();
            in_time.write("POST /delete HTTP/1.1\r\ncontent-length: 14\r\n\r\n").unwrap();
            trickle(&mut in_time, br#"{"id":"slowly""#);
            in_time.answer().unwrap().failure(400, "slow, but in time");
        });
        for framing in ["content-length: 100", "transfer-encoding: chunked"] {
            let (server, seconds) = (&server, &seconds);
            scope.spawn(move || {
                let mut slow = server.connect();
                slow.write(format!("POST /delete HTTP/1.1\r\n{framing}\r\n\r\n")).unwrap();
                let answer = slow.answer();
                seconds("no body", 28.0..38.0);
                if let Ok(answer) = answer {
                    answer.failure(400, framing);
                }
                assert!(slow.is_closed());
            });
        }
    });
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn at_least_512_connections_at_once() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    assert_eq!(server.get("/health").status, 200);
    let files = open_files(&server);
    let mut connections: Vec<Connection> = (0..512).map(|_| server.connect()).collect();
    for round in 0..2 {
        for (number, connection) in connections.iter_mut().enumerate() {
            let id = format!("{round}-{number}");
            let body = params(&id, &receiver.url("/a")).to_string();
            connection.write(Request::post("/send", &body).bytes()).unwrap();
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.answer().unwrap().done((round, number));
        }
    }
    assert!(open_files(&server) >= files + 512);
    assert_eq!(home.rows(), 1024);
    // More than that: idle ones make place for them.
    let mut more: Vec<Connection> = (0..512).map(|_| server.connect()).collect();
    for (number, connection) in more.iter_mut().enumerate() {
        assert_eq!(connection.call(&Request::bodiless("GET", "/health")).status, 200, "{number}");
    }
    drop((connections, more));
    receiver.wait_for(1024);
    // What is left are connections to the receiver and to the database.
    eventually("files are closed", || open_files(&server) < files + 40);
}

#[test]
fn bodies_in_memory_are_bounded() {
    let home = Home::new();
    let server = home.start(&[]);
    let head = format!("POST /delete HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {MIB}\r\n\r\n");
    let mut body = br#"{"id":"unknown"}"#.to_vec();
    body.resize(MIB, b' ');
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..100 {
        let mut connection = server.connect();
        connection.write(&head).unwrap();
        let answer = connection.answer().unwrap();
        if answer.status == 100 {
            connection.write(&body[1..]).unwrap();
            taken.push(connection);
        } else {
            answer.failure(503, number);
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    assert_eq!((taken.len(), refused), (BUDGET / MIB, 100 - BUDGET / MIB));
    // One that doesn't ask first sees it, too, and so does one that doesn't say how much will come.
    server.post("/delete", &body).failure(503, "a whole body");
    let mut chunked = server.connect();
    chunked.write("POST /delete HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    chunked.write([b"100000\r\n", body.as_slice(), b"\r\n0\r\n\r\n"].concat()).unwrap();
    chunked.answer().unwrap().failure(503, "a chunked body");
    assert_eq!(server.get("/health").status, 200);
    let peak = peak_memory(&server);
    assert!(peak < BUDGET + REST, "{peak}");

    // Half of them are completed, the others go; then there is memory again.
    for (number, connection) in taken.iter_mut().enumerate().filter(|(number, _)| number % 2 == 0) {
        connection.write(" ").unwrap();
        // The first byte is missing: all of it is here, and no JSON.
        connection.answer().unwrap().failure(400, number);
    }
    drop(taken);
    eventually("memory is free", || {
        let mut connection = server.connect();
        connection
            .write(format!("POST /delete HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {MIB}\r\n\r\n"))
            .unwrap();
        connection.answer().unwrap().status == 100
    });
    server.post("/delete", &body).done("there is memory again");
}

#[test]
fn chunked_bodies_and_answers_in_memory_are_bounded() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let text = "0123456789abcdef".repeat(65_000);
    let large =
        json!({ "id": "a", "type": "HTTPPOST", "endpoint": receiver.url("/a"), "payload": { "body": text } });
    server.post("/send", large.to_string()).done("a megabyte");
    server.settled("a");

    // These ask for 1.4 MB each, all at once; what they get is the answer or a 503.
    let request = Request::post("/detail", r#"{"id":"a"}"#).bytes();
    let mut readers: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
    for reader in &mut readers {
        reader.write(&request).unwrap();
    }
    for reader in &mut readers {
        let answer = reader.answer().unwrap();
        match answer.status {
            200 => assert!(answer.body.len() > 1_380_000),
            _ => drop(answer.failure(503, "no memory")),
        }
    }
    let peak = peak_memory(&server);
    assert!(peak < BUDGET + REST, "{peak}");
    assert_eq!(server.ask("/detail", "a").status, 200);

    // These never say how much will come.
    let mut writers: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
    for writer in &mut writers {
        writer.write("POST /delete HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        writer.write([b"fffff\r\n", &text.as_bytes()[..1_000_000]].concat()).unwrap();
    }
    eventually("there is no memory left", || {
        let mut connection = server.connect();
        connection
            .write(format!("POST /delete HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {MIB}\r\n\r\n"))
            .unwrap();
        connection.answer().unwrap().status == 503
    });
    let peak = peak_memory(&server);
    assert!(peak < BUDGET + REST, "{peak}");
    drop(writers);
    eventually("memory is free", || server.post("/delete", vec![b' '; MIB]).status == 400);
}

/// Locks the database for writing, as another program may.
fn lock(home: &Home) -> Database {
    let database = home.database();
    database.execute_batch("begin immediate").unwrap();
    database
}

#[test]
fn every_call_is_answered_in_time_while_the_database_is_held_up() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    server.post("/send", params("known", &receiver.url("/known")).to_string()).done("/send");
    server.settled("known");
    let lock = lock(&home);
    let calls = [
        ("/send", params("a", &receiver.url("/a"))),
        ("/sendOnce", params("b", &receiver.url("/b"))),
        ("/resend", json!({ "id": "known" })),
        ("/delete", json!({ "id": "known" })),
        ("/clear", json!({ "before": 1 })),
        ("/forceClear", json!({ "before": 1 })),
    ];
    thread::scope(|scope| {
        for number in 0..30 {
            let (path, body) = &calls[number % calls.len()];
            let server = &server;
            scope.spawn(move || {
                // They come over five seconds, so that some meet each stage of the wait.
                thread::sleep(Duration::from_millis(170 * number as u64));
                let begin = Instant::now();
                let answer = server.post(path, body.to_string());
                let took = begin.elapsed();
                answer.failure(503, path);
                assert!(answer.header("retry-after").is_some());
                assert!(took < Duration::from_secs(10), "{path}: {took:?}");
            });
        }
        for path in ["/status", "/detail", "/result"] {
            let begin = Instant::now();
            assert_eq!(server.ask(path, "known").status, 200, "{path}");
            assert!(begin.elapsed() < Duration::from_secs(2), "reading goes on");
        }
    });
    let health = server.get("/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("failing")));
    assert!(!health.json()["error"].as_str().unwrap().is_empty());
    assert!(health.header("retry-after").is_some());
    assert_eq!(server.call(&Request::bodiless("HEAD", "/health")).status, 503);
    assert_eq!((home.rows(), receiver.count("/a"), receiver.count("/b")), (1, 0, 0));
    drop(lock);

    // The repeat that a client makes.
    for (path, body) in &calls[..2] {
        server.post(path, body.to_string()).done(path);
        server.post(path, body.to_string()).done(path);
    }
    assert_eq!(server.get("/health").status, 200);
    for id in ["a", "b"] {
        assert_eq!(server.settled(id)["state"], 1, "{id}");
    }
    server.post("/send", params("last", &receiver.url("/last")).to_string()).done("/send");
    server.settled("last");
    assert_eq!((receiver.count("/a"), receiver.count("/b")), (1, 1));
}

#[test]
fn what_is_delivered_while_the_database_is_held_up_is_not_sent_again() {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |received| {
        if received.target == "/slow" {
            held.pass();
        }
        (200, b"ok".to_vec())
    });
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);
    let lock = lock(&home);
    gate.open();
    eventually("it is noticed", || server.get("/health").status == 503);
    assert_eq!(server.ask("/status", "slow").json()["state"], 0);
    drop(lock);
    assert_eq!(server.settled("slow")["tried"], 1);
    assert_eq!(server.ask("/result", "slow").text(), "ok");
    eventually("it is over", || server.get("/health").status == 200);
    server.post("/send", params("last", &receiver.url("/last")).to_string()).done("/send");
    server.settled("last");
    assert_eq!(receiver.count("/slow"), 1);
}

#[test]
fn health_is_well_again_without_a_write() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let lock = lock(&home);
    let body = params("a", &receiver.url("/a")).to_string();
    server.post("/send", body).failure(503, "the database is held up");
    assert_eq!(server.get("/health").status, 503);
    drop(lock);
    eventually("the database answers", || server.get("/health").status == 200);
}
