//! `notify-api list` and `notify-api resend`, which talk to the running server.

use std::{net::TcpListener, process::Output};

use serde_json::Value;

use super::{environment::refusal, listening::certify};
use crate::support::{
    receiver::Receiver,
    server::{Home, Server, params},
    sink::Sink,
};

/// Runs a command beside the server, with the variables that the server has.
fn command(home: &Home, server: &Server, variables: &[(&str, &str)], arguments: &str) -> Output {
    let bind = server.address().to_string();
    let variables = [variables, &[("NOTIFY_HTTP_BIND", &bind)]].concat();
    home.run(&variables, &arguments.split(' ').collect::<Vec<_>>())
}

/// The lines that it prints, and nothing else.
#[track_caller]
fn printed(output: Output) -> Vec<String> {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Its one sentence, as it couldn't do it.
#[track_caller]
fn failed(output: Output) -> String {
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    line
}

/// Sends one of each, with the oldest first: `fine` is delivered, `waits` is tried again later, the others
/// have failed.
fn one_of_each(server: &Server, receiver: &Receiver) {
    for (id, path) in [("fine", "/send"), ("waits", "/send"), ("bad-1", "/sendOnce"), ("bad-2", "/sendOnce")]
    {
        let endpoint = receiver.url(&format!("/{id}")).replace("://", "://me:hush@");
        server.post(path, params(id, &endpoint).to_string()).done(id);
        server.status_when(id, "tried", |status| status["tried"] != 0 && status["tried"] != 31);
    }
}

fn receiver() -> Receiver {
    Receiver::answering(|received| match received.target.as_str() {
        "/fine" | "/fine?old" => (200, b"thanks".to_vec()),
        path => (500, format!("no\x1b[2J {path}\u{9b}1m\u{202e}\nsecond line").into_bytes()),
    })
}

#[test]
fn list_shows_what_became_of_them() {
    let (home, receiver) = (Home::new(), receiver());
    let server = home.start(&[]);
    assert_eq!(printed(command(&home, &server, &[], "list")), [""; 0], "nothing to tell");
    one_of_each(&server, &receiver);
    let lines = printed(command(&home, &server, &[], "list"));
    let head = ["TIME", "STATE", "TRIED", "TYPE", "ENDPOINT", "ID", "RESPONSE"];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), head);
    let columns = head.map(|name| lines[0].find(name).unwrap());
    let rows: Vec<Vec<&str>> = lines[1..]
        .iter()
        .map(|line| {
            let ends = columns[1..].iter().copied().chain([line.len()]);
            columns.iter().zip(ends).map(|(begin, end)| line[*begin..end].trim_end()).collect()
        })
        .collect();
    let expected = |id: &str, state: &str, tried: &str, response: &str| {
        let endpoint = receiver.url(&format!("/{id}")).replace("://", "://***@");
        [state.into(), tried.into(), "HTTPPOST".into(), endpoint, id.to_owned(), response.to_owned()]
    };
    let wrong = |id: &str| format!("no\\u{{1b}}[2J /{id}\\u{{9b}}1m\\u{{202e}}\\nsecond line");
    for (row, expected) in rows.iter().zip([
        expected("bad-2", "failed", "32", &wrong("bad-2")),
        expected("bad-1", "failed", "32", &wrong("bad-1")),
        expected("waits", "pending", "1", &wrong("waits")),
        expected("fine", "delivered", "1", "thanks"),
    ]) {
        assert_eq!(row[1..], expected);
        assert!(row[0].len() == 20 && row[0].starts_with("20") && row[0].ends_with('Z'), "{row:?}");
    }
    assert_eq!(rows.len(), 4);

    for (arguments, expected) in [
        ("--state failed", &["bad-2", "bad-1"][..]),
        ("--state pending", &["waits"]),
        ("--state delivered", &["fine"]),
        ("--limit 1", &["bad-2"]),
        ("--type HTTPPOST --since 1h --limit 2", &["bad-2", "bad-1"]),
        ("--type HTTPGET", &[]),
        ("--since 9999999999", &[]),
    ] {
        let output = command(&home, &server, &[], &format!("list --json {arguments}"));
        let items: Vec<Value> =
            printed(output).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{arguments}");
    }
    let json = printed(command(&home, &server, &[], "list --json --limit 1")).concat();
    assert!(!json.contains(|c: char| c.is_control() || c == '\u{202e}'), "{json:?}");
    let item: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(item["response"], "no\x1b[2J /bad-2\u{9b}1m\u{202e}\nsecond line");
    assert!(item["endpoint"].as_str().unwrap().contains("me:hush@"));
}

