//! How it ends.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::support::{
    http::Request,
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

fn gated() -> (Gate, Receiver) {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |_| {
        held.pass();
        (200, b"ok".to_vec())
    });
    (gate, receiver)
}

/// Sends a signal, and waits until it is heeded: then nobody gets in any more.
fn begin_to_stop(server: &Server, signal: &str) {
    server.signal(signal);
    server.log().wait_for("word of the stop", |line| line.contains("stopping"));
    while TcpStream::connect(server.address()).is_ok() {}
}

#[test]
fn both_signals_stop_it_in_order() {
    for signal in ["TERM", "INT"] {
        let home = Home::new();
        let server = home.start(&[]);
        let mut idle = server.connect();
        assert_eq!(idle.call(&Request::bodiless("GET", "/health")).status, 200);
        let mut silent = server.connect();
        let address = server.address();
        server.signal(signal);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{signal}: {:?}", ended.lines);
        assert!(ended.took < Duration::from_secs(5), "{signal}: {:?}", ended.took);
        assert!(idle.is_closed() && silent.is_closed());
        assert!(TcpStream::connect(address).is_err());
        assert!(
            !ended.lines.iter().any(|line| line.contains("WARN") || line.contains("ERROR")),
            "{:?}",
            ended.lines
        );
        // Nothing is left in the journal.
        assert!(!home.path("notify.db-wal").exists(), "{:?}", home.files());
    }
}

#[test]
fn running_sends_are_waited_for_and_no_others_begin() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[("NOTIFY_THREADS", "1")]);
    for id in ["first", "second"] {
        server.post("/send", params(id, &receiver.url(&format!("/{id}"))).to_string()).done(id);
    }
    receiver.wait_for(1);
    begin_to_stop(&server, "TERM");
    gate.open();
    assert_eq!(server.ended().code, Some(0));
    let states =
        "select group_concat(notify_id || cur_state || tried) from (select * from items order by seq)";
    assert_eq!(home.database().query_row(states, [], |row| row.get(0)), Ok("first11,second00".to_owned()));
    assert_eq!((receiver.count("/first"), receiver.count("/second")), (1, 0));

    let server = home.start(&[]);
    assert_eq!(server.settled("second")["tried"], 1);
    assert_eq!(receiver.count("/first"), 1);
}

#[test]
fn a_send_that_takes_too_long_is_cut_off_and_not_counted() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[("NOTIFY_STOP_TIMEOUT", "1")]);
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);
    server.signal("INT");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    let took = ended.took.as_secs_f64();
    assert!((0.9..4.0).contains(&took), "{took}");
    let row = home.database().query_row("select cur_state, tried, response is null from items", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
    });
    assert_eq!(row, Ok((0, 0, true)));
    gate.open();
    let server = home.start(&[]);
    assert_eq!(server.settled("slow")["tried"], 1);
    assert_eq!(receiver.count("/slow"), 2);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signals in [["TERM", "TERM"], ["INT", "INT"], ["TERM", "INT"]] {
        let (gate, receiver) = gated();
        let home = Home::new();
        let server = home.start(&[]);
        server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
        receiver.wait_for(1);
        begin_to_stop(&server, signals[0]);
        let begin = Instant::now();
        server.signal(signals[1]);
        assert_eq!(server.ended().code, Some(0), "{signals:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{signals:?}");
        gate.open();
    }
}

#[test]
fn an_open_request_gets_its_answer() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);
    // Its head has come, as the answer to it shows; its body not yet.
    let body = r#"{"id":"slow"}"#;
    let mut open = server.connect();
    open.write(format!(
        "POST /status HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ))
    .unwrap();
    assert_eq!(open.answer().unwrap().status, 100);
    begin_to_stop(&server, "TERM");
    open.write(body).unwrap();
    let answer = open.answer().unwrap();
    assert_eq!((answer.status, answer.json()["state"].as_i64()), (200, Some(0)));
    assert!(open.is_closed());
    gate.open();
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_write_that_comes_too_late_is_a_503_or_stored() {
    let (gate, receiver) = gated();
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(1);
    let body = params("late", &receiver.url("/late")).to_string();
    let mut open = server.connect();
    open.write(format!(
        "POST /send HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ))
    .unwrap();
    assert_eq!(open.answer().unwrap().status, 100);
    begin_to_stop(&server, "TERM");
    open.write(&body).unwrap();
    let answer = open.answer().unwrap();
    gate.open();
    assert_eq!(server.ended().code, Some(0));
    match answer.status {
        200 => assert_eq!(home.rows(), 2),
        _ => {
            answer.failure(503, "shutting down");
            assert!(answer.header("retry-after").is_some());
            assert_eq!(home.rows(), 1);
        }
    }
    // No attempt began after the signal.
    assert_eq!(receiver.count("/late"), 0);
}
