//! What the program makes of its variables: drivers that are on, warnings, and
//! starts that are refused.

use crate::{
    appliance::{Appliance, help, refusal},
    kind_of, taking_all,
};

#[test]
fn a_bad_value_stops_the_start_with_one_line() {
    for (name, value, takes) in [
        ("NOTIFY_SMTP_AUTH", "crammd5", "CRAM-MD5 is not supported"),
        ("NOTIFY_SMTP_AUTH", "CRAMMD5", "use \"plain\" or \"login\""),
        ("NOTIFY_SMTP_AUTH", "xoauth2", "it takes \"plain\", \"login\" or \"none\""),
        ("NOTIFY_TG_TARGET", "me", "name=chat is expected"),
        ("NOTIFY_TG_TARGET", "me=you", "a chat is a number or @channel"),
        ("NOTIFY_TG_TARGET", "me=1,me=2", "each name once"),
        ("NOTIFY_TG_TARGET", ",", "name=chat is expected"),
        ("NOTIFY_SMTP_SERVER", "mail.example.org", "it takes host:port"),
        ("NOTIFY_SMTP_SERVER", "mail.example.org:smtp", "it takes host:port"),
        ("NOTIFY_SMTP_SERVER", "smtp://mail.example.org:25", "it takes host:port"),
        ("NOTIFY_SMTP_FROM", "nas", "it takes an address or Name <address>"),
        ("NOTIFY_SMTP_FROM", "NAS <nas>", "it takes an address or Name <address>"),
        ("NOTIFY_SMTP_FROM", "NAS\nnas@example.org", "it takes an address or Name <address>"),
        ("NOTIFY_TG_URL", "api.telegram.org", "it takes a URL that begins with http:// or https://"),
        ("NOTIFY_SENDGRID_URL", "ftp://api.sendgrid.test/", "it takes a URL that begins with http://"),
        ("NOTIFY_AV8D_URL", "http://", "it takes a URL that begins with http:// or https://"),
    ] {
        let line = refusal(&[(name, value)]);
        assert!(line.starts_with(&format!("notify-api: {name} is {value:?}: ")), "{line}");
        assert!(line.contains(takes), "{line}");
    }
}

#[test]
fn a_bad_value_is_shown_without_its_secrets() {
    for name in ["NOTIFY_TG_URL", "NOTIFY_SENDGRID_URL", "NOTIFY_AV8D_URL"] {
        for (value, shown) in [
            ("ftp://user:hush@a.test/", "\"ftp://***@a.test/\""),
            ("http://a.test/?key=hush", "\"http://a.test/?***\""),
            ("http://hush@a.test/#hush", "\"http://***@a.test/#***\""),
        ] {
            let line = refusal(&[(name, value)]);
            assert!(line.starts_with(&format!("notify-api: {name} is {shown}: it takes")), "{line}");
        }
        let line = refusal(&[(name, "http://user:hush@")]);
        assert!(line.starts_with(&format!("notify-api: {name}: it takes")), "{line}");
    }
    // A key that no request could carry, found out before the first one.
    for name in ["NOTIFY_SENDGRID_KEY", "NOTIFY_TG_TOKEN"] {
        for value in ["hush\n", " hush", "h\u{fc}sh"] {
            let line = refusal(&[(name, value)]);
            assert_eq!(line, format!("notify-api: {name}: it takes visible ASCII characters"));
        }
    }
}

