//! The client against a server that answers as the contract says.

mod support;

use std::time::Duration;

use notify_api::{
    Client, ClientError, ClientOptions, InvalidClient, ListOptions, Params, State, Timestamp, When,
};
use support::sink::{Sink, Then};

fn client(sink: &Sink) -> Client {
    Client::new(&sink.url(""), ClientOptions::default()).unwrap()
}

fn params(text: &str) -> Params {
    Params::parse(text.as_bytes()).unwrap()
}

#[test]
fn send_posts_the_params_and_returns_the_id() {
    let sink = Sink::answering("200 OK", &[("Notification-Id", "50%25%20%C3%BC")], "");
    let text = r#"{"id":"x","type":"T","endpoint":"e","payload":{"a" : 1.0}}"#;
    for base in [sink.url(""), sink.url("/"), sink.url("/below"), sink.url("/below/")] {
        let client = Client::new(&base, ClientOptions::default()).unwrap();
        assert_eq!(client.send(&params(text)).unwrap().as_str(), "50% ü");
        assert_eq!(client.send_once(&params(text)).unwrap().as_str(), "50% ü");
    }
    let seen = sink.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line()).collect();
    assert_eq!(lines[..2], ["POST /send HTTP/1.1", "POST /sendOnce HTTP/1.1"]);
    assert_eq!(lines[6..], ["POST /below/send HTTP/1.1", "POST /below/sendOnce HTTP/1.1"]);
    assert_eq!(seen[0].body, text.as_bytes());
    assert!(seen[0].header("authorization").is_empty());
}

