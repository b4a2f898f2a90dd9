//! Who gets the next free slot: every sentence of the rule, with a driver that the
//! test plays, and with dead receivers on real sockets.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use support::harness::{
    Api, Audience, Library, PATIENCE, Receiver, Reply, Sending, Server, Setup, Stage, Table, eventually, now,
};
use tempfile::{TempDir, tempdir};

fn stage(threads: usize) -> (TempDir, Library, Audience) {
    let directory = tempdir().unwrap();
    let (driver, audience) = Stage::new("STAGE");
    let server = Library::start(directory.path(), Setup::default().threads(threads), move |server| {
        server.register(driver).unwrap();
    });
    (directory, server, audience)
}

/// So many notifications for one lane.
fn send(api: Api, lane: &str, count: usize) {
    thread_local!(static NUMBER: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
    for _ in 0..count {
        let number = NUMBER.replace(NUMBER.get() + 1);
        api.send(&format!("{lane}-{number}"), "STAGE", &format!("{lane}/x"));
    }
}

fn lane(sending: &Sending) -> &str {
    sending.endpoint.split('/').next().unwrap()
}

/// The lanes of the next attempts that begin, sorted.
fn begun(audience: &Audience, count: usize) -> (Vec<String>, Vec<Sending>) {
    let sendings: Vec<_> = (0..count).map(|_| audience.next()).collect();
    audience.none();
    let mut lanes: Vec<_> = sendings.iter().map(|sending| lane(sending).to_owned()).collect();
    lanes.sort();
    (lanes, sendings)
}

#[test]
fn a_lane_has_one_slot_at_first_and_one_more_after_each_answered_attempt() {
    let (_directory, server, audience) = stage(10);
    send(server.api, "a", 30);
    let (_, mut running) = begun(&audience, 1);
    // Whatever the answer is.
    let endings: [fn(Sending); 5] =
        [|it| it.deliver("ok"), |it| it.fail(), |it| it.refuse(), |it| it.deliver(""), |it| it.deliver("ok")];
    for (answered, ending) in endings.into_iter().enumerate() {
        ending(running.pop().unwrap());
        let (_, more) = begun(&audience, 2);
        running.extend(more);
        assert_eq!(running.len(), answered + 2);
    }
}

#[test]
fn an_unreachable_attempt_sets_the_lane_back_to_one_slot() {
    let (_directory, server, audience) = stage(10);
    send(server.api, "a", 30);
    let (_, mut running) = begun(&audience, 1);
    for _ in 0..4 {
        running.pop().unwrap().deliver("ok");
        running.extend(begun(&audience, 2).1);
    }
    assert_eq!(running.len(), 5);
    running.pop().unwrap().unreachable();
    audience.none();
    // Each answer gains a slot again, but more are running still.
    running.pop().unwrap().unreachable();
    running.pop().unwrap().unreachable();
    running.pop().unwrap().unreachable();
    audience.none();
    running.pop().unwrap().unreachable();
    let (_, mut running) = begun(&audience, 1);
    running.pop().unwrap().deliver("ok");
    assert_eq!(begun(&audience, 2).1.len(), 2);
}

#[test]
fn the_fewest_running_come_first_then_the_one_served_longest_ago() {
    let (_directory, server, audience) = stage(2);
    // Blocked, while all three get something due.
    send(server.api, "x", 1);
    send(server.api, "y", 1);
    let blockers = [audience.next(), audience.next()];
    for lane in ["a", "b", "c"] {
        send(server.api, lane, 3);
    }
    let mut order = Vec::new();
    let mut running: Vec<Sending> = blockers.into();
    for _ in 0..9 {
        running.remove(0).deliver("ok");
        let next = audience.next();
        order.push(lane(&next).to_owned());
        running.push(next);
        audience.none();
    }
    for round in order.chunks(3) {
        let mut round = round.to_vec();
        round.sort();
        assert_eq!(round, ["a", "b", "c"], "{order:?}");
    }
    assert_eq!((&order[..3], &order[3..6]), (&order[3..6], &order[6..]), "the same order each time");
}

#[test]
fn two_slots_are_never_three() {
    #[derive(Default)]
    struct Count {
        now: AtomicUsize,
        most: AtomicUsize,
    }
    let (directory, count) = (tempdir().unwrap(), Arc::new(Count::default()));
    let receivers = [(); 5].map(|()| {
        let count = count.clone();
        Receiver::start(move |_| {
            let now = count.now.fetch_add(1, Ordering::SeqCst) + 1;
            count.most.fetch_max(now, Ordering::SeqCst);
            // Work.
            thread::sleep(Duration::from_millis(1));
            count.now.fetch_sub(1, Ordering::SeqCst);
            Reply::ok()
        })
    });
    let server = Server::start(directory.path(), &[("NOTIFY_THREADS", "2")]);
    for number in 0..300 {
        server.api.send(&format!("n{number}"), "HTTPPOST", &receivers[number % 5].url("/"));
    }
    for receiver in &receivers {
        receiver.await_hits(PATIENCE, "all", |hits| (hits.len() == 60).then_some(()));
    }
    assert_eq!(count.most.load(Ordering::SeqCst), 2, "both slots are used, and no more");
}

#[test]
fn two_slots_are_never_three_over_many_lanes() {
    let (_directory, server, audience) = stage(2);
    for lane in ["a", "b", "c", "d"] {
        send(server.api, lane, 10);
    }
    let mut running = vec![audience.next(), audience.next()];
    for left in (0..40).rev() {
        assert!(audience.0.try_recv().is_err(), "a third one");
        running.remove(0).deliver("ok");
        if left >= 2 {
            running.push(audience.next());
        }
    }
}

#[test]
fn unreachable_lanes_hold_at_most_half_of_the_slots() {
    for slots in [2, 3, 4, 10] {
        let (_directory, server, audience) = stage(slots);
        for number in 0..slots {
            send(server.api, &format!("dead{number}"), 10);
        }
        let (_, running) = begun(&audience, slots);
        running.into_iter().for_each(Sending::unreachable);
        let (lanes, running) = begun(&audience, slots / 2);
        assert!(lanes.iter().all(|lane| lane.starts_with("dead")));
        // The others are free for whoever answers.
        for number in 0..slots {
            send(server.api, &format!("alive{number}"), 1);
        }
        let (lanes, alive) = begun(&audience, slots - slots / 2);
        assert!(lanes.iter().all(|lane| lane.starts_with("alive")), "{lanes:?}");
        // One that answers again is one of them.
        drop(alive);
        running.into_iter().for_each(|sending| sending.deliver("ok"));
    }
}

#[test]
fn one_slot_serves_unreachable_lanes_every_second_time_while_another_has_something_due() {
    let (_directory, server, audience) = stage(1);
    for lane in ["dead1", "dead2"] {
        send(server.api, lane, 20);
    }
    for _ in 0..4 {
        audience.next().unreachable();
    }
    // The fifth is running.
    let running = audience.next();
    send(server.api, "alive", 5);
    let mut latest_dead = lane(&running).starts_with("dead");
    running.unreachable();
    let (mut alive, mut dead) = (0, 0);
    while alive < 5 {
        let sending = audience.next();
        let is_dead = lane(&sending).starts_with("dead");
        assert!(!(is_dead && latest_dead), "two in a row");
        latest_dead = is_dead;
        if is_dead {
            dead += 1;
            sending.unreachable();
        } else {
            alive += 1;
            sending.deliver("ok");
        }
    }
    assert!(dead >= 4, "it is every second one, not none: {dead}");
    // With nothing else due they get it each time.
    for _ in 0..4 {
        let sending = audience.next();
        assert!(lane(&sending).starts_with("dead"));
        sending.unreachable();
    }
}

#[test]
fn the_last_free_one_of_four_is_for_a_lane_that_has_none_running() {
    for slots in [4, 10] {
        let (_directory, server, audience) = stage(slots);
        let mut running = full(&server, &audience, slots, slots - 1);
        send(server.api, "b", 3);
        let (lanes, last) = begun(&audience, 1);
        assert_eq!(lanes, ["b"]);
        running.extend(last);
        // None is free now; the one that becomes free is the last one again.
        running.remove(0).deliver("ok");
        let (lanes, _running) = begun(&audience, 0);
        assert!(lanes.is_empty(), "both have sends running");
    }
}

#[test]
fn with_fewer_than_four_slots_one_lane_takes_them_all() {
    for slots in [1, 2, 3] {
        let (_directory, server, audience) = stage(slots);
        full(&server, &audience, slots, slots);
    }
}

/// Lets the lane `a` grow until it has as many as it can get.
fn full(server: &Library, audience: &Audience, slots: usize, most: usize) -> Vec<Sending> {
    send(server.api, "a", 5 * slots);
    let mut running = vec![audience.next()];
    for _ in 0..slots + 2 {
        let before = running.len();
        running.remove(0).deliver("ok");
        for _ in before - 1..most.min(before + 1) {
            running.push(audience.next());
        }
    }
    audience.none();
    assert_eq!(running.len(), most);
    running
}

#[test]
fn endpoints_and_types_with_one_lane_share_it() {
    let directory = tempdir().unwrap();
    let ((one, first), (two, second)) = (Stage::new("ONE"), Stage::new("TWO"));
    let server = Library::start(directory.path(), Setup::default().threads(10), move |server| {
        server.register(one).unwrap().register(two).unwrap();
    });
    server.api.send("a1", "ONE", "a/1");
    let running = first.expect("a1");
    server.api.send("a2", "ONE", "a/2");
    server.api.send("a3", "TWO", "a/3");
    server.api.send("b1", "TWO", "b/1");
    second.expect("b1").deliver("ok");
    first.none();
    second.none();
    running.deliver("ok");
    first.expect("a2").deliver("ok");
    second.expect("a3").deliver("ok");
}

// --- A model of the rule, and chance.

/// The rule as CONTRACT tells it.
#[derive(Default)]
struct Model {
    slots: usize,
    lanes: BTreeMap<String, ModelLane>,
    served: usize,
    latest_was_unreachable: bool,
}

struct ModelLane {
    due: usize,
    running: usize,
    allowed: usize,
    /// 0 is never.
    served: usize,
    is_unreachable: bool,
}

impl Model {
    fn running(&self) -> usize {
        self.lanes.values().map(|lane| lane.running).sum()
    }

    fn may_begin(&self, lane: &ModelLane) -> bool {
        let free = self.slots - self.running();
        let has_room = free > 0 && lane.due > 0 && lane.running < lane.allowed;
        let keeps_last = self.slots < 4 || free > 1 || lane.running == 0;
        let unreachable = self.lanes.values().filter(|lane| lane.is_unreachable);
        let half = match self.slots {
            1 => {
                let other = self.lanes.values().any(|lane| lane.due > 0 && !lane.is_unreachable);
                !other || !self.latest_was_unreachable
            }
            _ => unreachable.map(|lane| lane.running).sum::<usize>() < self.slots / 2,
        };
        has_room && keeps_last && (half || !lane.is_unreachable)
    }

    /// The lanes one of which must be next; several only if they were never served.
    fn next(&self) -> Vec<String> {
        let eligible = || self.lanes.iter().filter(|(_, lane)| self.may_begin(lane));
        let best = eligible().map(|(_, lane)| (lane.running, lane.served)).min();
        let names = eligible().filter(|(_, lane)| Some((lane.running, lane.served)) == best);
        names.map(|(name, _)| name.clone()).collect()
    }

    fn begin(&mut self, name: &str) {
        self.served += 1;
        let lane = self.lanes.get_mut(name).unwrap();
        lane.due -= 1;
        lane.running += 1;
        lane.served = self.served;
        self.latest_was_unreachable = lane.is_unreachable;
    }

    fn end(&mut self, name: &str, unreachable: bool) {
        let slots = self.slots;
        let lane = self.lanes.get_mut(name).unwrap();
        lane.running -= 1;
        lane.is_unreachable = unreachable;
        lane.allowed = if unreachable { 1 } else { slots.min(lane.allowed + 1) };
    }
}

/// A small generator, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn the_rule_holds(slots: usize, lanes: usize, steps: usize, seed: u64) {
    let (_directory, server, audience) = stage(slots);
    let mut chance = Chance(seed);
    let mut model = Model { slots, ..Model::default() };
    let mut running: Vec<Sending> = Vec::new();
    for step in 0..steps {
        let context = format!("{slots} slots, {lanes} lanes, seed {seed}, step {step}");
        if running.is_empty() || chance.below(5) < 2 {
            let name = format!("l{}", chance.below(lanes));
            send(server.api, &name, 1);
            let fresh = || ModelLane { due: 0, running: 0, allowed: 1, served: 0, is_unreachable: false };
            model.lanes.entry(name).or_insert_with(fresh).due += 1;
        } else {
            let sending = running.swap_remove(chance.below(running.len()));
            let name = lane(&sending).to_owned();
            // Most lanes with small numbers are dead.
            let is_dead = name < format!("l{}", lanes / 2);
            let unreachable = chance.below(10) < if is_dead { 8 } else { 1 };
            if unreachable {
                sending.unreachable()
            } else {
                sending.deliver("ok")
            }
            model.end(&name, unreachable);
        }
        // Workers begin at the same time; what begins is a set, unless it is one.
        let mut expected: Vec<String> = Vec::new();
        let mut arrived: Vec<Sending> = Vec::new();
        loop {
            let next = model.next();
            if next.is_empty() {
                break;
            }
            let name = if next.len() == 1 {
                next[0].clone()
            } else {
                // Only what arrives tells which one of them it was.
                let is_open = |it: &&Sending| {
                    let count =
                        |names: &mut dyn Iterator<Item = &str>| names.filter(|n| *n == lane(it)).count();
                    count(&mut arrived.iter().map(lane)) > count(&mut expected.iter().map(|name| &**name))
                };
                match arrived.iter().find(is_open).map(|it| lane(it).to_owned()) {
                    Some(name) => name,
                    None => {
                        let sending = audience.next_within(PATIENCE).expect(&context);
                        let name = lane(&sending).to_owned();
                        arrived.push(sending);
                        name
                    }
                }
            };
            assert!(next.contains(&name), "{context}: {name} instead of {next:?}");
            model.begin(&name);
            expected.push(name);
        }
        while arrived.len() < expected.len() {
            let sending = audience.next_within(PATIENCE);
            arrived.push(sending.unwrap_or_else(|| panic!("{context}: {expected:?} don't begin")));
        }
        let mut names: Vec<_> = arrived.iter().map(|sending| lane(sending).to_owned()).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected, "{context}");
        running.append(&mut arrived);
        // What ended may still be on its way to the server's books.
        let counted = || server.api.call("GET", "/health", "").unwrap().json()["sending"] == running.len();
        eventually(&format!("{context}: all is counted"), || counted().then_some(()));
        let surplus = audience.next_within(Duration::from_millis(if step % 8 == 0 { 20 } else { 1 }));
        assert_eq!(surplus.map(|sending| sending.id), None, "{context}: more than {expected:?}");
    }
}

