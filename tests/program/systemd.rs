//! What it does under systemd: the socket that it is passed, and what it tells.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::environment::refusal;
use crate::support::{
    http::{Connection, Request},
    receiver::{Gate, Receiver},
    server::{Home, Server, params},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with this socket passed to it as systemd does it, as the first of `count`.
fn passing(home: &Home, socket: impl Into<OwnedFd>, count: &str, variables: &[(&str, &str)]) -> Command {
    let script = "exec 3<&0 4<&0 </dev/null; export LISTEN_PID=\"${PID:-$$}\"; exec \"$0\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, env!("CARGO_BIN_EXE_notify-api")])
        .env_clear()
        .current_dir(home.path(""))
        .envs([("NOTIFY_DSN", "notify.db"), ("LISTEN_FDS", count)])
        .envs(variables.iter().copied())
        .stdin(Stdio::from(socket.into()));
    shell
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn over_restarts_with_a_passed_socket_no_request_is_refused_or_lost() {
    let (home, socket) = (Home::new(), listener());
    let address = socket.local_addr().unwrap();
    let start = || Server::start(passing(&home, socket.try_clone().unwrap(), "1", &[]));
    let stop = AtomicBool::new(false);
    // Nobody receives them: what is stored is what counts.
    let post = |client: i64| {
        let mut sent = 0_i64;
        while !stop.load(Ordering::Relaxed) {
            let body = params(&format!("{client}-{sent}"), "http://127.0.0.1:9/").to_string();
            let answer = Connection::open(address).call(&Request::post("/sendOnce", &body));
            assert_eq!(answer.status, 200, "{answer:?}");
            sent += 1;
        }
        sent
    };
    let mut server = start();
    assert_eq!(server.address(), address);
    let sent: i64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || post(client))).collect();
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(100));
            assert_eq!(server.stop().code, Some(0));
            server = start();
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(sent > 20, "{sent}");
    assert_eq!(home.rows(), sent);
}

#[test]
fn who_connects_while_nobody_runs_waits() {
    let (home, socket) = (Home::new(), listener());
    let mut early = Connection::open(socket.local_addr().unwrap());
    early.write(Request::bodiless("GET", "/health").bytes()).unwrap();
    let server = Server::start(passing(&home, socket.try_clone().unwrap(), "1", &[]));
    assert_eq!(early.answer().unwrap().status, 200);
    assert_eq!(server.stop().code, Some(0));
    // It is still open: the next one finds them waiting.
    let mut late = Connection::open(socket.local_addr().unwrap());
    late.write(Request::bodiless("GET", "/health").bytes()).unwrap();
    let server = Server::start(passing(&home, socket, "1", &[]));
    assert_eq!(late.answer().unwrap().status, 200);
    drop(server);
}

#[test]
fn an_address_that_is_not_the_passed_one_is_a_warning() {
    let warns = |bind: &str| {
        let (home, socket) = (Home::new(), listener());
        let bind = bind.replace("PORT", &socket.local_addr().unwrap().port().to_string());
        let server = Server::start(passing(&home, socket, "1", &[("NOTIFY_HTTP_BIND", &bind)]));
        let lines = server.stop().lines;
        lines.iter().any(|line| line.contains("WARN") && line.contains("NOTIFY_HTTP_BIND"))
    };
    assert!(warns("127.0.0.1:8080") && warns(":PORT") && warns("nonsense"));
    assert!(!warns("") && !warns("127.0.0.1:PORT") && !warns("localhost:PORT"));
}

#[test]
fn another_process_s_socket_is_none() {
    let (home, socket) = (Home::new(), listener());
    let passed = socket.local_addr().unwrap();
    let own = [("PID", "1"), ("NOTIFY_HTTP_BIND", "127.0.0.1:0")];
    assert_ne!(Server::start(passing(&home, socket, "1", &own)).address(), passed);
}

#[test]
fn anything_but_one_listening_tcp_socket_is_refused() {
    let home = Home::new();
    let said = |socket: OwnedFd, count: &str| {
        let mut program = passing(&home, socket, count, &[]);
        refusal(&program.output().unwrap())
    };
    assert!(said(listener().into(), "2").contains("2 sockets"));
    let here = listener();
    let connected = TcpStream::connect(here.local_addr().unwrap()).unwrap();
    let not_listening: [OwnedFd; 4] = [
        UnixListener::bind(home.path("unix")).unwrap().into(),
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        connected.into(),
        std::fs::File::open("/dev/null").unwrap().into(),
    ];
    for socket in not_listening {
        let line = said(socket, "1");
        assert!(line.contains("TCP") && line.contains("ListenStream="), "{line}");
    }
    assert_eq!(home.files(), ["unix"], "no database was touched");
}

