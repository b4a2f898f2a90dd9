//! What is kept and what isn't: old notifications that are removed, and new ones for which
//! there is no room.
#![cfg(feature = "sqlite")]

mod support;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use support::{
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

const DAY: i64 = 24 * 60 * 60;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A home whose database holds these notifications: id, state, age in seconds.
fn home_with(rows: &[(&str, i64, i64)]) -> Home {
    let home = Home::new();
    home.start(&[]).stop();
    let database = home.database();
    for (id, state, age) in rows {
        insert(&database, "?1", 1, *state, *age, id);
    }
    home
}

/// So many rows of that age, whose ids an expression of `i` tells, or the parameter `?1`.
fn insert(database: &rusqlite::Connection, id: &str, rows: i64, state: i64, age: i64, name: &str) {
    // A pending one is not due before long.
    let insert = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?2)
         insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state)
         select iif(?1 is null, '', {id}), 'HTTPPOST', 'http://127.0.0.1:9/', '{{}}', ?3, ?4, 1, ?5 from n"
    );
    let created = now() - age;
    database.execute(&insert, rusqlite::params![name, rows, created, now() + 1000 * DAY, state]).unwrap();
}

/// The ids there are, in order.
fn ids(home: &Home) -> Vec<String> {
    let database = home.database();
    let mut statement = database.prepare("select notify_id from items order by notify_id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn await_removal(server: &Server, count: usize) {
    let line = format!("removed {count} notifications");
    server.log().wait_for(&line, |logged| logged.contains(&line));
}

const PENDING: i64 = 0;
const DELIVERED: i64 = 1;
const FAILED: i64 = 2;

#[test]
fn by_default_delivered_ones_are_kept_a_month_and_failed_ones_three() {
    let home = home_with(&[
        ("delivered 31", DELIVERED, 31 * DAY),
        ("delivered 29", DELIVERED, 29 * DAY),
        ("delivered 1000", DELIVERED, 1000 * DAY),
        ("failed 91", FAILED, 91 * DAY),
        ("failed 89", FAILED, 89 * DAY),
        ("failed 31", FAILED, 31 * DAY),
        ("pending 1000", PENDING, 1000 * DAY),
        ("delivered 0", DELIVERED, 60),
    ]);
    let server = home.start(&[]);
    await_removal(&server, 3);
    let left = ["delivered 0", "delivered 29", "failed 31", "failed 89", "pending 1000"];
    assert_eq!(ids(&home), left);
    let lines = server.stop().lines;
    assert_eq!(lines.iter().filter(|line| line.contains("removed")).count(), 1, "{lines:?}");
}

#[test]
fn each_state_has_its_time_and_forever_is_for_ever() {
    let rows = [
        ("delivered", DELIVERED, 3 * DAY),
        ("failed", FAILED, 3 * DAY),
        ("new", DELIVERED, 60),
        ("pending", PENDING, 3 * DAY),
    ];
    for (success, failed, left) in [
        ("forever", "2d", ["delivered", "new", "pending"]),
        ("36h", "forever", ["failed", "new", "pending"]),
        ("2w", "1500m", ["delivered", "new", "pending"]),
        ("2d", "4d", ["failed", "new", "pending"]),
    ] {
        let home = home_with(&rows);
        let server = home.start(&[("NOTIFY_KEEP_SUCCESS", success), ("NOTIFY_KEEP_FAILED", failed)]);
        await_removal(&server, 1);
        assert_eq!(ids(&home), left, "{success}, {failed}");
    }
}

#[test]
fn what_is_kept_for_seconds_is_gone_soon() {
    let (home, receiver) = (Home::new(), Receiver::answering(|_| (200, b"ok".to_vec())));
    let server = home.start(&[("NOTIFY_KEEP_SUCCESS", "1s"), ("NOTIFY_KEEP_FAILED", "forever")]);
    server.post("/send", params("brief", &receiver.url("/")).to_string()).done("/send");
    await_removal(&server, 1);
    server.ask("/status", "brief").failure(404, "brief");
}

#[test]
fn a_clock_far_from_the_newest_notification_is_not_believed_at_once() {
    for age in [10 * 365 * DAY, -10 * 365 * DAY] {
        let home = home_with(&[("old", DELIVERED, 20 * 365 * DAY), ("newest", DELIVERED, age)]);
        let server = home.start(&[]);
        let line = "nothing old is removed before";
        server.log().wait_for(line, |logged| logged.contains(line));
        server.post("/delete", r#"{"id": "unknown"}"#).done("/delete");
        assert_eq!(ids(&home), ["newest", "old"]);
    }
}

#[test]
fn a_long_removal_lets_others_in() {
    // Forty slices, with pauses.
    const OLD: i64 = 20_000;
    let home = home_with(&[("newest", DELIVERED, 60), ("waits", PENDING, 400 * DAY)]);
    insert(&home.database(), "'old ' || i", OLD, DELIVERED, 40 * DAY, "");
    let server = home.start(&[]);
    let receiver = Receiver::answering(|_| (200, b"ok".to_vec()));
    let mut left = Vec::new();
    for number in 0..20 {
        let id = format!("new {number}");
        server.post("/send", params(&id, &receiver.url("/")).to_string()).done("/send");
        left.push(home.rows());
    }
    assert!(left[0] > 500, "it didn't wait for all of them: {left:?}");
    await_removal(&server, OLD as usize);
    assert_eq!(home.rows(), 22);
    for number in 0..20 {
        server.settled(&format!("new {number}"));
    }
}

#[test]
fn a_database_that_is_large_enough_takes_nothing_new_and_delivers() {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |_| {
        held.pass();
        (200, vec![b'x'; 1000])
    });
    let home = Home::new();
    let server = home.start(&[("NOTIFY_DB_MAX", "1M"), ("NOTIFY_HTTP_TIMEOUT", "600")]);
    let body = |id: &str| {
        json!({"id": id, "type": "HTTPPOST", "endpoint": receiver.url("/"), "payload": {"body": "y".repeat(3000)}})
            .to_string()
    };
    let mut accepted = Vec::new();
    let refusal = loop {
        let id = format!("n{}", accepted.len());
        let answer = server.post("/send", body(&id));
        if answer.status != 200 {
            break answer;
        }
        accepted.push(id);
        assert!(accepted.len() < 1000, "it is never full");
    };
    assert!(accepted.len() > 200, "{}", accepted.len());
    refusal.failure(503, "the database has reached NOTIFY_DB_MAX (1M)");
    assert!(refusal.header("retry-after").is_some());
    let health = server.get("/health");
    assert_eq!(health.status, 503);
    assert!(health.json()["error"].as_str().unwrap().contains("NOTIFY_DB_MAX (1M)"), "{health:?}");
    let used =
        "select (select page_count from pragma_page_count) - freelist_count from pragma_freelist_count";
    let pages: i64 = home.database().query_row(used, [], |row| row.get(0)).unwrap();
    assert!(pages * 2048 <= 1 << 20, "{pages}");

    // A repeat is no news, and all the rest goes on.
    server.post("/send", body("n0")).done("/send");
    server.ask("/resend", "n1").done("/resend");
    gate.open();
    for id in &accepted {
        assert_eq!(server.settled(id)["state"], 1);
    }
    server.ask("/delete", "n0").done("/delete");
    assert_eq!(server.post("/send", body("more")).status, 503, "one more is not enough room");
    server.post("/clear", json!({ "before": now() + 60 }).to_string()).done("/clear");
    let begin = Instant::now();
    while server.get("/health").status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(15), "health is green again by itself");
        thread::sleep(Duration::from_millis(20));
    }
    server.post("/send", body("after")).done("/send");
    server.settled("after");
    let lines = server.stop().lines;
    let of = |level: &str| {
        lines.iter().filter(|line| line.contains(level) && line.contains("nothing new")).count()
    };
    assert_eq!((of("ERROR"), of("INFO")), (1, 1), "{lines:#?}");
}
