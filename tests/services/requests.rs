//! What services get to see of a notification, byte for byte, and what is
//! known of it afterwards.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    all_on,
    appliance::{Appliance, Status, now},
    kind_of, services,
    support::sink::Seen,
    taking_all,
};

/// The request that each type makes, with everything in it that there is.
fn expected(kind: &str, host: &str, under: &str) -> String {
    let agent = concat!("notify-api/", env!("CARGO_PKG_VERSION"));
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    };
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\n{headers}\r\n")
    };
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let telegram = |body| post(&format!("{under}/bot123456:AA-bb_CC/sendMessage"), form, body);
    match kind {
        "HTTPGET" => {
            get("/get?a=b&text=%C3%A4+%26+b", "idempotency-key: id-HTTPGET\r\nwebhook-id: id-HTTPGET\r\n")
        }
        "HTTPPOST" => post(
            "/post",
            "content-type: application/json\r\nidempotency-key: id-HTTPPOST\r\nwebhook-id: id-HTTPPOST\r\n",
            r#"{"b":  1.0,"a":"\u00e4"}"#,
        ),
        "TGPlain" => telegram("chat_id=42&text=1+%2B+1+%3D+%C3%A4"),
        "TGMarkdown" => telegram("chat_id=-1001234567890&text=*bold*%5C.&parse_mode=MarkdownV2"),
        "TGHTML" => telegram("chat_id=%40channel&text=%3Cb%3E%26amp%3B%3C%2Fb%3E&parse_mode=HTML"),
        "SENDGRID" => post(
            &format!("{under}/v3/mail/send"),
            "authorization: Bearer SG.key\r\ncontent-type: application/json\r\n",
            crate::SENDGRID_MAIL,
        ),
        "SMSAV8D" => get(
            &format!(
                "{under}/API21/HTTP/sendSMS.ashx?UID=us+er&PWD=pa%2Fss&SB=s&MSG=%C3%A4+%26+b\
                 &DEST=0912345678%2C%2B886987654321&ST="
            ),
            "",
        ),
        _ => unreachable!(),
    }
}

/// A request with the names of its headers in lower case, and these in order.
fn whole(seen: &Seen) -> String {
    let (line, headers) = seen.head.split_once("\r\n").unwrap();
    let mut headers: Vec<String> = headers
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            format!("{}:{value}", name.to_ascii_lowercase())
        })
        .collect();
    headers.sort();
    format!("{line}\r\n{}\r\n\r\n{}", headers.join("\r\n"), String::from_utf8_lossy(&seen.body))
}

fn sorted(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let seen = Seen { head: format!("{head}\r\n"), body: body.into(), connection: 0, nth: 0 };
    whole(&seen)
}

#[test]
fn each_type_arrives_byte_for_byte_and_is_known_as_delivered() {
    for (end, under) in [("", ""), ("/", ""), ("/below", "/below"), ("/below/", "/below")] {
        let sink = taking_all();
        let began = now();
        let appliance = Appliance::start(all_on(&sink.url(end)));
        let services = services(&sink.url(""));
        for service in &services {
            let id = format!("id-{}", service.kind);
            appliance.send(&id, service.kind, &service.endpoint, service.payload);
        }
        let mut left: Vec<String> = sink.wait_for(services.len()).iter().map(whole).collect();
        for service in &services {
            let request = sorted(&expected(service.kind, &sink.address.to_string(), under));
            let at = left.iter().position(|seen| *seen == request);
            left.remove(at.unwrap_or_else(|| panic!("not seen: {request:?}\nbut: {left:#?}")));
        }
        for service in services {
            let id = format!("id-{}", service.kind);
            let status = appliance.outcome(&id);
            assert_eq!((status.state, status.tried), (Status::SUCCESS, 1), "{id}");
            assert!((began..=now()).contains(&status.create_at), "{status:?}");
            let response = match service.kind {
                "TGPlain" | "TGMarkdown" | "TGHTML" => r#"{"ok":true,"result":{"message_id":7}}"#,
                "SENDGRID" => "HTTP 202 Accepted\nX-Message-Id: the.id",
                "SMSAV8D" => "97.00,1,1.0,0,d6a0c1e2",
                _ => "thanks",
            };
            assert_eq!(appliance.result(&id), response);
            let detail = json!({
                "type": service.kind,
                "endpoint": service.endpoint,
                "content": BASE64_STANDARD.encode(service.payload),
                "response": BASE64_STANDARD.encode(response),
                "create_at": status.create_at,
                "next_at": status.next_at,
                "tried": 1,
                "state": 1,
            });
            assert_eq!(appliance.detail(&id), detail);
        }
    }
}

/// A service that can't be reached must not hold up the start, nor anything else.
#[test]
fn the_start_needs_no_network() {
    let sink = taking_all();
    // Addresses for documentation: nothing there answers, not even with a refusal.
    let mut environment = all_on("http://192.0.2.1:9");
    environment.push(("NOTIFY_SMTP_SERVER", "mail.invalid:25".into()));
    environment.push(("NOTIFY_SMTP_FROM", "nas@example.org".into()));
    let began = std::time::Instant::now();
    let appliance = Appliance::start(environment);
    assert!(began.elapsed().as_secs() < 5, "it started at once");
    appliance.send("a", "HTTPPOST", &sink.url("/post"), r#"{"body": "x"}"#);
    assert_eq!(appliance.outcome("a").state, Status::SUCCESS);
    assert_eq!(kind_of(&sink.only()), "HTTPPOST");
}
