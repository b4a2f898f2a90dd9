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
        percent(secret).to_lowercase(),
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
