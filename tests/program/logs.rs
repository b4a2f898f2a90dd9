//! What is logged, and what never is.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::Stdio,
};

use serde_json::json;

use crate::support::{
    http::{Connection, Request},
    receiver::Receiver,
    server::{Home, Server, params, signal, word_after},
};

/// Sends something that fails, something that is delivered, and something that is refused.
fn use_it(server: &Server) {
    let receiver = Receiver::answering(|received| match received.target.as_str() {
        "/bad" => (500, b"the answer".to_vec()),
        _ => (200, b"the answer".to_vec()),
    });
    let authorization = [("authorization", "Bearer secret-token")];
    let call =
        |target: &str, body: String| server.call(&Request::post(target, &body).with(&authorization)).status;
    for path in ["/good", "/bad"] {
        let body = json!({
            "id": path, "type": "HTTPPOST", "endpoint": receiver.url(path).replace("//", "//user:secret-password@"),
            "payload": { "headers": { "X-Key": ["secret-header"] }, "body": "secret-payload" },
        });
        assert_eq!(call("/sendOnce", body.to_string()), 200);
    }
    receiver.wait_for(2);
    assert!(receiver.wait_for(2).iter().all(|received| received.header("x-key") == Some("secret-header")));
    for id in ["/good", "/bad"] {
        while !["1", "2"].contains(&state(server, id).as_str()) {}
    }
    assert_eq!(call("/send", r#"{"type":"secret-type","payload":"secret-payload"}"#.into()), 400);
    assert_eq!(
        call(
            "/send",
            r#"{"type":"HTTPPOST","endpoint":"secret-endpoint:","payload":"secret-payload"}"#.into()
        ),
        400
    );
    let wrong = [("authorization", "Bearer secret-guess")];
    assert_eq!(server.call(&Request::post("/send", "secret-payload").with(&wrong)).status, 401);
    let mut broken = server.connect();
    broken.write("secret-nonsense\r\n\r\n").unwrap();
    broken.answer().unwrap();
}

fn state(server: &Server, id: &str) -> String {
    let body = json!({ "id": id }).to_string();
    let authorization = [("authorization", "Bearer secret-token")];
    server.call(&Request::post("/status", &body).with(&authorization)).json()["state"].to_string()
}

#[test]
fn no_secret_is_ever_logged() {
    for level in ["info", "debug", "trace"] {
        let home = Home::new();
        let server = home.start(&[("NOTIFY_LOG", level), ("NOTIFY_TOKEN", "secret-token")]);
        use_it(&server);
        let lines = server.stop().lines;
        // Something was said about the failure.
        assert!(lines.iter().any(|line| line.contains("/bad")), "{level}: {lines:#?}");
        let secret = lines.iter().find(|line| line.contains("secret"));
        assert_eq!(secret, None, "{level}");
    }
}

#[test]
fn the_levels() {
    // An address that no other test has: without a start line its port has to be known before.
    let address = SocketAddr::from(([127, 12, 34, 56], 0));
    let address = TcpListener::bind(address).unwrap().local_addr().unwrap();
    let bind = address.to_string();
    let logged = |level: &str| {
        let receiver = Receiver::answering(|received| match received.target.as_str() {
            "/good" => (200, vec![]),
            _ => (500, vec![]),
        });
        let home = Home::new();
        let server =
            Server::start_at(address, home.program(&[("NOTIFY_LOG", level), ("NOTIFY_HTTP_BIND", &bind)]));
        // One that is delivered, one that fails for now, and one for good.
        server.post("/send", params("good", &receiver.url("/good")).to_string()).done("/send");
        server.settled("good");
        server.post("/send", params("a", &receiver.url("/a")).to_string()).done("/send");
        server.status_when("a", "tried", |status| status["tried"] == 1);
        server.post("/sendOnce", params("b", &receiver.url("/b")).to_string()).done("/sendOnce");
        server.settled("b");
        let lines = server.stop().lines;
        let level = |line: &String| {
            line.split_whitespace()
                .find(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()))
                .map(str::to_owned)
        };
        let mut levels: Vec<String> = lines.iter().filter_map(level).collect();
        assert_eq!(levels.len(), lines.len(), "each line has a level: {lines:#?}");
        levels.sort();
        levels.dedup();
        levels
    };
    assert_eq!(logged("off"), [""; 0]);
    assert_eq!(logged("error"), ["ERROR"]);
    assert_eq!(logged("warn"), ["ERROR", "WARN"]);
    for info in ["", "info", "INFO", "notify_api=info", "error,notify_api=info"] {
        assert_eq!(logged(info), ["ERROR", "INFO", "WARN"], "{info:?}");
    }
    assert_eq!(logged("debug"), ["DEBUG", "ERROR", "INFO", "WARN"]);
    assert_eq!(logged("some_other_crate=debug,off"), [""; 0]);
}

#[test]
fn it_goes_on_when_nobody_reads_the_log() {
    let (home, receiver) = (Home::new(), Receiver::answering(|_| (500, vec![])));
    let mut child = home.program(&[("NOTIFY_LOG", "debug")]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = word_after(&line, "address=http://").parse().unwrap();
    for id in ["a", "b"] {
        let body = params(id, &receiver.url("/a")).to_string();
        Connection::open(address).call(&Request::post("/sendOnce", &body)).done(id);
    }
    receiver.wait_for(2);
    assert_eq!(Connection::open(address).call(&Request::bodiless("GET", "/health")).status, 200);
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let failed = "select count(*) from items where cur_state = 2";
    assert_eq!(home.database().query_row(failed, [], |row| row.get(0)), Ok(2));
}

#[test]
fn the_start_is_one_line_that_says_what_there_is() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", "hush")]);
    let lines = server.log().lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(word_after(&lines[0], "address="), format!("http://{}", server.address()));
    for part in ["INFO", env!("CARGO_PKG_VERSION"), "notify.db", "HTTPGET", "HTTPPOST"] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}