#[test]
fn half_a_driver_is_off_with_one_warning() {
    for (variables, warning) in [
        (&["NOTIFY_TG_TOKEN"][..], "Telegram is off: NOTIFY_TG_TOKEN is set, but NOTIFY_TG_TARGET is not"),
        (&["NOTIFY_TG_TARGET"], "Telegram is off: NOTIFY_TG_TARGET is set, but NOTIFY_TG_TOKEN is not"),
        (&["NOTIFY_AV8D_USER"], "SMS is off: NOTIFY_AV8D_USER is set, but NOTIFY_AV8D_PASS is not"),
        (&["NOTIFY_AV8D_PASS"], "SMS is off: NOTIFY_AV8D_PASS is set, but NOTIFY_AV8D_USER is not"),
        (&["NOTIFY_SMTP_SERVER"], "mail is off: NOTIFY_SMTP_SERVER is set, but NOTIFY_SMTP_FROM is not"),
        (&["NOTIFY_SMTP_FROM"], "mail is off: NOTIFY_SMTP_FROM is set, but NOTIFY_SMTP_SERVER is not"),
        (
            &["NOTIFY_SMTP_USER", "NOTIFY_SMTP_PASS"],
            "mail is off: NOTIFY_SMTP_USER and NOTIFY_SMTP_PASS are set, but NOTIFY_SMTP_SERVER and \
             NOTIFY_SMTP_FROM are not",
        ),
        (
            &["NOTIFY_SMTP_SERVER", "NOTIFY_SMTP_FROM", "NOTIFY_SMTP_USER"],
            "mail is off: NOTIFY_SMTP_USER, NOTIFY_SMTP_PASS, NOTIFY_SMTP_AUTH: there is a user, but no password",
        ),
        (
            &["NOTIFY_SMTP_SERVER", "NOTIFY_SMTP_FROM", "NOTIFY_SMTP_PASS"],
            "mail is off: NOTIFY_SMTP_USER, NOTIFY_SMTP_PASS, NOTIFY_SMTP_AUTH: there is a password, but no user",
        ),
        (
            &["NOTIFY_SMTP_SERVER", "NOTIFY_SMTP_FROM", "NOTIFY_SMTP_AUTH"],
            "mail is off: NOTIFY_SMTP_USER, NOTIFY_SMTP_PASS, NOTIFY_SMTP_AUTH: logging in takes a user and a password",
        ),
    ] {
        let value = |name: &str| match name {
            "NOTIFY_TG_TARGET" => "me=1",
            "NOTIFY_SMTP_SERVER" => "mail.example.org:25",
            "NOTIFY_SMTP_FROM" => "nas@example.org",
            "NOTIFY_SMTP_AUTH" => "login",
            _ => "hush",
        };
        let appliance = Appliance::start(variables.iter().map(|name| (*name, value(name))));
        let kinds = ["TGPlain", "TGHTML", "TGMarkdown", "SENDGRID", "SMSAV8D", "SMTP", "SMTPHTML"];
        for kind in kinds {
            let sentence = appliance.try_send("/send", "a", kind, "me", "\"x\"").refusal();
            assert_eq!(sentence, format!("no driver of type {kind:?} is on, only: HTTPGET, HTTPPOST"));
            assert!(appliance.is_unknown("a"));
        }
        let log = appliance.stop();
        let warnings: Vec<&str> = log.lines().filter_map(|line| line.split(" WARN ").nth(1)).collect();
        assert_eq!(warnings, [warning], "{log}");
        assert!(
            log.contains("drivers=HTTPGET,HTTPPOST") || log.contains("drivers=\"HTTPGET,HTTPPOST\""),
            "{log}"
        );
        assert!(!log.contains("hush"), "{log}");
    }
}

#[test]
fn only_what_is_set_is_on_and_empty_is_unset() {
    let sink = taking_all();
    let appliance = Appliance::start([
        ("NOTIFY_SENDGRID_KEY", "key"),
        ("NOTIFY_SENDGRID_URL", &sink.url("")),
        ("NOTIFY_TG_TOKEN", ""),
        ("NOTIFY_AV8D_USER", ""),
        ("NOTIFY_SMTP_SERVER", ""),
        ("NOTIFY_SMTP_TLS", ""),
    ]);
    let sentence = appliance.try_send("/send", "a", "TGPlain", "me", "\"x\"").refusal();
    assert_eq!(sentence, "no driver of type \"TGPlain\" is on, only: HTTPGET, HTTPPOST, SENDGRID");
    appliance.send("a", "SENDGRID", "", crate::SENDGRID_MAIL);
    sink.wait_for(1);
    assert_eq!(kind_of(&sink.only()), "SENDGRID");
    let log = appliance.stop();
    assert!(!log.contains(" WARN "), "{log}");
}

#[test]
fn a_password_in_clear_is_a_warning_beyond_loopback() {
    let warns = |server: &'static str, tls: &'static str, auth: &'static str| {
        let log = Appliance::start([
            ("NOTIFY_SMTP_SERVER", server),
            ("NOTIFY_SMTP_FROM", "nas@example.org"),
            ("NOTIFY_SMTP_USER", "user"),
            ("NOTIFY_SMTP_PASS", "hush"),
            ("NOTIFY_SMTP_TLS", tls),
            ("NOTIFY_SMTP_AUTH", auth),
        ])
        .stop();
        assert!(log.contains("SMTP,SMTPHTML") && !log.contains("hush"), "{log}");
        let warning = format!("the SMTP password travels to {server} in clear");
        assert_eq!(log.matches(" WARN ").count(), log.matches(&warning).count(), "{log}");
        log.contains(&warning)
    };
    assert!(warns("mail.example.org:25", "", ""));
    assert!(warns("192.0.2.1:25", "none", "login"));
    assert!(!warns("mail.example.org:25", "starttls", "plain"));
    assert!(!warns("mail.example.org:465", "tls", ""));
    assert!(!warns("mail.example.org:25", "", "none"));
    assert!(!warns("127.0.0.1:25", "", ""));
    assert!(!warns("localhost:25", "none", ""));
}

#[test]
fn help_tells_of_what_else_is_honoured() {
    let help = help(&[]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "STATE_DIRECTORY"] {
        assert!(help.contains(name), "{help}");
    }
}
