//! Variables and arguments.

use std::{fs, os::unix::ffi::OsStrExt, process::Output};

use crate::support::receiver::Receiver;
use crate::support::server::{Home, params};

/// Checks that it refused to start, in one line on stderr, which is returned.
#[track_caller]
pub(crate) fn refusal(output: &Output) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(line.ends_with('\n') && line.lines().count() == 1, "one line: {line:?}");
    line
}

pub(crate) type Wrong = (&'static [(&'static str, &'static str)], &'static str, &'static [&'static str]);

/// Variables that are wrong, which of them is to be named, and what must be in the line beside its name:
/// what it holds and what it takes.
pub(crate) const WRONG: &[Wrong] = &[
    (&[("NOTIFY_THREADS", "0")], "NOTIFY_THREADS", &["\"0\"", "1", "65535"]),
    (&[("NOTIFY_THREADS", "65536")], "NOTIFY_THREADS", &["\"65536\"", "65535"]),
    (&[("NOTIFY_THREADS", "-1")], "NOTIFY_THREADS", &["\"-1\"", "65535"]),
    (&[("NOTIFY_THREADS", "ten")], "NOTIFY_THREADS", &["\"ten\"", "65535"]),
    (&[("NOTIFY_THREADS", "1.5")], "NOTIFY_THREADS", &["\"1.5\"", "65535"]),
    (&[("NOTIFY_THREADS", "10 ")], "NOTIFY_THREADS", &["\"10 \"", "65535"]),
    (&[("NOTIFY_THREADS", "1\n2")], "NOTIFY_THREADS", &["\"1\\n2\"", "65535"]),
    (&[("NOTIFY_MAX_TRY", "0")], "NOTIFY_MAX_TRY", &["\"0\"", "4294967295"]),
    (&[("NOTIFY_MAX_TRY", "4294967296")], "NOTIFY_MAX_TRY", &["\"4294967296\"", "4294967295"]),
    (&[("NOTIFY_MAX_TRY", "many")], "NOTIFY_MAX_TRY", &["\"many\"", "4294967295"]),
    (&[("NOTIFY_HTTP_TIMEOUT", "0")], "NOTIFY_HTTP_TIMEOUT", &["\"0\"", "86400"]),
    (&[("NOTIFY_HTTP_TIMEOUT", "86401")], "NOTIFY_HTTP_TIMEOUT", &["\"86401\"", "86400"]),
    (&[("NOTIFY_HTTP_TIMEOUT", "10s")], "NOTIFY_HTTP_TIMEOUT", &["\"10s\"", "86400"]),
    (&[("NOTIFY_BODY_LIMIT", "0")], "NOTIFY_BODY_LIMIT", &["\"0\"", "33554432"]),
    (&[("NOTIFY_BODY_LIMIT", "1M")], "NOTIFY_BODY_LIMIT", &["\"1M\"", "33554432"]),
    (&[("NOTIFY_BODY_LIMIT", "33554433")], "NOTIFY_BODY_LIMIT", &["\"33554433\"", "33554432"]),
    (&[("NOTIFY_STOP_TIMEOUT", "-1")], "NOTIFY_STOP_TIMEOUT", &["\"-1\"", "86400"]),
    (&[("NOTIFY_STOP_TIMEOUT", "soon")], "NOTIFY_STOP_TIMEOUT", &["\"soon\"", "86400"]),
    (&[("NOTIFY_LOG", "loud")], "NOTIFY_LOG", &["\"loud\"", "error, warn, info, debug"]),
    (
        &[("NOTIFY_LOG", "notify_api=loud")],
        "NOTIFY_LOG",
        &["\"notify_api=loud\"", "error, warn, info, debug"],
    ),
    (&[("NOTIFY_HTTP_BIND", "8080")], "NOTIFY_HTTP_BIND", &["\"8080\"", "127.0.0.1:8080"]),
    (&[("NOTIFY_HTTP_BIND", "localhost")], "NOTIFY_HTTP_BIND", &["\"localhost\"", "127.0.0.1:8080"]),
    (&[("NOTIFY_HTTP_BIND", "127.0.0.1:65536")], "NOTIFY_HTTP_BIND", &["\"127.0.0.1:65536\"", "0 to 65535"]),
    (&[("NOTIFY_HTTP_BIND", "::1:8080")], "NOTIFY_HTTP_BIND", &["\"::1:8080\"", "[::1]:8080"]),
    (
        &[("NOTIFY_HTTP_BIND", "http://127.0.0.1:8080")],
        "NOTIFY_HTTP_BIND",
        &["\"http://127.0.0.1:8080\"", "127.0.0.1:8080"],
    ),
    (&[("NOTIFY_HTTP_BIND", "no..host:0")], "NOTIFY_HTTP_BIND", &["\"no..host:0\"", "unknown"]),
    (&[("NOTIFY_HTTP_BIND", "192.0.2.1:0")], "NOTIFY_HTTP_BIND", &["\"192.0.2.1:0\"", "address"]),
    (
        &[("NOTIFY_DSN", "redis://user:hush@host/0")],
        "NOTIFY_DSN",
        &["redis", "mysql://", "postgres://", "sqlite:"],
    ),
    (&[("NOTIFY_DSN", "file:notify.db")], "NOTIFY_DSN", &["file", "sqlite:"]),
    (&[("NOTIFY_DSN", "sqlite:")], "NOTIFY_DSN", &["sqlite:PATH"]),
    (&[("NOTIFY_DSN", ":memory:")], "NOTIFY_DSN", &["memory", "path"]),
    (&[("NOTIFY_DSN", "sqlite::memory:")], "NOTIFY_DSN", &["memory", "path"]),
    (&[("NOTIFY_TLS_CERT", "cert.pem")], "NOTIFY_TLS_CERT", &["\"cert.pem\"", "NOTIFY_TLS_KEY"]),
    (&[("NOTIFY_TLS_KEY", "key.pem")], "NOTIFY_TLS_KEY", &["\"key.pem\"", "NOTIFY_TLS_CERT"]),
    (
        &[("NOTIFY_TLS_CERT", "no.pem"), ("NOTIFY_TLS_KEY", "no.pem")],
        "NOTIFY_TLS_CERT",
        &["\"no.pem\"", "can't be read"],
    ),
    (&[("NOTIFY_TG_TARGET", "me")], "NOTIFY_TG_TARGET", &["\"me\"", "="]),
    (&[("NOTIFY_TG_TARGET", "me=")], "NOTIFY_TG_TARGET", &["\"me=\"", "@channel"]),
    (&[("NOTIFY_TG_TARGET", "=1")], "NOTIFY_TG_TARGET", &["\"=1\"", "name"]),
    (&[("NOTIFY_TG_TARGET", "me=you")], "NOTIFY_TG_TARGET", &["\"me=you\"", "@channel"]),
    (&[("NOTIFY_TG_TARGET", "me=1,me=2")], "NOTIFY_TG_TARGET", &["\"me=1,me=2\"", "me"]),
    (&[("NOTIFY_TG_URL", "ftp://me:hush@host")], "NOTIFY_TG_URL", &["http://"]),
    (&[("NOTIFY_SENDGRID_URL", "api.sendgrid.com")], "NOTIFY_SENDGRID_URL", &["http://"]),
    (&[("NOTIFY_AV8D_URL", "http://")], "NOTIFY_AV8D_URL", &["http://"]),
    (&[("NOTIFY_SMTP_SERVER", "mail.example.org")], "NOTIFY_SMTP_SERVER", &["\"mail.example.org\"", "port"]),
    (&[("NOTIFY_SMTP_SERVER", "mail:0")], "NOTIFY_SMTP_SERVER", &["\"mail:0\"", "port"]),
    (&[("NOTIFY_SMTP_FROM", "nobody")], "NOTIFY_SMTP_FROM", &["\"nobody\"", "address"]),
    (&[("NOTIFY_SMTP_FROM", "a@b.c\nBcc: d@e.f")], "NOTIFY_SMTP_FROM", &["\\n", "address"]),
    (&[("NOTIFY_SMTP_AUTH", "crammd5")], "NOTIFY_SMTP_AUTH", &["\"crammd5\"", "plain", "login"]),
    (&[("NOTIFY_SMTP_AUTH", "xoauth2")], "NOTIFY_SMTP_AUTH", &["\"xoauth2\"", "plain", "login", "none"]),
];

