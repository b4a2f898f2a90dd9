//! What webhooks refuse at the door, and what becomes of it if it is in the table all the same.

mod support;

use notify_api::{Delivery, Driver};
use support::webhook::{get, post, send, stored};

/// Why this payload is refused; a send refuses it in the same words, for good.
fn refused(driver: &dyn Driver, payload: &[u8]) -> String {
    let sentence = driver.verify(payload).expect_err("it should be refused").to_string();
    let delivery = Delivery { id: "1", endpoint: "http://127.0.0.1:1/", content: payload };
    let error = driver.send(&delivery).unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(stored(error), sentence);
    sentence
}

#[test]
fn payloads_that_are_no_object() {
    for payload in ["", "[]", "1", "\"text\"", "true", "{", "{} {}", "[null]", "nul", "{\"a\":}"] {
        for driver in [&get() as &dyn Driver, &post()] {
            let sentence = refused(driver, payload.as_bytes());
            assert!(sentence.starts_with("the payload is refused: invalid JSON: "), "{payload}: {sentence}");
        }
    }
    assert!(refused(&get(), b"{\"a\": \"\xff\"}").contains("utf-8"));
}

#[test]
fn payloads_that_are_null() {
    for payload in ["null", " null\n"] {
        get().verify(payload.as_bytes()).unwrap();
        let sentence = refused(&post(), payload.as_bytes());
        assert!(sentence.starts_with("\"payload\" is missing: HTTPPOST needs "), "{sentence}");
    }
}

