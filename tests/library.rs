//! The server as a part of another program.
#![cfg(feature = "sqlite")]

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use notify_api::{
    ApiServer, Attempt, Certificate, Delivery, Driver, InvalidDriver, Next, Rejected, SendError,
    SenderOptions, db::sqlite::Sqlite, listen,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::spawn_blocking};
use warp::Filter;

use support::{
    http::{Answer, Connection, Request},
    receiver::Gate,
};

mod support;

const GRACE: Duration = Duration::from_secs(10);

fn options(directory: &TempDir) -> SenderOptions {
    SenderOptions::new(Sqlite::open(directory.path().join("notify.db")).unwrap())
}

/// A driver whose sends are told by a function of the id.
struct Told<F>(&'static str, F);

impl<F: Fn(&str) -> Result<Vec<u8>, SendError> + Send + Sync + 'static> Driver for Told<F> {
    fn r#type(&self) -> &str {
        self.0
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        self.1(delivery.id)
    }

    fn verify(&self, content: &[u8]) -> Result<(), Rejected> {
        match content {
            br#""bad""# => Err(Rejected::new("the payload is bad")),
            br#""bug""# => panic!("a bug in a driver"),
            _ => Ok(()),
        }
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), Rejected> {
        if endpoint == "bad" { Err(Rejected::new("the endpoint is bad")) } else { Ok(()) }
    }
}

/// Delivers everything.
fn good(kind: &'static str) -> impl Driver {
    Told(kind, |_: &str| Ok(b"ok".to_vec()))
}

async fn post(address: SocketAddr, target: &'static str, body: Value) -> Answer {
    let call = move || Connection::open(address).call(&Request::post(target, &body.to_string()));
    spawn_blocking(call).await.unwrap()
}

async fn get(address: SocketAddr, target: &'static str) -> Answer {
    spawn_blocking(move || Connection::open(address).call(&Request::bodiless("GET", target))).await.unwrap()
}

