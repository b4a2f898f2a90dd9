//! The real program: started in a directory of its own, watched, and ended.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection as Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Connection, Request};

/// Longer than a start, a stop or a delivery takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory that a server works in; it holds the database.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names of the files here.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.path()).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The database `notify.db`, as any program can open it.
    pub(crate) fn database(&self) -> Database {
        let database = Database::open(self.path("notify.db")).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database
    }

    /// How many notifications are stored.
    pub(crate) fn rows(&self) -> i64 {
        self.database().query_row("select count(*) from items", [], |row| row.get(0)).unwrap()
    }

    /// The program with nothing in its environment but these variables, a free
    /// port, and a database here.
    pub(crate) fn program(&self, variables: &[(&str, &str)]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_notify-api"));
        program
            .env_clear()
            .current_dir(self.0.path())
            .env("NOTIFY_DSN", "notify.db")
            .env("NOTIFY_HTTP_BIND", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        program
    }

    /// Runs it to its end, which is to come by itself.
    pub(crate) fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut program = self.program(variables);
        let child = program.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = ended.clone();
        // Ends it if it runs when it shouldn't, so that the test fails instead of waiting.
        let watch = thread::spawn(move || {
            let (ended, told) = (watched.0.lock().unwrap(), &watched.1);
            if told.wait_timeout_while(ended, PATIENCE, |ended| !*ended).unwrap().1.timed_out() {
                signal(id, "KILL");
            }
        });
        let output = child.wait_with_output().unwrap();
        *ended.0.lock().unwrap() = true;
        ended.1.notify_all();
        watch.join().unwrap();
        output
    }

    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.program(variables))
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Log>,
}

impl Server {
    /// Starts this program, and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start(program: Command) -> Self {
        let (child, log) = Self::spawn(program);
        let started = log.wait_for("the start line", |line| line.contains("started"));
        let address = word_after(&started, "address=").rsplit('/').next().unwrap().parse().unwrap();
        Self { child, address, log }
    }

    /// Starts this program, which will listen there, and waits until it does.
    #[track_caller]
    pub(crate) fn start_at(address: SocketAddr, program: Command) -> Self {
        let (child, log) = Self::spawn(program);
        let (server, begin) = (Self { child, address, log }, Instant::now());
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < PATIENCE, "nobody listens: {:?}", server.log.lines());
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    fn spawn(mut program: Command) -> (Child, Arc<Log>) {
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (keeper, lines) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                keeper.change(|kept| kept.lines.push(line));
            }
            keeper.change(|kept| kept.ended = true);
        });
        (child, log)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Makes a call on a connection of its own.
    pub(crate) fn call(&self, request: &Request<'_>) -> Answer {
        self.connect().call(request)
    }

    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.call(&Request::post(target, &body))
    }

    /// Makes one of the calls that take an id.
    pub(crate) fn ask(&self, target: &str, id: &str) -> Answer {
        self.post(target, json!({ "id": id }).to_string())
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.call(&Request::bodiless("GET", target))
    }

    /// Asks for the status until it is final.
    #[track_caller]
    pub(crate) fn settled(&self, id: &str) -> Value {
        self.status_when(id, "final", |status| status["state"] != 0)
    }

    /// Asks for the status until it is like that.
    #[track_caller]
    pub(crate) fn status_when(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let (begin, mut connection) = (Instant::now(), self.connect());
        let body = json!({ "id": id }).to_string();
        loop {
            let status = connection.call(&Request::post("/status", &body));
            assert_eq!(status.status, 200, "{status:?}");
            let status = status.json();
            if is(&status) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{id} doesn't become {what}: {status}");
            // There is no call that waits.
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Has it stop, and waits until it has.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let begin = Instant::now();
        let lines = self.log.wait(|kept| kept.ended.then(|| kept.lines.clone()));
        let lines = lines.expect("it ends in time");
        // Nothing is left to do for it but to go.
        let code = self.child.wait().unwrap().code();
        Ended { code, lines, took: begin.elapsed() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// All that it logged.
    pub(crate) lines: Vec<String>,
    pub(crate) took: Duration,
}

/// What a server has logged so far.
#[derive(Default)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap().lines.clone()
    }

    /// Waits for such a line.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let line = self.wait(|kept| {
            let line = kept.lines.iter().find(|line| is(line)).cloned();
            if line.is_some() || kept.ended { Some(line) } else { None }
        });
        line.flatten().unwrap_or_else(|| panic!("no {what} in the log: {:#?}", self.lines()))
    }

    fn wait<T>(&self, found: impl Fn(&Kept) -> Option<T>) -> Option<T> {
        let kept = self.kept.lock().unwrap();
        let (kept, _) =
            self.changed.wait_timeout_while(kept, PATIENCE, |kept| found(kept).is_none()).unwrap();
        found(&kept)
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.lock().unwrap());
        self.changed.notify_all();
    }
}

/// The word in a line that follows `before`.
pub(crate) fn word_after<'a>(line: &'a str, before: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{before:?} in {line:?}"));
    rest.split_whitespace().next().unwrap_or_default()
}

pub(crate) fn signal(process: u32, name: &str) {
    let killed = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(killed.unwrap().success(), "{name} to {process}");
}

/// A body for `/send`.
pub(crate) fn params(id: &str, endpoint: &str) -> Value {
    json!({ "id": id, "type": "HTTPPOST", "endpoint": endpoint, "payload": { "body": "hello" } })
}
