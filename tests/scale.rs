//! Large tables and idle nights.
#![cfg(all(feature = "sqlite", target_os = "linux"))]

mod support {
    pub(crate) mod harness;
}

use std::{
    thread,
    time::{Duration, Instant},
};

use support::harness::{Gate, PATIENCE, Receiver, Reply, Server, Table, eventually, now};
use tempfile::tempdir;

/// What the program may take with a million rows, in kB.
const MOST_MEMORY_KB: u64 = 30 << 10;

#[test]
fn a_million_pending_rows_start_at_once_and_cost_no_memory() {
    let (directory, receiver) = (tempdir().unwrap(), Receiver::friendly());
    {
        let mut server = Server::start(directory.path(), &[]);
        server.api.send("first", "HTTPPOST", &receiver.url("/"));
        server.api.await_state("first", 1);
        server.stop();
    }
    let table = Table::open(directory.path());
    // As the server itself would have left them: half are due, and half wait for
    // their retries in many lanes.
    let lane: u16 = table.0.query_row("select lane from items", [], |row| row.get(0)).unwrap();
    let lanes = format!("iif(n % 2 = 0, {lane}, 1 + n % 999)");
    let endpoint = format!("iif(n % 2 = 0, '{}', 'http://127.0.0.1:9/' || n % 999)", receiver.url("/"));
    table.fill(
        "row",
        1_000_000,
        &[
            ("driver", "'HTTPPOST'"),
            ("endpoint", &endpoint),
            ("content", "'{\"body\":\"0123456789012345678901234567890123456789\"}'"),
            ("create_at", &now().to_string()),
            ("next_at", &format!("iif(n % 2 = 0, 1000, {} + n % 4000)", now() + 3600)),
            ("lane", &lanes),
        ],
    );
    drop(table);
    let started = Instant::now();
    let server = Server::start(directory.path(), &[]);
    receiver.await_hits(PATIENCE, "a first row", |hits| (hits.len() >= 2).then_some(()));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    receiver.await_hits(PATIENCE, "many more", |hits| (hits.len() >= 1000).then_some(()));
    server.api.send("fresh", "HTTPGET", &receiver.url("/"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        server.api.status("fresh");
        server.api.health();
        thread::sleep(Duration::from_millis(50));
    }
    let most = server.memory_kb("VmHWM");
    println!("first after {took:?}, {} in all, {most} kB", receiver.hits().len());
    assert!(most < MOST_MEMORY_KB, "{most} kB");
}

#[test]
fn an_idle_server_sleeps() {
    let (directory, other) = (tempdir().unwrap(), Receiver::friendly());
    let table = Table::open(directory.path());
    table.insert("n", "HTTPPOST", &other.url("/"), "{\"body\":1}", now() + 3600);
    table.set("tried = 20", "1");
    drop(table);
    let server = Server::start(directory.path(), &[]);
    // Some traffic, so that all there is has been started once.
    for number in 0..20 {
        server.api.send(&format!("o{number}"), "HTTPPOST", &other.url("/"));
        server.api.await_state(&format!("o{number}"), 1);
    }
    let busy = server.threads();
    // Workers go after ten seconds without work, their threads a while later.
    let mut switches = server.switches();
    let mut since = Instant::now();
    let limit = Instant::now() + Duration::from_secs(45);
    while since.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(250));
        let latest = server.switches();
        if latest != switches {
            assert!(Instant::now() < limit, "{} of {busy} threads are still at it", server.threads());
            (switches, since) = (latest, Instant::now());
        }
    }
    assert!(server.threads() < busy, "the workers have gone");
    assert_eq!(server.api.state("n"), 0);
    server.api.send("after", "HTTPPOST", &other.url("/"));
    other.await_id("after", 1);
}

#[test]
fn clearing_a_large_table_holds_up_nobody() {
    let (directory, gate) = (tempdir().unwrap(), Gate::default());
    let held = gate.clone();
    let (receiver, slow) = (Receiver::friendly(), Receiver::start(move |_| Reply::Wait(held.clone())));
    let old = now() - 1000;
    let table = Table::open(directory.path());
    table.fill(
        "row",
        200_000,
        &[
            ("driver", "'HTTPPOST'"),
            ("endpoint", "'http://127.0.0.1:9/'"),
            ("content", "'{\"body\":\"0123456789012345678901234567890123456789\"}'"),
            ("create_at", &old.to_string()),
            ("next_at", &old.to_string()),
            ("cur_state", "1 + n % 2"),
            ("response", "x'00'"),
        ],
    );
    drop(table);
    let server = Server::start(directory.path(), &[("NOTIFY_HTTP_TIMEOUT", "60")]);
    let (api, url) = (server.api, receiver.url("/"));
    api.send("held", "HTTPPOST", &slow.url("/"));
    slow.await_id("held", 1);
    let began = Instant::now();
    thread::scope(|scope| {
        // It may take longer than an answer may, and go on then.
        let clearing =
            scope.spawn(move || api.post("/clear", &serde_json::json!({"before": old + 1})).status);
        let (mut number, mut slowest) = (0, Duration::ZERO);
        while !clearing.is_finished() || number < 20 {
            let began = Instant::now();
            api.send(&format!("n{number}"), "HTTPPOST", &url);
            slowest = slowest.max(began.elapsed());
            number += 1;
        }
        assert!(slowest < Duration::from_millis(500), "/send took {slowest:?}");
        assert!(matches!(clearing.join().unwrap(), 200 | 503));
        receiver.await_id(&format!("n{}", number - 1), 1);
    });
    eventually("all are cleared", || api.find("row-200000").is_none().then_some(()));
    println!("cleared within {:?}", began.elapsed());
    assert_eq!(api.find("row-1"), None);
    assert_eq!(api.state("held"), 0, "one that is being sent stays");
    gate.open();
    api.await_state("held", 1);
}
