//! Secrets show up nowhere, though every service tells what it knows in each
//! way that services do.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use url::form_urlencoded;

use crate::{
    SENDGRID_MAIL, TG_TARGET,
    appliance::{Appliance, ClosedPort, help},
    kind_of,
    scripted::Scripted,
    services,
    support::sink::Sink,
};

/// What nobody may see. Most have characters that some encoding changes.
const SECRETS: [&str; 8] = [
    "Tok3n/plus+and&more=",
    "123456:TgKey-AA_bb/cc",
    "TgKey-AA_bb/cc",
    "SG.Key/aa+bb.cc==",
    "Sms Pa/ss&w+rd%41",
    "Mail\"Pa\\ss/<w\u{f6}rd>",
    "Url/Pw+1:x",
    "Proxy/Pw+2@x",
];
const TOKEN: &str = SECRETS[0];
const TG_TOKEN: &str = SECRETS[1];
const SENDGRID_KEY: &str = SECRETS[3];
const SMS_PASSWORD: &str = SECRETS[4];
const MAIL_PASSWORD: &str = SECRETS[5];
const URL_PASSWORD: &str = SECRETS[6];
const PROXY_PASSWORD: &str = SECRETS[7];

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A secret as services write it.
fn disguises(secret: &str) -> Vec<String> {
    let json = json!(secret).to_string();
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![
        secret.to_owned(),
        percent(secret),
        secret
            .bytes()
            .map(|byte| match byte.is_ascii_alphanumeric() {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02x}"),
            })
            .collect(),
        secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        form,
        json[1..json.len() - 1].to_owned(),
        json[1..json.len() - 1].replace('/', "\\/"),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD.encode(format!("user:{secret}")),
        BASE64_STANDARD.encode(format!("\0user\0{secret}")),
        BASE64_STANDARD.encode(format!("to:{secret}:and more")),
        BASE64_URL_SAFE_NO_PAD.encode(format!(":{secret}")),
        percent(&BASE64_STANDARD.encode(secret)),
    ]
}

/// All there is to tell.
fn gossip() -> String {
    SECRETS.iter().flat_map(|secret| disguises(secret)).collect::<Vec<_>>().join(" ")
}

/// The first sign of a secret, in plain or encoded, wherever in base64 it stands.
fn revealed(text: &[u8]) -> Option<String> {
    let contains = |needle: &str| text.windows(needle.len()).any(|bytes| bytes == needle.as_bytes());
    let core = |secret: &str, before: usize| {
        let encoded = BASE64_STANDARD_NO_PAD.encode([&vec![0; before][..], secret.as_bytes()].concat());
        let from = (before * 8).div_ceil(6);
        let to = (before + secret.len()) * 8 / 6;
        encoded[from..to].to_owned()
    };
    SECRETS.iter().find_map(|secret| {
        let in_base64 = (0..3).map(|before| core(secret, before));
        let in_base64 =
            in_base64.flat_map(|core| [core.replace('+', "-").replace('/', "_"), percent(&core), core]);
        disguises(secret).into_iter().chain(in_base64).find(|disguise| contains(disguise))
    })
}

#[track_caller]
fn assert_discreet(what: &str, text: &[u8]) {
    if let Some(secret) = revealed(text) {
        panic!("{what} has {secret:?} in it: {}", String::from_utf8_lossy(text));
    }
}

