//! A receiver that asks for a pause gets it, and nobody else does.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::{
    all_on,
    appliance::{Appliance, Status, now},
    support::sink::Sink,
};

/// The texts that came, and when.
type Came = Arc<Mutex<Vec<(String, SystemTime)>>>;

/// A Bot API that is busy for that many seconds when the text is "first", but
/// only once.
fn busy_once(seconds: u32) -> (Sink, Came) {
    let came = Came::default();
    let noted = came.clone();
    let sink = Sink::start(move |seen, peer| {
        let body = String::from_utf8_lossy(&seen.body);
        let text = body.split("text=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let mut noted = noted.lock().unwrap();
        noted.push((text.clone(), SystemTime::now()));
        if noted.iter().filter(|(known, _)| *known == text).count() == 1 && text == "first" {
            let body = json!({
                "ok": false,
                "error_code": 429,
                "description": format!("Too Many Requests: retry after {seconds}"),
                "parameters": {"retry_after": seconds},
            });
            return peer.answer("429 Too Many Requests", &[], body.to_string().as_bytes());
        }
        peer.answer("200 OK", &[], br#"{"ok":true}"#)
    });
    (sink, came)
}

fn burst_after_a_pause(threads: usize) {
    const PAUSE: i64 = 4;
    let (sink, came) = busy_once(4);
    let mut environment = all_on(&sink.url(""));
    environment.push(("NOTIFY_THREADS", threads.to_string()));
    let appliance = Appliance::start(environment);

    let began = now();
    appliance.send("first", "TGPlain", "me", "\"first\"");
    let first = appliance.outcome("first");
    let known = now();
    assert_eq!((first.state, first.tried), (Status::PENDING, 1));
    assert!(first.next_at >= began + 60, "the schedule asks for a longer wait than the chat");

    let texts: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    for (index, text) in texts.iter().enumerate() {
        // All markups write to the same chat.
        let kind = ["TGPlain", "TGHTML", "TGMarkdown"][index % 3];
        appliance.send(text, kind, "me", &format!("\"{text}\""));
    }
    appliance.send("other", "TGPlain", "group", "\"other\"");
    assert_eq!(appliance.outcome("other").state, Status::SUCCESS);

    // All of them show when they are due.
    let until = appliance.status_when("00", |status| status.next_at > status.create_at).next_at;
    assert!((began + PAUSE..=known + PAUSE + 1).contains(&until), "{began} {known} {until}");
    for text in &texts {
        let status = appliance.status_when(text, |status| status.next_at == until);
        assert_eq!((status.state, status.tried), (Status::PENDING, 0), "{text}");
    }
    assert_eq!(came.lock().unwrap().len(), 2, "nothing but the first and the other one came until now");

    for text in &texts {
        let status = appliance.outcome(text);
        assert_eq!((status.state, status.tried), (Status::SUCCESS, 1), "{text}");
    }
    let came = came.lock().unwrap().clone();
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until.try_into().unwrap());
    assert!(came[1].0 == "other" && came[1].1 < until, "another chat waits for nothing");
    let burst = &came[2..];
    assert!(burst.iter().all(|(_, at)| *at >= until), "nothing came too early");
    let mut order: Vec<&String> = burst.iter().map(|(text, _)| text).collect();
    if threads > 1 {
        // Sends that run side by side may overtake each other on their way.
        order.sort();
    }
    assert_eq!(order, texts.iter().collect::<Vec<_>>());
}

#[test]
fn a_burst_waits_for_a_busy_chat_and_then_goes_out_in_order() {
    burst_after_a_pause(1);
}

#[test]
fn a_burst_waits_for_a_busy_chat_with_many_slots_too() {
    burst_after_a_pause(10);
}

#[test]
fn a_resend_goes_out_at_once_and_releases_the_others() {
    let (sink, _) = busy_once(600);
    let appliance = Appliance::start(all_on(&sink.url("")));
    appliance.send("first", "TGPlain", "me", "\"first\"");
    appliance.outcome("first");
    for id in ["a", "b", "c"] {
        appliance.send(id, "TGPlain", "me", &format!("\"{id}\""));
    }
    for id in ["a", "b", "c"] {
        let status = appliance.status_when(id, |status| status.next_at > status.create_at);
        assert!((590..=601).contains(&(status.next_at - now())), "{id}: {status:?}");
    }
    assert_eq!(sink.seen().len(), 1);
    assert_eq!(appliance.call("/resend", &json!({"id": "b"})).code, 200);
    let seen = sink.wait_for(2);
    assert!(seen[1].body.ends_with(b"text=b"), "the one that was asked for goes first");
    for id in ["a", "b", "c"] {
        assert_eq!(appliance.outcome(id).state, Status::SUCCESS, "{id}");
    }
}

#[test]
fn a_pause_of_one_webhook_is_none_of_another() {
    let sink = Sink::start(|seen, peer| match seen.line().contains("/busy") {
        true => peer.answer("503 x", &[("Retry-After", "600")], b"busy"),
        false => peer.answer("200 OK", &[], b"thanks"),
    });
    let appliance = Appliance::start(all_on(&sink.url("")));
    appliance.send("busy", "HTTPPOST", &sink.url("/busy"), "{}");
    appliance.outcome("busy");
    appliance.send("later", "HTTPGET", &sink.url("/busy"), "{}");
    appliance.send("free", "HTTPPOST", &sink.url("/free"), "{}");
    assert_eq!(appliance.outcome("free").state, Status::SUCCESS);
    let status = appliance.status_when("later", |status| status.next_at > status.create_at);
    assert!((590..=601).contains(&(status.next_at - now())), "{status:?}");
    assert_eq!(status.tried, 0);
}
