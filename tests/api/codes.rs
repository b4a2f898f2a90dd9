//! Every endpoint with every code, and which code comes first.

use serde_json::{Value, json};

use crate::support::{
    http::Request,
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

const SENDING: [&str; 2] = ["/send", "/sendOnce"];
const SHOWING: [&str; 4] = ["/resend", "/result", "/status", "/detail"];
const CLEARING: [&str; 2] = ["/clear", "/forceClear"];

/// Every endpoint that takes a body, with one that it takes as often as it comes once `known` is stored.
fn posts(receiver: &Receiver) -> Vec<(&'static str, String)> {
    let params = params("known", &receiver.url("/known"));
    let with = |paths: &[&'static str], body: Value| -> Vec<_> {
        paths.iter().map(|path| (*path, body.to_string())).collect()
    };
    [
        with(&SENDING, params),
        with(&SHOWING, json!({ "id": "known" })),
        with(&["/delete"], json!({ "id": "unknown" })),
        with(&CLEARING, json!({ "before": 0 })),
    ]
    .concat()
}

fn store_known(server: &Server, receiver: &Receiver) {
    server.post("/send", params("known", &receiver.url("/known")).to_string()).done("/send");
    server.settled("known");
}

#[test]
fn done_is_200() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    store_known(&server, &receiver);
    for (path, body) in posts(&receiver) {
        server.settled("known");
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        match path {
            "/status" | "/detail" => drop(answer.json()),
            "/result" => {
                assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
                assert_eq!(answer.text(), "ok");
            }
            _ => drop(answer.done(path)),
        }
    }
    server.settled("known");
    server.ask("/delete", "known").done("/delete of a known id");
    assert_eq!(home.rows(), 0);
}

