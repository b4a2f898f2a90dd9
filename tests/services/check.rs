//! `notify-api check --online`: the accounts are tried, and nothing is sent.

use std::process::Command;

use serde_json::json;

use crate::{
    TG_TARGET, TG_TOKEN, all_on,
    appliance::ClosedPort,
    real::{Identity, RealServer},
    scripted::Scripted,
    support::sink::{Peer, Seen, Sink, Then},
};

/// The lines about accounts, and the exit code.
fn try_accounts(variables: &[(&str, String)]) -> (Vec<String>, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_notify-api"))
        .args(["check", "--online"])
        .current_dir(folder.path())
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was touched");
    let text = String::from_utf8(output.stdout).unwrap();
    let is_result = |line: &&str| line.contains(" ok: ") || line.contains(" failed");
    let lines =
        text.lines().filter(is_result).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    (lines.collect(), output.status.code())
}

/// What the services answer to those that they know.
fn know(seen: &Seen, peer: &mut Peer) -> Then {
    let answer = match seen.line() {
        line if line.contains("/getMe ") => {
            r#"{"ok":true,"result":{"id":1,"is_bot":true,"username":"nas_bot"}}"#
        }
        line if line.contains("/getChat ") => r#"{"ok":true,"result":{"id":42,"type":"private"}}"#,
        line if line.contains("/v3/scopes ") => r#"{"scopes":["alerts.read","mail.send"]}"#,
        line if line.contains("/API21/HTTP/getCredit.ashx?") => "79.0",
        line => panic!("{line}"),
    };
    peer.answer("200 OK", &[], answer.as_bytes())
}

#[test]
fn good_accounts_are_told_to_be_good() {
    let sink = Sink::start(know);
    let (lines, code) = try_accounts(&all_on(&sink.url("")));
    assert_eq!(
        lines,
        [
            "Telegram ok: @nas_bot knows all targets",
            "SendGrid ok: the key may send mail",
            "SMS ok: the credit is 79.0"
        ]
    );
    assert_eq!(code, Some(0));
    let seen = sink.seen();
    // Three types of Telegram messages are one account.
    assert_eq!(seen.len(), 6, "{seen:#?}");
    let mut asked: Vec<_> = seen.iter().filter(|seen| seen.line().contains("/bot")).collect();
    asked.sort_by_key(|seen| seen.body.clone());
    let asked: Vec<_> = asked
        .into_iter()
        .map(|seen| (seen.line().to_owned(), String::from_utf8_lossy(&seen.body).into_owned()))
        .collect();
    let call = |method, form: &str| (format!("POST /bot{TG_TOKEN}/{method} HTTP/1.1"), form.to_owned());
    assert_eq!(
        asked,
        [
            call("getMe", ""),
            call("getChat", "chat_id=%40channel"),
            call("getChat", "chat_id=-1001234567890"),
            call("getChat", "chat_id=42"),
        ]
    );
    let is_scopes = |seen: &Seen| seen.line() == "GET /v3/scopes HTTP/1.1";
    assert!(seen.iter().any(|seen| is_scopes(seen) && seen.header("authorization") == ["Bearer SG.key"]));
    let credit = "GET /API21/HTTP/getCredit.ashx?UID=us+er&PWD=pa%2Fss HTTP/1.1";
    assert!(seen.iter().any(|seen| seen.line() == credit));
}

#[test]
fn bad_accounts_are_told_with_what_the_service_says_but_without_secrets() {
    let sink = Sink::start(|seen, peer| {
        let (status, body) = match seen.line() {
            line if line.contains("/bot") => {
                ("401 Unauthorized", json!({"ok": false, "description": format!("No {line}")}).to_string())
            }
            line if line.contains("/v3/") => ("401 Unauthorized", format!("[{}]\n", seen.head)),
            line => ("200 OK", format!("-100,{line}")),
        };
        peer.answer(status, &[], body.as_bytes())
    });
    let (lines, code) = try_accounts(&all_on(&sink.url("")));
    let [telegram, sendgrid, sms, count] = &lines[..] else { panic!("{lines:#?}") };
    assert!(telegram.starts_with("Telegram failed: HTTP 401 Unauthorized, No POST /bot***"), "{telegram}");
    assert!(sendgrid.starts_with("SendGrid failed: HTTP 401 Unauthorized: [GET /v3/scopes"), "{sendgrid}");
    assert!(sms.starts_with("SMS failed: HTTP 200 OK, with an answer that begins with no number"), "{sms}");
    assert!(sms.contains(": -100,GET /API21/HTTP/getCredit.ashx?UID=us+er&PWD=***"), "{sms}");
    assert_eq!((count.as_str(), code), ("3 failed", Some(1)));
    let secrets = ["AA-bb_CC", "SG.key", "pa/ss", "pa%2Fss"];
    assert!(!secrets.iter().any(|secret| lines.concat().contains(secret)), "{lines:#?}");
}

