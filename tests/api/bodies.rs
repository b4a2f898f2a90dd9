//! What a body may be: its size, its framing, its JSON.

use std::process::Command;

use serde_json::json;

use crate::support::{
    http::{Answer, Request},
    receiver::Receiver,
    server::{Home, Server, params},
};

const LIMIT: usize = 1 << 20;

fn chunked(server: &Server, body: &[u8], size: usize) -> Answer {
    let mut connection = server.connect();
    let mut request = b"POST /delete HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(size) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    connection.write(request).unwrap();
    connection.answer().unwrap()
}

/// A body for `/delete` of that many bytes.
fn padded(bytes: usize) -> Vec<u8> {
    let mut body = br#"{"id":"unknown"}"#.to_vec();
    body.resize(bytes, b' ');
    body
}

#[test]
fn the_limit_is_the_largest_that_passes() {
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/delete", padded(LIMIT)).done("as large as may be");
    assert!(server.post("/delete", padded(LIMIT + 1)).failure(413, "one more").contains("1048576"));
    chunked(&server, &padded(LIMIT), 100_000).done("the same in chunks");
    chunked(&server, &padded(LIMIT + 1), 100_000).failure(413, "one more in chunks");
    chunked(&server, &padded(40), 1).done("byte by byte");
}

#[test]
fn a_client_that_writes_everything_first_sees_the_413() {
    let home = Home::new();
    let server = home.start(&[]);
    for _ in 0..3 {
        server.post("/delete", padded(5_000_000)).failure(413, "5 MB");
        chunked(&server, &padded(5_000_000), 65_536).failure(413, "5 MB in chunks");
    }
    // A length alone is enough.
    let mut connection = server.connect();
    connection.write("POST /delete HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999\r\n\r\n").unwrap();
    connection.answer().unwrap().failure(413, "a length");
    server.post("/delete", padded(30)).done("the next one");
}

