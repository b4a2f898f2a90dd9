//! Nothing that was accepted is lost, and little is sent twice, however the
//! process ends.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use notify_api::{
    DBDrv, DbError, Detail, Item, Lane, State, Status, Timestamp,
    db::{Claimed, Clear, Cleared, Unassigned, Wanted, Write, Written, sqlite::Sqlite},
    drivers::{
        http::{HttpPost, Validator},
        web::{WebClient, WebOptions},
    },
};
use serde_json::json;
use support::harness::{Connection, Gate, Hit, Library, PATIENCE, Receiver, Reply, Server, Setup, Table};
use tempfile::tempdir;

/// What a kill may repeat: the attempts that run, and 64 whose outcomes aren't
/// stored yet.
const THREADS: usize = 10;
const UNRECORDED: usize = 64;

/// Clients that post as fast as they can to whatever server there is, and
/// remember what was accepted.
struct Load {
    shared: Arc<Shared>,
    clients: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Where the server is now, if there is one.
    address: Mutex<Option<SocketAddr>>,
    accepted: Mutex<HashSet<String>>,
    ended: AtomicBool,
}

impl Load {
    fn start(clients: usize, url: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..clients).map(|client| {
            let (shared, url) = (shared.clone(), url.to_owned());
            thread::spawn(move || shared.post(client, &url))
        });
        Self { clients: clients.collect(), shared }
    }

    fn aim(&self, server: Option<&Server>) {
        *self.shared.address.lock().unwrap() = server.map(|server| server.api.0);
    }

    /// Ends the load; what was accepted.
    fn end(self) -> HashSet<String> {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        std::mem::take(&mut self.shared.accepted.lock().unwrap())
    }
}

impl Shared {
    fn post(&self, client: usize, url: &str) {
        let mut connection: Option<(SocketAddr, Connection)> = None;
        let mut number = 0;
        while !self.ended.load(Ordering::Relaxed) {
            let address = *self.address.lock().unwrap();
            let (Some(address), same) = (address, connection.take()) else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let same = same.filter(|(known, _)| *known == address).map(|(_, connection)| connection);
            let Some(mut open) = same.or_else(|| Connection::open(address).ok()) else { continue };
            let id = format!("{client}-{number}");
            let body = json!({"id": id, "type": "HTTPPOST", "endpoint": url, "payload": {"body": "x"}});
            // What isn't answered may or may not have been stored: it is nobody's loss.
            number += 1;
            let Ok(answer) = open.call("POST", "/send", &body.to_string()) else { continue };
            assert_eq!(answer.status, 200, "{answer:?}");
            self.accepted.lock().unwrap().insert(id);
            connection = Some((address, open));
        }
    }
}

/// What was accepted and never arrived.
fn lost(accepted: &HashSet<String>, hits: &[Hit]) -> Vec<String> {
    let arrived: HashSet<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
    accepted.iter().filter(|id| !arrived.contains(id.as_str())).cloned().collect()
}

/// How many repeats each kill caused: of what had arrived last before it. `lives`
/// are the numbers of hits at the end of each life; what a life repeats of its own
/// hits is counted last.
fn repeats(hits: &[Hit], lives: &[usize]) -> Vec<usize> {
    let mut latest: HashMap<&str, usize> = HashMap::new();
    let mut repeats = vec![0; lives.len() + 1];
    for (number, hit) in hits.iter().enumerate() {
        let life = lives.partition_point(|end| *end <= number);
        match latest.insert(&hit.id, life) {
            Some(before) if before == life => repeats[lives.len()] += 1,
            Some(before) => repeats[before] += 1,
            None => {}
        }
    }
    repeats
}

/// Kills servers at random moments under load, lets the last one deliver all, and
/// returns what was accepted, what arrived and the numbers of hits after each life.
fn kill_again_and_again(
    kills: usize,
    directory: &Path,
    start: impl Fn(&Path) -> Server,
) -> (HashSet<String>, Vec<Hit>, Vec<usize>) {
    let receiver = Receiver::friendly();
    let load = Load::start(4, &receiver.url("/"));
    let mut lives = Vec::new();
    for _ in 0..kills {
        let mut server = start(directory);
        load.aim(Some(&server));
        let moment = Instant::now() + Duration::from_micros(fastrand::u64(0..250_000));
        thread::sleep(moment.saturating_duration_since(Instant::now()));
        server.kill();
        load.aim(None);
        // What the dead one had sent may still be on its way.
        receiver.await_closed();
        lives.push(receiver.hits().len());
    }
    let accepted = load.end();
    // The real program, whatever ran before.
    let server = real(directory);
    let deadline = Instant::now() + PATIENCE;
    let pending = |server: &Server| {
        let left = lost(&accepted, &receiver.hits());
        left.into_iter().any(|id| server.api.find(&id).is_some_and(|status| status["state"] == 0))
    };
    while pending(&server) {
        assert!(Instant::now() < deadline, "{} are still pending", lost(&accepted, &receiver.hits()).len());
        thread::sleep(Duration::from_millis(20));
    }
    let hits = receiver.hits();
    lives.push(hits.len());
    (accepted, hits, lives)
}

