//! The connections below webhooks: reuse, time-outs and TLS.

mod support;

use std::{net::TcpListener, time::Instant};

use notify_api::drivers::{
    http::{HttpGet, HttpPost, Validator},
    tls::Trust,
    web::{WebClient, WebOptions},
};
use support::{
    ca::Ca,
    child::in_child,
    sink::{Sink, Then},
    webhook::{LONG, SHORT, get, is_temporary, post, send, stored, web},
};

mod connections {
    use super::*;

    #[test]
    fn are_reused() {
        let sink = Sink::answering("200 OK", &[], "thanks");
        let driver = post();
        for _ in 0..5 {
            send(&driver, &sink.url("/"), r#"{"body": "x"}"#).unwrap();
        }
        assert!(sink.seen().iter().all(|seen| seen.connection == 0));
    }

    #[test]
    fn are_reused_after_a_chunked_answer_and_after_a_failure() {
        let sink = Sink::start(|seen, peer| match seen.nth {
            0 => {
                peer.raw(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                );
                Then::Keep
            }
            _ => peer.answer("500 Internal Server Error", &[], b"sorry"),
        });
        let driver = get();
        assert_eq!(send(&driver, &sink.url("/"), "{}").unwrap(), "abcde");
        for _ in 0..2 {
            send(&driver, &sink.url("/"), "{}").unwrap_err();
        }
        assert!(sink.seen().iter().all(|seen| seen.connection == 0));
    }

    #[test]
    fn that_were_closed_while_idle_are_replaced() {
        let sink = Sink::answering("200 OK", &[], "");
        let driver = get();
        send(&driver, &sink.url("/"), "{}").unwrap();
        sink.close_connections();
        send(&driver, &sink.url("/"), "{}").unwrap();
        assert_eq!(sink.seen()[1].connection, 1);
    }

    /// The server closes just as the next request is under way.
    #[test]
    fn that_turn_out_to_be_stale_are_no_failed_attempt() {
        for end in [Then::Close, Then::Reset] {
            let sink = Sink::start(move |seen, peer| {
                if seen.connection == 0 && seen.nth == 1 { end } else { peer.answer("200 OK", &[], b"x") }
            });
            let driver = post();
            for _ in 0..2 {
                assert_eq!(send(&driver, &sink.url("/"), r#"{"body": "b"}"#).unwrap(), "x");
            }
            assert_eq!(sink.seen().len(), 3);
        }
    }

    #[test]
    fn that_are_fresh_are_not_tried_twice() {
        for end in [Then::Close, Then::Reset] {
            let sink = Sink::start(move |_, _| end);
            let error = send(&get(), &sink.url("/"), "{}").unwrap_err();
            assert!(error.is_unreachable());
            let expected = format!("{} closed the connection without an answer", sink.address);
            assert_eq!(stored(error), expected);
            assert_eq!(sink.seen().len(), 1);
        }
    }

    #[test]
    fn that_began_to_answer_are_not_tried_twice() {
        let sink = Sink::start(|seen, peer| match seen.nth {
            0 => peer.answer("200 OK", &[], b""),
            _ => {
                peer.raw(b"HTTP/1.1 20");
                Then::Close
            }
        });
        let driver = get();
        send(&driver, &sink.url("/"), "{}").unwrap();
        assert!(send(&driver, &sink.url("/"), "{}").unwrap_err().is_unreachable());
        assert_eq!(sink.seen().len(), 2);
    }

    #[test]
    fn are_not_shared_after_a_body_that_never_ended() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
            peer.hang()
        });
        let driver = HttpGet::new(&web(SHORT), Validator::Status2xx);
        for connection in 0..2 {
            assert_eq!(send(&driver, &sink.url("/"), "{}").unwrap(), "abc");
            assert_eq!(sink.seen()[connection].connection, connection);
        }
    }

