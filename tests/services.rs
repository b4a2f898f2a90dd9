//! Notifications through the program itself, from `/send` to services and mail
//! servers that the tests play, and back to `/status` and `/result`.

mod support;

#[allow(dead_code)] // Other tests need the rest of it.
#[path = "support/appliance.rs"]
mod appliance;
#[allow(dead_code)] // Other tests need the rest of it.
#[path = "drivers_smtp/real.rs"]
mod real;
#[allow(dead_code)]
#[path = "drivers_smtp/scripted.rs"]
mod scripted;

#[path = "services/check.rs"]
mod check;
#[path = "services/configuration.rs"]
mod configuration;
#[path = "services/failures.rs"]
mod failures;
#[path = "services/mail.rs"]
mod mail;
#[path = "services/pauses.rs"]
mod pauses;
#[path = "services/refusals.rs"]
mod refusals;
#[path = "services/requests.rs"]
mod requests;
#[path = "services/secrets.rs"]
mod secrets;

use support::sink::{Peer, Seen, Sink, Then};

/// One notification of each type that goes out over HTTP.
struct Service {
    kind: &'static str,
    endpoint: String,
    payload: &'static str,
}

/// The webhooks' URLs are on `sink`; each Telegram type has a target of its own,
/// so that a pause that one is asked for doesn't concern the others.
fn services(webhooks: &str) -> Vec<Service> {
    let service = |kind, endpoint: &str, payload| Service { kind, endpoint: endpoint.to_owned(), payload };
    vec![
        service("HTTPGET", &format!("{webhooks}/get?a=b"), r#"{"values": {"text": ["ä & b"]}}"#),
        service("HTTPPOST", &format!("{webhooks}/post"), r#"{"body": {"b":  1.0,"a":"\u00e4"}}"#),
        service("TGPlain", "me", r#""1 + 1 = \u00e4""#),
        service("TGMarkdown", "group", r#""*bold*\\.""#),
        service("TGHTML", "news", r#""<b>&amp;</b>""#),
        service("SENDGRID", "", SENDGRID_MAIL),
        service("SMSAV8D", "0912345678,+886987654321", r#"{"content": "ä & b", "subject": "s"}"#),
    ]
}

const SENDGRID_MAIL: &str = r#"{ "from":{"email":"a@b.test"},  "content":[{"x": 1.0}], "unknown": [] }"#;
const TG_TOKEN: &str = "123456:AA-bb_CC";
const TG_TARGET: &str = "me=42,group=-1001234567890,news=@channel";

/// What turns all of them on, with all services behind one base URL.
fn all_on(base: &str) -> Vec<(&'static str, String)> {
    vec![
        ("NOTIFY_TG_TOKEN", TG_TOKEN.into()),
        ("NOTIFY_TG_TARGET", TG_TARGET.into()),
        ("NOTIFY_TG_URL", base.into()),
        ("NOTIFY_SENDGRID_KEY", "SG.key".into()),
        ("NOTIFY_SENDGRID_URL", base.into()),
        ("NOTIFY_AV8D_USER", "us er".into()),
        ("NOTIFY_AV8D_PASS", "pa/ss".into()),
        ("NOTIFY_AV8D_URL", base.into()),
    ]
}

/// Which service a request is for.
fn kind_of(seen: &Seen) -> &'static str {
    let line = seen.line();
    match () {
        () if line.contains("/get") => "HTTPGET",
        () if line.contains("/post") => "HTTPPOST",
        () if line.contains("/sendMessage") => "Telegram",
        () if line.contains("/v3/mail/send") => "SENDGRID",
        () if line.contains("/API21/") => "SMSAV8D",
        () => panic!("{line}"),
    }
}

/// Takes everything, as the real ones do.
fn succeed(seen: &Seen, peer: &mut Peer) -> Then {
    match kind_of(seen) {
        "Telegram" => peer.answer("200 OK", &[], br#"{"ok":true,"result":{"message_id":7}}"#),
        "SENDGRID" => peer.answer("202 Accepted", &[("X-Message-Id", "the.id")], b""),
        "SMSAV8D" => peer.answer("200 OK", &[], b"97.00,1,1.0,0,d6a0c1e2"),
        _ => peer.answer("200 OK", &[], b"thanks"),
    }
}

fn taking_all() -> Sink {
    Sink::start(succeed)
}