/// Everything that is a secret, set.
fn environment(sink: &Sink, mail_port: u16) -> Vec<(&'static str, String)> {
    let url = format!("http://user:{}@{}", percent(URL_PASSWORD), sink.address);
    vec![
        ("NOTIFY_LOG", "trace".into()),
        ("NOTIFY_TOKEN", TOKEN.into()),
        ("NOTIFY_TG_TOKEN", TG_TOKEN.into()),
        ("NOTIFY_TG_TARGET", TG_TARGET.into()),
        ("NOTIFY_TG_URL", url.clone()),
        ("NOTIFY_SENDGRID_KEY", SENDGRID_KEY.into()),
        ("NOTIFY_SENDGRID_URL", url.clone()),
        ("NOTIFY_AV8D_USER", "user".into()),
        ("NOTIFY_AV8D_PASS", SMS_PASSWORD.into()),
        ("NOTIFY_AV8D_URL", url),
        ("NOTIFY_SMTP_SERVER", format!("127.0.0.1:{mail_port}")),
        ("NOTIFY_SMTP_FROM", "nas@example.org".into()),
        ("NOTIFY_SMTP_USER", "user".into()),
        ("NOTIFY_SMTP_PASS", MAIL_PASSWORD.into()),
        ("HTTP_PROXY", format!("http://user:{}@{}", percent(PROXY_PASSWORD), sink.address)),
        ("NO_PROXY", "127.0.0.1".into()),
    ]
}

const MAIL: &str = r#"{"To": {"Address": "ada@example.org"}, "Subject": "s", "Content": "c"}"#;

