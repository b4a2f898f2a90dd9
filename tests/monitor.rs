//! What a service manager's watchdog relies on: a server that works responds, one that hangs doesn't.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use notify_api::{
    ApiServer, DBDrv, DbError, Detail, Item, Monitor, Running, SenderOptions, State, Status, Timestamp,
    db::{Sending, sqlite::Sqlite},
    drivers::stub::Stub,
};
use support::harness::{MOMENT, PATIENCE, TenMethods};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// A call of the database that may hang.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Write,
    Claim,
    Ping,
}

/// A database of which one call hangs, while it is told so.
#[derive(Clone)]
struct Hanging {
    db: TenMethods,
    hangs: Arc<(Mutex<Option<Call>>, Condvar)>,
}

impl Hanging {
    fn set(&self, call: Option<Call>) {
        *self.hangs.0.lock().unwrap() = call;
        self.hangs.1.notify_all();
    }

    fn pass(&self, call: Call) -> &TenMethods {
        let hangs = self.hangs.0.lock().unwrap();
        drop(self.hangs.1.wait_while(hangs, |hangs| *hangs == Some(call)).unwrap());
        &self.db
    }
}

impl DBDrv for Hanging {
    fn create(&self, item: &Item) -> Result<(), DbError> {
        self.pass(Call::Write).create(item)
    }

    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError> {
        self.pass(Call::Write).resend(id, max_tries, now)
    }

    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError> {
        self.pass(Call::Write).update(id, tried, next_at, state, response)
    }

    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.db.result(id)
    }

    fn status(&self, id: &str) -> Result<Status, DbError> {
        self.db.status(id)
    }

    fn detail(&self, id: &str) -> Result<Detail, DbError> {
        self.db.detail(id)
    }

    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError> {
        self.pass(Call::Claim).pending(now, max_tries, drivers, sending)
    }

    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError> {
        self.pass(Call::Write).delete(id, sending)
    }

    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.pass(Call::Write).clear(before, sending)
    }

    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError> {
        self.pass(Call::Write).force_clear(before, sending)
    }

    fn ping(&self) -> Result<(), DbError> {
        match self.pass(Call::Ping).is_broken.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(DbError::unavailable("the server is away")),
            false => Ok(()),
        }
    }
}

async fn start() -> (Running, Hanging, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let db = Sqlite::open(directory.path().join("notify.db")).unwrap();
    let db = Hanging { db: TenMethods::new(db), hangs: Arc::default() };
    let mut server = ApiServer::new(SenderOptions::new(db.clone()));
    server.bind("127.0.0.1:0").register(Stub::new("STUB")).unwrap();
    (server.start().await.unwrap(), db, directory)
}

async fn responds(monitor: &Monitor, limit: Duration) -> bool {
    timeout(limit, monitor.responds()).await.is_ok()
}

/// Posts one, and doesn't wait for the answer.
async fn post(running: &Running) -> TcpStream {
    let body = r#"{"id": "first", "type": "STUB", "endpoint": "", "payload": "a"}"#;
    let head = format!("POST /send HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut client = TcpStream::connect(running.local_addr()).await.unwrap();
    client.write_all((head + body).as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn a_server_that_works_responds_again_and_again() {
    let (running, _db, _directory) = start().await;
    let monitor = running.monitor();
    for _ in 0..3 {
        assert!(responds(&monitor, PATIENCE).await);
    }
    running.shutdown(Duration::ZERO).await;
    assert!(responds(&monitor, PATIENCE).await, "what has ended doesn't hang");
}

#[tokio::test]
async fn a_thread_or_a_database_that_hangs_does_not_respond() {
    for call in [Call::Write, Call::Claim, Call::Ping] {
        let (running, db, _directory) = start().await;
        let monitor = running.monitor();
        db.set(Some(call));
        let _client = post(&running).await;
        // The recorder, then the sender, meet it sooner or later.
        let hung = async {
            while responds(&monitor, MOMENT).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, hung).await.unwrap_or_else(|_| panic!("{call:?}"));
        db.set(None);
        assert!(responds(&monitor, PATIENCE).await, "{call:?}");
        running.shutdown(PATIENCE).await;
    }
}

#[tokio::test]
async fn a_database_that_answers_with_errors_does_respond() {
    let (running, db, _directory) = start().await;
    let monitor = running.monitor();
    db.db.set_broken(true);
    let _client = post(&running).await;
    timeout(PATIENCE, monitor.trouble_changed()).await.unwrap();
    let trouble = monitor.activity().await.trouble.unwrap();
    assert!(trouble.contains("nothing can be stored"), "{trouble}");
    assert!(responds(&monitor, PATIENCE).await);
    db.db.set_broken(false);
    timeout(PATIENCE, monitor.trouble_changed()).await.unwrap();
    assert_eq!(monitor.activity().await.trouble, None);
    running.shutdown(PATIENCE).await;
}
