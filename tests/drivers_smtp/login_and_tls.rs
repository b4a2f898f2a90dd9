//! Logging in and encryption: what works, and what is said when it doesn't.

use base64::{Engine, prelude::BASE64_STANDARD};
use notify_api::drivers::mask::Masked;
use notify_api::drivers::smtp::{Auth, Credentials, Smtp, Tls};
use rcgen::date_time_ymd;
use serde_json::{Value, json};

use crate::{
    driver_with, minimal,
    real::{Identity, RealServer},
    response,
    scripted::Scripted,
    send,
};

const PASSWORD: &str = "pass wörd\"&\\x";

fn credentials() -> Credentials {
    Credentials::new("nas", PASSWORD)
}

fn auth(mechanism: &str) -> Value {
    json!({"mechanism": mechanism, "user": "nas", "password": PASSWORD})
}

/// A driver for this server, which it trusts.
fn trusting(port: u16, tls: Tls, identity: &Identity, auth: Auth) -> Masked<Smtp> {
    driver_with(port, |config| {
        config.tls = tls;
        config.auth = auth;
        config.trust = identity.trust();
    })
}

#[test]
fn every_mechanism_with_every_encryption() {
    let identity = Identity::of(&["127.0.0.1"], |_| {});
    for (setting, tls) in [("none", Tls::None), ("starttls", Tls::StartTls), ("implicit", Tls::Implicit)] {
        for (mechanism, login) in [
            (Value::Null, Auth::None),
            (auth("PLAIN"), Auth::Plain(credentials())),
            (auth("LOGIN"), Auth::Login(credentials())),
        ] {
            let user = mechanism["user"].clone();
            let server = RealServer::start_with(&identity.settings(setting, mechanism));
            let driver = trusting(server.port, tls, &identity, login);
            let mails = [(); 3].map(|()| {
                send(&driver, &minimal()).unwrap();
                server.next()
            });
            for mail in &mails {
                assert_eq!(mail["encrypted"], tls != Tls::None, "{setting}");
                assert_eq!(mail["user"], user);
                assert_eq!(mail["connection"], mails[0]["connection"], "it is used again");
            }
        }
    }
}

#[test]
fn a_name_that_is_looked_up() {
    let identity = Identity::of(&["localhost"], |_| {});
    let server = RealServer::start_with(&identity.settings("implicit", Value::Null));
    let driver = driver_with(server.port, |config| {
        // It may be ::1 too, where nobody listens.
        config.server = format!("localhost:{}", server.port).parse().unwrap();
        config.tls = Tls::Implicit;
        config.trust = identity.trust();
    });
    send(&driver, &minimal()).unwrap();
}

#[test]
fn a_wrong_password_is_temporary() {
    let server = RealServer::start_with(&json!({"tls": "none", "auth": auth("PLAIN")}));
    let driver = driver_with(server.port, |config| {
        config.auth = Auth::Plain(Credentials::new("nas", "wrong-password"));
    });
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    assert!(error.to_string().starts_with("the server refused the user or the password: 535"), "{error}");
    assert!(response(error).starts_with("535 "));
}