fn real(directory: &Path) -> Server {
    Server::start(directory, &[("NOTIFY_THREADS", &THREADS.to_string())])
}

#[test]
fn nothing_is_lost_and_little_repeated_when_the_process_is_killed() {
    let directory = tempdir().unwrap();
    let (accepted, hits, lives) = kill_again_and_again(50, directory.path(), real);
    assert!(accepted.len() > 500, "{} is no load", accepted.len());
    assert_eq!(lost(&accepted, &hits), Vec::<String>::new(), "of {}", accepted.len());
    let mut repeats = repeats(&hits, &lives);
    assert_eq!(repeats.pop(), Some(0), "repeats without a kill");
    for (kill, count) in repeats.iter().enumerate() {
        assert!(*count <= THREADS + UNRECORDED, "kill {kill}: {repeats:?}");
    }
    println!("{} accepted, {repeats:?} repeats after the kills", accepted.len());
}

#[test]
fn a_kill_repeats_no_more_when_nothing_could_be_recorded_for_a_while() {
    const ALL: usize = 400;
    let (directory, gate) = (tempdir().unwrap(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    let mut server = real(directory.path());
    for number in 0..ALL {
        server.api.send(&format!("n{number}"), "HTTPPOST", &receiver.url("/"));
    }
    receiver.await_hits(PATIENCE, "a first one", |hits| (!hits.is_empty()).then_some(()));
    // Every outcome from now on has to wait for this.
    let other = rusqlite::Connection::open(directory.path().join("notify.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    gate.open();
    let many = |hits: &[Hit]| (hits.len() >= UNRECORDED).then_some(());
    receiver.await_hits(PATIENCE, "attempts go on for a while", many);
    thread::sleep(Duration::from_millis(300));
    server.kill();
    receiver.await_closed();
    let first_life = receiver.hits().len();
    assert!(first_life <= THREADS + UNRECORDED, "{first_life} attempts");
    drop(other);
    let server = real(directory.path());
    let all = |hits: &[Hit]| (hits.len() >= ALL + first_life).then_some(());
    receiver.await_hits(PATIENCE, "all", all);
    for number in 0..ALL {
        server.api.await_state(&format!("n{number}"), 1);
    }
    assert_eq!(receiver.ids().len(), ALL);
    assert_eq!(repeats(&receiver.hits(), &[first_life, ALL + first_life]), [first_life, 0, 0]);
}

// --- A control: a store that says "done" too early.

/// Keeps creates in memory for a while before it stores them.
struct Hasty {
    real: Arc<Sqlite>,
    kept: Arc<Mutex<Vec<Write>>>,
}

impl Hasty {
    fn new(real: Sqlite) -> Self {
        let hasty = Self { real: Arc::new(real), kept: Arc::default() };
        let (real, kept) = (hasty.real.clone(), hasty.kept.clone());
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(30));
                let writes = std::mem::take(&mut *kept.lock().unwrap());
                if !writes.is_empty() {
                    real.write(&writes, &Default::default()).unwrap();
                }
            }
        });
        hasty
    }
}

impl DBDrv for Hasty {
    fn write(
        &self,
        batch: &[Write],
        sending: &notify_api::db::Sending,
    ) -> Result<Vec<Result<Written, DbError>>, DbError> {
        let (creates, others): (Vec<_>, Vec<_>) =
            batch.iter().cloned().partition(|write| matches!(write, Write::Create(_)));
        let mut answers = self.real.write(&others, sending)?.into_iter();
        self.kept.lock().unwrap().extend(creates);
        let answer = |write: &Write| match write {
            Write::Create(_) => Ok(Written::Done),
            _ => answers.next().unwrap(),
        };
        Ok(batch.iter().map(answer).collect())
    }

