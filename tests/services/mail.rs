//! Mail, to a real server and to one that says what it is told to.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    appliance::{Appliance, ClosedPort, Status, now},
    real::{Identity, RealServer},
    scripted::Scripted,
};

const MAIL: &str = r#"{"To": {"Name": "Ada", "Address": "ada@example.org"}, "CC": [{"Address": "cc@example.org"}],
                       "BCC": [{"Address": "bcc@example.org"}], "Subject": "Bäckup", "Content": "Grüße\n.\n"}"#;

fn mail_on(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("NOTIFY_SMTP_SERVER", format!("127.0.0.1:{port}")),
        ("NOTIFY_SMTP_FROM", "NAS <nas@example.org>".into()),
    ]
}

#[test]
fn a_mail_arrives_and_is_known_as_delivered() {
    let server = RealServer::start();
    let appliance = Appliance::start(mail_on(server.port));
    for (kind, mime) in [("SMTP", "text/plain"), ("SMTPHTML", "text/html")] {
        appliance.send(kind, kind, "", MAIL);
        let mail = server.next();
        assert_eq!(mail["sender"], "nas@example.org");
        assert_eq!(mail["recipients"], json!(["ada@example.org", "cc@example.org", "bcc@example.org"]));
        assert_eq!(mail["from"], json!([{"Name": "NAS", "Address": "nas@example.org"}]));
        assert_eq!(mail["to"], json!([{"Name": "Ada", "Address": "ada@example.org"}]));
        assert_eq!(mail["subject"], "Bäckup");
        assert_eq!(mail["root"]["type"], mime);
        let content = BASE64_STANDARD.decode(mail["root"]["bytes"].as_str().unwrap()).unwrap();
        assert_eq!(String::from_utf8(content).unwrap().replace("\r\n", "\n"), "Grüße\n.\n");
        assert!(!mail["names"].to_string().to_lowercase().contains("bcc"), "{mail}");
        assert!(mail["message_id"].as_str().unwrap().starts_with(&format!("<{kind}.")), "{mail}");
        let age = now() - mail["date"].as_f64().unwrap() as i64;
        assert!((0..30).contains(&age), "{mail}");

        let status = appliance.outcome(kind);
        assert_eq!((status.state, status.tried), (Status::SUCCESS, 1));
        assert_eq!(appliance.result(kind), "250 2.0.0 Ok: queued as 4711");
        let detail = appliance.detail(kind);
        assert_eq!(detail["content"], BASE64_STANDARD.encode(MAIL));
        assert_eq!(detail["response"], BASE64_STANDARD.encode("250 2.0.0 Ok: queued as 4711"));
    }
    assert!(server.ends_without_more());
}

/// A CA of one's own, as in a home network.
#[test]
fn an_encrypted_mail_with_a_login() {
    for (setting, tls, mechanism) in [("starttls", "starttls", "LOGIN"), ("implicit", "tls", "PLAIN")] {
        let identity = Identity::of(&["127.0.0.1"], |_| {});
        let auth = json!({"mechanism": mechanism, "user": "us er", "password": "pä ss"});
        let server = RealServer::start_with(&identity.settings(setting, auth));
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let [certificate] = identity.trust().roots().certificates.try_into().unwrap();
        let body = BASE64_STANDARD.encode(certificate.as_ref());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        std::fs::write(&ca, pem).unwrap();

        let mut environment = mail_on(server.port);
        environment.extend([
            ("NOTIFY_SMTP_TLS", tls.to_owned()),
            ("NOTIFY_SMTP_USER", "us er".into()),
            ("NOTIFY_SMTP_PASS", "pä ss".into()),
            ("NOTIFY_SMTP_AUTH", mechanism.to_lowercase()),
            ("SSL_CERT_FILE", ca.to_str().unwrap().into()),
        ]);
        let appliance = Appliance::start(environment);
        appliance.send("a", "SMTP", "", MAIL);
        let mail = server.next();
        assert_eq!((&mail["encrypted"], &mail["user"]), (&json!(true), &json!("us er")));
        assert_eq!(appliance.outcome("a").state, Status::SUCCESS);
        let log = appliance.stop();
        assert!(!log.contains(" WARN "), "{log}");
    }
}

/// What is known of a mail to a server that says `answer` at `stage`.
fn outcome(stage: &'static str, answer: &'static str, login: bool) -> (Status, String) {
    let server = Scripted::start(move |_, peer| peer.serve(|at, _| (at == stage).then(|| answer.into())));
    let mut environment = mail_on(server.port);
    if login {
        environment.push(("NOTIFY_SMTP_USER", "user".into()));
        environment.push(("NOTIFY_SMTP_PASS", "geheim".into()));
    }
    let appliance = Appliance::start(environment);
    appliance.send("a", "SMTP", "", MAIL);
    (appliance.outcome("a"), appliance.result("a"))
}