#[test]
fn no_login_where_one_is_needed_is_temporary() {
    let server = RealServer::start_with(&json!({"tls": "none", "auth": auth("PLAIN")}));
    let error = send(&crate::driver(server.port), &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    assert!(response(error).starts_with("530 "));
}

#[test]
fn a_mechanism_that_is_not_offered() {
    let server = RealServer::start_with(&json!({"tls": "none", "auth": auth("PLAIN")}));
    let driver = driver_with(server.port, |config| config.auth = Auth::Login(credentials()));
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    let server = format!("127.0.0.1:{}", server.port);
    assert_eq!(response(error), format!("{server} does not offer AUTH LOGIN, but PLAIN"));

    let silent =
        Scripted::start(|_, peer| peer.serve(|stage, _| (stage == "EHLO").then(|| "250 hello".into())));
    let driver = driver_with(silent.port, |config| config.auth = Auth::Plain(credentials()));
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(response(error).ends_with("but no way of logging in over a connection that is not encrypted"));
    assert!(!silent.heard().iter().any(|line| line.starts_with("AUTH")));
}

#[test]
fn login_asks_in_its_own_words() {
    let server = Scripted::start(|_, peer| {
        let mut asked = 0;
        peer.serve(|stage, line| {
            if stage == "AUTH" {
                return Some(format!("334 {}", BASE64_STANDARD.encode("Wie hei\u{df}t du?")));
            }
            if BASE64_STANDARD.encode("nas") == line || BASE64_STANDARD.encode(PASSWORD) == line {
                asked += 1;
                return Some(if asked == 1 { "334".into() } else { "235 ok".into() });
            }
            None
        });
    });
    let driver = driver_with(server.port, |config| config.auth = Auth::Login(credentials()));
    send(&driver, &minimal()).unwrap();
}

#[test]
fn plain_is_asked_again() {
    let blob = BASE64_STANDARD.encode(format!("\0nas\0{PASSWORD}"));
    let server = Scripted::start(move |_, peer| {
        peer.serve(|stage, line| match stage {
            "EHLO" => Some("250-hello\r\n250 AUTH=PLAIN".into()),
            "AUTH" => Some("334 ".into()),
            _ if line == blob => Some("235 ok".into()),
            _ => None,
        });
    });
    let driver = driver_with(server.port, |config| config.auth = Auth::Plain(credentials()));
    send(&driver, &minimal()).unwrap();
}

#[test]
fn the_password_is_never_repeated() {
    let encoded = BASE64_STANDARD.encode(PASSWORD);
    let forms = [
        PASSWORD.to_owned(),
        encoded.clone(),
        encoded.trim_end_matches('=').to_owned(),
        BASE64_STANDARD.encode(format!("\0nas\0{PASSWORD}")),
        "pass%20w%C3%B6rd%22%26%5Cx".to_owned(),
    ];
    for stage in ["connect", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "mail"] {
        for start in ["535 5.7.8 no: ", "250 2.0.0 yes: ", "421-", "not SMTP: "] {
            let echo = format!("{start}{}", forms.join(" and "));
            let server = Scripted::start(move |_, peer| {
                peer.serve(|asked, _| (asked == stage).then(|| echo.clone()));
            });
            for auth in [Auth::Plain(credentials()), Auth::Login(credentials())] {
                let driver = driver_with(server.port, |config| {
                    config.auth = auth;
                    config.deadline = std::time::Duration::from_millis(300);
                });
                let said = match send(&driver, &minimal()) {
                    Ok(response) => response,
                    Err(error) => format!("{error} {error:?}").replace("\\\"", "\"") + &response(error),
                };
                for form in &forms {
                    assert!(!said.contains(form.as_str()), "{form} in {said}");
                }
            }
        }
    }
}

#[test]
fn starttls_is_required() {
    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let driver = driver_with(server.port, |config| {
        config.tls = Tls::StartTls;
        config.auth = Auth::Plain(credentials());
    });
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    let sentence = response(error);
    assert!(sentence.contains("does not offer STARTTLS, which is required: nothing was sent"), "{sentence}");
    server.wait_for("(closed)");
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")));

    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, _| match stage {
            "EHLO" => Some("250-hello\r\n250 STARTTLS".into()),
            "STARTTLS" => Some("454 4.7.0 TLS not available".into()),
            _ => None,
        });
    });
    let driver = driver_with(server.port, |config| config.tls = Tls::StartTls);
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent());
    assert_eq!(response(error), "454 4.7.0 TLS not available");
}

#[test]
fn what_was_said_in_clear_does_not_count() {
    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, _| match stage {
            "EHLO" => Some("250-hello\r\n250 STARTTLS".into()),
            "STARTTLS" => Some("220 go\r\n250-hello\r\n250 AUTH PLAIN".into()),
            _ => None,
        });
    });
    let driver = driver_with(server.port, |config| config.tls = Tls::StartTls);
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    assert!(response(error).ends_with("sent more than an answer to STARTTLS"));
}

/// What it says about a certificate.
fn complaint(identity: &Identity, trusted: &Identity, tls: Tls, setting: &str) -> String {
    let server = RealServer::start_with(&identity.settings(setting, Value::Null));
    let error = send(&trusting(server.port, tls, trusted, Auth::None), &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable(), "{error}");
    response(error)
}

#[test]
fn certificates() {
    let good = Identity::of(&["127.0.0.1"], |_| {});
    let stranger = Identity::of(&["127.0.0.1"], |_| {});
    for (tls, setting) in [(Tls::StartTls, "starttls"), (Tls::Implicit, "implicit")] {
        let sentence = complaint(&good, &stranger, tls, setting);
        assert!(sentence.contains("127.0.0.1") && sentence.contains("SSL_CERT_FILE"), "{sentence}");
    }

    let other = Identity::of(&["mail.example.org"], |_| {});
    let sentence = complaint(&other, &other, Tls::Implicit, "implicit");
    assert!(sentence.starts_with("the certificate that the server sent is not for 127.0.0.1"), "{sentence}");
    assert!(sentence.contains("mail.example.org"), "{sentence}");

    let expired = Identity::of(&["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let sentence = complaint(&expired, &expired, Tls::Implicit, "implicit");
    assert!(sentence.starts_with("the certificate of 127.0.0.1 has expired"), "{sentence}");

    let early = Identity::of(&["127.0.0.1"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let sentence = complaint(&early, &early, Tls::Implicit, "implicit");
    assert!(sentence.starts_with("the certificate of 127.0.0.1 is not valid yet"), "{sentence}");
}

#[test]
fn the_wrong_kind_of_port() {
    let server = RealServer::start();
    let driver = driver_with(server.port, |config| config.tls = Tls::Implicit);
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    assert!(response(error).contains("NOTIFY_SMTP_TLS=starttls"));

    let identity = Identity::of(&["127.0.0.1"], |_| {});
    let server = RealServer::start_with(&identity.settings("implicit", Value::Null));
    let driver = driver_with(server.port, |config| {
        config.tls = Tls::StartTls;
        config.deadline = std::time::Duration::from_millis(500);
    });
    let error = send(&driver, &minimal()).unwrap_err();
    assert!(error.is_unreachable());
    assert!(response(error).contains("NOTIFY_SMTP_TLS=tls"));
}