#[test]
fn a_bad_value_stops_the_start_before_anything_is_touched() {
    for (variables, name, parts) in WRONG {
        let home = Home::new();
        let token = [("NOTIFY_TOKEN", "hush")];
        let line = refusal(&home.run(&[&token, *variables].concat(), &[]));
        for part in [&[*name], *parts].concat() {
            assert!(line.contains(part), "{variables:?}: no {part} in {line:?}");
        }
        assert!(!line.contains("hush"), "{line:?}");
        assert_eq!(home.files(), [""; 0], "{variables:?}");
    }
}

#[test]
fn a_value_that_is_no_text_is_a_bad_value() {
    let bytes = std::ffi::OsStr::from_bytes(b"hush\xff");
    for name in [
        "NOTIFY_DSN",
        "NOTIFY_HTTP_BIND",
        "NOTIFY_TOKEN",
        "NOTIFY_BODY_LIMIT",
        "NOTIFY_STOP_TIMEOUT",
        "NOTIFY_LOG",
        "NOTIFY_MAX_TRY",
        "NOTIFY_THREADS",
        "NOTIFY_HTTP_TIMEOUT",
        "NOTIFY_HTTP_STRING",
        "NOTIFY_TG_TOKEN",
        "NOTIFY_TG_TARGET",
        "NOTIFY_TG_URL",
        "NOTIFY_SENDGRID_KEY",
        "NOTIFY_SENDGRID_URL",
        "NOTIFY_AV8D_USER",
        "NOTIFY_AV8D_PASS",
        "NOTIFY_AV8D_URL",
        "NOTIFY_SMTP_SERVER",
        "NOTIFY_SMTP_FROM",
        "NOTIFY_SMTP_USER",
        "NOTIFY_SMTP_PASS",
        "NOTIFY_SMTP_AUTH",
        "NOTIFY_SMTP_TLS",
    ] {
        let home = Home::new();
        let output = home.program(&[]).env(name, bytes).output().unwrap();
        let line = refusal(&output);
        assert!(line.contains(name), "{line}");
        let is_secret = ["DSN", "TOKEN", "KEY", "PASS", "URL"].iter().any(|end| name.ends_with(end));
        assert_eq!(line.contains("hush"), !is_secret, "{line}");
        assert_eq!(home.files(), [""; 0], "{name}");
    }
}