    #[test]
    fn as_many_as_there_are_threads_are_kept() {
        let sink = Sink::answering("200 OK", &[], "");
        let driver = get();
        let round = || {
            std::thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            send(&driver, &sink.url("/"), "{}").unwrap();
                        }
                    });
                }
            });
        };
        round();
        round();
        let connections = sink.seen().iter().map(|seen| seen.connection).max().unwrap() + 1;
        assert!(connections <= 10, "{connections} connections");
    }
}

mod time_outs {
    use super::*;

    fn takes_as_long_as_it_may<T>(attempt: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = attempt();
        let took = started.elapsed();
        assert!((SHORT..SHORT * 10).contains(&took), "{took:?}");
        result
    }

    fn driver() -> HttpPost {
        HttpPost::new(&web(SHORT), Validator::Status2xx)
    }

    #[test]
    fn nobody_answers() {
        let sink = Sink::start(|_, peer| peer.hang());
        let error = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/"), "{}").unwrap_err());
        assert!(error.is_unreachable());
        assert_eq!(stored(error), format!("no answer from {} within 0.3 s", sink.address));
    }

    #[test]
    fn a_head_that_drips() {
        let sink = Sink::start(|_, peer| {
            peer.drip("HTTP/1.1 200 OK\r\nX: ".bytes().chain([b'x'; 9999]), SHORT / 20)
        });
        let error = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/"), "{}").unwrap_err());
        assert!(error.is_unreachable());
    }

    #[test]
    fn interim_answers_that_never_end() {
        let sink = Sink::start(|_, peer| {
            peer.drip("HTTP/1.1 102 Processing\r\n\r\n".repeat(999).bytes(), SHORT / 200)
        });
        let error = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/"), "{}").unwrap_err());
        assert!(error.is_unreachable());
    }

    #[test]
    fn a_2xx_body_that_drips_is_a_success_all_the_same() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
            peer.drip([b'x'; 9999], SHORT / 20)
        });
        let body = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/"), "{}").unwrap());
        assert!(body.starts_with("xx") && body.len() < 99, "{body}");
    }

    #[test]
    fn a_failure_whose_body_never_ends_was_answered() {
        let sink = Sink::start(|_, peer| {
            peer.raw(b"HTTP/1.1 410 Gone\r\nContent-Length: 9999\r\n\r\nbye");
            peer.hang()
        });
        let error = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/"), "{}").unwrap_err());
        assert!(error.is_permanent());
        assert_eq!(stored(error), "bye");
    }

    #[test]
    fn a_server_that_reads_nothing() {
        let sink = Sink::start(|_, peer| peer.stall(SHORT * 12));
        let payload = format!("{{\"body\": \"{}\"}}", "x".repeat(32 << 20));
        let error = takes_as_long_as_it_may(|| send(&driver(), &sink.url("/early"), &payload).unwrap_err());
        assert!(error.is_unreachable());
    }

    #[test]
    fn a_server_that_never_accepts_tls() {
        // The kernel accepts, and nobody ever says a word.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let error = takes_as_long_as_it_may(|| send(&driver(), &url, "{}").unwrap_err());
        assert!(error.is_unreachable());
    }
}

mod nobody_there {
    use super::*;

    #[test]
    fn a_closed_port() {
        // Freed at once: nobody else gets it soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://user:secret@{address}/path?token=secret");
        let error = send(&get(), &url, "{}").unwrap_err();
        assert!(error.is_unreachable());
        assert_eq!(stored(error), format!("nobody answers at {address}: connection refused"));
    }

    #[test]
    fn an_unknown_name() {
        let error = send(&get(), "http://secret@no-such-host.invalid/?token=secret", "{}").unwrap_err();
        assert!(error.is_unreachable());
        let reason = stored(error);
        assert!(reason.starts_with("the name no-such-host.invalid can't be looked up: "), "{reason}");
        assert!(!reason.contains("secret"));
    }

    #[test]
    fn a_known_name_is_looked_up() {
        let sink = Sink::answering("200 OK", &[], "");
        send(&get(), &format!("http://LocalHost:{}/", sink.address.port()), "{}").unwrap();
        assert_eq!(sink.only().header("host"), [format!("localhost:{}", sink.address.port())]);
    }
}