#[test]
fn the_rule_holds_with_one_slot() {
    the_rule_holds(1, 4, 250, 1);
    the_rule_holds(1, 8, 250, 2);
}

#[test]
fn the_rule_holds_with_two_slots() {
    the_rule_holds(2, 3, 250, 3);
    the_rule_holds(2, 8, 250, 4);
}

#[test]
fn the_rule_holds_with_four_slots() {
    the_rule_holds(4, 3, 250, 5);
    the_rule_holds(4, 10, 250, 6);
}

#[test]
fn the_rule_holds_with_ten_slots() {
    the_rule_holds(10, 3, 250, 7);
    the_rule_holds(10, 20, 250, 8);
}

// --- Dead receivers on real sockets.

/// A notification arrives within a second.
fn arrives(api: Api, receiver: &Receiver, id: &str) {
    let sent = Instant::now();
    api.send(id, "HTTPPOST", &receiver.url("/"));
    receiver.await_hits(Duration::from_secs(2), id, |hits| hits.iter().any(|hit| hit.id == id).then_some(()));
    assert!(sent.elapsed() < Duration::from_secs(1), "{id} took {:?}", sent.elapsed());
}

#[test]
fn ten_dead_receivers_do_not_hold_up_another() {
    for threads in ["4", "10"] {
        let (directory, alive) = (tempdir().unwrap(), Receiver::friendly());
        let dead: Vec<_> = (0..10).map(|_| Receiver::blackhole()).collect();
        let variables = [("NOTIFY_THREADS", threads), ("NOTIFY_HTTP_TIMEOUT", "1")];
        let server = Server::start(directory.path(), &variables);
        for number in 0..200 {
            let url = dead[number % 10].url("/");
            server.api.send(&format!("dead{number}"), "HTTPPOST", &url);
        }
        // After the first time-out of each.
        for number in 0..10 {
            server.api.await_tried(&format!("dead{number}"), 1);
        }
        for number in 0..10 {
            arrives(server.api, &alive, &format!("fresh{number}"));
        }
    }
}