#[test]
fn the_bounds_are_good_values() {
    for variables in [
        [
            ("NOTIFY_THREADS", "1"),
            ("NOTIFY_MAX_TRY", "1"),
            ("NOTIFY_HTTP_TIMEOUT", "1"),
            ("NOTIFY_STOP_TIMEOUT", "0"),
            ("NOTIFY_BODY_LIMIT", "1"),
        ],
        [
            ("NOTIFY_THREADS", "65535"),
            ("NOTIFY_MAX_TRY", "4294967295"),
            ("NOTIFY_HTTP_TIMEOUT", "86400"),
            ("NOTIFY_STOP_TIMEOUT", "86400"),
            ("NOTIFY_BODY_LIMIT", "33554432"),
        ],
    ] {
        let home = Home::new();
        let server = home.start(&variables);
        assert_eq!(server.get("/health").status, 200);
        assert_eq!(server.stop().code, Some(0));
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let home = Home::new();
    let mut program = home.program(&[]);
    for name in [
        "NOTIFY_DSN",
        "STATE_DIRECTORY",
        "NOTIFY_TLS_CERT",
        "NOTIFY_TLS_KEY",
        "NOTIFY_TOKEN",
        "NOTIFY_BODY_LIMIT",
        "NOTIFY_STOP_TIMEOUT",
        "NOTIFY_LOG",
        "NOTIFY_MAX_TRY",
        "NOTIFY_THREADS",
        "NOTIFY_HTTP_TIMEOUT",
        "NOTIFY_HTTP_STRING",
    ] {
        program.env(name, "");
    }
    let server = crate::support::server::Server::start(program);
    assert_eq!(server.ask("/status", "a").status, 404);
    assert!(home.files().contains(&"notify.db".into()));
    // An empty prefix would take every answer for a success.
    let receiver = Receiver::answering(|_| (500, b"no".to_vec()));
    server.post("/sendOnce", params("a", &receiver.url("/a")).to_string()).done("/sendOnce");
    assert_eq!(server.settled("a")["state"], 2);
}

#[test]
fn the_prefix_decides_instead_of_the_status() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_HTTP_STRING", "0000")]);
    for (id, status, body, state) in
        [("a", 500, "0000 fine", 1), ("b", 200, "fine", 2), ("c", 200, "0000", 1)]
    {
        let receiver = Receiver::answering(move |_| (status, body.into()));
        server.post("/sendOnce", params(id, &receiver.url("/a")).to_string()).done(id);
        assert_eq!(server.settled(id)["state"], state, "{id}");
    }
}

