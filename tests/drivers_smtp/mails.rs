//! Mails, field by field, as Python reads them.

use base64::{Engine, prelude::BASE64_STANDARD};
use notify_api::drivers::smtp::Smtp;
use serde_json::{Value, json};

use crate::{account, driver, minimal, real::RealServer, send, send_as};

/// Sends it as text and returns what arrived.
fn deliver(server: &RealServer, payload: &Value) -> Value {
    let response = send(&driver(server.port), payload).unwrap();
    assert_eq!(response, "250 2.0.0 Ok: queued as 4711");
    arrived(server)
}

fn deliver_html(server: &RealServer, payload: &Value) -> Value {
    send(&Smtp::html(account(server.port, |_| {})), payload).unwrap();
    arrived(server)
}

/// The next mail, which must be well-formed.
fn arrived(server: &RealServer) -> Value {
    let mail = server.next();
    assert_eq!(mail["is_ascii"], true);
    assert_eq!(mail["has_bare_breaks"], false);
    assert!(mail["longest_line"].as_u64().unwrap() <= 998, "{mail}");
    assert_no_defects(&mail["root"]);
    mail
}

fn assert_no_defects(part: &Value) {
    assert_eq!(part["defects"], json!([]), "{part}");
    part["parts"].as_array().into_iter().flatten().for_each(assert_no_defects);
}

fn bytes(part: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(part["bytes"].as_str().unwrap()).unwrap()
}

/// The text of a part, without the line break that ends every mail.
fn text(part: &Value) -> String {
    let text = String::from_utf8(bytes(part)).unwrap();
    text.strip_suffix("\r\n").map(str::to_owned).unwrap_or(text)
}

#[test]
fn smallest() {
    let server = RealServer::start();
    let mail = deliver(&server, &minimal());
    assert_eq!(mail["sender"], "nas@example.org");
    assert_eq!(mail["recipients"], json!(["ada@example.org"]));
    assert_eq!(mail["from"], json!([{"Name": "NAS", "Address": "nas@example.org"}]));
    assert_eq!(mail["to"], json!([{"Name": "", "Address": "ada@example.org"}]));
    assert_eq!(mail["cc"], Value::Null);
    assert_eq!(mail["subject"], "Done");
    assert_eq!(mail["root"]["type"], "text/plain");
    assert_eq!(mail["root"]["charset"], "utf-8");
    assert_eq!(text(&mail["root"]), "All is well.");
    assert_eq!(
        mail["names"],
        json!([
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding"
        ])
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - mail["date"].as_f64().unwrap()).abs() < 60.0);
    let ehlo = mail["ehlo"].as_str().unwrap();
    assert!(ehlo.contains('.'), "{ehlo} is neither a full name nor an address");
}

#[test]
fn everyone_receives_once_and_bcc_is_secret() {
    let server = RealServer::start();
    let mail = deliver(
        &server,
        &json!({
            "to": {"name": "Ada", "ADDRESS": "ada@example.org"},
            "cc": [{"Name": "Bob", "Address": "bob@example.org"}, {"Name": null, "Address": "ada@EXAMPLE.org"}],
            "BCC": [{"Name": "Eve", "Address": "eve@example.org"}, {"Address": "bob@example.org"}],
            "sUBJECT": "s", "content": "c", "ignored": {"a": 1}, "Ignored": 2, "Attach": null,
        }),
    );
    assert_eq!(mail["recipients"], json!(["ada@example.org", "bob@example.org", "eve@example.org"]));
    assert_eq!(mail["to"], json!([{"Name": "Ada", "Address": "ada@example.org"}]));
    assert_eq!(
        mail["cc"],
        json!([{"Name": "Bob", "Address": "bob@example.org"}, {"Name": "", "Address": "ada@EXAMPLE.org"}])
    );
    assert!(!mail["names"].as_array().unwrap().contains(&json!("Bcc")));
}