#[test]
fn one_slot_and_a_dead_receiver_do_not_stop_another() {
    let (directory, alive, dead) = (tempdir().unwrap(), Receiver::friendly(), Receiver::blackhole());
    let variables = [("NOTIFY_THREADS", "1"), ("NOTIFY_HTTP_TIMEOUT", "1")];
    let server = Server::start(directory.path(), &variables);
    for number in 0..10 {
        server.api.send(&format!("dead{number}"), "HTTPPOST", &dead.url("/"));
    }
    server.api.await_tried("dead0", 1);
    for number in 0..4 {
        server.api.send(&format!("fresh{number}"), "HTTPPOST", &alive.url("/"));
    }
    let all = |hits: &[support::harness::Hit]| (hits.len() == 4).then_some(());
    // Each after at most one time-out.
    alive.await_hits(Duration::from_secs(6), "four", all);
}

#[test]
fn a_hundred_thousand_rows_for_a_dead_host_do_not_hold_up_another() {
    let (directory, alive, dead) = (tempdir().unwrap(), Receiver::friendly(), Receiver::blackhole());
    Table::open(directory.path()).fill("dead", 100_000, &rows_for(&dead));
    let server = Server::start(directory.path(), &[("NOTIFY_HTTP_TIMEOUT", "2")]);
    // While the rows get their lanes, before the first time-out and after it.
    let began = Instant::now();
    let mut number = 0;
    while number < 20 || began.elapsed() < Duration::from_millis(3500) {
        arrives(server.api, &alive, &format!("fresh{number}"));
        number += 1;
        thread::sleep(Duration::from_millis(50));
    }
    assert!(dead.hits().len() <= 4, "one slot each time: {}", dead.hits().len());
}

/// Columns of due rows for this receiver.
fn rows_for(receiver: &Receiver) -> [(&'static str, &'static str); 5] {
    let leak = |text: String| &*Box::leak(text.into_boxed_str());
    [
        ("driver", "'HTTPPOST'"),
        ("endpoint", leak(format!("'{}'", receiver.url("/")))),
        ("content", "'{\"body\":1}'"),
        ("create_at", leak(now().to_string())),
        ("next_at", "100 + n % 1000"),
    ]
}
