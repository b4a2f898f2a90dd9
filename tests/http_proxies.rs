//! Webhooks that go through a proxy.

mod support;

use std::{net::TcpListener, time::Instant};

use notify_api::{
    SendError,
    drivers::{
        http::{HttpGet, HttpPost, Validator},
        tls::Trust,
        web::{Proxies, WebClient, WebOptions},
    },
};
use support::{
    ca::Ca,
    child::in_child,
    sink::Sink,
    webhook::{LONG, SHORT, send, stored},
};

fn driver(http: Option<&str>, https: Option<&str>, no_proxy: &str, trust: Trust) -> HttpPost {
    let proxies = Proxies::new(http, https, no_proxy).unwrap();
    let web = WebClient::new(WebOptions { timeout: LONG, trust, proxies, ..WebOptions::default() });
    HttpPost::new(&web, Validator::Status2xx)
}

/// Relays plain requests by answering itself, and opens tunnels.
fn proxy() -> Sink {
    Sink::start(|seen, peer| match seen.line().split(' ').collect::<Vec<_>>()[..] {
        ["CONNECT", target, _] => {
            peer.raw(b"HTTP/1.1 200 OK\r\n\r\n");
            peer.tunnel(target)
        }
        _ => peer.answer("200 OK", &[], b"relayed"),
    })
}

#[test]
fn plain_requests_are_relayed_on_one_connection() {
    let proxy = proxy();
    let url = format!("http://us%20er:pass@{}", proxy.address);
    let driver = driver(Some(&url), None, "", Trust::system());
    for (endpoint, line, host) in [
        ("http://a.test/x?y", "POST http://a.test/x?y HTTP/1.1", "a.test"),
        ("http://b.test:81", "POST http://b.test:81/ HTTP/1.1", "b.test:81"),
    ] {
        assert_eq!(send(&driver, endpoint, r#"{"body": "b"}"#).unwrap(), "relayed");
        let seen = proxy.seen().pop().unwrap();
        assert_eq!((seen.line(), seen.body.as_slice()), (line, &b"b"[..]));
        assert_eq!(seen.header("host"), [host]);
        assert_eq!(seen.header("proxy-authorization"), ["Basic dXMgZXI6cGFzcw=="]);
        assert_eq!(seen.connection, 0);
    }
}

#[test]
fn long_request_lines_are_relayed() {
    let proxy = proxy();
    let driver = driver(Some(&proxy.url("")), None, "", Trust::system());
    let endpoint = format!("http://a.test/{}", "x".repeat(16_370));
    send(&driver, &endpoint, r#"{"body": "b"}"#).unwrap();
    assert_eq!(proxy.only().line(), format!("POST {endpoint} HTTP/1.1"));
}

#[test]
fn secure_requests_go_through_a_tunnel() {
    let (proxy, ca) = (proxy(), Ca::new());
    let sink = Sink::start_tls(ca.server("127.0.0.1"), |_, peer| peer.answer("200 OK", &[], b"x"));
    let url = format!("user:pass@{}", proxy.address);
    let driver = driver(None, Some(&url), "", Trust::only([ca.certificate()]));
    for _ in 0..2 {
        let endpoint = format!("https://{}/y", sink.address);
        assert_eq!(send(&driver, &endpoint, "{}").unwrap(), "x");
    }
    let seen = proxy.only();
    assert_eq!(seen.line(), format!("CONNECT {} HTTP/1.1", sink.address));
    assert_eq!(seen.header("proxy-authorization"), ["Basic dXNlcjpwYXNz"]);
    let seen = sink.seen();
    assert_eq!((seen[1].line(), seen[1].connection), ("POST /y HTTP/1.1", 0));
    assert!(seen[1].header("proxy-authorization").is_empty());
}

#[test]
fn each_scheme_goes_its_own_way() {
    let (proxy, sink) = (proxy(), Sink::answering("200 OK", &[], "direct"));
    let only_https = driver(None, Some(&proxy.url("")), "", Trust::system());
    assert_eq!(send(&only_https, &sink.url("/"), "{}").unwrap(), "direct");
    let excepted = driver(Some(&proxy.url("")), None, "127.0.0.0/8", Trust::system());
    assert_eq!(send(&excepted, &sink.url("/"), "{}").unwrap(), "direct");
    assert!(proxy.seen().is_empty());
}

#[test]
fn a_proxy_that_refuses_or_is_gone_is_nobody() {
    let refusing = Sink::answering("403 Forbidden", &[], "");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reason = |proxy: &str, endpoint| {
        let error: SendError =
            send(&driver(Some(proxy), Some(proxy), "", Trust::system()), endpoint, "{}").unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        stored(error)
    };
    let refused = reason(&refusing.url(""), "https://a.test/");
    assert!(refused.starts_with("no way to a.test:443 through the proxy: "), "{refused}");
    let expected = format!("nobody answers at {gone}: connection refused");
    assert_eq!(reason(&format!("u:secret@{gone}"), "http://a.test/"), expected);
    assert_eq!(reason(&format!("u:secret@{gone}"), "https://a.test/"), expected);
}

#[test]
fn a_proxy_that_drips_holds_nobody_longer() {
    let proxy =
        Sink::start(|_, peer| peer.drip("HTTP/1.1 200 OK\r\nX: ".bytes().chain([b'x'; 9999]), SHORT / 20));
    let proxies = Proxies::new(None, Some(&proxy.url("")), "").unwrap();
    let web = WebClient::new(WebOptions { timeout: SHORT, proxies, ..WebOptions::default() });
    let started = Instant::now();
    let driver = HttpPost::new(&web, Validator::Status2xx);
    assert!(send(&driver, "https://a.test/", "{}").unwrap_err().is_unreachable());
    assert!(started.elapsed() < SHORT * 10);
}

#[test]
fn the_environment_names_them() {
    let (proxy, sink) = (proxy(), Sink::answering("200 OK", &[], "direct"));
    let child = |url: &str, variables: &[(&str, &str)]| in_child("child_sends", url, variables);
    child("http://a.test/", &[("HTTP_PROXY", &proxy.url(""))]).unwrap();
    child("http://a.test/", &[("http_proxy", &proxy.url("")), ("HTTP_PROXY", "http://127.0.0.1:1")]).unwrap();
    assert_eq!(proxy.seen().len(), 2);
    child(&sink.url("/"), &[("HTTP_PROXY", &proxy.url("")), ("no_proxy", "127.0.0.1")]).unwrap();
    child(&sink.url("/"), &[("HTTP_PROXY", ""), ("HTTPS_PROXY", &proxy.url(""))]).unwrap();
    assert_eq!((proxy.seen().len(), sink.seen().len()), (2, 2));
    let said = child("http://a.test/", &[("HTTP_PROXY", "gopher://u:secret@x")]).unwrap_err();
    assert!(said.contains("HTTP_PROXY holds no proxy that can be used") && !said.contains("secret"));
}

#[test]
#[ignore = "runs in a process with another environment"]
fn child_sends() {
    let proxies = Proxies::from_env().unwrap_or_else(|error| panic!("{error}"));
    let web = WebClient::new(WebOptions { timeout: LONG, proxies, ..WebOptions::default() });
    let driver = HttpGet::new(&web, Validator::Status2xx);
    send(&driver, &std::env::var("CHILD_URL").unwrap(), "{}").unwrap();
}