#[test]
fn list_goes_on_until_its_limit() {
    let home = Home::new();
    home.start(&[]).stop();
    let insert = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
        insert into items(notify_id, driver, endpoint, content, create_at, next_at, cur_state)
        select 'n' || i, 'A', '', '{}', i, 0, 2 from n";
    assert_eq!(home.database().execute(insert, ()), Ok(2500));
    let server = home.start(&[]);
    for (arguments, rows) in [("", 100), (" --limit 2100", 2100), (" --limit 99999", 2500)] {
        let lines = printed(command(&home, &server, &[], &format!("list{arguments}")));
        assert_eq!(lines.len(), 1 + rows, "{arguments}");
        assert!(
            lines[rows].contains(&format!(" n{} ", 2501 - rows))
                || lines[rows].ends_with(&format!(" n{}", 2501 - rows))
        );
    }
}

#[test]
fn resend_repairs_a_night() {
    let (home, receiver) = (Home::new(), receiver());
    let server = home.start(&[]);
    one_of_each(&server, &receiver);
    let insert =
        "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state)
        values('old', 'HTTPPOST', ?1, '{\"body\":\"\"}', 1000, 1000, 32, 2)";
    assert_eq!(home.database().execute(insert, [receiver.url("/fine?old")]), Ok(1));
    let run = |arguments: &str| command(&home, &server, &[], arguments);
    let came = receiver.wait_for(4).len();

    let lines = printed(run("resend --failed --since 1h --dry-run"));
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("bad-2") && lines[2].contains("bad-1"), "{lines:?}");
    assert_eq!(lines[3], "failed notifications that would be sent again: 2");
    assert_eq!(
        printed(run("resend --failed --since 1h --type HTTPGET")),
        ["failed notifications sent again: 0"]
    );
    assert_eq!(receiver.wait_for(came).len(), came);

    // They fail again, and are not sent a third time.
    assert_eq!(printed(run("resend --failed --since 1h")), ["failed notifications sent again: 2"]);
    let targets: Vec<_> = receiver.wait_for(came + 2)[came..].iter().map(|one| one.target.clone()).collect();
    assert!(targets.contains(&"/bad-1".into()) && targets.contains(&"/bad-2".into()), "{targets:?}");
    server.settled("bad-1");
    server.settled("bad-2");
    assert_eq!(printed(run("resend --failed --all")), ["failed notifications sent again: 3"]);
    receiver.wait_for(came + 5);
    assert_eq!(server.settled("old")["state"], 1);

    assert_eq!(printed(run("resend fine old")), [""; 0]);
    receiver.wait_for(came + 7);
    let line = failed(run("resend fine nobody"));
    assert!(line.contains("\"nobody\"") && line.contains("no notification has this id"), "{line}");
    receiver.wait_for(came + 8);
}

