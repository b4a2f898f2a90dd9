//! What a failure means: an end, another attempt later, or a pause.

use crate::{
    Service, all_on,
    appliance::{Appliance, ClosedPort, Status, now},
    kind_of, services,
    support::sink::{Seen, Sink, Then},
};

/// What becomes of one notification of each type with services that answer like this.
fn outcomes(
    script: impl Fn(&Seen, &mut crate::Peer) -> Then + Send + Sync + 'static,
    mut check: impl FnMut(&Service, Status, String),
) {
    let sink = Sink::start(script);
    let appliance = Appliance::start(all_on(&sink.url("")));
    let services = services(&sink.url(""));
    for service in &services {
        appliance.send(service.kind, service.kind, &service.endpoint, service.payload);
    }
    for service in &services {
        let status = appliance.outcome(service.kind);
        check(service, status, appliance.result(service.kind));
    }
    assert_eq!(sink.seen().len(), services.len(), "nothing was tried twice");
}

/// It is tried again when the first retry is due: after a minute and up to a tenth.
fn is_tried_again(status: &Status) -> bool {
    let wait = status.next_at - now();
    (status.state, status.tried) == (Status::PENDING, 1) && (50..=67).contains(&wait)
}

#[test]
fn what_no_later_attempt_can_change_ends_at_once() {
    let telegram = r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#;
    let errors = r#"{"errors":[{"message":"bad"}]}"#;
    outcomes(
        move |seen, peer| match kind_of(seen) {
            "HTTPGET" | "HTTPPOST" => peer.answer("410 Gone", &[], b"moved away"),
            "Telegram" => peer.answer("400 Bad Request", &[], telegram.as_bytes()),
            "SENDGRID" => peer.answer("400 Bad Request", &[("X-Message-Id", "i")], errors.as_bytes()),
            _ => peer.answer("200 OK", &[], b"-99,no such account"),
        },
        |service, status, result| {
            let (is_final, expected) = match service.kind {
                "HTTPGET" | "HTTPPOST" => (true, "moved away".to_owned()),
                "SENDGRID" => (true, format!("HTTP 400 Bad Request\nX-Message-Id: i\n\n{errors}")),
                // Credit can be bought, a password be changed.
                "SMSAV8D" => (false, "-99,no such account".to_owned()),
                _ => (true, telegram.to_owned()),
            };
            assert_eq!(result, expected);
            match is_final {
                true => assert_eq!((status.state, status.tried), (Status::FAILED, 1), "{}", service.kind),
                false => assert!(is_tried_again(&status), "{}: {status:?}", service.kind),
            }
        },
    );
    outcomes(
        |_, peer| peer.answer("413 x", &[], b""),
        |service, status, result| {
            assert_eq!(result, "HTTP 413 Payload Too Large, with an empty body");
            match service.kind {
                "SENDGRID" => assert_eq!((status.state, status.tried), (Status::FAILED, 1)),
                _ => assert!(is_tried_again(&status), "{}: {status:?}", service.kind),
            }
        },
    );
}