#[test]
fn fields_that_are_given_twice() {
    assert!(refused(&get(), br#"{"values": {}, "values": {}}"#).contains("duplicate field `values`"));
    assert!(refused(&get(), br#"{"headers": null, "headers": {}}"#).contains("duplicate field `headers`"));
    assert!(refused(&post(), br#"{"body": 1, "body": 1}"#).contains("duplicate field `body`"));
}

#[test]
fn fields_of_the_wrong_type() {
    for payload in [
        r#"{"headers": []}"#,
        r#"{"headers": "x"}"#,
        r#"{"headers": {"X": 1}}"#,
        r#"{"headers": {"X": [1]}}"#,
        r#"{"headers": {"X": [null]}}"#,
        r#"{"headers": {"X": {}}}"#,
    ] {
        refused(&get(), payload.as_bytes());
        refused(&post(), payload.as_bytes());
        refused(&get(), payload.replace("headers", "values").as_bytes());
    }
}

#[test]
fn fields_that_are_fine() {
    for payload in [
        r#"{}"#,
        r#"{"Headers": 1, "unknown": 2, "unknown": 3}"#,
        r#"{"headers": null}"#,
        r#"{"headers": {}}"#,
        r#"{"headers": {"X": null, "x": [], "Y": "", "y": ["a\tb", "\u00e4"]}}"#,
        r#"{"headers": {"X": "1", "X": "2"}}"#,
    ] {
        get().verify(payload.as_bytes()).unwrap();
        post().verify(payload.as_bytes()).unwrap();
    }
    // Each type ignores the other's field, whatever it holds.
    get().verify(br#"{"body": "\ud800"}"#).unwrap();
    post().verify(br#"{"values": 1}"#).unwrap();
}

#[test]
fn a_body_that_is_no_text() {
    for body in ["\\ud800", "\\udc00\\ud800", "a\\ud800b"] {
        let sentence = refused(&post(), format!("{{\"body\": \"{body}\"}}").as_bytes());
        assert!(sentence.starts_with("\"body\" is no valid text: "), "{sentence}");
    }
}

#[test]
fn names_of_headers() {
    for name in ["", " ", "a b", "a:", "ä", "a\\n", "a\\u0000", "(x)"] {
        let sentence = refused(&post(), format!("{{\"headers\": {{\"{name}\": \"v\"}}}}").as_bytes());
        assert!(sentence.ends_with("is no valid name of a header"), "{sentence}");
    }
}

#[test]
fn values_of_headers() {
    for value in ["secret\\r\\nX: y", "secret\\n", "\\u0000secret", "secret\\u007f"] {
        let sentence =
            refused(&post(), format!("{{\"headers\": {{\"X\": [\"ok\", \"{value}\"]}}}}").as_bytes());
        assert_eq!(sentence, "the value of the header X has a control character");
    }
}

#[test]
fn headers_that_are_the_clients_own() {
    for name in [
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "CONNECTION",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
    ] {
        let sentence = refused(&get(), format!("{{\"headers\": {{\"{name}\": \"1\"}}}}").as_bytes());
        assert_eq!(sentence, format!("the header {name} is set by the server itself"));
    }
}

#[test]
fn headers_that_stand_alone() {
    for name in ["Host", "Authorization"] {
        let twice = format!("{{\"headers\": {{\"{name}\": [\"a\", \"b\"]}}}}");
        assert_eq!(refused(&get(), twice.as_bytes()), format!("the header {name} is given twice"));
        let cased = format!("{{\"headers\": {{\"{name}\": \"a\", \"{}\": \"b\"}}}}", name.to_lowercase());
        assert!(refused(&get(), cased.as_bytes()).ends_with("is given twice"));
        let foreign = format!("{{\"headers\": {{\"{name}\": \"ä\"}}}}");
        assert_eq!(
            refused(&get(), foreign.as_bytes()),
            format!("the value of the header {name} must be ASCII")
        );
    }
}

#[test]
fn headers_without_end() {
    let value = "x".repeat(64 << 10);
    let sentence = refused(&get(), format!("{{\"headers\": {{\"X\": \"{value}\"}}}}").as_bytes());
    assert_eq!(sentence, "the headers have more than 65536 bytes");
}

#[test]
fn endpoints() {
    for (endpoint, sentence) in [
        ("", "\"endpoint\" is missing: it is the URL to call"),
        ("example.test", "the endpoint is no URL: it must begin with http:// or https://"),
        ("localhost:8080/x", "the endpoint must begin with http:// or https://"),
        ("ftp://example.test/", "the endpoint must begin with http:// or https://"),
        ("file:///etc/passwd", "the endpoint must begin with http:// or https://"),
        ("http:example.test", "the endpoint must have two slashes after its scheme, then a host"),
        ("http:/example.test", "the endpoint must have two slashes after its scheme, then a host"),
        ("http://", "the endpoint has no host"),
        ("http:///path", "the endpoint has no host"),
        ("http://?q", "the endpoint has no host"),
        ("https://#f", "the endpoint has no host"),
        ("http://\\path", "the endpoint has no host"),
        ("http://user@/", "the endpoint is no valid URL: empty host"),
        ("http://:80/", "the endpoint is no valid URL: empty host"),
        ("http://a b/", "the endpoint has a space or a control character in it"),
        (" http://a.test/", "the endpoint has a space or a control character in it"),
        ("http://a.test/\n", "the endpoint has a space or a control character in it"),
        ("http://a.test/\u{a0}", "the endpoint has a space or a control character in it"),
        ("http://a.test:0/", "the endpoint's port can't be 0"),
        ("http://a.test:65536/", "the endpoint is no valid URL: invalid port number"),
        ("http://a.test:x/", "the endpoint is no valid URL: invalid port number"),
        ("http://[::1/", "the endpoint is no valid URL: invalid IPv6 address"),
        ("http://1.2.3.400/", "the endpoint is no valid URL: invalid IPv4 address"),
        ("http://a%00b/", "the endpoint is no valid URL: invalid international domain name"),
    ] {
        for driver in [&get() as &dyn Driver, &post()] {
            assert_eq!(driver.check_endpoint(endpoint).unwrap_err().to_string(), sentence, "{endpoint:?}");
            let error = send(driver, endpoint, "{}").unwrap_err();
            assert!(error.is_permanent());
            assert_eq!(stored(error), sentence);
        }
    }
}

#[test]
fn endpoints_that_are_fine() {
    for endpoint in [
        "http://a.test",
        "HTTPS://user:p%40ss@A.test:8443/path?query=1&x#fragment",
        "http://127.0.0.1:8080/",
        "http://[::1]:8080/",
        "http://münchen.test/straße?ü",
        "http://a_b.test/{x}|^`\"<>?{}|^`\"<>'",
    ] {
        get().check_endpoint(endpoint).unwrap();
    }
}

#[test]
fn a_url_that_grows_too_long_is_a_permanent_failure() {
    let payload = format!("{{\"values\": {{\"v\": \"{}\"}}}}", "secret".repeat(20_000));
    get().verify(payload.as_bytes()).unwrap();
    let error = send(&get(), "http://127.0.0.1:1/", &payload).unwrap_err();
    assert!(error.is_permanent());
    let reason = stored(error);
    assert!(reason.contains("120022 bytes") && !reason.contains("secret"), "{reason}");
}

#[test]
fn lanes_are_servers_and_destinations_are_endpoints() {
    for (endpoint, lane) in [
        ("http://A.test/x", "http://a.test:80"),
        ("http://user:pass@a.test:80/y?z", "http://a.test:80"),
        ("https://a.test", "https://a.test:443"),
        ("https://a.test:8443#x", "https://a.test:8443"),
        ("http://[0:0::1]/", "http://[::1]:80"),
        ("no URL", "no URL"),
    ] {
        for driver in [&get() as &dyn Driver, &post()] {
            assert_eq!(driver.lane(endpoint), lane);
            assert_eq!(driver.destination(endpoint), endpoint);
        }
    }
}

/// Whatever another program has written into the table: an error, never a panic.
#[test]
fn noise_is_refused_or_sent_but_never_panics() {
    let mut random = fastrand::Rng::with_seed(7);
    let payloads = [
        r#"{"headers": {"X": ["a", "b"], "Host": "c"}, "values": {"v": ["w", "\u00e4"]}, "body": "text"}"#,
        r#"{"headers": null, "body": {"a": [1, 2.5e-7, null, true]}}"#,
    ];
    let endpoints =
        ["http://user:p%40ss@127.0.0.1:1/path?q=1#f", "https://[::1]:1/%zz", "http://x.invalid./"];
    for round in 0..4000 {
        let mut payload = payloads[round % payloads.len()].as_bytes().to_vec();
        let mut endpoint = endpoints[round % endpoints.len()].as_bytes().to_vec();
        for text in [&mut payload, &mut endpoint] {
            for _ in 0..random.usize(0..4) {
                let index = random.usize(0..text.len());
                match random.u8(0..4) {
                    0 => text[index] = random.u8(..),
                    1 => text[index] = *random.choice(b"\"\\{}[]:,/@%# \n\0".iter()).unwrap(),
                    2 => drop(text.drain(index..)),
                    _ => text.insert(index, text[index]),
                }
                text.push(b'x');
            }
        }
        let endpoint = String::from_utf8_lossy(&endpoint);
        for driver in [&get() as &dyn Driver, &post()] {
            let _ = driver.verify(&payload);
            let _ = driver.check_endpoint(&endpoint);
            let (_, _) = (driver.lane(&endpoint), driver.destination(&endpoint));
            // Names would be looked up; the rest ends at a closed port.
            if round % 10 == 0 && endpoint.starts_with("http://user:p%40ss@127.0.0.1:1/") {
                let _ = driver.send(&Delivery { id: "1", endpoint: &endpoint, content: &payload });
            }
        }
    }
}