#[test]
fn the_time_of_a_delivery_is_bounded() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_HTTP_TIMEOUT", "1")]);
    let gate = crate::support::receiver::Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |_| {
        held.pass();
        (200, vec![])
    });
    let begin = std::time::Instant::now();
    server.post("/sendOnce", params("a", &receiver.url("/a")).to_string()).done("/sendOnce");
    assert_eq!(server.settled("a")["state"], 2);
    let took = begin.elapsed().as_secs_f64();
    assert!((0.9..5.0).contains(&took), "{took}");
    gate.open();
}

#[test]
fn the_state_directory_holds_the_database_unless_another_is_named() {
    let home = Home::new();
    fs::create_dir(home.path("state")).unwrap();
    let mut program = home.program(&[]);
    program.env_remove("NOTIFY_DSN").env("STATE_DIRECTORY", home.path("state"));
    crate::support::server::Server::start(program).stop();
    assert!(home.path("state/notify.db").exists() && !home.path("notify.db").exists());

    let other = Home::new();
    let mut program = other.program(&[("NOTIFY_DSN", "other.db")]);
    program.env("STATE_DIRECTORY", other.path(""));
    crate::support::server::Server::start(program).stop();
    assert!(other.path("other.db").exists() && !other.path("notify.db").exists());

    let plain = Home::new();
    let mut program = plain.program(&[]);
    program.env_remove("NOTIFY_DSN");
    crate::support::server::Server::start(program).stop();
    assert!(plain.path("notify.db").exists());
}