    fn create(&self, item: &Item) -> Result<(), DbError> {
        self.real.create(item)
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        self.real.resend(id, max_tries, now)
    }

    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        self.real.update(id, tried, next_at, state, response)
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.real.result(id)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.real.status(id)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.real.detail(id)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &notify_api::db::Sending,
    ) -> Result<Option<Item>, DbError> {
        self.real.pending(now, max_tries, drivers, sending)
    }

    fn delete(&self, id: &str, sending: &notify_api::db::Sending) -> Result<(), DbError> {
        self.real.delete(id, sending)
    }

    fn clear(&self, before: Timestamp, sending: &notify_api::db::Sending) -> Result<(), DbError> {
        self.real.clear(before, sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &notify_api::db::Sending) -> Result<(), DbError> {
        self.real.force_clear(before, sending)
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn newest(&self) -> Result<Option<Timestamp>, DbError> {
        self.real.newest()
    }

    fn heads(&self) -> Result<Vec<(Lane, Timestamp)>, DbError> {
        self.real.heads()
    }

    fn claim(&self, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        self.real.claim(wanted)
    }

    fn unassigned(&self, limit: usize) -> Result<Vec<Unassigned>, DbError> {
        self.real.unassigned(limit)
    }

    fn clear_slice(&self, clear: &Clear, sending: &notify_api::db::Sending) -> Result<Cleared, DbError> {
        self.real.clear_slice(clear, sending)
    }
}

const HASTY_DIRECTORY: &str = "TEST_HASTY_DIRECTORY";

/// The server with the wrong store, when this program runs as a child of the test
/// below; otherwise nothing.
#[test]
fn hasty_server() {
    let Some(directory) = std::env::var_os(HASTY_DIRECTORY) else { return };
    let db = Hasty::new(Sqlite::open(Path::new(&directory).join("notify.db")).unwrap());
    let server = Library::start_on(Arc::new(db), Setup::default().threads(10), |server| {
        let web = WebClient::new(WebOptions::default());
        server.register(HttpPost::new(&web, Validator::Status2xx)).unwrap();
    });
    eprintln!("\naddress=http://{}", server.api.0);
    loop {
        thread::park();
    }
}

#[test]
fn a_store_that_says_done_too_early_would_be_caught() {
    let directory = tempdir().unwrap();
    let (accepted, hits, _) = kill_again_and_again(6, directory.path(), |directory| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hasty_server", "--nocapture"]).env(HASTY_DIRECTORY, directory);
        Server::run(command)
    });
    let lost = lost(&accepted, &hits);
    assert!(!lost.is_empty(), "of {} accepted", accepted.len());
}

#[test]
fn repeats_are_counted_by_the_kill_that_caused_them() {
    let hits: Vec<Hit> = ["a", "b", "a", "c", "b", "b"]
        .into_iter()
        .map(|id| Hit { id: id.into(), path: String::new(), at: Instant::now() })
        .collect();
    assert_eq!(repeats(&hits, &[2, 4, 6]), [2, 0, 0, 1]);
    assert_eq!(lost(&["a".into(), "z".into()].into(), &hits), ["z"]);
}

// --- An orderly stop.

#[test]
fn a_stop_waits_for_what_is_being_sent() {
    let (directory, gate) = (tempdir().unwrap(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::start(move |hit| match hit.path.as_str() {
        "/slow" => Reply::Wait(held.clone()),
        _ => Reply::ok(),
    });
    let mut server = Server::start(directory.path(), &[("NOTIFY_STOP_TIMEOUT", "20")]);
    server.api.send("slow", "HTTPPOST", &receiver.url("/slow"));
    receiver.await_id("slow", 1);
    server.api.send("behind", "HTTPPOST", &receiver.url("/slow"));
    server.signal("TERM");
    server.await_line(PATIENCE, |line| line.contains("stopping"));
    assert!(!answers(&server), "no new connections");
    gate.open();
    assert_eq!(server.await_exit(Duration::from_secs(5)).code(), Some(0));
    assert_eq!(receiver.count("behind"), 0, "no new attempts");
    let table = Table::open(directory.path());
    assert_eq!(table.count("notify_id = 'slow' and cur_state = 1 and tried = 1"), 1);
    assert_eq!(table.count("notify_id = 'behind' and cur_state = 0 and tried = 0"), 1);
}

/// Whether it still takes requests: a connection may be opened by the system alone.
fn answers(server: &Server) -> bool {
    server.api.call("GET", "/health", "").is_ok_and(|answer| answer.status == 200)
}

#[test]
fn what_a_stop_cuts_off_is_not_counted_and_sent_again() {
    let (directory, gate) = (tempdir().unwrap(), Gate::default());
    let held = gate.clone();
    let receiver = Receiver::start(move |_| Reply::Wait(held.clone()));
    for signal in ["TERM", "INT"] {
        let variables = [("NOTIFY_STOP_TIMEOUT", "1"), ("NOTIFY_THREADS", "3")];
        let mut server = Server::start(directory.path(), &variables);
        if signal == "TERM" {
            server.api.send_once("n", "HTTPPOST", &receiver.url("/"));
            receiver.await_id("n", 1);
        } else {
            receiver.await_id("n", 2);
        }
        let began = Instant::now();
        server.signal(signal);
        assert_eq!(server.await_exit(PATIENCE).code(), Some(0));
        let took = began.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{took:?}");
        let table = Table::open(directory.path());
        assert_eq!(table.count("cur_state = 0 and tried = 31 and response is null"), 1);
    }
    gate.open();
    let server = Server::start(directory.path(), &[]);
    receiver.await_id("n", 3);
    assert_eq!(server.api.await_state("n", 1)["tried"], 32);
    assert_eq!(receiver.count("n"), 3);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (directory, receiver) = (tempdir().unwrap(), Receiver::blackhole());
    let mut server = Server::start(directory.path(), &[]);
    server.api.send("n", "HTTPPOST", &receiver.url("/"));
    receiver.await_id("n", 1);
    server.signal("TERM");
    server.await_line(PATIENCE, |line| line.contains("stopping"));
    server.signal("TERM");
    assert_eq!(server.await_exit(Duration::from_secs(3)).code(), Some(0));
    assert_eq!(Table::open(directory.path()).count("cur_state = 0 and tried = 0"), 1);
}
