//! Webhooks over real sockets: what goes over the wire, and what answers mean.

mod support;

use std::time::Duration;

use notify_api::{
    Delivery, Driver,
    drivers::http::{HttpGet, HttpPost, Validator},
};
use support::{
    sink::{Sink, Then},
    webhook::{LONG, SHORT, get, is_temporary, post, send, stored, web},
};

mod requests {
    use super::*;

    #[test]
    fn get_says_no_more_than_it_must() {
        let sink = Sink::answering("200 OK", &[], "thanks");
        assert_eq!(send(&get(), &sink.url("/hook"), "null").unwrap(), "thanks");
        let seen = sink.only();
        assert_eq!(seen.line(), "GET /hook HTTP/1.1");
        assert_eq!(seen.header_names(), ["host", "idempotency-key", "user-agent", "webhook-id"]);
        assert_eq!(seen.header("host"), [sink.address.to_string()]);
        assert_eq!(seen.header("user-agent"), [concat!("notify-api/", env!("CARGO_PKG_VERSION"))]);
        assert_eq!(seen.header("idempotency-key"), ["the-id"]);
        assert_eq!(seen.header("webhook-id"), ["the-id"]);
        assert_eq!(seen.body, b"");
    }

    #[test]
    fn values_are_appended_in_their_order() {
        let sink = Sink::answering("204 No Content", &[], "");
        let payload = r#"{"values": {"z": ["1", "2 &"], "a": ["ü"], "none": [], "one": "x"}, "else": 1}"#;
        send(&get(), &sink.url("/hook?k=v%20w#part"), payload).unwrap();
        send(&get(), &sink.url("/hook"), payload).unwrap();
        let lines: Vec<_> = sink.seen().iter().map(|seen| seen.line().to_owned()).collect();
        assert_eq!(
            lines,
            [
                "GET /hook?k=v%20w&z=1&z=2+%26&a=%C3%BC&one=x HTTP/1.1",
                "GET /hook?z=1&z=2+%26&a=%C3%BC&one=x HTTP/1.1",
            ]
        );
    }

    #[test]
    fn a_query_is_kept_as_it_is() {
        let sink = Sink::answering("200 OK", &[], "");
        send(&get(), &sink.url("/a%2Fb/?q=%e2%82%ac+x&q&&=;~'"), "{}").unwrap();
        assert_eq!(sink.only().line(), "GET /a%2Fb/?q=%e2%82%ac+x&q&&=;~%27 HTTP/1.1");
    }