async fn settled(address: SocketAddr, id: &'static str) -> Value {
    let begin = Instant::now();
    loop {
        let detail = post(address, "/detail", json!({ "id": id })).await.json();
        if detail["state"] != 0 {
            return detail;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{detail}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn start_and_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = ApiServer::new(options(&directory));
    server.bind("127.0.0.1:0").register(good("example.com/some_org/some_driver")).unwrap();
    let running = server.start().await.unwrap();
    let address = running.local_addr();
    assert!(address.ip().is_loopback() && address.port() != 0);
    let body =
        json!({ "id": "a", "type": "example.com/some_org/some_driver", "endpoint": "x", "payload": 1 });
    post(address, "/send", body).await.done("/send");
    let detail = settled(address, "a").await;
    assert_eq!((&detail["response"], &detail["tried"]), (&json!("b2s="), &json!(1)));
    running.shutdown(GRACE).await;
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn after_a_shutdown_the_database_is_free() {
    let directory = tempfile::tempdir().unwrap();
    for id in ["a", "b"] {
        let mut server = ApiServer::new(options(&directory));
        server.bind("127.0.0.1:0").register(good("A")).unwrap();
        let running = server.start().await.unwrap();
        let address = running.local_addr();
        post(address, "/send", json!({ "id": id, "type": "A" })).await.done(id);
        settled(address, id).await;
        assert_eq!(post(address, "/status", json!({ "id": "a" })).await.json()["state"], 1);
        running.shutdown(GRACE).await;
    }
}

#[tokio::test]
async fn a_type_is_registered_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = ApiServer::new(options(&directory));
    server.bind("127.0.0.1:0").register(good("A")).unwrap();
    let twice = server.register(Told("A", |_: &str| Err(SendError::permanent("never")))).err();
    assert_eq!(twice, Some(InvalidDriver::Twice("A".into())));
    server.register(good("a")).unwrap();
    let longest: &'static str = "x".repeat(255).leak();
    server.register(good(longest)).unwrap();
    for kind in ["", "a\0b", "x".repeat(256).leak()] {
        assert_eq!(server.register(good(kind)).err(), Some(InvalidDriver::BadType(kind.into())));
    }
    let running = server.start().await.unwrap();
    let address = running.local_addr();
    // The first one is the one that counts.
    for (id, kind) in [("1", "A"), ("2", "a"), ("3", longest)] {
        post(address, "/send", json!({ "id": id, "type": kind })).await.done(kind);
        assert_eq!(settled(address, id).await["state"], 1);
    }
    running.shutdown(GRACE).await;
}

#[tokio::test]
async fn what_a_driver_refuses_is_400_and_its_bug_500() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = ApiServer::new(options(&directory));
    server.bind("127.0.0.1:0").register(good("A")).unwrap();
    let running = server.start().await.unwrap();
    let address = running.local_addr();
    let send = |endpoint: &'static str, payload: &'static str| {
        let body = json!({ "id": "a", "type": "A", "endpoint": endpoint, "payload": payload });
        post(address, "/send", body)
    };
    assert_eq!(send("good", "bad").await.failure(400, "verify"), "the payload is bad");
    assert_eq!(send("bad", "good").await.failure(400, "check_endpoint"), "the endpoint is bad");
    assert!(!send("good", "bug").await.failure(500, "a panic").contains("a bug in a driver"));
    post(address, "/status", json!({ "id": "a" })).await.failure(404, "nothing was stored");
    send("good", "good").await.done("it goes on");
    running.shutdown(GRACE).await;
}

#[tokio::test]
async fn a_closure_is_a_scheduler() {
    let directory = tempfile::tempdir().unwrap();
    let (attempts, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (told, kept) = (attempts.clone(), asked.clone());
    let driver = Told("A", move |id: &str| {
        told.lock().unwrap().push(id.to_owned());
        Err(SendError::temporary("not yet"))
    });
    let mut options = options(&directory);
    options.max_tries = 5;
    options.scheduler = Arc::new(move |attempt: &Attempt<'_>| {
        kept.lock().unwrap().push((attempt.r#type.to_owned(), attempt.id.to_owned(), attempt.tried));
        if attempt.id == "stops" && attempt.tried == 1 { Next::Stop } else { Next::At(attempt.ended_at) }
    });
    let mut server = ApiServer::new(options);
    server.bind("127.0.0.1:0").register(driver).unwrap();
    let running = server.start().await.unwrap();
    let address = running.local_addr();
    for (id, made) in [("all", 5), ("stops", 2)] {
        post(address, "/send", json!({ "id": id, "type": "A" })).await.done(id);
        let detail = settled(address, id).await;
        // A stop uses all tries up.
        assert_eq!((&detail["state"], &detail["tried"]), (&json!(2), &json!(5)), "{id}");
        assert_eq!(detail["response"], "bm90IHlldA==");
        assert_eq!(attempts.lock().unwrap().iter().filter(|known| *known == id).count(), made);
        let expected: Vec<_> = (0..made as u32).map(|tried| ("A".to_owned(), id.to_owned(), tried)).collect();
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), expected);
    }
    running.shutdown(GRACE).await;
}

#[tokio::test]
async fn the_filter_is_composed_with_other_routes() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = ApiServer::new(options(&directory));
    server.token("hush").register(good("A")).unwrap();
    let service = server.open().await.unwrap();
    let version = warp::path!("version").map(|| "1.2.3");
    let tagged = warp::reply::with::header("x-served-by", "the other program");
    let routes = service.filter().or(version).with(tagged);
    let http = TowerToHyperService::new(warp::service(routes));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), http.clone());
            tokio::spawn(serving);
        }
    });

    let health = get(address, "/health").await;
    assert_eq!((health.status, health.header("x-served-by")), (200, Some("the other program")));
    assert_eq!(health.json()["status"], "ok");
    let version = get(address, "/version").await;
    assert_eq!((version.status, version.text()), (200, "1.2.3"));
    assert_eq!(get(address, "/nowhere").await.status, 404);
    post(address, "/send", json!({ "type": "A" })).await.failure(401, "no token");
    let get_send = get(address, "/send").await;
    get_send.failure(405, "another method");
    assert_eq!(get_send.header("allow"), Some("POST"));
    let sent = spawn_blocking(move || {
        let token = [("authorization", "Bearer hush")];
        Connection::open(address).call(&Request::post("/send", r#"{"type":"A"}"#).with(&token))
    });
    sent.await.unwrap().done("with the token");
    service.shutdown(GRACE).await;
}

#[tokio::test]
async fn start_tls() {
    let directory = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
    let (chain, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    fs::write(&chain, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();

    let mut server = ApiServer::new(options(&directory));
    server.bind("localhost:0");
    let running = server.start_tls(&chain, &key).await.unwrap();
    let url = format!("https://localhost:{}/health", running.local_addr().port());
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "--cacert"]).arg(&chain).arg(url);
    let output = spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(br#"{"status":"ok""#), "{output:?}");
    running.shutdown(GRACE).await;

    let error = ApiServer::new(options(&directory)).start_tls(&key, &key).await.unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("no certificate"), "{error}");
    assert!(Certificate::load(&chain, &chain).is_err());
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let taken = listen("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut server = ApiServer::new(options(&directory));
    server.bind(address.to_string());
    let error = server.start().await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    // The socket that is there already can be used instead.
    let mut server = ApiServer::new(options(&directory));
    server.listener(taken);
    let running = server.start().await.unwrap();
    assert_eq!(running.local_addr(), address);
    assert_eq!(get(address, "/health").await.status, 200);
    running.shutdown(GRACE).await;
}

#[tokio::test]
async fn shutdown_waits_for_running_sends_up_to_the_deadline() {
    for (grace, state) in [(GRACE, 1), (Duration::from_millis(300), 0)] {
        let directory = tempfile::tempdir().unwrap();
        let (gate, begun) = (Gate::default(), Gate::default());
        let (held, begins) = (gate.clone(), begun.clone());
        let mut server = ApiServer::new(options(&directory));
        let driver = Told("A", move |_: &str| {
            begins.open();
            held.pass();
            Ok(Vec::new())
        });
        server.bind("127.0.0.1:0").register(driver).unwrap();
        let running = server.start().await.unwrap();
        let address = running.local_addr();
        post(address, "/send", json!({ "id": "a", "type": "A" })).await.done("/send");
        spawn_blocking(move || begun.pass()).await.unwrap();

        let begin = Instant::now();
        let stopping = tokio::spawn(running.shutdown(grace));
        // It has begun to stop when nobody gets in any more.
        while tokio::net::TcpStream::connect(address).await.is_ok() {}
        if state == 1 {
            assert!(!stopping.is_finished());
            gate.open();
        }
        stopping.await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(5));
        let database = rusqlite::Connection::open(directory.path().join("notify.db")).unwrap();
        let row = database
            .query_row("select cur_state, tried from items", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok((state, state)));
        gate.open();
    }
}
