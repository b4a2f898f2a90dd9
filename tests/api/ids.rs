//! Ids: which are allowed, how they are compared, told and made.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{
    http::Request,
    receiver::Receiver,
    server::{Home, params},
};

#[test]
fn the_longest_id_has_128_characters() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    for character in ["a", "\u{e9}", "\u{20ac}", "\u{1f980}"] {
        let (fits, over) = (character.repeat(128), character.repeat(129));
        server.post("/send", params(&fits, &receiver.url("/a")).to_string()).done(character);
        assert_eq!(server.settled(&fits)["state"], 1);
        for path in ["/resend", "/result", "/detail"] {
            assert_eq!(server.ask(path, &fits).status, 200, "{path} {character}");
            server.ask(path, &over).failure(400, path);
        }
        server.settled(&fits);
        server.ask("/delete", &fits).done(character);
        for path in ["/send", "/sendOnce"] {
            let sentence =
                server.post(path, params(&over, &receiver.url("/a")).to_string()).failure(400, path);
            assert!(sentence.contains("128"), "{sentence}");
        }
    }
    assert_eq!(home.rows(), 0);
}

#[test]
fn control_characters_are_refused_and_nothing_else() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let mut connection = server.connect();
    for code in (0..=0xff).chain([0x2028, 0x200b, 0xfeff, 0xfffd, 0xffff, 0x10ffff]) {
        let id = format!("a{}", char::from_u32(code).unwrap());
        let body = params(&id, &receiver.url("/a")).to_string();
        let answer = connection.call(&Request::post("/send", &body));
        if code < 0x20 || code == 0x7f {
            answer.failure(400, &id);
            server.ask("/status", &id).failure(400, &id);
            server.ask("/delete", &id).failure(400, &id);
        } else {
            answer.done(&id);
            assert_eq!(server.ask("/status", &id).status, 200, "{id:?}");
        }
    }
}

#[test]
fn ids_are_compared_byte_by_byte() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let ids = [
        "a", "A", "a ", " a", "a\u{a0}", "\u{e4}", "a\u{308}", "\u{c4}", "\u{df}", "ss", "\u{131}", "i", "I",
        "a%", "a_", "%", "'", "\"", "\\", "1", "01", "1.0", "null", "true",
    ];
    for (number, id) in ids.iter().enumerate() {
        let endpoint = receiver.url(&format!("/{number}"));
        server.post("/send", params(id, &endpoint).to_string()).done(id);
    }
    assert_eq!(home.rows(), ids.len() as i64);
    for (number, id) in ids.iter().enumerate() {
        let detail = server.ask("/detail", id).json();
        assert_eq!(detail["endpoint"], receiver.url(&format!("/{number}")), "{id:?}");
        server.settled(id);
        server.ask("/delete", id).done(id);
        server.ask("/status", id).failure(404, id);
        assert_eq!(home.rows(), (ids.len() - number - 1) as i64, "{id:?}");
    }
}

#[test]
fn the_answer_tells_the_id() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    for (id, told) in [
        ("backup-2026-11-24", "backup-2026-11-24"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("%41", "%2541"),
        (" ", "%20"),
        ("\u{e9}", "%C3%A9"),
        ("\u{1f980}\u{10ffff}", "%F0%9F%A6%80%F4%8F%BF%BF"),
        ("!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("\u{80}\u{9f}", "%C2%80%C2%9F"),
    ] {
        let body = params(id, &receiver.url("/a")).to_string();
        for (path, what) in [("/send", "a new one"), ("/send", "a repeat"), ("/sendOnce", "a repeat")] {
            let answer = server.post(path, &body);
            assert_eq!(answer.header("notification-id"), Some(told), "{what}");
            answer.done(what);
        }
    }
    // The receiver is told the same.
    let received = receiver.wait_for(9);
    let sent = received.iter().filter(|received| received.header("idempotency-key") == Some("%C3%A9"));
    assert_eq!(sent.count(), 1);
}

#[test]
fn made_ids_sort_in_the_order_of_their_making() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let body = json!({ "type": "HTTPGET", "endpoint": receiver.url("/a") }).to_string();
    let send = Request::post("/send", &body);
    let mut made = Vec::new();
    for _ in 0..2 {
        let server = home.start(&[]);
        // One after the other, but each over another connection than the one before.
        let mut connections = [server.connect(), server.connect(), server.connect(), server.connect()];
        for number in 0..500 {
            let answer = connections[number % 4].call(&send);
            made.push(answer.header("notification-id").expect("an id").to_owned());
            answer.done(number);
        }
        server.stop();
    }
    let wrong = made.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!((made.len(), wrong), (1000, None));
    assert!(made.iter().all(|id| id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic())));
    assert_eq!(home.rows(), 1000);
}

#[test]
fn a_made_id_is_an_id_like_any_other() {
    let (home, receiver) = (Home::new(), Receiver::new());
    let server = home.start(&[]);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let body = json!({ "type": "HTTPGET", "endpoint": receiver.url("/a") });
    for path in ["/send", "/sendOnce"] {
        let answer = server.post(path, body.to_string()).done(path);
        let id = answer.header("notification-id").unwrap().to_owned();
        let status = server.settled(&id);
        assert!((before..before + 30).contains(&status["create_at"].as_i64().unwrap()), "{status}");
        // The same content with the id that was made is a repeat.
        let mut repeat = body.clone();
        repeat["id"] = json!(id);
        server.post(path, repeat.to_string()).done("a repeat");
        server.ask("/resend", &id).done("/resend");
    }
    receiver.wait_for(4);
    assert_eq!(home.rows(), 2);
}