    #[test]
    fn headers_are_sent_as_they_are_given() {
        let sink = Sink::answering("200 OK", &[], "");
        let payload = r#"{"headers": {"X-One": "ä ", "x-two": ["1", "2"], "X-None": null,
            "user-AGENT": ["me"], "webhook-ID": "mine", "Idempotency-Key": "k", "Host": "virtual.test",
            "Accept-Encoding": "gzip", "X-TWO": "3"}}"#;
        send(&get(), &sink.url("/"), payload).unwrap();
        let seen = sink.only();
        for line in ["X-One: ä ", "x-two: 1", "x-two: 2", "X-TWO: 3", "user-AGENT: me", "webhook-ID: mine"] {
            assert!(seen.head.contains(&format!("\r\n{line}\r\n")), "{line}: {}", seen.head);
        }
        assert_eq!(seen.header("user-agent"), ["me"]);
        assert_eq!(seen.header("webhook-id"), ["mine"]);
        assert_eq!(seen.header("idempotency-key"), ["k"]);
        assert_eq!(seen.header("host"), ["virtual.test"]);
        assert_eq!(seen.header("accept-encoding"), ["gzip"]);
        assert!(seen.header("x-none").is_empty());
    }

    #[test]
    fn an_id_is_percent_encoded_in_headers() {
        let sink = Sink::answering("200 OK", &[], "");
        let url = sink.url("/");
        let delivery = Delivery { id: "50% ü~\u{1F980}", endpoint: &url, content: b"{}" };
        post().send(&delivery).unwrap();
        assert_eq!(sink.only().header("webhook-id"), ["50%25%20%C3%BC~%F0%9F%A6%80"]);
    }

    #[test]
    fn post_of_a_string_is_its_text() {
        let sink = Sink::answering("200 OK", &[], "");
        send(&post(), &sink.url("/hook"), r#"{"body": "a\"\u00e9\n"}"#).unwrap();
        let seen = sink.only();
        assert_eq!(seen.line(), "POST /hook HTTP/1.1");
        assert_eq!(
            seen.header_names(),
            ["content-length", "host", "idempotency-key", "user-agent", "webhook-id"]
        );
        assert_eq!(seen.body, "a\"é\n".as_bytes());
    }

    #[test]
    fn post_of_other_json_is_its_raw_text() {
        for body in [r#"{"b" : 1.0,  "a":[ 1e400 ]}"#, "[ ]", "12345678901234567890", "true"] {
            let sink = Sink::answering("200 OK", &[], "");
            send(&post(), &sink.url("/"), &format!("{{\"body\":  {body} }}")).unwrap();
            let seen = sink.only();
            assert_eq!(seen.body, body.as_bytes());
            assert_eq!(seen.header("content-type"), ["application/json"]);
        }
        let sink = Sink::answering("200 OK", &[], "");
        send(&post(), &sink.url("/"), r#"{"body": {}, "headers": {"content-type": "a/b"}}"#).unwrap();
        assert_eq!(sink.only().header("content-type"), ["a/b"]);
    }

    #[test]
    fn post_without_a_body_is_empty() {
        for payload in ["{}", r#"{"body": null}"#, r#"{"body": ""}"#, r#"{"headers": null}"#] {
            let sink = Sink::answering("200 OK", &[], "");
            send(&post(), &sink.url("/"), payload).unwrap();
            let seen = sink.only();
            assert_eq!((seen.body.as_slice(), seen.header("content-length")), (&b""[..], vec!["0"]));
            assert!(seen.header("content-type").is_empty());
        }
    }

    #[test]
    fn a_long_body_arrives_whole() {
        let sink = Sink::answering("200 OK", &[], "");
        let body = "0123456789".repeat(100_000);
        send(&post(), &sink.url("/"), &format!("{{\"body\": \"{body}\"}}")).unwrap();
        assert_eq!(sink.only().body, body.as_bytes());
    }

    #[test]
    fn long_lines_arrive_whole() {
        let sink = Sink::answering("200 OK", &[], "");
        let (value, header) = ("v".repeat(50_000), "h".repeat(60_000));
        let payload = format!(r#"{{"values": {{"v": "{value}"}}, "headers": {{"X-Long": "{header}"}}}}"#);
        send(&get(), &sink.url("/"), &payload).unwrap();
        let seen = sink.only();
        assert_eq!(seen.line(), format!("GET /?v={value} HTTP/1.1"));
        assert_eq!(seen.header("x-long"), [header]);
    }

    #[test]
    fn credentials_become_basic_authentication() {
        for (userinfo, expected) in [
            ("user:pass@", "Basic dXNlcjpwYXNz"),
            ("us%3Aer:p%40ss@", "Basic dXM6ZXI6cEBzcw=="),
            ("user@", "Basic dXNlcjo="),
            (":pass@", "Basic OnBhc3M="),
        ] {
            let sink = Sink::answering("200 OK", &[], "");
            let endpoint = format!("http://{userinfo}{}/hook", sink.address);
            send(&get(), &endpoint, "{}").unwrap();
            let seen = sink.only();
            assert_eq!(seen.header("authorization"), [expected]);
            assert_eq!(seen.header("host"), [sink.address.to_string()]);
            send(&get(), &endpoint, r#"{"headers": {"authorization": "Bearer x"}}"#).unwrap();
            assert_eq!(sink.seen()[1].header("authorization"), ["Bearer x"]);
        }
    }
}

mod answers {
    use super::*;

    #[test]
    fn any_2xx_is_a_success() {
        for status in ["200 OK", "201 Created", "204 No Content", "299 Whatever"] {
            let sink = Sink::answering(status, &[], "");
            assert_eq!(send(&get(), &sink.url("/"), "{}").unwrap(), "");
        }
    }

    #[test]
    fn everything_else_is_a_failure_with_its_body() {
        for status in ["400 Bad Request", "401 x", "404 x", "413 x", "500 x", "502 x", "599 x", "999 x"] {
            let sink = Sink::answering(status, &[], "the reason");
            let error = send(&post(), &sink.url("/"), "{}").unwrap_err();
            assert!(is_temporary(&error), "{status}");
            assert_eq!(stored(error), "the reason");
        }
    }

    #[test]
    fn a_failure_without_a_body_is_put_in_words() {
        let sink = Sink::answering("500 Whatever", &[], "");
        let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
        assert_eq!(stored(error), "HTTP 500 Internal Server Error, with an empty body");
    }

    #[test]
    fn gone_is_permanent() {
        let sink = Sink::answering("410 Gone", &[], "");
        let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(stored(error), "HTTP 410 Gone, with an empty body");
        let driver = HttpGet::new(&web(LONG), Validator::Prefix("OK".into()));
        assert!(is_temporary(&send(&driver, &sink.url("/"), "{}").unwrap_err()));
    }

    #[test]
    fn a_redirection_is_not_followed() {
        let sink = Sink::answering("302 Found", &[("Location", "http://elsewhere.test/x")], "");
        let error = send(&post(), &sink.url("/"), "{}").unwrap_err();
        assert!(is_temporary(&error));
        let expected = "HTTP 302 Found, redirects to http://elsewhere.test/x: redirects are not followed";
        assert_eq!(stored(error), expected);
        sink.only();

        let sink = Sink::answering("301 x", &[("Location", "/there")], "<html>");
        let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
        assert_eq!(stored(error), "HTTP 301 Moved Permanently\nLocation: /there\n\n<html>");

        let sink = Sink::answering("304 x", &[], "");
        let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
        assert_eq!(stored(error), "HTTP 304 Not Modified, with an empty body");
    }

    #[test]
    fn retry_after_counts_with_429_and_503() {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let sink = Sink::answering(status, &[("Retry-After", "120")], "busy");
            let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
            assert_eq!(error.wait(), Some(Duration::from_secs(120)));
            assert_eq!(stored(error), "busy");
            let sink = Sink::answering(status, &[("Retry-After", "later")], "busy");
            assert!(is_temporary(&send(&get(), &sink.url("/"), "{}").unwrap_err()));
        }
        let sink = Sink::answering("500 x", &[("Retry-After", "120")], "");
        assert!(is_temporary(&send(&get(), &sink.url("/"), "{}").unwrap_err()));
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let sink = Sink::start(|_, peer| {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(600));
            peer.answer("503 x", &[("Retry-After", &date)], b"")
        });
        let wait = send(&get(), &sink.url("/"), "{}").unwrap_err().wait().unwrap().as_secs();
        assert!((590..=600).contains(&wait), "{wait}");
    }

    #[test]
    fn interim_answers_are_skipped() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            peer.answer("200 OK", &[], b"x")
        });
        assert_eq!(send(&post(), &sink.url("/"), "{}").unwrap(), "x");
    }

    #[test]
    fn bodies_are_stored_as_they_come() {
        let sink =
            Sink::start(|_, peer| peer.answer("200 OK", &[("Content-Encoding", "gzip")], b"\x1f\x8b\x00"));
        let url = sink.url("/");
        let delivery = Delivery { id: "1", endpoint: &url, content: b"{}" };
        assert_eq!(get().send(&delivery).unwrap(), b"\x1f\x8b\x00");
    }

    #[test]
    fn an_old_server_that_closes_is_fine() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end");
            Then::Close
        });
        assert_eq!(send(&get(), &sink.url("/"), "{}").unwrap(), "until the end");
    }

    #[test]
    fn a_huge_body_is_read_to_just_over_a_mebibyte() {
        for head in ["HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", "HTTP/1.1 500 x\r\n\r\n"] {
            let sink = Sink::start(move |_, peer| {
                peer.raw(head.as_bytes());
                peer.raw(&vec![b'x'; 3_000_000]);
                Then::Close
            });
            let response = match send(&get(), &sink.url("/"), "{}") {
                Ok(response) => response,
                Err(error) => stored(error),
            };
            assert_eq!(response.len(), (1 << 20) + 1);
        }
    }

    #[test]
    fn what_is_no_http_is_a_temporary_failure() {
        for garbage in
            ["SSH-2.0-OpenSSH_9.9\r\n", "HTTP/1.1 000 x\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "\0\0\0\0"]
        {
            let sink = Sink::start(move |_, peer| {
                peer.raw(garbage.as_bytes());
                Then::Close
            });
            let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
            assert!(is_temporary(&error), "{garbage:?}: {error}");
            assert!(stored(error).starts_with(&format!("the answer of {} is no valid HTTP: ", sink.address)));
        }
    }

    #[test]
    fn odd_framing_never_hangs_and_never_panics() {
        for (answer, expected) in [
            // The head says success, whatever its body is worth.
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n", Some("")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nab", Some("")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF0\r\nab", Some("ab")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nab", Some("ab")),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab", Some("")),
            ("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nabcd", Some("ab")),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\nno header\r\n\r\n", None),
        ] {
            let sink = Sink::start(move |_, peer| {
                peer.raw(answer.as_bytes());
                Then::Close
            });
            let driver = get();
            for _ in 0..2 {
                let result = send(&driver, &sink.url("/"), "{}");
                assert_eq!(result.as_deref().ok(), expected, "{answer:?}");
            }
        }
    }

    #[test]
    fn a_huge_head_is_a_temporary_failure() {
        let sink = Sink::start(|_, peer| {
            peer.raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).as_bytes());
            Then::Close
        });
        let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
        assert!(is_temporary(&error) && error.to_string().contains("head of more than"), "{error}");
    }

    #[test]
    fn an_answer_before_the_body_was_read_counts() {
        let sink = Sink::start(|_, peer| {
            peer.answer("410 Gone", &[("Connection", "close")], b"too much");
            Then::Reset
        });
        let payload = format!("{{\"body\": \"{}\"}}", "x".repeat(4 << 20));
        let error = send(&post(), &sink.url("/early"), &payload).unwrap_err();
        assert!(error.is_permanent(), "{error}");
        assert_eq!(stored(error), "too much");
    }
}