#[test]
fn one_refused_recipient_stops_it_for_all() {
    let server = RealServer::start();
    let mut payload = minimal();
    payload["BCC"] = json!([{"Address": "refused@example.org"}]);
    let error = send(&driver(server.port), &payload).unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(crate::response(error), "550 5.1.1 No such user here\nRCPT TO:<refused@example.org>");

    payload["BCC"] = json!([{"Address": "greylisted@example.org"}]);
    let error = send(&driver(server.port), &payload).unwrap_err();
    assert!(!error.is_permanent() && !error.is_unreachable());
    assert!(server.ends_without_more());
}

#[test]
fn subjects_and_names() {
    let server = RealServer::start();
    let long_word = "x".repeat(3000);
    let long_text = "Déjà vu — ".repeat(200) + "end";
    let long_plain = "all is well and ".repeat(100) + "good";
    for text in [
        "Grüße aus Köln",
        "日本語の件名 📬",
        "plain",
        "two  spaces",
        "=?utf-8?B?bm90IHRoaXM=?=",
        "=?iso-8859-1?q?a?= b",
        "a \"quoted\" \\ backslash, comma; semicolon: colon <angle> (comment) [list] @",
        ".",
        "a.b",
        "O'Neill & Söhne",
        "ends with ü",
        "ü begins",
        "a ü b ü c",
        "Abteilung Organisation & Einkauf (Köln 1)",
        "To: eve@example.org",
        &long_word,
        &long_text,
        &long_plain,
    ] {
        let mut payload = minimal();
        payload["Subject"] = text.into();
        // Python's parser makes one space of two in a name, and two words of
        // one where it had to be broken.
        let mut text = text.replace("  ", " ");
        if text.chars().count() > 45 && !(text.is_ascii() && text.contains(' ')) {
            text = text.chars().take(19).collect();
        }
        payload["To"]["Name"] = text.as_str().into();
        payload["CC"] =
            json!([{"Name": text, "Address": "a@example.org"}, {"Name": text, "Address": "b@example.org"}]);
        let mail = deliver(&server, &payload);
        assert_eq!(mail["subject"], payload["Subject"]);
        assert_eq!(mail["to"], json!([payload["To"]]));
        assert_eq!(mail["cc"], payload["CC"]);
        assert!(mail["longest_header"].as_u64().unwrap() <= 78, "{mail}");
    }
}