#[test]
fn a_target_that_the_bot_does_not_know_is_named() {
    let sink = Sink::start(|seen, peer| {
        if String::from_utf8_lossy(&seen.body).contains("100123") {
            let body = br#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#;
            return peer.answer("400 Bad Request", &[], body);
        }
        know(seen, peer)
    });
    let (lines, code) = try_accounts(&all_on(&sink.url(""))[..3]);
    let unknown = "Telegram failed: @nas_bot can't write to group=-1001234567890: HTTP 400 Bad Request, Bad Request: \
                   chat not found";
    assert_eq!((lines, code), (vec![unknown.to_owned(), "1 failed".to_owned()], Some(1)));
    assert!(TG_TARGET.contains("group=-1001234567890"));
}

#[test]
fn a_key_that_may_not_send_is_told() {
    for (answer, reason) in [
        (r#"{"scopes":["mail.batch.read"]}"#, "the key may not send mail, it lacks the scope mail.send"),
        ("<html>", "HTTP 200 OK, with an answer that is not SendGrid's: <html>"),
    ] {
        let sink = Sink::answering("200 OK", &[], answer);
        let (lines, code) = try_accounts(&all_on(&sink.url(""))[3..5]);
        assert_eq!((lines[0].as_str(), code), (format!("SendGrid failed: {reason}").as_str(), Some(1)));
    }
}

#[test]
fn where_nobody_answers_it_says_so() {
    let port = ClosedPort::reserve();
    let mut variables = all_on(&format!("http://{}", port.address));
    variables.push(("NOTIFY_SMTP_SERVER", port.address.to_string()));
    variables.push(("NOTIFY_SMTP_FROM", "nas@example.org".into()));
    let (lines, code) = try_accounts(&variables);
    assert_eq!((lines.len(), code), (5, Some(1)), "{lines:#?}");
    assert!(lines[..4].iter().all(|line| line.contains("Connection refused")), "{lines:#?}");
}

#[test]
fn it_goes_through_the_proxy() {
    let sink = Sink::start(know);
    let mut variables = all_on("http://service.test")[3..5].to_vec();
    variables.push(("HTTP_PROXY", sink.url("")));
    assert_eq!(try_accounts(&variables).1, Some(0));
    assert!(sink.only().line().starts_with("GET http://service.test/v3/scopes "));
}

fn mail(port: u16, password: &str) -> Vec<(&'static str, String)> {
    vec![
        ("NOTIFY_SMTP_SERVER", format!("127.0.0.1:{port}")),
        ("NOTIFY_SMTP_FROM", "nas@example.org".into()),
        ("NOTIFY_SMTP_USER", "nas".into()),
        ("NOTIFY_SMTP_PASS", password.into()),
    ]
}

#[test]
fn a_mail_server_is_logged_into_and_left() {
    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let (lines, code) = try_accounts(&mail(server.port, "pa$$ word"));
    assert_eq!(lines, [format!("mail ok: 127.0.0.1:{} lets nas in", server.port)]);
    assert_eq!(code, Some(0));
    server.wait_for("(closed)");

    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let (lines, _) = try_accounts(&mail(server.port, "")[..2]);
    assert_eq!(lines, [format!("mail ok: 127.0.0.1:{} answers, nobody logs in", server.port)]);
    let heard: Vec<_> = server.heard().iter().filter_map(|line| line.get(..4).map(str::to_owned)).collect();
    assert_eq!(heard, ["EHLO", "QUIT", "(clo"], "no mail was begun");
}

#[test]
fn a_wrong_password_is_told_without_being_shown() {
    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, line| (stage == "AUTH").then(|| format!("535 5.7.8 no {line} for you")));
    });
    let (lines, code) = try_accounts(&mail(server.port, "wrong horse"));
    let expected = "mail failed: the server refused the user or the password: 535 5.7.8 no AUTH PLAIN ***";
    assert!(lines[0].starts_with(expected) && lines[0].ends_with("for you"), "{lines:#?}");
    assert_eq!(code, Some(1));
}

/// Over TLS, by a server that isn't ours.
#[test]
fn a_real_mail_server() {
    let identity = Identity::of(&["127.0.0.1"], |_| {});
    let auth = json!({"user": "nas", "password": "right", "mechanism": "PLAIN"});
    let server = RealServer::start_with(&identity.settings("starttls", auth));
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&authority, &identity.authority_pem).unwrap();
    for (password, code) in [("right", Some(0)), ("wrong", Some(1))] {
        let mut variables = mail(server.port, password);
        variables.push(("NOTIFY_SMTP_TLS", "starttls".into()));
        // Nobody is trusted yet.
        let (lines, _) = try_accounts(&variables);
        assert!(lines[0].contains("is signed by nobody this system trusts"), "{lines:#?}");
        variables.push(("SSL_CERT_FILE", authority.path().to_str().unwrap().to_owned()));
        let (lines, ended) = try_accounts(&variables);
        assert_eq!(ended, code, "{lines:#?}");
        assert_eq!(lines[0].contains("535"), password == "wrong", "{lines:#?}");
        assert!(!lines.concat().contains(password), "{lines:#?}");
    }
    assert!(server.ends_without_more());
}
