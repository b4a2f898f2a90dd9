//! The threads that make attempts: at most one for each slot, and none for long
//! while there is nothing to do.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tokio::runtime::Handle;

/// How long a worker waits for more before it goes.
const IDLE: Duration = Duration::from_secs(10);

/// Blocking workers on the runtime's pool, started when needed.
pub(super) struct Workers {
    limit: usize,
    runtime: Handle,
    /// Does a piece of work; false if there is none.
    work: Box<dyn Fn() -> bool + Send + Sync>,
    crew: Mutex<Crew>,
    called: Condvar,
}

#[derive(Default)]
struct Crew {
    live: usize,
    idle: usize,
    /// There is something to do, and nobody has come for it yet.
    call: bool,
}

impl Workers {
    pub(super) fn new(
        limit: usize,
        runtime: Handle,
        work: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (crew, called) = (Mutex::default(), Condvar::new());
        Arc::new(Self { limit, runtime, work: Box::new(work), crew, called })
    }

    /// There is something to do: sees to it that one more worker looks for it.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut crew = self.crew.lock().expect(POISONED);
        if std::mem::replace(&mut crew.call, true) {
            return;
        }
        if crew.idle > 0 {
            self.called.notify_one();
        } else if crew.live < self.limit {
            crew.live += 1;
            let workers = self.clone();
            drop(crew);
            self.runtime.spawn_blocking(move || workers.run());
        }
        // Otherwise all are at work, and answer the call when they have done it.
    }

    fn run(&self) {
        loop {
            // Whoever looks answers the call: what comes after it is a new one.
            self.crew.lock().expect(POISONED).call = false;
            while (self.work)() {}
            let mut crew = self.crew.lock().expect(POISONED);
            if !crew.call {
                crew.idle += 1;
                let (woken, waited) =
                    self.called.wait_timeout_while(crew, IDLE, |crew| !crew.call).expect(POISONED);
                crew = woken;
                crew.idle -= 1;
                if waited.timed_out() && !crew.call {
                    crew.live -= 1;
                    return;
                }
            }
        }
    }
}

const POISONED: &str = "keeping count doesn't panic";
