//! The program itself, started as an operator starts it: with an environment,
//! in a folder of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// How long anything that will happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; it is killed when this is dropped.
pub(crate) struct Appliance {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Log>,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What it has written to stderr.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    text: String,
    has_ended: bool,
}

impl Appliance {
    /// Starts it with these variables and no others.
    pub(crate) fn start<V: Into<String>>(environment: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        Self::start_in(tempfile::tempdir().unwrap(), environment.collect())
    }

    fn start_in(folder: TempDir, environment: Vec<(String, String)>) -> Self {
        let mut child = command(folder.path(), &environment).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (writing, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        thread::spawn(move || writing.fill(stderr));
        let mut appliance =
            Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, log, folder, environment };
        let started = appliance.log.wait_for("address=http://");
        let address = started.split("address=http://").nth(1).unwrap().split_whitespace().next().unwrap();
        appliance.address = address.parse().unwrap();
        appliance
    }

    /// Kills it the hard way and starts it again, on the same database.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        let environment = std::mem::take(&mut self.environment);
        Self::start_in(folder, environment)
    }

    /// Stops it in order; returns all that it wrote to stderr.
    pub(crate) fn stop(mut self) -> String {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.whole()
    }

    /// Where the database is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What everybody on this machine can see of its command line.
    pub(crate) fn command_line(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/cmdline", self.child.id())).unwrap()
    }

    pub(crate) fn call(&self, endpoint: &str, body: &Value) -> Answer {
        self.call_raw(endpoint, &body.to_string())
    }

    /// A call as curl makes it.
    pub(crate) fn call_raw(&self, endpoint: &str, body: &str) -> Answer {
        let token = self.environment.iter().find(|(name, _)| name == "NOTIFY_TOKEN");
        let token = token.map(|(_, token)| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {endpoint} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { code, body: answer[end + 4..].to_vec() }
    }

    /// Sends what must be accepted.
    pub(crate) fn send(&self, id: &str, kind: &str, endpoint: &str, payload: &str) {
        self.accept("/send", id, kind, endpoint, payload);
    }

    pub(crate) fn accept(&self, call: &str, id: &str, kind: &str, endpoint: &str, payload: &str) {
        let answer = self.try_send(call, id, kind, endpoint, payload);
        assert_eq!((answer.code, answer.text().as_str()), (200, ""), "{kind} {payload}");
    }

    /// Asks for a notification whose payload is this text.
    pub(crate) fn try_send(&self, call: &str, id: &str, kind: &str, endpoint: &str, payload: &str) -> Answer {
        let (id, kind, endpoint) = (json!(id), json!(kind), json!(endpoint));
        self.call_raw(
            call,
            &format!(r#"{{"id": {id}, "type": {kind}, "endpoint": {endpoint}, "payload": {payload}}}"#),
        )
    }

    /// Its status, once that is as it should be. Nobody is told when that
    /// happens; clients ask.
    pub(crate) fn status_when(&self, id: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status(id);
            if is_so(&status) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{id}: {status:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its status after the first attempt.
    pub(crate) fn outcome(&self, id: &str) -> Status {
        self.status_when(id, |status| status.tried > 0)
    }

    pub(crate) fn status(&self, id: &str) -> Status {
        let answer = self.call("/status", &json!({"id": id}));
        assert_eq!(answer.code, 200, "{}", answer.text());
        let value = answer.json();
        let number = |name| value[name].as_i64().unwrap();
        Status {
            create_at: number("create_at"),
            next_at: number("next_at"),
            tried: number("tried"),
            state: number("state"),
        }
    }

    pub(crate) fn result(&self, id: &str) -> String {
        let answer = self.call("/result", &json!({"id": id}));
        assert_eq!(answer.code, 200, "{}", answer.text());
        answer.text()
    }

    pub(crate) fn detail(&self, id: &str) -> Value {
        let answer = self.call("/detail", &json!({"id": id}));
        assert_eq!(answer.code, 200, "{}", answer.text());
        answer.json()
    }

    /// Whether nothing is known of this id.
    pub(crate) fn is_unknown(&self, id: &str) -> bool {
        self.call("/status", &json!({"id": id})).code == 404
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn fill(&self, mut stderr: impl BufRead) {
        let mut line = String::new();
        while stderr.read_line(&mut line).is_ok_and(|count| count > 0) {
            self.state.lock().unwrap().text.push_str(&line);
            self.changed.notify_all();
            line.clear();
        }
        self.state.lock().unwrap().has_ended = true;
        self.changed.notify_all();
    }

    /// The first line that contains this.
    fn wait_for(&self, needle: &str) -> String {
        let found = |text: &str| text.lines().find(|line| line.contains(needle)).map(str::to_owned);
        let is_missing = |state: &mut LogState| found(&state.text).is_none() && !state.has_ended;
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, PATIENCE, is_missing).unwrap();
        found(&state.text).unwrap_or_else(|| panic!("no {needle:?} in:\n{}", state.text))
    }

    /// All of it, once it has ended.
    fn whole(&self) -> String {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, PATIENCE, |state| !state.has_ended).unwrap();
        state.text.clone()
    }
}

fn command(folder: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notify-api"));
    command
        .env_clear()
        .env("NOTIFY_HTTP_BIND", "127.0.0.1:0")
        .env("NOTIFY_DSN", folder.join("notify.db"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Why it does not start with these variables: the one line that it says. It
/// must not have touched a database by then.
pub(crate) fn refusal(environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut child = command(folder.path(), &environment).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("started") {
            let _ = child.kill();
        }
        said = said + &line + "\n";
    }
    assert_eq!(child.wait().unwrap().code(), Some(2), "{environment:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let left: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    said.trim_end().to_owned()
}

/// What `-h` prints with these variables.
pub(crate) fn help(environment: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_notify-api"))
        .arg("-h")
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The sentence of a refusal, in the one line that it must be.
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.code, 400, "{}", self.text());
        let text = self.text();
        assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text:?}");
        let error = self.json();
        assert_eq!(error.as_object().unwrap().len(), 1, "{text}");
        error["error"].as_str().unwrap().to_owned()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) create_at: i64,
    pub(crate) next_at: i64,
    pub(crate) tried: i64,
    pub(crate) state: i64,
}

impl Status {
    pub(crate) const PENDING: i64 = 0;
    pub(crate) const SUCCESS: i64 = 1;
    pub(crate) const FAILED: i64 = 2;
}

/// The time, as the API tells it.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// A port of the loopback where nobody listens, and nobody else will; a program
/// that sets `SO_REUSEADDR` can listen there all the same.
pub(crate) struct ClosedPort {
    _socket: Socket,
    pub(crate) address: SocketAddr,
}

impl ClosedPort {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { _socket: socket, address }
    }
}
