//! Who may call.

use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::support::{http::Request, server::Home};

/// With what a URL or a shell may give it, a colon among it.
const TOKEN: &str = "o:pen\u{fc} sesame%";

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

#[test]
fn the_token_is_shown_as_a_bearer_or_as_a_password() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", TOKEN)]);
    let mut connection = server.connect();
    let mut code = |authorization: &str| {
        let headers = [("authorization", authorization)];
        connection.call(&Request::post("/status", r#"{"id":"unknown"}"#).with(&headers)).status
    };
    let bearer = format!("Bearer {TOKEN}");
    for shown in [
        bearer.clone(),
        bearer.replace("Bearer", "bearer"),
        bearer.replace("Bearer", "BEARER"),
        basic(&format!(":{TOKEN}")),
        basic(&format!("anybody:{TOKEN}")),
        basic(&format!(":{TOKEN}")).replace("Basic", "basic"),
    ] {
        assert_eq!(code(&shown), 404, "{shown}");
    }
    for shown in [
        "".into(),
        "Bearer".into(),
        "Bearer ".into(),
        "Basic".into(),
        "Basic !".into(),
        TOKEN.into(),
        bearer.to_uppercase(),
        bearer[..bearer.len() - 1].into(),
        format!("{bearer}x"),
        format!("Digest {TOKEN}"),
        basic(TOKEN),
        basic(&format!("{TOKEN}:")),
        basic(&format!(":{TOKEN} ")),
        basic(":"),
        basic(""),
        format!("Basic {TOKEN}"),
        format!("Bearer {}", BASE64_STANDARD.encode(format!(":{TOKEN}"))),
    ] {
        assert_eq!(code(&shown), 401, "{shown}");
    }
    let twice = [("authorization", "Bearer wrong"), ("authorization", bearer.as_str())];
    let request = Request::post("/status", r#"{"id":"unknown"}"#);
    assert_eq!(server.call(&request.with(&twice)).status, 401, "two headers");
    assert_eq!(server.post(&format!("/status?token={TOKEN}").replace(' ', "+"), "{}").status, 401);
}

#[test]
fn health_needs_no_token_and_minds_no_wrong_one() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", TOKEN)]);
    assert_eq!(server.get("/health").status, 200);
    let wrong = [("authorization", "Bearer wrong")];
    assert_eq!(server.call(&Request::bodiless("GET", "/health").with(&wrong)).status, 200);
}

#[test]
fn without_a_token_nobody_is_asked() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", "")]);
    let wrong = [("authorization", "Bearer wrong")];
    let answer = server.call(&Request::post("/status", r#"{"id":"unknown"}"#).with(&wrong));
    answer.failure(404, "no token is set");
}

#[test]
fn curl_shows_it_as_the_manual_says() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", "sesame")]);
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", r#"{"id":"unknown"}"#]);
        let output = curl.args(arguments).arg(server.url("/delete")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&["-u", ":sesame"]), "200");
    assert_eq!(curl(&["-H", "Authorization: Bearer sesame"]), "200");
    assert_eq!(curl(&["-u", ":simsalabim"]), "401");
    assert_eq!(curl(&[]), "401");
}

#[test]
fn a_client_that_writes_much_sees_the_401() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", TOKEN)]);
    server.post("/send", vec![b' '; 5_000_000]).failure(401, "5 MB without the token");
}