#[test]
fn an_answer_without_an_id_is_fine_if_there_was_one() {
    let sink = Sink::answering("200 OK", &[], "");
    assert_eq!(client(&sink).send(&params(r#"{"id":"x","type":"T"}"#)).unwrap().as_str(), "x");
    let error = client(&sink).send(&params(r#"{"type":"T"}"#)).unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { status: 200, .. }), "{error}");
}

#[test]
fn the_other_calls_name_an_id_or_a_time() {
    let sink = Sink::answering("200 OK", &[], "");
    let client = client(&sink);
    client.resend("ü").unwrap();
    client.delete("ü").unwrap();
    client.clear(Timestamp::from_secs(-1)).unwrap();
    client.force_clear(Timestamp::from_secs(1_700_000_000)).unwrap();
    assert_eq!(client.result("ü").unwrap(), b"");
    let seen: Vec<_> = sink
        .seen()
        .iter()
        .map(|seen| (seen.line().to_owned(), String::from_utf8(seen.body.clone()).unwrap()))
        .collect();
    let expected = [
        ("POST /resend HTTP/1.1", r#"{"id":"ü"}"#),
        ("POST /delete HTTP/1.1", r#"{"id":"ü"}"#),
        ("POST /clear HTTP/1.1", r#"{"before":-1}"#),
        ("POST /forceClear HTTP/1.1", r#"{"before":1700000000}"#),
        ("POST /result HTTP/1.1", r#"{"id":"ü"}"#),
    ];
    assert_eq!(seen, expected.map(|(line, body)| (line.to_owned(), body.to_owned())));
}

#[test]
fn answers_are_read() {
    let sink = Sink::start(|seen, peer| match seen.line() {
        "POST /result HTTP/1.1" => peer.answer("200 OK", &[], b"\xff\x00"),
        "POST /status HTTP/1.1" => {
            peer.answer("200 OK", &[], br#"{"create_at":1,"next_at":2,"tried":4294967295,"state":2}"#)
        }
        _ => peer.answer(
            "200 OK",
            &[],
            br#"{"type":"T","endpoint":"e","content":"bnVsbA==","response":null,
                "create_at":1,"next_at":2,"tried":0,"state":0}"#,
        ),
    });
    let client = client(&sink);
    assert_eq!(client.result("x").unwrap(), b"\xff\x00");
    let status = client.status("x").unwrap();
    assert_eq!((status.tried, status.state), (u32::MAX, State::Failed));
    let detail = client.detail("x").unwrap();
    assert_eq!((detail.content.as_slice(), detail.response), (&b"null"[..], None));
}

#[test]
fn a_list_is_asked_for_and_read() {
    let sink = Sink::start(|_, peer| {
        peer.answer(
            "200 OK",
            &[],
            br#"{"items":[{"id":"\u0000x","type":"T","endpoint":"e","state":2,"tried":3,"create_at":1,"next_at":2,
                "response":null}],"next":"abc","more":1}"#,
        )
    });
    let client = client(&sink);
    let listing = client.list(&ListOptions::default()).unwrap();
    assert_eq!((listing.items.len(), listing.next.as_deref()), (1, Some("abc")));
    let item = &listing.items[0];
    assert_eq!((item.id.as_str(), item.state, item.tried, &item.response), ("\0x", State::Failed, 3, &None));
    let options = ListOptions {
        state: Some(State::Pending),
        r#type: Some("a&b=c d/\u{fc}".into()),
        since: Some("1h 30m".parse().unwrap()),
        before: Some(When::At(Timestamp::from_secs(-5))),
        limit: Some(7),
        after: Some("a-_b".into()),
    };
    client.list(&options).unwrap();
    let seen = sink.seen();
    assert_eq!(seen[0].line(), "GET /list HTTP/1.1");
    assert_eq!(
        seen[1].line(),
        "GET /list?state=0&type=a%26b%3Dc+d%2F%C3%BC&since=5400s&before=-5&limit=7&after=a-_b HTTP/1.1"
    );
    assert!(seen.iter().all(|seen| seen.body.is_empty() && seen.header("content-type").is_empty()));
}

#[test]
fn a_long_answer_is_read_whole() {
    let sink = Sink::start(|_, peer| peer.answer("200 OK", &[], &vec![b'x'; 5 << 20]));
    assert_eq!(client(&sink).result("x").unwrap().len(), 5 << 20);
}

#[test]
fn a_token_is_shown() {
    let sink = Sink::answering("200 OK", &[], "");
    let options = ClientOptions { token: Some("t ok".into()), ..ClientOptions::default() };
    Client::new(&sink.url(""), options).unwrap().delete("x").unwrap();
    assert_eq!(sink.only().header("authorization"), ["Bearer t ok"]);
    let base = format!("http://:tok@{}", sink.address);
    Client::new(&base, ClientOptions::default()).unwrap().delete("x").unwrap();
    assert_eq!(sink.seen()[1].header("authorization"), ["Basic OnRvaw=="]);
}

#[test]
fn refusals_have_the_servers_sentence() {
    type Expected = fn(String) -> ClientError;
    let cases: [(&str, Expected); 6] = [
        ("400 Bad Request", ClientError::Rejected),
        ("401 Unauthorized", ClientError::Unauthorized),
        ("404 Not Found", ClientError::NotFound),
        ("409 Conflict", ClientError::Conflict),
        ("413 Payload Too Large", ClientError::TooLarge),
        ("500 Internal Server Error", |reason| ClientError::Unexpected { status: 500, reason }),
    ];
    for (status, expected) in cases {
        let sink = Sink::answering(status, &[], "{\"error\":\"a sentence\"}\n");
        let error = client(&sink).resend("x").unwrap_err();
        assert_eq!(error, expected("a sentence".into()));
        assert_eq!(error.to_string(), "a sentence");
    }
    let sink = Sink::answering("503 x", &[("Retry-After", "5")], "{\"error\":\"not now\"}\n");
    let expected =
        ClientError::Unavailable { reason: "not now".into(), retry_after: Some(Duration::from_secs(5)) };
    assert_eq!(client(&sink).resend("x").unwrap_err(), expected);
}

#[test]
fn what_is_not_this_service_is_told_apart() {
    for (status, body) in [("404 Not Found", "<html>"), ("200 OK", "<html>"), ("302 x", "")] {
        let sink = Sink::start(move |_, peer| peer.answer(status, &[("Location", "/")], body.as_bytes()));
        let error = client(&sink).status("x").unwrap_err();
        assert!(matches!(error, ClientError::Unexpected { .. }), "{error:?}");
    }
}

#[test]
fn nobody_there_is_unreachable() {
    let sink = Sink::start(|_, _| Then::Close);
    assert!(matches!(client(&sink).status("x"), Err(ClientError::Unreachable(_))));
    let sink = Sink::start(|_, peer| {
        peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{");
        Then::Close
    });
    assert!(matches!(client(&sink).status("x"), Err(ClientError::Unreachable(_))));
}

#[test]
fn a_client_that_cannot_be_is_refused() {
    let refused = |base: &str, token: Option<&str>| {
        let options = ClientOptions { token: token.map(Into::into), ..ClientOptions::default() };
        Client::new(base, options).unwrap_err()
    };
    assert!(matches!(refused("127.0.0.1:8080", None), InvalidClient::Url(_)));
    assert_eq!(refused("http://127.0.0.1:8080", Some("a\nb")), InvalidClient::Token);
}