#[test]
fn addresses() {
    let server = RealServer::start();
    for (given, sent) in [
        ("root@nas", "root@nas"),
        ("a+b@sub.example.org", "a+b@sub.example.org"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@[127.0.0.1]", "ada@[127.0.0.1]"),
        ("ada@[IPv6:::1]", "ada@[IPv6:::1]"),
        ("\"a b\"@example.org", "\"a b\"@example.org"),
    ] {
        let mut payload = minimal();
        payload["To"] = json!({"Name": "Ada", "Address": given});
        let mail = deliver(&server, &payload);
        assert_eq!(mail["recipients"], json!([sent]));
        assert_eq!(mail["to"], json!([{"Name": "Ada", "Address": sent}]));
    }
}

#[test]
fn contents() {
    let server = RealServer::start();
    let long = "y".repeat(100_000);
    let trailing = "trailing spaces  \r\nand tab\t\r\n";
    let wide = "日本語".repeat(5000);
    for (content, read) in [
        ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd"),
        ("\n\n\n", "\r\n\r\n\r\n"),
        (".\n..\n.a\nFrom x\n", ".\r\n..\r\n.a\r\nFrom x\r\n"),
        ("Grüße, = and =3D\n", "Grüße, = and =3D\r\n"),
        ("null \0 bell \u{7} escape \u{1b} next line \u{85} separator \u{2028}", ""),
        (trailing, trailing),
        (&long, ""),
        (&wide, ""),
    ] {
        let read = if read.is_empty() { content } else { read };
        let mut payload = minimal();
        payload["Content"] = content.into();
        let mail = deliver(&server, &payload);
        let text = String::from_utf8(bytes(&mail["root"])).unwrap();
        // A mail ends with a line break, whatever its text does.
        assert!(text == read || text == format!("{read}\r\n"), "{text:?} instead of {read:?}");
    }
}

#[test]
fn many_line_breaks_are_quick() {
    let server = RealServer::start();
    let mut payload = minimal();
    payload["Content"] = "\n".repeat(500_000).into();
    let begun = std::time::Instant::now();
    deliver(&server, &payload);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn html_with_images_and_files() {
    let server = RealServer::start();
    let image = (0..=255).cycle().take(5000).collect::<Vec<u8>>();
    let html = "<p>Grüße</p><img src=\"cid:logo\"><img src=\"cid:photo@example.org\">";
    let mail = deliver_html(
        &server,
        &json!({
            "To": {"Address": "ada@example.org"}, "Subject": "s", "Content": html,
            "Attach": [
                {"Type": "image/png", "Base64Content": BASE64_STANDARD.encode(&image), "ID": "logo"},
                {"Type": "text/csv", "RawContent": "a,b\n1,ü\n", "Filename": "files.csv"},
                {"type": "image/jpeg", "base64content": "/9j/\n4A==\r\n", "id": "<photo@example.org>", "filename": "photo.jpg"},
                {"Base64Content": "AAEC"},
            ],
        }),
    );
    let mixed = &mail["root"];
    assert_eq!(mixed["type"], "multipart/mixed");
    let [related, csv, anything] = mixed["parts"].as_array().unwrap().as_slice() else { panic!("{mixed}") };
    assert_eq!(related["type"], "multipart/related");
    assert_eq!(related["parameters"]["type"], "text/html");
    let [text, logo, photo] = related["parts"].as_array().unwrap().as_slice() else { panic!("{related}") };

    assert_eq!((&text["type"], &text["charset"]), (&json!("text/html"), &json!("utf-8")));
    assert_eq!(bytes(text), html.as_bytes());

    assert_eq!((&logo["type"], &logo["id"]), (&json!("image/png"), &json!("<logo>")));
    assert_eq!((&logo["disposition"], &logo["filename"]), (&json!("inline"), &Value::Null));
    assert_eq!(bytes(logo), image);

    assert_eq!((&photo["type"], &photo["id"]), (&json!("image/jpeg"), &json!("<photo@example.org>")));
    assert_eq!((&photo["disposition"], &photo["filename"]), (&json!("inline"), &json!("photo.jpg")));
    assert_eq!(bytes(photo), [0xff, 0xd8, 0xff, 0xe0]);

    assert_eq!((&csv["type"], &csv["charset"]), (&json!("text/csv"), &json!("utf-8")));
    assert_eq!((&csv["disposition"], &csv["filename"]), (&json!("attachment"), &json!("files.csv")));
    assert_eq!(bytes(csv), "a,b\n1,ü\n".as_bytes());

    assert_eq!(anything["type"], "application/octet-stream");
    assert_eq!((&anything["disposition"], &anything["filename"]), (&json!("attachment"), &Value::Null));
    assert_eq!(bytes(anything), [0, 1, 2]);
}

#[test]
fn html_alone_and_with_one_image() {
    let server = RealServer::start();
    let mut payload = minimal();
    payload["Content"] = "<p>Hello</p>".into();
    let mail = deliver_html(&server, &payload);
    assert_eq!(mail["root"]["type"], "text/html");
    assert_eq!(text(&mail["root"]), "<p>Hello</p>");

    payload["Attach"] = json!([{"Type": "image/gif", "Base64Content": "R0lG", "ID": "i"}]);
    let mail = deliver_html(&server, &payload);
    assert_eq!(mail["root"]["type"], "multipart/related");
    assert_eq!(mail["root"]["parts"].as_array().unwrap().len(), 2);
}

#[test]
fn text_with_an_id_is_a_plain_attachment() {
    let server = RealServer::start();
    let mut payload = minimal();
    payload["Attach"] =
        json!([{"Type": "image/gif", "Base64Content": "R0lG", "ID": "i", "Filename": "i.gif"}]);
    let mail = deliver(&server, &payload);
    assert_eq!(mail["root"]["type"], "multipart/mixed");
    let [text, image] = mail["root"]["parts"].as_array().unwrap().as_slice() else { panic!("{mail}") };
    assert_eq!(bytes(text), b"All is well.");
    assert_eq!((&image["id"], &image["disposition"]), (&json!("<i>"), &json!("attachment")));
}

#[test]
fn filenames() {
    let server = RealServer::start();
    let long = "a long name ".repeat(30) + ".txt";
    let long_wide = "ein längerer Name ".repeat(30) + ".txt";
    for name in [
        "report.pdf",
        "with space.txt",
        "Übersicht.pdf",
        "日本語📬.txt",
        "quote\".txt",
        "back\\slash.txt",
        "semi;colon=equals.txt",
        "100%.txt",
        "it's.txt",
        "ü's 100%.txt",
        "=?utf-8?B?bm90IHRoaXM=?=",
        &long,
        &long_wide,
    ] {
        let mut payload = minimal();
        payload["Attach"] =
            json!([{"RawContent": "x", "Filename": name, "Type": "text/plain; name=\"=?a?=\""}]);
        let mail = deliver(&server, &payload);
        assert_eq!(mail["root"]["parts"][1]["filename"], name);
    }
}

#[test]
fn raw_content_is_exact() {
    let server = RealServer::start();
    for text in ["a\nb\n", "a\r\nb", "\u{0}\u{1}\t\r", "日本語", "\u{feff}bom", "\n"] {
        for kind in [json!(null), json!("text/x-log"), json!("application/json")] {
            let mut payload = minimal();
            payload["Attach"] = json!([{"RawContent": text, "Type": kind}]);
            let mail = deliver(&server, &payload);
            assert_eq!(bytes(&mail["root"]["parts"][1]), text.as_bytes());
        }
    }
}

#[test]
fn types() {
    let server = RealServer::start();
    for (given, read, parameters) in [
        ("image/svg+xml", "image/svg+xml", json!({})),
        ("Text/HTML; Charset=UTF-8", "text/html", json!({"charset": "UTF-8"})),
        ("text/plain", "text/plain", json!({"charset": "utf-8"})),
        (
            "application/x-a; name=\"a \\\"b\\\"; c\" ; v=1",
            "application/x-a",
            json!({"name": "a \"b\"; c", "v": "1"}),
        ),
    ] {
        let mut payload = minimal();
        payload["Attach"] = json!([{"RawContent": "x", "Type": given}]);
        let part = &deliver(&server, &payload)["root"]["parts"][1];
        assert_eq!(part["type"], read);
        assert_eq!(part["parameters"], parameters);
    }
}

#[test]
fn a_mail_in_a_mail() {
    let server = RealServer::start();
    let mut payload = minimal();
    payload["Attach"] = json!([{"Type": "message/rfc822", "RawContent": "Subject: inner\n\n.hello\n"}]);
    let mail = deliver(&server, &payload);
    let part = &mail["root"]["parts"][1];
    assert_eq!((&part["type"], &part["encoding"]), (&json!("message/rfc822"), &json!("7bit")));
    assert!(bytes(&part["parts"][0]).starts_with(b".hello\r\n"));
}

#[test]
fn message_ids() {
    let server = RealServer::start();
    let driver = driver(server.port);
    let mut seen = std::collections::HashSet::new();
    let longest = "📬".repeat(128);
    for id in [
        "backup-2026-11-24",
        "a",
        "A",
        "a ",
        "a.b",
        "a@b",
        "<a>",
        "a>b\"c",
        "~a",
        "%61",
        "ü",
        "日本語",
        &longest,
        &"x".repeat(128),
    ] {
        let mut given = Vec::new();
        for _ in 0..2 {
            send_as(&driver, id, &minimal()).unwrap();
            given.push(arrived(&server)["message_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(given[0], given[1], "it is the same at every attempt");
        let (local, domain) =
            given[0].strip_prefix('<').unwrap().strip_suffix('>').unwrap().split_once('@').unwrap();
        assert_eq!(domain, "example.org");
        assert!(
            local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_%~.".contains(&byte)),
            "{local}"
        );
        assert!(seen.insert(given.remove(0)), "{id} has an id of its own");
    }
    // The same id for something else, as of another machine: not a repeat.
    let mut other = minimal();
    other["Content"] = "Nothing is well.".into();
    send_as(&driver, "a", &other).unwrap();
    assert!(seen.insert(arrived(&server)["message_id"].as_str().unwrap().to_owned()));
}