#[test]
fn help_shows_every_variable_with_value_meaning_and_default() {
    let home = Home::new();
    let plain = home.run(&[("NOTIFY_DSN", ""), ("NOTIFY_HTTP_BIND", "")], &["-h"]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    let set = home.run(
        &[
            ("NOTIFY_DSN", "postgres://me:hush@host/notify"),
            ("NOTIFY_HTTP_BIND", "[::1]:8081"),
            ("NOTIFY_TOKEN", "hush"),
            ("NOTIFY_THREADS", "nonsense"),
            ("NOTIFY_LOG", "debug"),
            ("NOTIFY_TG_TOKEN", "hush"),
            ("NOTIFY_TG_URL", "http://me:hush@host/"),
            ("NOTIFY_SENDGRID_KEY", "hush"),
            ("NOTIFY_SENDGRID_URL", "me:hush@host"),
            ("NOTIFY_AV8D_USER", "me"),
            ("NOTIFY_AV8D_PASS", "hush"),
            ("NOTIFY_AV8D_URL", "https://hush@host/"),
            ("NOTIFY_SMTP_PASS", "hush"),
            ("NOTIFY_SMTP_USER", "me"),
        ],
        &["-h"],
    );
    assert_eq!((set.status.code(), set.stderr.len()), (Some(0), 0));
    let set = String::from_utf8(set.stdout).unwrap();
    assert!(!set.contains("hush"), "{set}");

    // Each is followed by what it is now and what it means.
    let about = |help: &str, name: &str| -> String {
        let (_, rest) =
            help.split_once(&format!("\n  {name} ")).unwrap_or_else(|| panic!("{name} in {help}"));
        rest.split("\n\n").next().unwrap().to_owned()
    };
    for (name, default) in [
        ("NOTIFY_DSN", "notify.db"),
        ("NOTIFY_HTTP_BIND", "127.0.0.1:8080"),
        ("NOTIFY_TLS_CERT", ""),
        ("NOTIFY_TLS_KEY", ""),
        ("NOTIFY_TOKEN", ""),
        ("NOTIFY_BODY_LIMIT", "1048576"),
        ("NOTIFY_STOP_TIMEOUT", "30"),
        ("NOTIFY_LOG", "info"),
        ("NOTIFY_MAX_TRY", "32"),
        ("NOTIFY_THREADS", "10"),
        ("NOTIFY_HTTP_TIMEOUT", "10"),
        ("NOTIFY_HTTP_STRING", "2xx"),
        ("NOTIFY_TG_TOKEN", ""),
        ("NOTIFY_TG_TARGET", ""),
        ("NOTIFY_TG_URL", "https://"),
        ("NOTIFY_SENDGRID_KEY", ""),
        ("NOTIFY_SENDGRID_URL", "https://"),
        ("NOTIFY_AV8D_USER", ""),
        ("NOTIFY_AV8D_PASS", ""),
        ("NOTIFY_AV8D_URL", "https://"),
        ("NOTIFY_SMTP_SERVER", ""),
        ("NOTIFY_SMTP_FROM", ""),
        ("NOTIFY_SMTP_USER", ""),
        ("NOTIFY_SMTP_PASS", ""),
        ("NOTIFY_SMTP_AUTH", "plain"),
        ("NOTIFY_SMTP_TLS", "none"),
    ] {
        let about = about(&plain, name);
        assert!(about.contains("unset") && about.contains(default), "{name}: {about}");
        assert!(
            about.lines().count() >= 2 && about.lines().nth(1).unwrap().trim().len() > 10,
            "{name}: {about}"
        );
    }
    for (name, value) in [
        ("NOTIFY_HTTP_BIND", "[::1]:8081"),
        ("NOTIFY_TOKEN", "(set)"),
        ("NOTIFY_TG_TOKEN", "(set)"),
        ("NOTIFY_SENDGRID_KEY", "(set)"),
        ("NOTIFY_AV8D_PASS", "(set)"),
        ("NOTIFY_SMTP_PASS", "(set)"),
        ("NOTIFY_SMTP_USER", "me"),
        ("NOTIFY_AV8D_USER", "me"),
        ("NOTIFY_THREADS", "nonsense"),
        ("NOTIFY_LOG", "debug"),
    ] {
        assert!(about(&set, name).lines().next().unwrap().contains(value), "{name}: {set}");
    }
    assert!(!about(&set, "NOTIFY_DSN").contains("unset"), "{set}");
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn no_password_of_any_database_is_shown() {
    for dsn in [
        "mysql://me:hush@host/notify",
        "me:hush@tcp(host:3306)/notify?parseTime=true",
        "me:hush@unix(/run/mysqld.sock)/notify",
        "me:hush@/notify",
        "me:hush@tcp/notify",
        "postgresql://me:hush@host/notify",
        "postgres://host/notify?password=hush",
        "host=db dbname=notify user=me password=hush",
        "password=hush host=db dbname=notify",
        "connect_timeout=5 host=db password=hush",
        "application_name=notify password='hush hush' host=db",
        "redis://:hush@host",
        "MYSQL://me:hush@host/notify",
    ] {
        let home = Home::new();
        let help = home.run(&[("NOTIFY_DSN", dsn)], &["-h"]);
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains("NOTIFY_DSN (") && !help.contains("hush"), "{dsn}: {help}");
    }
}

#[test]
fn arguments() {
    let home = Home::new();
    for argument in ["-V", "--version"] {
        let output = home.run(&[], &[argument]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("notify-api {}\n", env!("CARGO_PKG_VERSION"))
        );
        assert!(output.stderr.is_empty());
    }
    let (short, long) = (home.run(&[], &["-h"]), home.run(&[], &["--help"]));
    assert_eq!((short.status.code(), &short.stdout), (Some(0), &long.stdout));
    for (arguments, culprit) in [
        (&["-x"][..], "-x"),
        (&["start"], "start"),
        (&["import", "here"], "here"),
        (&["import", "--form=dsn"], "--form"),
        (&[""], ""),
        (&["--", "-h"], "-h"),
        (&["line\nbreak"], "line\nbreak"),
    ] {
        let line = refusal(&home.run(&[], arguments));
        assert!(line.contains(&format!("{culprit:?}")) && line.ends_with(", see -h\n"), "{line}");
    }
    for arguments in
        [&["mysql://me:hush@db/n"][..], &["import", "password=hush"], &["import", "me:hush@tcp(db)/n"]]
    {
        let line = refusal(&home.run(&[], arguments));
        assert!(!line.contains("hush"), "{line}");
    }
    assert_eq!(home.files(), [""; 0]);
}