#[test]
fn whatever_services_tell_no_secret_gets_out() {
    // How each of them answers, told by the first word of the text or the host.
    let sink = Sink::start(|seen, peer| {
        let gossip = gossip();
        let said = format!("{gossip} {}", seen.head);
        let is_ok = !seen.head.contains("bad") && !String::from_utf8_lossy(&seen.body).contains("bad");
        let body = match kind_of(seen) {
            "Telegram" => json!({"ok": is_ok, "description": said}).to_string(),
            "SMSAV8D" if is_ok => format!("1,{said}"),
            _ => said,
        };
        let headers = [("Location", gossip.as_str()), ("X-Message-Id", &gossip)];
        match (is_ok, seen.head.contains("redirect")) {
            (true, _) => peer.answer("200 OK", &headers[1..], body.as_bytes()),
            (_, true) => peer.answer("302 Found", &headers[..1], b""),
            (false, false) => peer.answer("400 Bad Request", &headers[1..], body.as_bytes()),
        }
    });
    let mail = Scripted::start(|connection, peer| {
        peer.serve(|stage, line| match (stage, connection) {
            // A mail that is taken, then a login that is refused.
            ("mail", 0) => Some(format!("250 took it from {}", gossip())),
            ("AUTH", 1) => Some(format!("535-{line}\r\n535 {}", gossip())),
            ("QUIT", 0) => Some(String::new()),
            _ => None,
        });
    });
    let environment = environment(&sink, mail.port);
    let appliance = Appliance::start(environment.clone());
    let mut ids = Vec::new();
    let mut send = |id: String, kind: &str, endpoint: &str, payload: &str| {
        appliance.send(&id, kind, endpoint, payload);
        appliance.outcome(&id);
        ids.push(id);
    };
    for service in services(&sink.url("")) {
        let kind = service.kind;
        send(format!("good {kind}"), kind, &service.endpoint, service.payload);
        let bad = match kind {
            "HTTPGET" => (r#"{"values": {"a": "bad"}}"#, service.endpoint.as_str()),
            "HTTPPOST" => (r#"{"body": "bad"}"#, service.endpoint.as_str()),
            "SENDGRID" => (r#"{"from": {}, "content": ["bad"]}"#, ""),
            "SMSAV8D" => (r#"{"content": "bad"}"#, service.endpoint.as_str()),
            _ => ("\"bad\"", service.endpoint.as_str()),
        };
        send(format!("bad {kind}"), kind, bad.1, bad.0);
    }
    // A proxy tells as well, and so does where it would lead.
    for (id, endpoint) in [
        ("proxy", "http://hook.test/post"),
        ("bad proxy", "http://hook.test/post?bad"),
        ("redirect", "http://hook.test/post?bad-redirect"),
    ] {
        send(id.into(), "HTTPPOST", endpoint, r#"{"body": "x"}"#);
    }
    send("good mail".into(), "SMTP", "", MAIL);
    send("bad mail".into(), "SMTPHTML", "", MAIL);

    for id in &ids {
        let response = appliance.result(id);
        assert!(response.contains("***"), "{id} was told something: {response}");
        assert_discreet(id, response.as_bytes());
        let detail = appliance.detail(id);
        assert_discreet(id, detail.to_string().as_bytes());
        let response = BASE64_STANDARD.decode(detail["response"].as_str().unwrap()).unwrap();
        assert_discreet(id, &response);
    }
    // Somebody mistakes one variable for another.
    for secret in SECRETS {
        for (kind, endpoint, payload) in [
            ("TGPlain", secret, json!("x")),
            ("SMSAV8D", secret, json!({"content": "x"})),
            ("HTTPPOST", secret, json!({"body": "x"})),
            ("HTTPPOST", "http://a.test/", json!({"headers": {secret: "x\n"}})),
            ("SMTP", "", json!({"To": {"Address": format!("a b@{secret}")}, "Subject": "s", "Content": "c"})),
        ] {
            let sentence =
                appliance.try_send("/send", "refused", kind, endpoint, &payload.to_string()).refusal();
            assert_discreet(kind, sentence.as_bytes());
        }
    }
    for entry in std::fs::read_dir(appliance.folder()).unwrap() {
        let path = entry.unwrap().path();
        assert_discreet(path.to_str().unwrap(), &std::fs::read(&path).unwrap());
    }
    assert_discreet("the command line", &appliance.command_line());
    let variables: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let help = help(&variables);
    assert!(help.contains("NOTIFY_SMTP_PASS (set)") && help.contains("NOTIFY_TG_TOKEN (set)"), "{help}");
    assert_discreet("-h", help.as_bytes());

    let log = appliance.stop();
    assert!(log.contains("an attempt failed") && log.contains("FAILED"), "{log}");
    assert_discreet("the log", log.as_bytes());
}

/// Reasons that are made here, where nobody answers.
#[test]
fn nobody_answers_and_no_secret_gets_out() {
    let port = ClosedPort::reserve();
    let closed = Sink::start(|_, _| crate::Then::Close);
    let mut environment = environment(&closed, port.address.port());
    for (name, value) in &mut environment {
        if name.ends_with("_URL") || *name == "HTTP_PROXY" {
            *value = value.replace(&closed.address.to_string(), &port.address.to_string());
        }
    }
    let appliance = Appliance::start(environment);
    let mut all = services("http://hook.test");
    all.retain(|service| !service.kind.starts_with("HTTP") || service.kind == "HTTPPOST");
    for service in &all {
        appliance.send(service.kind, service.kind, &service.endpoint, service.payload);
    }
    appliance.send("mail", "SMTP", "", MAIL);
    appliance.send("again", "SENDGRID", "", SENDGRID_MAIL);
    for id in all.iter().map(|service| service.kind).chain(["mail", "again"]) {
        appliance.outcome(id);
        assert_discreet(id, appliance.result(id).as_bytes());
    }
    assert_discreet("the log", appliance.stop().as_bytes());
}

/// The credentials in a webhook's URL are the client's own; its receiver still
/// doesn't get them into the log or the result.
#[test]
fn a_webhooks_own_password_is_no_part_of_its_result() {
    let sink = Sink::start(|seen, peer| peer.answer("500 x", &[], seen.head.as_bytes()));
    let appliance = Appliance::start([("NOTIFY_LOG", "debug")]);
    let endpoint = format!("http://user:{}@{}/post", percent(URL_PASSWORD), sink.address);
    for (kind, payload) in [("HTTPGET", "{}"), ("HTTPPOST", r#"{"body": "x"}"#)] {
        appliance.send(kind, kind, &endpoint, payload);
        appliance.outcome(kind);
        let response = appliance.result(kind);
        assert!(response.contains("Basic ***"), "{response}");
        assert_discreet(kind, response.as_bytes());
    }
    assert_discreet("the log", appliance.stop().as_bytes());
}
