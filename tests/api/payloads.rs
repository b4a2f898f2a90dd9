//! A payload is kept and delivered as it came.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::support::{receiver::Receiver, server::Home};

/// JSON that no parser would write again like that.
const ODD: [&str; 9] = [
    r#"{"b":1,  "a" :2 ,"b" : 3}"#,
    "[\n\t1 ,\r\n 2\n]",
    "123456789012345678901234567890",
    "1.0e+400",
    "-0.0",
    "1E5",
    r#"["\u00e9\/\ud83e\udd80\n", "é/🦀", "\ud800"]"#,
    "[\"\u{2028}\u{7f}\u{feff}\"]",
    r#"{"":{"":[]},"\u0000":null, "__proto__":{} }"#,
];

#[test]
fn byte_for_byte() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    for (number, odd) in ODD.iter().enumerate() {
        let (id, path) = (format!("odd-{number}"), format!("/{number}"));
        let payload = format!("{{ \"body\"  :\t{odd}\n ,\"x\":1, \"x\" :1 }}");
        let endpoint = json!(receiver.url(&path));
        let body =
            format!(r#"{{"payload" : {payload} ,"id":"{id}","type":"HTTPPOST","endpoint":{endpoint}}}"#);
        server.post("/send", &body).done(odd);
        let received = receiver.wait_for(number + 1);
        let received = received.iter().find(|received| received.target == path).expect("it comes");
        assert_eq!(String::from_utf8_lossy(&received.body), *odd);
        assert_eq!(received.header("content-type"), Some("application/json"));
        let detail = server.ask("/detail", &id).json();
        let content = BASE64_STANDARD.decode(detail["content"].as_str().unwrap()).unwrap();
        assert_eq!(String::from_utf8(content).unwrap(), payload);
        // Another spelling is other content.
        server.post("/send", body.replace('\t', " ")).failure(409, odd);
        server.post("/send", &body).done(odd);
    }
    assert_eq!(receiver.wait_for(ODD.len()).len(), ODD.len());
}

#[test]
fn endpoints_and_types_come_back_as_they_were() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let endpoint = receiver.url("/a?b=%20&c=d#e\u{301}");
    let body = json!({ "id": "a", "type": "HTTPGET", "endpoint": endpoint, "payload": { "values": { "v": ["ä b"] } } });
    server.post("/send", body.to_string()).done("/send");
    let received = receiver.wait_for(1);
    assert_eq!(
        (received[0].method.as_str(), received[0].target.as_str()),
        ("GET", "/a?b=%20&c=d&v=%C3%A4+b")
    );
    let detail = server.ask("/detail", "a").json();
    assert_eq!((&detail["endpoint"], &detail["type"]), (&json!(endpoint), &json!("HTTPGET")));
}

#[test]
fn a_large_payload_arrives() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let text = "0123456789abcdef".repeat(65_000);
    let body =
        json!({ "id": "a", "type": "HTTPPOST", "endpoint": receiver.url("/a"), "payload": { "body": text } });
    server.post("/send", body.to_string()).done("a megabyte");
    assert!(receiver.wait_for(1)[0].body == text.as_bytes());
    let detail = server.ask("/detail", "a").json();
    let content = BASE64_STANDARD.decode(detail["content"].as_str().unwrap()).unwrap();
    assert!(content == body["payload"].to_string().as_bytes());
}