#[test]
fn what_may_pass_is_tried_again_later() {
    for (status_line, body) in [
        ("500 Internal Server Error", "<html>oops"),
        ("401 Unauthorized", r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#),
        ("404 Not Found", "nothing here"),
        ("403 Forbidden", ""),
    ] {
        outcomes(
            move |_, peer| peer.answer(status_line, &[], body.as_bytes()),
            move |service, status, result| {
                assert!(is_tried_again(&status), "{}: {status:?}", service.kind);
                let expected = match (service.kind, body) {
                    (_, "") => format!("HTTP {status_line}, with an empty body"),
                    ("SENDGRID", _) => format!("HTTP {status_line}\n\n{body}"),
                    _ => body.to_owned(),
                };
                assert_eq!(result, expected);
            },
        );
    }
}

/// A proxy's or a captive portal's, say.
#[test]
fn an_answer_that_is_not_the_services_own_is_tried_again_later() {
    outcomes(
        |seen, peer| match kind_of(seen) {
            "HTTPGET" | "HTTPPOST" => peer.answer("302 Found", &[("Location", "http://portal.test/")], b"x"),
            "SENDGRID" => peer.answer("302 Found", &[("Location", "http://portal.test/")], b""),
            "Telegram" => peer.answer("400 Bad Request", &[], b"<html>"),
            _ => peer.answer("200 OK", &[], b"<html>"),
        },
        |service, status, result| {
            assert!(is_tried_again(&status), "{}: {status:?}", service.kind);
            let expected = match service.kind {
                "HTTPGET" | "HTTPPOST" => "HTTP 302 Found\nLocation: http://portal.test/\n\nx",
                "SENDGRID" => "HTTP 302 Found, redirects to http://portal.test/: redirects are not followed",
                _ => "<html>",
            };
            assert_eq!(result, expected);
        },
    );
}

#[test]
fn a_closed_port_is_tried_again_later() {
    let port = ClosedPort::reserve();
    let base = format!("http://{}", port.address);
    let appliance = Appliance::start(all_on(&base));
    let services = services(&base);
    for service in &services {
        appliance.send(service.kind, service.kind, &service.endpoint, service.payload);
    }
    for service in &services {
        let status = appliance.outcome(service.kind);
        assert!(is_tried_again(&status), "{}: {status:?}", service.kind);
        let expected = format!("nobody answers at {}: Connection refused", port.address);
        assert_eq!(appliance.result(service.kind), expected);
    }
}

#[test]
fn silence_is_tried_again_later() {
    let sink = Sink::start(|_, peer| peer.hang());
    let mut environment = all_on(&sink.url(""));
    environment.push(("NOTIFY_HTTP_TIMEOUT", "1".into()));
    let appliance = Appliance::start(environment);
    let services = services(&sink.url(""));
    for service in &services {
        appliance.send(service.kind, service.kind, &service.endpoint, service.payload);
    }
    for service in &services {
        let status = appliance.outcome(service.kind);
        assert!(is_tried_again(&status), "{}: {status:?}", service.kind);
        assert_eq!(appliance.result(service.kind), format!("no answer from {} within 1 s", sink.address));
    }
}

#[test]
fn a_connection_that_is_closed_is_tried_again_later() {
    let closing = Sink::start(|_, _| Then::Close);
    let appliance = Appliance::start(all_on(&closing.url("")));
    for service in services(&closing.url("")) {
        appliance.send(service.kind, service.kind, &service.endpoint, service.payload);
        assert!(is_tried_again(&appliance.outcome(service.kind)));
        let expected = format!("{} closed the connection without an answer", closing.address);
        assert_eq!(appliance.result(service.kind), expected);
    }
}

#[test]
fn a_busy_service_says_when_to_come_back() {
    for status_line in ["429 Too Many Requests", "503 Service Unavailable"] {
        outcomes(
            move |_, peer| peer.answer(status_line, &[("Retry-After", "300")], b"busy"),
            move |service, status, _| {
                assert_eq!((status.state, status.tried), (Status::PENDING, 1), "{}", service.kind);
                let wait = status.next_at - now();
                assert!((290..=302).contains(&wait), "{}: {wait}", service.kind);
            },
        );
    }
    // What is sooner than the schedule, or no time at all, changes nothing.
    for value in ["1", "0", "soon", "-300", "Mon, 01 Jan 2001 00:00:00 GMT"] {
        outcomes(
            move |_, peer| peer.answer("429 x", &[("Retry-After", value)], b"busy"),
            move |service, status, _| assert!(is_tried_again(&status), "{}: {status:?}", service.kind),
        );
    }
}

#[test]
fn one_attempt_is_one_whatever_the_failure() {
    let sink = Sink::start(|_, peer| peer.answer("503 x", &[("Retry-After", "300")], b"busy"));
    let mut environment = all_on(&sink.url(""));
    environment.push(("NOTIFY_MAX_TRY", "5".into()));
    let appliance = Appliance::start(environment);
    for service in services(&sink.url("")) {
        let kind = service.kind;
        appliance.accept("/sendOnce", kind, kind, &service.endpoint, service.payload);
        let status = appliance.status_when(kind, |status| status.state != Status::PENDING);
        assert_eq!((status.state, status.tried), (Status::FAILED, 5), "{kind}");
    }
}
