//! `GET /list`.

use serde_json::{Value, json};

use crate::support::{
    http::Request,
    receiver::Receiver,
    server::{Home, Server, params},
};

/// A server with so many rows, one in each second from 1000 on: they are delivered, failed and pending in
/// turns, of the types A and B.
fn with_rows(home: &Home, count: usize) -> Server {
    home.start(&[]).stop();
    let insert = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})
         insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state, response)
         select 'n' || i, iif(i % 2, 'A', 'B'), 'e' || i, '{{}}', 999 + i, 5000 + i, i, (i % 3 + 1) % 3,
             iif(i % 3 = 2, null, cast('answer ' || i as blob)) from n"
    );
    assert_eq!(home.database().execute(&insert, ()), Ok(count));
    home.start(&[])
}

#[track_caller]
fn list(server: &Server, query: &str) -> Value {
    let answer = server.get(&format!("/list{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

fn ids(listing: &Value) -> Vec<&str> {
    let items = listing["items"].as_array().expect("items");
    items.iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

#[test]
fn an_empty_table_is_an_empty_list() {
    let home = Home::new();
    let server = home.start(&[]);
    for query in ["", "?", "?state=failed", "?state=pending&limit=1"] {
        assert_eq!(list(&server, query), json!({ "items": [], "next": null }), "{query}");
    }
}

#[test]
fn each_is_told_with_what_became_of_it() {
    let home = Home::new();
    let receiver = Receiver::answering(|received| match received.target.as_str() {
        "/gone" => (410, b"gone\n\x1b[31m for ever".to_vec()),
        "/long" => (500, "\u{fc}".repeat(500).into_bytes()),
        _ => (200, b"thanks".to_vec()),
    });
    let server = home.start(&[]);
    let mut expected = Vec::new();
    for (path, response, state) in [
        ("/fine", "thanks".to_owned(), 1),
        ("/gone", "gone\n\x1b[31m for ever".to_owned(), 2),
        ("/long", format!("{}…", "\u{fc}".repeat(100)), 0),
    ] {
        let endpoint = receiver.url(path).replace("://", "://me:secret@");
        server.post("/send", params(path, &endpoint).to_string()).done(path);
        let status = server.status_when(path, "tried", |status| status["tried"] == 1);
        let item = json!({
            "id": path, "type": "HTTPPOST", "endpoint": endpoint, "state": state, "tried": 1,
            "create_at": status["create_at"], "next_at": status["next_at"], "response": response,
        });
        expected.insert(0, item);
    }
    assert_eq!(list(&server, ""), json!({ "items": expected, "next": null }));
    server.stop();
    let unsent = "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
        values('unsent', 'OTHER', '', 'null', 7, 9)";
    assert_eq!(home.database().execute(unsent, ()), Ok(1));
    let unsent = json!({
        "id": "unsent", "type": "OTHER", "endpoint": "", "state": 0, "tried": 0,
        "create_at": 7, "next_at": 9, "response": null,
    });
    assert_eq!(list(&home.start(&[]), "?type=OTHER"), json!({ "items": [unsent], "next": null }));
}

#[test]
fn a_list_is_what_was_asked_for() {
    let home = Home::new();
    let server = with_rows(&home, 12);
    for (query, expected) in [
        ("", "n12 n11 n10 n9 n8 n7 n6 n5 n4 n3 n2 n1"),
        ("?state=pending", "n11 n8 n5 n2"),
        ("?state=0", "n11 n8 n5 n2"),
        ("?state=delivered", "n12 n9 n6 n3"),
        ("?state=success", "n12 n9 n6 n3"),
        ("?state=1", "n12 n9 n6 n3"),
        ("?state=failed", "n10 n7 n4 n1"),
        ("?state=2", "n10 n7 n4 n1"),
        ("?type=A", "n11 n9 n7 n5 n3 n1"),
        ("?type=a", ""),
        ("?since=1009", "n12 n11 n10"),
        ("?before=1002", "n2 n1"),
        ("?since=1001&before=1003", "n3 n2"),
        ("?since=1d", ""),
        ("?since=999999d&limit=2", "n12 n11"),
        ("?before=12h&limit=1", "n12"),
        ("?since=-5&before=9223372036854775807&limit=1000&type=%42&state=failed", "n10 n4"),
    ] {
        let listing = list(&server, query);
        assert_eq!(ids(&listing).join(" "), expected, "{query}");
    }
}

#[test]
fn since_a_while_ago_is_seen_from_now() {
    let home = Home::new();
    let server = home.start(&[]);
    server.post("/send", params("fresh", "http://127.0.0.1:1/").to_string()).done("/send");
    assert_eq!(ids(&list(&server, "?since=1h")), ["fresh"]);
    assert_eq!(ids(&list(&server, "?before=1h")), [""; 0]);
    assert_eq!(ids(&list(&server, "?since=1h%2030m")), ["fresh"]);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let home = Home::new();
    let server = with_rows(&home, 250);
    assert_eq!(ids(&list(&server, "")).len(), 100, "if no limit is said");
    let whole = list(&server, "?limit=1000&state=failed");
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&server, &format!("?limit=7&state=failed{after}"));
        found.extend(ids(&page).into_iter().map(str::to_owned));
        // What comes in between, or is sent again, doesn't move the rest.
        let first = ids(&page)[0].to_owned();
        server.ask("/resend", &first).done(first);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, ids(&whole));
    assert_eq!(whole["next"], Value::Null);
}

#[test]
fn what_is_not_understood_is_400() {
    let home = Home::new();
    let server = home.start(&[]);
    let mut connection = server.connect();
    for (query, words) in [
        ("?status=failed", &["\"status\"", "state", "type", "since", "before", "limit", "after"][..]),
        ("?State=failed", &["\"State\""]),
        ("?failed", &["\"failed\""]),
        ("?state=failed&x", &["\"x\""]),
        ("?state=failed&state=failed", &["\"state\"", "twice"]),
        ("?limit=1&limit=1", &["\"limit\"", "twice"]),
        ("?state=", &["\"state\"", "pending", "delivered", "failed"]),
        ("?state=FAILED", &["\"FAILED\"", "failed"]),
        ("?state=3", &["\"3\"", "failed"]),
        ("?state=pending,failed", &["pending,failed"]),
        ("?type=", &["\"type\""]),
        ("?limit=0", &["\"limit\"", "\"0\"", "1 to 1000"]),
        ("?limit=1001", &["1 to 1000"]),
        ("?limit=-1", &["1 to 1000"]),
        ("?limit=ten", &["\"ten\""]),
        ("?limit=", &["1 to 1000"]),
        ("?since=", &["\"since\"", "1d"]),
        ("?since=yesterday", &["\"yesterday\"", "1d"]),
        ("?since=2026-11-25", &["1d"]),
        ("?before=1.5", &["\"before\"", "1d"]),
        ("?after=", &["\"after\"", "next"]),
        ("?after=x", &["\"after\""]),
        ("?after=MTI", &["\"after\""]),
    ] {
        let sentence =
            connection.call(&Request::bodiless("GET", &format!("/list{query}"))).failure(400, query);
        for word in words {
            assert!(sentence.contains(word), "{query}: {word:?} in {sentence:?}");
        }
    }
    let long = format!("/list?{}=1", "x".repeat(5_000));
    assert!(server.get(&long).failure(400, "a long name").len() < 400);
}

#[test]
fn it_takes_get_and_head_and_wants_the_token() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_TOKEN", "hush")]);
    for path in ["/list", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = server.call(&Request::bodiless(method, path));
            answer.failure(405, method);
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
        }
        // A bad query without a token says nothing but that.
        server.get(&format!("{path}?bad=1")).failure(401, path);
        server.get(&format!("{path}/")).failure(404, path);
        let mut connection = server.connect();
        let token = &[("authorization", "Bearer hush")];
        let answer = connection.call(&Request::bodiless("GET", path).with(token));
        assert_eq!(answer.status, 200, "{path}");
        let head = connection.call(&Request::bodiless("HEAD", path).with(token));
        assert_eq!((head.status, head.text()), (200, ""));
        assert_eq!(head.header("content-type"), answer.header("content-type"));
        // The connection is in step: no body came with the head.
        assert_eq!(connection.call(&Request::bodiless("GET", path).with(token)).status, 200);
    }
}

#[test]
fn large_rows_make_short_pages() {
    let home = Home::new();
    home.start(&[]).stop();
    // In JSON, each byte of these takes six.
    let insert = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 400)
        insert into items(notify_id, driver, endpoint, content, create_at, next_at, cur_state, response)
        select 'n' || i, 'A', printf('%.8192c', char(1)), '{}', i, 0, 2, zeroblob(3000) from n";
    assert_eq!(home.database().execute(insert, ()), Ok(400));
    let server = home.start(&[]);
    let (mut found, mut after) = (0, String::new());
    loop {
        let answer = server.get(&format!("/list?limit=1000{after}"));
        assert!(answer.status == 200 && answer.body.len() < 8 << 20, "{} bytes", answer.body.len());
        let page = answer.json();
        found += ids(&page).len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, 400);
}