#[test]
fn nonsense_is_400_and_stores_nothing() {
    const ANYWHERE: &[&str] = &[
        "",
        " ",
        "{",
        "}",
        "{}",
        "[]",
        "null",
        "1",
        "\"known\"",
        "nonsense",
        "{} {}",
        "{}x",
        "{\"id\"}",
        "{id:1}",
        "{'id':'known'}",
        "\u{feff}{\"id\":\"known\",\"before\":0}",
    ];
    const NAMING_ONLY: &[&str] = &[
        r#"["known"]"#,
        r#"{"id":null}"#,
        r#"{"id":""}"#,
        r#"{"id":1}"#,
        r#"{"id":true}"#,
        r#"{"id":["known"]}"#,
        r#"{"id":{"id":"known"}}"#,
        r#"{"ID":"known"}"#,
        r#"{"id":"known"}x"#,
        r#"{"id":"known"}{}"#,
        r#"{"id":"known","id":"known"}"#,
        r#"{"id":"known",}"#,
        r#"{"id":"kn\u0000own"}"#,
        r#"{"id":"kn\u001fown"}"#,
        "{\"id\":\"kn\u{7f}own\"}",
        "{\"id\":\"kn\nown\"}",
        r#"{"id":"\ud800"}"#,
        r#"{"id":"\udc00\ud800"}"#,
    ];
    const CLEARING_ONLY: &[&str] = &[
        "[0]",
        r#"{"before":null}"#,
        r#"{"before":""}"#,
        r#"{"before":"0"}"#,
        r#"{"before":true}"#,
        r#"{"before":[0]}"#,
        r#"{"before":1.0}"#,
        r#"{"before":1e3}"#,
        r#"{"before":1E3}"#,
        r#"{"before":0.5}"#,
        r#"{"before":00}"#,
        r#"{"before":+1}"#,
        r#"{"before":0x1}"#,
        r#"{"before":}"#,
        r#"{"BEFORE":0}"#,
        r#"{"before":0,"before":0}"#,
        r#"{"before":0}x"#,
        r#"{"before":0}0"#,
    ];
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    store_known(&server, &receiver);
    let mut connection = server.connect();
    let mut refused = |path, body: &[u8]| {
        let answer = connection.call(&Request::post(path, body));
        answer.failure(400, format!("{path} {:?}", String::from_utf8_lossy(body)))
    };
    for (path, _) in posts(&receiver) {
        for body in ANYWHERE {
            refused(path, body.as_bytes());
        }
        refused(path, b"{\"id\":\"\xff\",\"before\":0}");
    }
    for path in [&SHOWING[..], &["/delete"]].concat() {
        for body in NAMING_ONLY {
            refused(path, body.as_bytes());
        }
    }
    for path in CLEARING {
        for body in CLEARING_ONLY {
            refused(path, body.as_bytes());
        }
    }
    // A new id, so that the next line is refused for what it is refused for.
    let good = params("new", &receiver.url("/new")).to_string();
    let kind = r#""type":"HTTPPOST""#;
    for path in SENDING {
        for (good_part, bad_part) in [
            (r#""id":"new""#, r#""id":1"#),
            (r#""id":"new""#, r#""id":["new"]"#),
            (r#""id":"new""#, r#""id":"new","id":"new""#),
            (r#""id":"new""#, r#""id":"n\u0007ew""#),
            (r#""id":"new""#, r#""id":"n\ud800ew""#),
            (kind, r#""type":1"#),
            (kind, r#""type":null"#),
            (kind, r#""type":"""#),
            (kind, r#""TYPE":"HTTPPOST""#),
            (kind, r#""type":"httppost""#),
            (kind, r#""type":"HTTPPOST ""#),
            (kind, r#""type":"SMOKESIGNAL""#),
            (kind, r#""type":"HTTPPOST","type":"HTTPPOST""#),
            (r#""endpoint":"http://"#, r#""endpoint":1,"was":"http://"#),
            (r#""endpoint":"http://"#, r#""endpoint":null,"was":"http://"#),
            (r#""endpoint":"http://"#, r#""endpoint":"","was":"http://"#),
            (r#""endpoint":"http://"#, r#""Endpoint":"http://"#),
            (r#""endpoint":"http://"#, r#""endpoint":"gopher://"#),
            (r#""endpoint":"http://"#, r#""endpoint":"http://a\u0000"#),
            (r#""endpoint":"http://"#, r#""endpoint":"http://a/","endpoint":"http://"#),
            (r#""payload":{"#, r#""payload":null,"was":{"#),
            (r#""payload":{"#, r#""payload":[],"was":{"#),
            (r#""payload":{"#, r#""payload":{"headers":1},"was":{"#),
            (r#""payload":{"#, r#""Payload":{"#),
            (r#""payload":{"#, r#""payload":{},"payload":{"#),
        ] {
            let bad = good.replace(good_part, bad_part);
            assert_ne!(bad, good, "{good_part}");
            refused(path, bad.as_bytes());
        }
        let long = good.replace("http://", &format!("http://{}", "a".repeat(8192)));
        assert!(refused(path, long.as_bytes()).contains("8192"));
        refused(path, format!("[{good}]").as_bytes());
        refused(path, format!("{good}{good}").as_bytes());
        refused(path, br#"["new","HTTPPOST","http://127.0.0.1/",{"body":""}]"#);
    }
    assert_eq!(home.rows(), 1);
    assert_eq!(server.settled("known")["tried"], 1);
}

#[test]
fn without_the_token_it_is_401() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[("NOTIFY_TOKEN", "open sesame")]);
    for (path, body) in posts(&receiver) {
        let answer = server.post(path, body);
        answer.failure(401, path);
        let schemes: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value.split(' ').next().unwrap())
            .collect();
        assert_eq!(schemes, ["Bearer", "Basic"], "{path}");
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn an_unknown_path_or_id_is_404() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    for (path, body) in posts(&receiver) {
        for path in [
            format!("{path}/"),
            format!("/{path}"),
            format!("{path}x"),
            format!("{path}/known"),
            format!("/api{path}"),
            path.to_uppercase(),
            format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]),
            format!("{path}%3Fa=b"),
        ] {
            server.post(&path, &body).failure(404, path);
        }
    }
    for path in ["/", "/favicon.ico", "/health/", "/healthz"] {
        server.get(path).failure(404, path);
        server.post(path, "{}").failure(404, path);
    }
    for path in SHOWING {
        server.ask(path, "unknown").failure(404, path);
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn another_method_is_405_and_says_which_one() {
    const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "FETCH"];
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let mut connection = server.connect();
    for (path, body) in posts(&receiver) {
        for method in METHODS {
            let request = Request { method, target: path, headers: &[], body: body.as_bytes() };
            let answer = connection.call(&request);
            assert_eq!(answer.header("allow"), Some("POST"), "{method} {path}: {answer:?}");
            match method {
                "HEAD" => assert_eq!((answer.status, answer.text()), (405, "")),
                _ => drop(answer.failure(405, format!("{method} {path}"))),
            }
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = server.call(&Request::bodiless(method, "/health"));
        answer.failure(405, method);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn what_is_in_the_way_is_409() {
    let gate = Gate::default();
    let held = gate.clone();
    let (home, receiver) = (
        Home::new(),
        Receiver::answering(move |received| {
            if received.target == "/slow" {
                held.pass();
            }
            (200, b"ok".to_vec())
        }),
    );
    let server = home.start(&[]);
    store_known(&server, &receiver);
    for path in SENDING {
        for (name, other) in [
            ("endpoint", params("known", &receiver.url("/other"))),
            (
                "payload",
                json!({ "id": "known", "type": "HTTPPOST", "endpoint": receiver.url("/known"), "payload": {} }),
            ),
            (
                "type",
                json!({ "id": "known", "type": "HTTPGET", "endpoint": receiver.url("/known"), "payload": { "body": "hello" } }),
            ),
        ] {
            server.post(path, other.to_string()).failure(409, (path, name));
        }
    }
    assert_eq!((home.rows(), receiver.count("/known"), receiver.count("/other")), (1, 1, 0));

    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    receiver.wait_for(2);
    server.ask("/delete", "slow").failure(409, "/delete of one being sent");
    gate.open();
    server.settled("slow");
    server.ask("/delete", "slow").done("/delete of a sent one");
}

#[test]
fn over_the_limit_is_413() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[("NOTIFY_BODY_LIMIT", "300")]);
    store_known(&server, &receiver);
    for (path, body) in posts(&receiver) {
        let largest = format!("{body:<300}");
        server.post(path, format!("{largest} ")).failure(413, path);
        assert_eq!(server.post(path, largest).status, 200, "{path}");
    }
}

#[test]
fn no_memory_is_503_with_a_time_to_come_again() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[("NOTIFY_BODY_LIMIT", "33554432")]);
    store_known(&server, &receiver);
    // A body that takes all the memory there is. That the server wants it shows that it has set it aside.
    let mut greedy = server.connect();
    let headers = [("content-length", "33554432"), ("expect", "100-continue")];
    let head = headers.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    greedy.write(format!("POST /status HTTP/1.1\r\n{head}\r\n")).unwrap();
    assert_eq!(greedy.answer().unwrap().status, 100);

    for (path, body) in posts(&receiver) {
        let answer = server.post(path, body);
        answer.failure(503, path);
        let after: u64 = answer.header("retry-after").expect("retry-after").parse().unwrap();
        assert!((1..=60).contains(&after), "{path}: {after}");
    }
    assert_eq!(server.get("/health").status, 200);
    // What was refused has left nothing behind.
    greedy.finish();
    greedy.answer().unwrap().failure(400, "a body that breaks off");
    assert_eq!((home.rows(), receiver.count("/known")), (1, 1));
    for (path, body) in posts(&receiver) {
        assert_eq!(server.post(path, body).status, 200, "{path}");
    }
}

#[test]
fn the_checks_come_in_order() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[("NOTIFY_TOKEN", "hush"), ("NOTIFY_BODY_LIMIT", "300")]);
    const TOKEN: &[(&str, &str)] = &[("authorization", "Bearer hush")];
    let good = params("known", &receiver.url("/known")).to_string();
    server.call(&Request::post("/send", &good).with(TOKEN)).done("/send");
    let (large, taken) = ("x".repeat(301), params("known", &receiver.url("/other")).to_string());
    let refused = taken.replace(r#""payload":{"#, r#""payload":{"headers":1},"was":{"#);
    for (method, target, headers, body, status) in [
        // Each line has one fault less than the one before.
        ("PUT", "/nowhere", &[][..], &large, 404),
        ("PUT", "/send", &[], &large, 405),
        ("POST", "/send", &[], &large, 401),
        ("POST", "/send", TOKEN, &large, 413),
        ("POST", "/send", TOKEN, &refused, 400),
        ("POST", "/send", TOKEN, &taken, 409),
    ] {
        let request = Request { method, target, headers, body: body.as_bytes() };
        server.call(&request).failure(status, (method, target, body));
    }
    assert_eq!((home.rows(), receiver.count("/other")), (1, 0));
}

#[test]
fn query_strings_are_ignored() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    store_known(&server, &receiver);
    for (path, body) in posts(&receiver) {
        for query in ["?", "?a=b", "?id=other&before=9999999999", "?%zz//?"] {
            let answer = server.post(&format!("{path}{query}"), &body);
            assert_eq!(answer.status, 200, "{path}{query}: {answer:?}");
        }
    }
    assert_eq!(server.get("/health?verbose").status, 200);
    server.post("/send/?a=b", "{}").failure(404, "/send/?a=b");
}

#[test]
fn health_answers_get_and_head() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", "hush")]);
    let mut connection = server.connect();
    let answer = connection.call(&Request::bodiless("GET", "/health"));
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
    assert_eq!(answer.json().get("error"), None);
    let head = connection.call(&Request::bodiless("HEAD", "/health"));
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.header("content-type"), Some("application/json"));
    // The connection is in step: no body came with the head.
    assert_eq!(connection.call(&Request::bodiless("GET", "/health")).status, 200);
}
