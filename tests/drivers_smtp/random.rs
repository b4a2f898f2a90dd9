//! Made-up mails by the hundred: what goes in comes out.

use base64::{Engine, prelude::BASE64_STANDARD};
use fastrand::Rng;
use notify_api::drivers::smtp::Smtp;
use serde_json::json;

use crate::{account, real::RealServer, send_as};

/// What encoders stumble over.
const PIECES: [&str; 30] = [
    "a",
    "Z",
    "7",
    " ",
    ".",
    ",",
    "=",
    "?",
    "=?",
    "?=",
    "=?utf-8?q?x?=",
    "\"",
    "\\",
    "'",
    "%",
    "*",
    ";",
    ":",
    "<",
    ">",
    "@",
    "_",
    "(",
    ")",
    "[",
    "ü",
    "日",
    "📬",
    "\u{301}",
    "longer",
];

/// And what only a text may have.
const BREAKS: [&str; 6] = ["\r", "\n", "\r\n", "\t", "\0", "\u{2028}"];

fn line(random: &mut Rng) -> String {
    let count = 1 << random.u32(0..8);
    let line: String = (0..count).map(|_| *random.choice(&PIECES).unwrap()).collect();
    // At its ends no reader can tell what was meant.
    let line = line.trim();
    if line.is_empty() { "x".into() } else { line.into() }
}

fn text(random: &mut Rng) -> String {
    (0..random.usize(1..20)).map(|_| line(random) + random.choice(&BREAKS).unwrap()).collect()
}

#[test]
fn what_goes_in_comes_out() {
    let server = RealServer::start();
    let account = account(server.port, |_| {});
    let mut random = Rng::with_seed(20_261_124);
    for round in 0..300 {
        let (subject, filename, content, raw) =
            (line(&mut random), line(&mut random), text(&mut random), text(&mut random));
        let bytes: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        let payload = json!({
            "To": {"Name": "", "Address": "ada@example.org"}, "Subject": subject, "Content": content,
            "Attach": [
                {"RawContent": raw, "Filename": filename},
                {"Base64Content": BASE64_STANDARD.encode(&bytes), "Type": "application/x-any"},
            ],
        });
        send_as(&Smtp::html(account.clone()), &line(&mut random), &payload).unwrap();
        let mail = server.next();
        let part = |number: usize| &mail["root"]["parts"][number];
        let read = |number: usize| BASE64_STANDARD.decode(part(number)["bytes"].as_str().unwrap()).unwrap();

        assert_eq!(mail["subject"], subject, "{round}");
        assert_eq!(part(1)["filename"], filename, "{round}");
        let lines = content.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        assert_eq!(String::from_utf8(read(0)).unwrap(), lines, "{round}");
        assert_eq!(String::from_utf8(read(1)).unwrap(), raw, "{round}");
        assert_eq!(read(2), bytes, "{round}");
        assert_eq!((&mail["is_ascii"], &mail["has_bare_breaks"]), (&json!(true), &json!(false)), "{round}");
        assert!(mail["longest_line"].as_u64().unwrap() <= 998, "{round}");
    }
}
