//! `notify-api check`, without a network.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::environment::{WRONG, refusal};
use crate::support::server::Home;

/// What it says of a good configuration.
#[track_caller]
fn checked(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
    assert!(text.ends_with("\nOK\n"), "{text}");
    assert!(!text.contains("hush"), "{text}");
    text.lines().map(str::to_owned).collect()
}

fn warnings(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("warning:").map(str::trim)).collect()
}

/// The line about that.
#[track_caller]
fn about<'a>(lines: &'a [String], name: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(name).filter(|text| text.starts_with(' ')));
    found.unwrap_or_else(|| panic!("{name} in {lines:#?}")).trim()
}

#[test]
fn it_tells_what_is_on_and_touches_nothing() {
    let home = Home::new();
    let lines = checked(&home.run(&[], &["check"]));
    assert_eq!(warnings(&lines), [""; 0]);
    for (name, text) in [
        ("secrets", "none"),
        ("address", "http://127.0.0.1:0"),
        ("token", "none wanted"),
        ("database", "notify.db, which the first start makes"),
        ("sending", "10 at once, up to 32 attempts, 10 s for one over HTTP, 30 s at a stop"),
        ("bodies", "up to 1048576 bytes"),
        ("log", "info"),
        ("proxies", "none"),
        ("webhooks", "on, a 2xx is a success"),
        ("Telegram", "off"),
        ("SendGrid", "off"),
        ("SMS", "off"),
        ("mail", "off"),
    ] {
        assert_eq!(about(&lines, name), text);
    }

    fs::write(home.path("key"), "hush").unwrap();
    fs::set_permissions(home.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    let lines = checked(&home.run(
        &[
            ("NOTIFY_TOKEN", "hush"),
            ("NOTIFY_HTTP_BIND", ":8080"),
            ("NOTIFY_THREADS", "3"),
            ("NOTIFY_HTTP_STRING", "0000"),
            ("NOTIFY_TG_TOKEN", "1:hush"),
            ("NOTIFY_TG_TARGET", "me=1, all=@us"),
            ("NOTIFY_SENDGRID_KEY_FILE", "key"),
            ("NOTIFY_SENDGRID_URL", "https://me:hush@mail.test/base"),
            ("NOTIFY_AV8D_USER", "me"),
            ("NOTIFY_AV8D_PASS", "hush"),
            ("NOTIFY_SMTP_SERVER", "mail.test:587"),
            ("NOTIFY_SMTP_FROM", "NAS <nas@example.org>"),
            ("NOTIFY_SMTP_TLS", "starttls"),
            ("NOTIFY_SMTP_USER", "mailer"),
            ("NOTIFY_SMTP_PASS", "hush"),
            ("HTTPS_PROXY", "http://me:hush@proxy.test:3128"),
        ],
        &["check"],
    ));
    assert_eq!(warnings(&lines), [""; 0]);
    for (name, text) in [
        (
            "secrets",
            "NOTIFY_TOKEN (set), NOTIFY_TG_TOKEN (set), NOTIFY_SENDGRID_KEY (in key), NOTIFY_AV8D_PASS (set), \
             NOTIFY_SMTP_PASS (set)",
        ),
        ("address", "http://:8080"),
        ("token", "wanted from clients"),
        ("sending", "3 at once, up to 32 attempts, 10 s for one over HTTP, 30 s at a stop"),
        ("proxies", "https through proxy.test:3128"),
        ("webhooks", "on, an answer that begins with \"0000\" is a success"),
        ("Telegram", "on, all=@us,me=1, https://api.telegram.org/"),
        ("SendGrid", "on, https://mail.test/base/"),
        ("SMS", "on, as me, https://oms.every8d.com/"),
        ("mail", "on, from nas@example.org, mail.test:587, STARTTLS, as mailer"),
    ] {
        assert_eq!(about(&lines, name), text);
    }
    assert_eq!(home.files(), ["key"]);
}

/// With the same words as a start.
#[test]
fn what_a_start_refuses_it_refuses() {
    let home = Home::new();
    let mut count = 0;
    for (variables, ..) in WRONG {
        let started = refusal(&home.run(variables, &[]));
        // Whether an interface has an address is found out by listening.
        if started.contains("no interface") {
            continue;
        }
        assert_eq!(refusal(&home.run(variables, &["check"])), started);
        count += 1;
    }
    assert!(count > 40);
    let proxy = refusal(&home.run(&[("HTTP_PROXY", "socks5://hush@proxy.test")], &["check"]));
    assert!(proxy.contains("HTTP_PROXY") && !proxy.contains("hush"), "{proxy}");
}

#[test]
fn a_database_that_no_start_could_open_is_refused() {
    let home = Home::new();
    fs::write(home.path("other"), "no database at all").unwrap();
    fs::create_dir(home.path("directory")).unwrap();
    for (dsn, reason) in [
        ("other", "\"other\" is no SQLite database"),
        ("directory", "\"directory\" is not a regular file"),
        ("none/notify.db", "there is no directory \"none\""),
        ("other/notify.db", "\"other/notify.db\": "),
    ] {
        let line = refusal(&home.run(&[("NOTIFY_DSN", dsn)], &["check"]));
        assert!(line.starts_with("notify-api: NOTIFY_DSN: ") && line.contains(reason), "{line}");
        refusal(&home.run(&[("NOTIFY_DSN", dsn)], &[]));
    }
}

#[test]
fn a_running_server_is_not_disturbed() {
    let home = Home::new();
    let server = home.start(&[]);
    let address = server.address().to_string();
    let files = home.files();
    let lines = checked(&home.run(&[("NOTIFY_HTTP_BIND", &address)], &["check"]));
    assert_eq!(about(&lines, "database"), "notify.db, 0.0 MB");
    assert_eq!(home.files(), files);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let home = Home::new();
    let certify = |name: &str, year| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["notify.test".into()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 2, 3);
        fs::write(home.path("cert"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(home.path("key"), key.serialize_pem()).unwrap();
        fs::set_permissions(home.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        let tls = [("NOTIFY_TLS_CERT", "cert"), ("NOTIFY_TLS_KEY", "key")];
        let lines = checked(&home.run(&tls, &["check"]));
        assert!(about(&lines, "address").starts_with("https://"), "{name}");
        lines
    };
    let lines = certify("later", 2150);
    assert_eq!(about(&lines, "certificate"), "cert, until Tue, 03 Feb 2150 00:00:00 GMT");
    assert_eq!(warnings(&lines), [""; 0]);
    let lines = certify("expired", 2020);
    let expired = "the certificate has expired on Mon, 03 Feb 2020 00:00:00 GMT, or the clock is wrong";
    assert_eq!(warnings(&lines), [expired]);
    // The end of time.
    let lines = certify("never", 9999);
    assert!(warnings(&lines).is_empty(), "{lines:?}");
}

#[test]
fn what_is_most_likely_not_meant_is_a_warning() {
    let home = Home::new();
    fs::create_dir(home.path("credentials")).unwrap();
    fs::write(home.path("credentials/NOTIFY_TOKN"), "hush").unwrap();
    fs::write(home.path("credentials/notify.key"), "hush").unwrap();
    let env =
        "export NOTIFY_TOKEN=hush\nNOTIFY_SMTP_PASSWORD=hush\nNOTIFY_AV8D_USER=me\nNOTIFY_HTTP_BIND=:8080\n";
    fs::write(home.path("env"), env).unwrap();
    let mut program = home.program(&[("CREDENTIALS_DIRECTORY", "credentials")]);
    program.env_remove("NOTIFY_HTTP_BIND").args(["check", "--env-file", "env"]);
    let lines = checked(&program.output().unwrap());
    assert_eq!(
        warnings(&lines),
        [
            "SMS is off: NOTIFY_AV8D_USER is set, but NOTIFY_AV8D_PASS is not",
            "\"NOTIFY_SMTP_PASSWORD\" means nothing, see -h",
            "everybody who reaches the address can send and read notifications: set NOTIFY_TOKEN",
            "env: line 1 means nothing: it takes NAME=VALUE, or a # before a comment",
            "the credential \"NOTIFY_TOKN\" means nothing, is NOTIFY_TOKEN meant?",
        ]
    );
    assert_eq!(about(&lines, "variables"), "env, and the environment");
}

#[test]
fn secrets_that_everybody_can_read_are_a_warning() {
    let home = Home::new();
    fs::write(home.path("token"), "hush").unwrap();
    let exposed = |env: &str, modes: [u32; 3]| {
        fs::write(home.path("env"), env).unwrap();
        for (name, mode) in ["", "env", "token"].into_iter().zip(modes) {
            fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let lines = checked(&home.run(&[], &["check", "--env-file", "env"]));
        let warnings = warnings(&lines).into_iter();
        let files = warnings.map(|warning| {
            warning.strip_prefix("everybody on this machine can read the secret in ").unwrap().to_owned()
        });
        files.collect::<Vec<_>>()
    };
    let with_file = "NOTIFY_TOKEN_FILE=token\nNOTIFY_THREADS=2";
    assert_eq!(exposed(with_file, [0o755, 0o644, 0o644]), ["token: chmod o-r token"]);
    assert_eq!(exposed(with_file, [0o755, 0o644, 0o640]), [""; 0]);
    assert_eq!(exposed(with_file, [0o700, 0o644, 0o644]), [""; 0], "nobody gets there");
    for secret in [
        "NOTIFY_TOKEN=hush",
        "NOTIFY_DSN_FILE=\nNOTIFY_SENDGRID_URL=https://me:hush@a.test",
        "HTTP_PROXY=http://me:hush@a.test",
    ] {
        assert_eq!(exposed(secret, [0o755, 0o644, 0o600]), ["env: chmod o-r env"], "{secret}");
        assert_eq!(exposed(secret, [0o755, 0o600, 0o600]), [""; 0], "{secret}");
    }
    for public in ["NOTIFY_TOKEN=", "NOTIFY_SENDGRID_URL=https://a.test", "MAILTO=me@example.org"] {
        assert_eq!(exposed(public, [0o755, 0o644, 0o600]), [""; 0], "{public}");
    }
}