#[test]
fn what_a_servers_no_means() {
    for (stage, answer, is_final, result) in [
        ("MAIL", "550 5.7.1 Not from you", true, "550 5.7.1 Not from you"),
        ("RCPT", "550 5.1.1 No such user", true, "550 5.1.1 No such user\nRCPT TO:<ada@example.org>"),
        ("DATA", "554 5.5.1 No", true, "554 5.5.1 No"),
        ("mail", "554-5.7.1 This\r\n554 5.7.1 is spam", true, "554-5.7.1 This\n554 5.7.1 is spam"),
        ("connect", "554 5.7.1 You again", false, "554 5.7.1 You again"),
        ("EHLO", "500 5.5.2 What?", false, "500 5.5.2 What?"),
        ("MAIL", "451 4.3.0 Later", false, "451 4.3.0 Later"),
        ("RCPT", "450 4.2.0 Greylisted", false, "450 4.2.0 Greylisted\nRCPT TO:<ada@example.org>"),
        ("mail", "452 4.3.1 Disk full", false, "452 4.3.1 Disk full"),
        ("MAIL", "530 5.7.0 Authentication required", false, "530 5.7.0 Authentication required"),
    ] {
        let (status, response) = outcome(stage, answer, false);
        assert_eq!(response, result);
        assert_eq!(status.tried, 1, "{answer}");
        match is_final {
            true => assert_eq!(status.state, Status::FAILED, "{answer}"),
            false => {
                assert_eq!(status.state, Status::PENDING, "{answer}");
                assert!((50..=67).contains(&(status.next_at - now())), "{answer}: {status:?}");
            }
        }
    }
    let (status, response) = outcome("AUTH", "535 5.7.8 Wrong password", true);
    assert_eq!((status.state, response.as_str()), (Status::PENDING, "535 5.7.8 Wrong password"));
    let (status, response) = outcome("EHLO", "250 mail.test", true);
    assert_eq!(status.state, Status::PENDING);
    assert!(response.contains("does not offer AUTH PLAIN"), "{response}");
}

#[test]
fn nobody_there() {
    let (status, response) = outcome("MAIL", "", false);
    assert_eq!((status.state, status.tried), (Status::PENDING, 1));
    assert!(response.ends_with("closed the connection without an answer to MAIL FROM"), "{response}");

    let port = ClosedPort::reserve();
    let appliance = Appliance::start(mail_on(port.address.port()));
    appliance.send("a", "SMTPHTML", "", MAIL);
    let status = appliance.outcome("a");
    assert_eq!((status.state, status.tried), (Status::PENDING, 1));
    assert!((50..=67).contains(&(status.next_at - now())), "{status:?}");
    let expected = format!("no connection to {}: Connection refused", port.address);
    assert_eq!(appliance.result("a"), expected);
}

#[test]
fn any_other_word_for_encryption_requires_starttls() {
    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let mut environment = mail_on(server.port);
    environment.push(("NOTIFY_SMTP_TLS", "yes".into()));
    environment.push(("NOTIFY_SMTP_USER", "user".into()));
    environment.push(("NOTIFY_SMTP_PASS", "geheim".into()));
    let appliance = Appliance::start(environment);
    appliance.send("a", "SMTP", "", MAIL);
    assert_eq!(appliance.outcome("a").state, Status::PENDING);
    let response = appliance.result("a");
    assert!(response.contains("does not offer STARTTLS, which is required: nothing was sent"), "{response}");
    server.wait_for("(closed)");
    let log = appliance.stop();
    let warning =
        "NOTIFY_SMTP_TLS: \"yes\" is neither \"tls\", \"starttls\" nor \"none\": STARTTLS is required";
    assert!(log.contains(warning), "{log}");
}

/// The mails of both types share the account, and what they were given is kept
/// byte for byte over a crash.
#[test]
fn a_mail_survives_a_crash() {
    let port = ClosedPort::reserve();
    let appliance = Appliance::start(mail_on(port.address.port()));
    appliance.send("a", "SMTP", "", MAIL);
    appliance.outcome("a");
    let appliance = appliance.crash_and_restart();
    let detail: Value = appliance.detail("a");
    assert_eq!(detail["content"], BASE64_STANDARD.encode(MAIL));
    assert_eq!(detail["tried"], 1);
}
