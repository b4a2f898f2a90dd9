//! The drivers that are on only if their own variables are set.

use serde_json::json;

use crate::support::{
    receiver::Receiver,
    server::{Home, word_after},
};

const ALWAYS: &str = "HTTPGET,HTTPPOST";

/// Starts with these variables; returns the types that are on, and the warnings.
fn start(variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let home = Home::new();
    let ended = home.start(variables).stop();
    let started = ended.lines.iter().find(|line| line.contains("started")).unwrap();
    let drivers = word_after(started, "drivers=").trim_matches('"').to_owned();
    assert!(!ended.lines.concat().contains("hush"), "{:?}", ended.lines);
    (drivers, ended.lines.into_iter().filter(|line| line.contains("WARN")).collect())
}

#[test]
fn without_their_variables_they_are_off() {
    assert_eq!(start(&[]), (ALWAYS.into(), vec![]));
}

#[test]
fn half_set_they_are_off_with_a_warning() {
    for (set, value, missing) in [
        ("NOTIFY_TG_TOKEN", "hush", "NOTIFY_TG_TARGET"),
        ("NOTIFY_TG_TARGET", "me=1", "NOTIFY_TG_TOKEN"),
        ("NOTIFY_AV8D_USER", "me", "NOTIFY_AV8D_PASS"),
        ("NOTIFY_AV8D_PASS", "hush", "NOTIFY_AV8D_USER"),
        ("NOTIFY_SMTP_SERVER", "localhost:25", "NOTIFY_SMTP_FROM"),
        ("NOTIFY_SMTP_FROM", "me@example.org", "NOTIFY_SMTP_SERVER"),
    ] {
        let (drivers, warnings) = start(&[(set, value)]);
        assert_eq!((drivers.as_str(), warnings.len()), (ALWAYS, 1), "{set}: {warnings:?}");
        assert!(warnings[0].contains(set) && warnings[0].contains(missing), "{warnings:?}");
    }
}

#[test]
fn set_they_are_on_without_a_network() {
    for (variables, types) in [
        (
            &[("NOTIFY_TG_TOKEN", "hush"), ("NOTIFY_TG_TARGET", "me=1,all=@us")][..],
            "TGMarkdown,TGHTML,TGPlain",
        ),
        (&[("NOTIFY_SENDGRID_KEY", "hush")], "SENDGRID"),
        (&[("NOTIFY_AV8D_USER", "me"), ("NOTIFY_AV8D_PASS", "hush")], "SMSAV8D"),
        (
            &[("NOTIFY_SMTP_SERVER", "mail.invalid:25"), ("NOTIFY_SMTP_FROM", "Me <me@example.org>")],
            "SMTP,SMTPHTML",
        ),
    ] {
        assert_eq!(start(variables), (format!("{ALWAYS},{types}"), vec![]));
    }
}

#[test]
fn a_password_in_clear_and_a_strange_word_for_tls_are_warned_of() {
    let mail = [
        ("NOTIFY_SMTP_SERVER", "mail.invalid:25"),
        ("NOTIFY_SMTP_FROM", "me@example.org"),
        ("NOTIFY_SMTP_USER", "me"),
        ("NOTIFY_SMTP_PASS", "hush"),
    ];
    for (tls, warns) in [("", true), ("none", true), ("tls", false), ("starttls", false), ("yes", true)] {
        let (drivers, warnings) = start(&[&mail[..], &[("NOTIFY_SMTP_TLS", tls)]].concat());
        assert_eq!(drivers, format!("{ALWAYS},SMTP,SMTPHTML"));
        assert_eq!(warnings.len(), usize::from(warns), "{tls:?}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("NOTIFY_SMTP_TLS")), "{tls:?}: {warnings:?}");
    }
    // To this machine nothing travels.
    let (_, warnings) = start(&[&[("NOTIFY_SMTP_SERVER", "localhost:25")], &mail[1..]].concat());
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn the_base_url_is_where_it_goes() {
    for slash in ["", "/"] {
        let receiver = Receiver::answering(|_| (200, br#"{"ok":true}"#.to_vec()));
        let (home, url) = (Home::new(), receiver.url(slash));
        let server = home.start(&[
            ("NOTIFY_TG_TOKEN", "12:ab"),
            ("NOTIFY_TG_TARGET", "me=34"),
            ("NOTIFY_TG_URL", &url),
            ("NOTIFY_SENDGRID_KEY", "hush"),
            ("NOTIFY_SENDGRID_URL", &url),
        ]);
        let telegram = json!({ "id": "a", "type": "TGPlain", "endpoint": "me", "payload": "hello" });
        server.post("/send", telegram.to_string()).done("Telegram");
        let received = receiver.wait_for(1);
        assert_eq!(
            (received[0].method.as_str(), received[0].target.as_str()),
            ("POST", "/bot12:ab/sendMessage")
        );
        assert_eq!(String::from_utf8_lossy(&received[0].body), "chat_id=34&text=hello");
        assert_eq!(server.settled("a")["state"], 1);
        let mail = json!({
            "id": "b", "type": "SENDGRID", "payload": { "from": { "email": "a@b.c" }, "template_id": "x" },
        });
        server.post("/send", mail.to_string()).done("SendGrid");
        let received = receiver.wait_for(2);
        assert_eq!(received[1].target, "/v3/mail/send");
        assert_eq!(received[1].header("authorization"), Some("Bearer hush"));
        let unknown = json!({ "type": "TGPlain", "endpoint": "you", "payload": "hello" });
        server.post("/send", unknown.to_string()).failure(400, "an unknown target");
    }
}
