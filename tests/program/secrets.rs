//! Secrets that are in files.

use std::fs;

use crate::environment::refusal;
use crate::support::{http::Request, server::Home};

/// The token that a server wants.
#[track_caller]
fn check_token(home: &Home, variables: &[(&str, &str)], token: &str) {
    let server = home.start(variables);
    let bearer = format!("Bearer {token}");
    let request =
        Request { headers: &[("Authorization", &bearer)], ..Request::post("/status", br#"{"id":"a"}"#) };
    assert_eq!(server.call(&request).status, 404, "{variables:?}");
    assert_eq!(server.ask("/status", "a").status, 401, "{variables:?}");
    let lines = server.stop().lines;
    assert!(!lines.concat().contains(token) && !lines.concat().contains("WARN"), "{lines:?}");
}

#[test]
fn a_secret_may_be_in_a_file_or_a_credential() {
    let home = Home::new();
    fs::create_dir(home.path("credentials")).unwrap();
    fs::write(home.path("credentials/NOTIFY_TOKEN"), "from a credential").unwrap();
    fs::write(home.path("bare"), "fr$m a \"file\"").unwrap();
    fs::write(home.path("line"), "from a line\n").unwrap();
    fs::write(home.path("dos"), "from a line\r\n").unwrap();
    let credentials = ("CREDENTIALS_DIRECTORY", "credentials");
    check_token(&home, &[credentials], "from a credential");
    check_token(&home, &[credentials, ("NOTIFY_TOKEN", "from a variable")], "from a variable");
    check_token(&home, &[credentials, ("NOTIFY_TOKEN_FILE", "bare")], "fr$m a \"file\"");
    for file in ["line", "dos"] {
        check_token(&home, &[("NOTIFY_TOKEN_FILE", file)], "from a line");
    }
}

#[test]
fn an_empty_credential_is_no_secret() {
    let home = Home::new();
    fs::write(home.path("NOTIFY_TOKEN"), "").unwrap();
    let server = home.start(&[("CREDENTIALS_DIRECTORY", ".")]);
    assert_eq!(server.ask("/status", "a").status, 404);
}

#[test]
fn the_database_may_be_named_by_a_file() {
    let home = Home::new();
    fs::write(home.path("dsn"), "other.db\n").unwrap();
    home.start(&[("NOTIFY_DSN", ""), ("NOTIFY_DSN_FILE", "dsn")]).stop();
    assert!(home.path("other.db").exists() && !home.path("notify.db").exists());
}

#[test]
fn a_secret_that_cannot_be_had_stops_the_start() {
    let home = Home::new();
    fs::write(home.path("empty"), "\n").unwrap();
    fs::write(home.path("two"), "hush\nhush\n").unwrap();
    fs::create_dir(home.path("directory")).unwrap();
    for name in [
        "NOTIFY_TOKEN",
        "NOTIFY_TG_TOKEN",
        "NOTIFY_SENDGRID_KEY",
        "NOTIFY_AV8D_PASS",
        "NOTIFY_SMTP_PASS",
        "NOTIFY_DSN",
    ] {
        let file = format!("{name}_FILE");
        for (path, reason) in [
            ("none", "can't be read"),
            ("directory", "can't be read"),
            ("empty", "is empty"),
            ("two", "more than one line"),
        ] {
            let line = refusal(&home.run(&[(name, ""), (&file, path)], &[]));
            assert!(line.starts_with(&format!("notify-api: {file} is {path:?}: the file ")), "{line}");
            assert!(line.contains(reason) && !line.contains("hush"), "{line}");
        }
        let line = refusal(&home.run(&[(name, "hush"), (&file, "two")], &[]));
        assert_eq!(line, format!("notify-api: {name}: {file} is set, too: it takes one of them\n"));
    }
    let mut files = home.files();
    files.sort();
    assert_eq!(files, ["directory", "empty", "two"], "nothing was touched");
}

#[test]
fn help_says_where_a_secret_is_and_not_what() {
    let home = Home::new();
    fs::write(home.path("NOTIFY_SENDGRID_KEY"), "hush").unwrap();
    let variables = [("NOTIFY_TOKEN_FILE", "/run/token"), ("CREDENTIALS_DIRECTORY", ".")];
    let help = String::from_utf8(home.run(&variables, &["-h"]).stdout).unwrap();
    for line in [
        "NOTIFY_TOKEN (in /run/token)\n",
        "or NOTIFY_TOKEN_FILE: a file with it\n",
        "NOTIFY_SENDGRID_KEY (in ./NOTIFY_SENDGRID_KEY)\n",
        "NOTIFY_SMTP_PASS (unset)\n",
    ] {
        assert!(help.contains(line), "{line}: {help}");
    }
    assert!(!help.contains("hush"), "{help}");
}