mod prefix_rule {
    use super::*;

    fn driver(timeout: Duration) -> HttpPost {
        HttpPost::new(&web(timeout), Validator::Prefix("0000".into()))
    }

    #[test]
    fn the_body_decides_whatever_the_status() {
        let sink = Sink::answering("500 x", &[], "0000 fine");
        assert_eq!(send(&driver(LONG), &sink.url("/"), "{}").unwrap(), "0000 fine");
        let sink = Sink::answering("200 OK", &[], "000");
        let error = send(&driver(LONG), &sink.url("/"), "{}").unwrap_err();
        assert!(is_temporary(&error));
        assert_eq!(error.to_string(), "HTTP 200 OK, with a body that doesn't begin with \"0000\"");
        assert_eq!(stored(error), "000");
        let sink = Sink::answering("200 OK", &[], "");
        let error = send(&driver(LONG), &sink.url("/"), "{}").unwrap_err();
        assert_eq!(stored(error), "HTTP 200 OK, with a body that doesn't begin with \"0000\"");
    }

    #[test]
    fn retry_after_counts() {
        let sink = Sink::answering("429 x", &[("Retry-After", "5")], "slow down");
        let error = send(&driver(LONG), &sink.url("/"), "{}").unwrap_err();
        assert_eq!(error.wait(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_body_that_is_cut_off_decides_by_what_came() {
        for (came, is_success) in [("0000", true), ("000", false)] {
            let sink = Sink::start(move |_, peer| {
                peer.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{came}").as_bytes());
                Then::Close
            });
            assert_eq!(send(&driver(LONG), &sink.url("/"), "{}").is_ok(), is_success);
        }
    }

    #[test]
    fn a_body_that_never_comes_is_a_time_out() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n00");
            peer.hang()
        });
        assert!(send(&driver(SHORT), &sink.url("/"), "{}").unwrap_err().is_unreachable());
    }
}
