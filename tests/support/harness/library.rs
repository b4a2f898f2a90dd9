//! The library's server in this process, with drivers of the test's own.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use notify_api::{
    ApiServer, Attempt, DBDrv, Next, Retention, Scheduler, SenderOptions,
    db::sqlite::{OpenError, Sqlite},
};
use tokio::sync::oneshot;

use super::{Api, eventually};

/// How the server is set up.
pub(crate) struct Setup {
    pub(crate) max_tries: u32,
    pub(crate) threads: usize,
    pub(crate) scheduler: Arc<dyn Scheduler>,
}

impl Default for Setup {
    /// 32 tries, 4 threads, an hour between tries.
    fn default() -> Self {
        Self { max_tries: 32, threads: 4, scheduler: Arc::new(later) }
    }
}

fn later(attempt: &Attempt<'_>) -> Next {
    Next::At(attempt.ended_at + Duration::from_secs(3600))
}

/// Due again at once.
fn at_once(attempt: &Attempt<'_>) -> Next {
    Next::At(attempt.ended_at)
}

impl Setup {
    pub(crate) fn tries(mut self, max_tries: u32) -> Self {
        self.max_tries = max_tries;
        self
    }

    pub(crate) fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    pub(crate) fn scheduler(mut self, scheduler: impl Scheduler) -> Self {
        self.scheduler = Arc::new(scheduler);
        self
    }

    pub(crate) fn retry_at_once(self) -> Self {
        self.scheduler(at_once)
    }
}

/// A running server; it is stopped when dropped.
pub(crate) struct Library {
    pub(crate) api: Api,
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl Library {
    /// A server with `notify.db` in this directory.
    #[track_caller]
    pub(crate) fn start(
        directory: &Path,
        setup: Setup,
        register: impl FnOnce(&mut ApiServer) + Send + 'static,
    ) -> Self {
        let path = directory.join("notify.db");
        // An attempt that was cut off keeps its share of the database until it ends.
        let db = eventually("the former server has let go", || match Sqlite::open(&path) {
            Ok(db) => Some(db),
            Err(OpenError::Locked { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        Self::start_on(Arc::new(db), setup, register)
    }

    pub(crate) fn start_on(
        db: Arc<dyn DBDrv>,
        setup: Setup,
        register: impl FnOnce(&mut ApiServer) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let Setup { max_tries, threads, scheduler } = setup;
                let mut server = ApiServer::new(SenderOptions {
                    max_tries,
                    max_threads: threads,
                    scheduler,
                    db,
                    retention: Retention::default(),
                });
                server.bind("127.0.0.1:0");
                register(&mut server);
                let running = server.start().await.unwrap();
                started.send(running.local_addr()).unwrap();
                running.shutdown(stopped.await.unwrap_or_default()).await;
            });
            runtime.shutdown_background();
        });
        let api = Api(address.recv().expect("the server starts"));
        Self { api, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops it; running attempts get so much time.
    pub(crate) fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    fn end(&mut self, grace: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(grace);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}
