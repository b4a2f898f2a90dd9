//! `GET /metrics`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

/// The samples by their names and labels, of a text that keeps the rules of OpenMetrics.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    check(answer.text())
}

/// What stands behind the name of a family, for each type there is.
fn suffixes(kind: &str) -> &[&str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        kind => panic!("{kind} is no type that is used"),
    }
}

fn check(text: &str) -> BTreeMap<String, f64> {
    let mut lines: Vec<&str> = text.strip_suffix('\n').expect("the last line is ended").split('\n').collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    let (mut families, mut samples) = (BTreeSet::new(), BTreeMap::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in lines {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "HELP" => {
                    assert!(families.insert(name.to_owned()), "{name} is in one piece");
                    assert!(rest.len() > 5 && !name.ends_with("_total"), "{line}");
                    family = name.to_owned();
                }
                "TYPE" => kind = rest.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(name, family);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a name and a value");
        let value: f64 = value.parse().expect(line);
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        assert!(labels.ends_with('}'), "{line}");
        let suffix = name.strip_prefix(family.as_str()).expect(line);
        assert!(suffixes(&kind).contains(&suffix), "{line}");
        assert!(value >= 0.0 && (kind != "counter" || value.fract() == 0.0), "{line}");
        assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
    }
    check_histograms(text, &samples);
    samples
}

/// Buckets hold what the ones before them hold, and the last one all.
fn check_histograms(text: &str, samples: &BTreeMap<String, f64>) {
    let mut before = 0.0;
    for line in text.lines().filter(|line| line.contains("_bucket{")) {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let (name, labels) = sample.split_once("_bucket{").unwrap();
        let (bound, labels) = labels.strip_prefix("le=\"").unwrap().split_once('"').unwrap();
        assert!(value >= before, "{line}");
        before = value;
        if bound == "+Inf" {
            let labels = labels.trim_start_matches(',');
            let labels = if labels == "}" { String::new() } else { format!("{{{labels}") };
            assert_eq!(samples[&format!("{name}_count{labels}")], value, "{line}");
            before = 0.0;
        }
    }
}

/// The series that are above 0, of this family.
fn counted(samples: &BTreeMap<String, f64>, family: &str) -> Vec<(String, f64)> {
    let of_family = samples.iter().filter(|(name, value)| name.starts_with(family) && **value > 0.0);
    let short = |name: &str| name[family.len()..].replace(['{', '}', '"'], "");
    of_family.map(|(name, value)| (short(name), *value)).collect()
}

fn named(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn a_fresh_server_has_all_its_series() {
    let home = Home::new();
    let server = home.start(&[]);
    let samples = scrape(&server);
    for kind in ["HTTPGET", "HTTPPOST"] {
        assert_eq!(samples[&format!("notify_accepted_total{{type=\"{kind}\"}}")], 0.0);
        for outcome in ["delivered", "temporary", "unreachable", "permanent", "not_before"] {
            let name = format!("notify_attempts_total{{type=\"{kind}\",outcome=\"{outcome}\"}}");
            assert_eq!(samples[&name], 0.0);
        }
        for state in ["delivered", "failed"] {
            assert_eq!(samples[&format!("notify_finished_total{{type=\"{kind}\",state=\"{state}\"}}")], 0.0);
        }
        assert_eq!(samples[&format!("notify_attempt_duration_seconds_count{{type=\"{kind}\"}}")], 0.0);
    }
    for (name, value) in [
        ("notify_pending", 0.0),
        ("notify_sending", 0.0),
        ("notify_oldest_due_seconds", 0.0),
        ("notify_healthy", 1.0),
        ("notify_refused_requests_total", 0.0),
        ("notify_commit_duration_seconds_count", 0.0),
    ] {
        assert_eq!(samples[name], value, "{name}");
    }
    assert_eq!(samples[&format!("notify_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    assert!(samples["notify_database_size_bytes"] >= 2048.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = samples["process_start_time_seconds"];
    assert!(started <= now && started > now - 60.0, "{started}");
    assert!(samples.keys().all(|name| name.starts_with("notify_") || name.starts_with("process_")));
}

#[test]
fn what_happens_is_counted() {
    let home = Home::new();
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |received| match received.target.as_str() {
        "/fine" => (200, vec![]),
        "/gone" => (410, vec![]),
        "/slow" => {
            held.pass();
            (200, vec![])
        }
        _ => (500, vec![]),
    });
    let server = home.start(&[]);
    for id in ["fine", "gone", "sorry"] {
        let body = params(id, &receiver.url(&format!("/{id}"))).to_string();
        // A repeat is not another one.
        server.post("/send", &body).done(id);
        server.post("/send", &body).done(id);
        server.status_when(id, "tried", |status| status["tried"] == 1);
    }
    server.post("/sendOnce", params("nobody", "http://127.0.0.1:1/").to_string()).done("nobody");
    server.settled("nobody");
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("slow");
    receiver.wait_for(4);
    server.post("/send", "{").failure(400, "nonsense");

    let samples = scrape(&server);
    assert_eq!(counted(&samples, "notify_accepted_total"), named(&[("type=HTTPPOST", 5.0)]));
    let attempts = [
        ("type=HTTPPOST,outcome=delivered", 1.0),
        ("type=HTTPPOST,outcome=permanent", 1.0),
        ("type=HTTPPOST,outcome=temporary", 1.0),
        ("type=HTTPPOST,outcome=unreachable", 1.0),
    ];
    assert_eq!(counted(&samples, "notify_attempts_total"), named(&attempts));
    assert_eq!(samples["notify_attempt_duration_seconds_count{type=\"HTTPPOST\"}"], 4.0);
    let finished = [("type=HTTPPOST,state=delivered", 1.0), ("type=HTTPPOST,state=failed", 2.0)];
    assert_eq!(counted(&samples, "notify_finished_total"), named(&finished));
    assert_eq!((samples["notify_pending"], samples["notify_sending"]), (2.0, 1.0));
    // Eight requests and four outcomes, in as many commits or fewer.
    assert_eq!(samples["notify_commit_writes_sum"], 12.0);
    let commits = samples["notify_commit_writes_count"];
    assert!((8.0..=12.0).contains(&commits), "{commits}");
    assert_eq!(samples["notify_commit_duration_seconds_count"], commits);
    gate.open();
    server.settled("slow");
    let samples = scrape(&server);
    assert_eq!((samples["notify_pending"], samples["notify_sending"]), (1.0, 0.0));
}

#[test]
fn what_waits_too_long_is_seen() {
    let home = Home::new();
    home.start(&[]).stop();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let insert = "insert into items(notify_id, driver, endpoint, content, create_at, next_at)
        values('stuck', 'OTHER', '', 'null', ?1, ?1)";
    assert_eq!(home.database().execute(insert, [now as i64 - 7_200]), Ok(1));
    let samples = scrape(&home.start(&[]));
    assert_eq!(samples["notify_pending"], 1.0);
    let age = samples["notify_oldest_due_seconds"];
    assert!((7_200.0..7_260.0).contains(&age), "{age}");
}

#[test]
fn what_is_refused_is_counted() {
    let home = Home::new();
    let server = home.start(&[]);
    let trigger = "create trigger full before insert on items begin select raise(rollback, 'no'); end";
    home.database().execute_batch(trigger).unwrap();
    for id in ["a", "b"] {
        server.post("/send", params(id, "http://127.0.0.1:1/").to_string()).failure(503, id);
    }
    let samples = scrape(&server);
    assert_eq!(samples["notify_refused_requests_total"], 2.0);
    assert_eq!(samples["notify_healthy"], 0.0);
    assert_eq!(counted(&samples, "notify_accepted_total"), named(&[]));
}