#[test]
fn the_token_and_the_certificate_are_those_of_the_server() {
    let home = Home::new();
    certify(&home, "cert");
    certify(&home, "other");
    let variables =
        |cert, key, token| [("NOTIFY_TLS_CERT", cert), ("NOTIFY_TLS_KEY", key), ("NOTIFY_TOKEN", token)];
    let own = variables("cert.pem", "cert.key", "hush");
    // Under a name that isn't in the certificate.
    let server = home.start(&[&own[..], &[("NOTIFY_HTTP_BIND", "127.0.0.2:0")]].concat());
    assert_eq!(printed(command(&home, &server, &own, "list")), [""; 0]);
    let lines = printed(command(&home, &server, &own, "resend --failed --all"));
    assert_eq!(lines, ["failed notifications sent again: 0"]);

    let line = failed(command(&home, &server, &variables("cert.pem", "cert.key", "guess"), "list"));
    assert!(line.contains("NOTIFY_TOKEN") && !line.contains("guess"), "{line}");
    let line = failed(command(&home, &server, &variables("other.pem", "other.key", "hush"), "list"));
    assert!(line.contains("certificate") && line.contains("not the one"), "{line}");
    // Elsewhere, a certificate has to be signed by somebody.
    let url = format!("https://{}", server.address());
    let line = failed(home.run(&own, &["list", "--url", &url]));
    assert!(line.contains("certificate"), "{line}");
    let trusted = home.path("cert.pem").into_os_string().into_string().unwrap();
    let trusting = [("NOTIFY_TOKEN", "hush"), ("SSL_CERT_FILE", trusted.as_str())];
    let line = failed(home.run(&trusting, &["list", "--url", &url]));
    assert!(line.contains("127.0.0.2"), "{line}");
    server.stop();
    let server = home.start(&[&own[..], &[("NOTIFY_HTTP_BIND", "127.0.0.1:0")]].concat());
    let url = format!("https://{}/", server.address());
    assert_eq!(printed(home.run(&trusting, &["list", "--url", &url])), [""; 0]);
}

#[test]
fn a_server_on_every_interface_is_found() {
    let home = Home::new();
    for bind in [":0", "0.0.0.0:0", "[::]:0", "localhost:0", "[::1]:0"] {
        let server = home.start(&[("NOTIFY_HTTP_BIND", bind)]);
        let bind = bind.replace(":0", &format!(":{}", server.address().port()));
        let bind =
            if bind.starts_with("0.0.0.0") { format!("0.0.0.0:{}", server.address().port()) } else { bind };
        assert_eq!(printed(home.run(&[("NOTIFY_HTTP_BIND", &bind)], &["list"])), [""; 0], "{bind}");
        server.stop();
    }
}

#[test]
fn nobody_there_is_one_sentence() {
    let home = Home::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for arguments in
        [&["list"][..], &["list", "--json"], &["resend", "a", "b"], &["resend", "--failed", "--all"]]
    {
        let line = failed(home.run(&[("NOTIFY_HTTP_BIND", &closed)], arguments));
        assert!(line.contains(&closed) && line.contains("running"), "{line}");
    }
    // Somebody else.
    let sink = Sink::answering("200 OK", &[], "<html>");
    let line = failed(home.run(&[("NOTIFY_HTTP_BIND", &sink.address.to_string())], &["list"]));
    assert!(line.contains("can't be used"), "{line}");
    assert_eq!(home.files(), [""; 0], "no database was touched");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let home = Home::new();
    for (arguments, words) in [
        ("resend", &["ID"][..]),
        ("resend --failed", &["--since", "--all"]),
        ("resend --failed --since 1d --all", &["--since"]),
        ("resend --failed --all x", &["--failed"]),
        ("resend x --since 1d", &[]),
        ("resend x --dry-run", &[]),
        ("resend x --type A", &[]),
        ("resend --all", &[]),
        ("resend --since 1d", &[]),
        ("resend --failed --since yesterday", &["--since", "1d"]),
        ("list x", &["\"x\""]),
        ("list --failed", &["--failed"]),
        ("list --state lost", &["pending", "delivered", "failed"]),
        ("list --since 1y2", &["--since", "12h"]),
        ("list --limit 0", &["--limit"]),
        ("list --limit -1", &[]),
        ("list --url notify.example.com", &["--url", "http"]),
        ("list", &["NOTIFY_HTTP_BIND", "--url"]),
    ] {
        let line = refusal(&home.run(&[], &arguments.split(' ').collect::<Vec<_>>()));
        for word in words {
            assert!(line.contains(word), "{arguments}: {word:?} in {line:?}");
        }
    }
}