#[test]
fn curl_sees_the_413_too() {
    let home = Home::new();
    let server = home.start(&[]);
    std::fs::write(home.path("large"), padded(5_000_000)).unwrap();
    for arguments in [
        &["--data-binary", "@large"][..],
        &["--data-binary", "@large", "-H", "Expect:"],
        &["-T", "large", "-X", "POST", "-H", "Transfer-Encoding: chunked"],
        &["-T", "large", "-X", "POST", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
    ] {
        let mut curl = Command::new("curl");
        curl.current_dir(home.path("")).args(["-sS", "-w", "%{http_code}"]).args(arguments);
        let output = curl.arg(server.url("/send")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.starts_with(r#"{"error":""#) && text.ends_with("}\n413"),
            "{arguments:?}: {text} {:?}",
            output.stderr
        );
    }
}

#[test]
fn a_plain_curl_command_is_enough() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let body = params("plain", &receiver.url("/plain")).to_string();
    let output = Command::new("curl").args(["-sS", "-d", &body]).arg(server.url("/send")).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let received = receiver.wait_for(1);
    assert_eq!((received[0].method.as_str(), received[0].body.as_slice()), ("POST", &b"hello"[..]));

    // A failure is a sentence, and an exit code with -f.
    let curl =
        |flag| Command::new("curl").args([flag, "-d", "{}"]).arg(server.url("/send")).output().unwrap();
    assert!(String::from_utf8(curl("-s").stdout).unwrap().starts_with(r#"{"error":"#));
    assert_eq!(curl("-sf").status.code(), Some(22));
}

#[test]
fn the_content_type_is_ignored() {
    let home = Home::new();
    let server = home.start(&[]);
    for kind in [
        "application/json",
        "text/plain",
        "multipart/form-data",
        "nonsense",
        "",
        "application/json; charset=utf-16",
    ] {
        let headers = [("content-type", kind)];
        server.call(&Request::post("/delete", r#"{"id":"unknown"}"#).with(&headers)).done(kind);
    }
}

#[test]
fn other_clients_than_usual_are_understood() {
    let home = Home::new();
    let server = home.start(&[]);
    let body = r#"{"id":"unknown"}"#;

    let mut old = server.connect();
    old.write(format!("POST /delete HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())).unwrap();
    assert_eq!(old.answer().unwrap().status, 200);
    assert!(old.is_closed(), "HTTP/1.0 closes");

    let mut proxy = server.connect();
    proxy.write(Request::post("http://elsewhere/delete?a", body).bytes()).unwrap();
    proxy.answer().unwrap().done("an absolute target");

    let mut pipeline = server.connect();
    let requests = [Request::post("/status", body).bytes(), Request::post("/delete", body).bytes()].concat();
    pipeline.write(requests).unwrap();
    assert_eq!((pipeline.answer().unwrap().status, pipeline.answer().unwrap().status), (404, 200));

    let mut netcat = server.connect();
    netcat.write(Request::post("/delete", body).bytes()).unwrap();
    netcat.finish();
    netcat.answer().unwrap().done("one that ends its side");
    assert!(netcat.is_closed());
}

#[test]
fn a_body_that_breaks_off_does_nothing() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let whole = Request::post("/send", &params("cut", &receiver.url("/cut")).to_string()).bytes();
    for cut in [whole.len() - 1, whole.len() - 20] {
        let mut connection = server.connect();
        connection.write(&whole[..cut]).unwrap();
        connection.finish();
        connection.answer().unwrap().failure(400, cut);
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn space_around_and_unknown_fields_are_fine() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let endpoint = receiver.url("/a");
    for (id, body) in [
        ("space", format!(" \r\n\t{} \r\n\t", params("space", &endpoint))),
        (
            "order",
            format!(r#"{{"payload":{{}},"endpoint":{},"type":"HTTPPOST","id":"order"}}"#, json!(endpoint)),
        ),
        (
            "unknown",
            json!({
                "id": "unknown", "type": "HTTPPOST", "endpoint": endpoint, "payload": {},
                "ID": 1, "Type": null, "before": 1.5, "": {"id": 1}, "state": [1, {"a": {}}],
            })
            .to_string(),
        ),
        (
            "twice",
            format!(
                r#"{{"id":"twice","type":"HTTPPOST","endpoint":{},"payload":{{}},"x":1,"x":2,"before":1,"before":1}}"#,
                json!(endpoint),
            ),
        ),
        (
            "escaped",
            format!(
                r#"{{"\u0069d":"esc\u0061ped","t\u0079pe":"HTTPPOST","endpoint":{},"payload":{{}}}}"#,
                json!(endpoint)
            ),
        ),
    ] {
        server.post("/send", body).done(id);
        assert_eq!(server.settled(id)["state"], 1, "{id}");
    }
    server.post("/status", r#"{"type":1,"id":"space","type":2,"payload":{}}"#).json();
    server.post("/clear", r#"{"id":1,"before":-1,"id":2}"#).done("/clear");
}

#[test]
fn missing_null_and_empty_are_the_same() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let endpoint = receiver.url("/a");
    let rest = format!(r#""type":"HTTPGET","endpoint":{},"payload":null"#, json!(endpoint));
    for id in ["", r#""id":null,"#, r#""id":"","#] {
        let answer = server.post("/send", format!("{{{id}{rest}}}"));
        assert!(!answer.header("notification-id").unwrap().is_empty(), "{id}");
        answer.done(id);
    }
    assert_eq!(home.rows(), 3);

    // A payload is missing or null; an empty text is one.
    let get =
        |id, payload| format!(r#"{{"id":"{id}","type":"HTTPGET","endpoint":{}{payload}}}"#, json!(endpoint));
    server.post("/send", get("p", "")).done("no payload");
    server.post("/send", get("p", r#","payload":null"#)).done("null is the same");
    server.post("/send", get("q", r#","payload":"""#)).failure(400, "HTTPGET takes no text");
    assert_eq!(server.ask("/detail", "p").json()["content"], "bnVsbA==");

    for (path, body, same) in [
        ("/send", format!(r#"{{"type":"HTTPGET","endpoint":{}"#, r#""""#), r#"{"type":"HTTPGET""#),
        ("/send", r#"{"type":"""#.into(), "{"),
        ("/send", r#"{"type":null"#.into(), "{"),
        ("/status", r#"{"id":"""#.into(), "{"),
        ("/status", r#"{"id":null"#.into(), "{"),
        ("/clear", r#"{"before":null"#.into(), "{"),
    ] {
        let sentence = server.post(path, format!("{body}}}")).failure(400, &body);
        assert_eq!(sentence, server.post(path, format!("{same}}}")).failure(400, same), "{path} {body}");
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let endpoint = json!(receiver.url("/deep"));
    for (path, body) in [
        (
            "/send",
            format!(r#"{{"id":"a","type":"HTTPPOST","endpoint":{endpoint},"payload":{{"body":{deep}}}}}"#),
        ),
        (
            "/send",
            format!(r#"{{"id":"b","type":"HTTPPOST","endpoint":{endpoint},"payload":{{}},"x":{deep}}}"#),
        ),
        ("/delete", format!(r#"{{"id":"c","x":{deep}}}"#)),
    ] {
        server.post(path, body).done(path);
    }
    server.post("/delete", format!(r#"{{"id":{deep}}}"#)).failure(400, "a deep id");
    server.post("/delete", &deep).failure(400, "a deep array");
    server.post("/delete", "[".repeat(1_000_000)).failure(400, "a deep array without an end");
    let received = receiver.wait_for(2);
    assert!(received.iter().any(|received| received.body == deep.as_bytes()));
}