/// systemd's side of `$NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn new(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The variables of a supervised program.
    fn variables(home: &Home) -> [(&'static str, String); 1] {
        [("NOTIFY_SOCKET", home.path("notify").to_str().unwrap().to_owned())]
    }

    /// The next that it is told.
    #[track_caller]
    fn told(&self) -> String {
        let mut text = [0; 4096];
        let length = self.0.recv(&mut text).expect("word from the program");
        String::from_utf8(text[..length].to_vec()).unwrap().trim_end().to_owned()
    }

    /// Listens until it is told this.
    #[track_caller]
    fn wait_for(&self, is: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let told = self.told();
            if is(&told) {
                return told;
            }
            assert!(begin.elapsed() < PATIENCE, "{told}");
        }
    }

    /// What it has been told and hasn't listened to.
    fn rest(&self) -> Vec<String> {
        self.0.set_nonblocking(true).unwrap();
        let mut text = [0; 4096];
        let mut rest = Vec::new();
        while let Ok(length) = self.0.recv(&mut text) {
            rest.push(String::from_utf8(text[..length].to_vec()).unwrap());
        }
        self.0.set_nonblocking(false).unwrap();
        rest
    }
}

fn start(home: &Home, variables: &[(&str, &str)]) -> Server {
    let named = Manager::variables(home);
    let named = named.iter().map(|(name, value)| (*name, value.as_str()));
    home.start(&named.chain(variables.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn it_tells_when_it_is_ready_how_it_is_and_that_it_stops() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let watchdog = [("WATCHDOG_USEC", "200000"), ("NOTIFY_STOP_TIMEOUT", "5000")];
    let server = start(&home, &watchdog);
    assert_eq!(manager.told(), "STATUS=opening the database");
    assert_eq!(manager.told(), "READY=1");
    // Twice in each interval, and before the status, which may take longer.
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
        assert_eq!(manager.told(), "STATUS=0 pending, 0 sending, 0 failed in the last hour");
    }
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |received| {
        if received.target == "/gone" {
            return (410, Vec::new());
        }
        held.pass();
        (200, Vec::new())
    });
    server.post("/send", params("gone", &receiver.url("/gone")).to_string()).done("/send");
    server.post("/send", params("slow", &receiver.url("/slow")).to_string()).done("/send");
    manager.wait_for(|told| told == "STATUS=1 pending, 1 sending, 1 failed in the last hour");
    gate.open();
    manager.wait_for(|told| told == "STATUS=0 pending, 0 sending, 1 failed in the last hour");
    server.signal("TERM");
    let stopping = manager.wait_for(|told| told.contains("STOPPING=1"));
    assert!(stopping.lines().any(|line| line == "EXTEND_TIMEOUT_USEC=5015000000"), "{stopping}");
    assert_eq!(server.ended().code, Some(0));
    assert!(manager.rest().is_empty(), "nothing comes after it");
}

#[test]
fn it_is_ready_only_when_clients_are_served() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let taken = listener();
    let bind = taken.local_addr().unwrap().to_string();
    for (variable, value) in [("NOTIFY_HTTP_BIND", bind.as_str()), ("NOTIFY_DSN", "/nowhere/notify.db")] {
        let named = Manager::variables(&home);
        let output = home.run(&[("NOTIFY_SOCKET", &named[0].1), (variable, value)], &[]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(manager.rest(), ["STATUS=opening the database\n"], "{variable}");
    }
    drop(taken);
    let (socket, named) = (listener(), Manager::variables(&home));
    let address = socket.local_addr().unwrap();
    let program = passing(&home, socket, "1", &[("NOTIFY_SOCKET", &named[0].1)]);
    let server = Server::start(program);
    manager.wait_for(|told| told == "READY=1");
    assert_eq!(Connection::open(address).call(&Request::bodiless("GET", "/health")).status, 200);
    drop(server);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let server = start(&home, &[("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1")]);
    manager.wait_for(|told| told.contains("0 pending"));
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.stop().code, Some(0));
    assert!(!manager.rest().concat().contains("WATCHDOG"));
}

#[test]
fn a_trouble_is_told_when_it_comes_and_goes_and_is_no_hang() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let server = start(&home, &[("WATCHDOG_USEC", "1000000")]);
    let other = home.database();
    other.execute_batch("begin immediate").unwrap();
    let answer = server
        .post("/send", json!({"id": "a", "type": "HTTPGET", "endpoint": "http://127.0.0.1:9/"}).to_string());
    assert_eq!(answer.status, 503);
    let trouble = manager.wait_for(|told| told.contains("nothing can be stored"));
    assert!(trouble.starts_with("STATUS=nothing can be stored") && trouble.lines().count() == 1, "{trouble}");
    manager.wait_for(|told| told == "WATCHDOG=1");
    other.execute_batch("rollback").unwrap();
    manager.wait_for(|told| told.contains(" pending") && !told.contains("stored"));
}

#[test]
fn a_stopped_process_feeds_no_watchdog() {
    let home = Home::new();
    let manager = Manager::new(&home);
    let server = start(&home, &[("WATCHDOG_USEC", "20000")]);
    manager.wait_for(|told| told == "WATCHDOG=1");
    server.signal("STOP");
    let stat = format!("/proc/{}/stat", server.process());
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        thread::sleep(Duration::from_millis(1));
    }
    manager.rest();
    thread::sleep(Duration::from_millis(200));
    assert!(manager.rest().is_empty());
    server.signal("CONT");
    manager.wait_for(|told| told == "WATCHDOG=1");
}