mod tls {
    use super::*;

    fn driver(trust: Trust) -> HttpGet {
        let web = WebClient::new(WebOptions { timeout: LONG, trust, ..WebOptions::default() });
        HttpGet::new(&web, Validator::Status2xx)
    }

    fn secure(sink: &Sink) -> String {
        sink.url("/").replace("http:", "https:")
    }

    #[test]
    fn a_server_certified_by_whom_we_trust_is_spoken_to() {
        let ca = Ca::new();
        let sink = Sink::start_tls(ca.server("127.0.0.1"), |_, peer| peer.answer("200 OK", &[], b"x"));
        let driver = driver(Trust::only([ca.certificate()]));
        for _ in 0..3 {
            assert_eq!(send(&driver, &secure(&sink), "{}").unwrap(), "x");
        }
        assert!(sink.seen().iter().all(|seen| seen.connection == 0), "connections are reused");
    }

    #[test]
    fn long_bodies_arrive_whole_both_ways() {
        let ca = Ca::new();
        let sink =
            Sink::start_tls(ca.server("localhost"), |seen, peer| peer.answer("200 OK", &[], &seen.body));
        let web =
            WebClient::new(WebOptions { trust: Trust::only([ca.certificate()]), ..WebOptions::default() });
        let body = "0123456789".repeat(100_000);
        let url = secure(&sink).replace("127.0.0.1", "localhost");
        let driver = HttpPost::new(&web, Validator::Status2xx);
        assert_eq!(send(&driver, &url, &format!("{{\"body\": \"{body}\"}}")).unwrap(), body);
    }

    #[test]
    fn nobody_else_is_spoken_to() {
        let ca = Ca::new();
        let sink = Sink::start_tls(ca.server("127.0.0.1"), |_, peer| peer.answer("200 OK", &[], b"x"));
        let elsewhere =
            Sink::start_tls(ca.server("elsewhere.test"), |_, peer| peer.answer("200 OK", &[], b""));
        for (trust, sink) in [
            (Trust::system(), &sink),
            (Trust::only([]), &sink),
            (Trust::only([Ca::new().certificate()]), &sink),
            (Trust::only([ca.certificate()]), &elsewhere),
        ] {
            let error = send(&driver(trust), &secure(sink), "{}").unwrap_err();
            assert!(is_temporary(&error));
            let reason = stored(error);
            assert!(reason.starts_with(&format!("no TLS connection to {}: ", sink.address)), "{reason}");
        }
        assert!(sink.seen().is_empty() && elsewhere.seen().is_empty());
    }

    #[test]
    fn a_server_without_tls_is_no_match() {
        let sink = Sink::answering("200 OK", &[], "");
        let web = WebClient::new(WebOptions { timeout: SHORT, ..WebOptions::default() });
        let driver = HttpGet::new(&web, Validator::Status2xx);
        send(&driver, &secure(&sink), "{}").unwrap_err();
        assert!(sink.seen().is_empty());
    }

    #[test]
    fn ssl_cert_file_is_trusted_beside_what_it_holds_that_is_broken() {
        let ca = Ca::new();
        let sink = Sink::start_tls(ca.server("127.0.0.1"), |_, peer| peer.answer("200 OK", &[], b"x"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let file = std::env::temp_dir().join(format!("notify-api-test-{}.pem", std::process::id()));
        std::fs::write(&file, format!("{broken}{}", ca.pem())).unwrap();
        let sent = in_child("tls::child_sends", &secure(&sink), &[("SSL_CERT_FILE", file.to_str().unwrap())]);
        std::fs::remove_file(&file).unwrap();
        sent.unwrap();
        sink.only();
        in_child("tls::child_sends", &secure(&sink), &[("SSL_CERT_FILE", "/nowhere/at/all")]).unwrap_err();
    }

    #[test]
    #[ignore = "runs in a process with another environment"]
    fn child_sends() {
        send(&driver(Trust::system()), &std::env::var("CHILD_URL").unwrap(), "{}").unwrap();
    }
}
