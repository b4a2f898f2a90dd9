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
    /// Does what there is to do.
    work: Box<dyn Fn() + Send + Sync>,
    crew: Mutex<Crew>,
    called: Condvar,
}

#[derive(Default)]
struct Crew {
    live: usize,
    idle: usize,
    /// There is something to do, and nobody has come for it yet.
    call: bool,
    /// There will be nothing to do any more.
    dismissed: bool,
}

impl Workers {
    pub(super) fn new(limit: usize, runtime: Handle, work: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (crew, called) = (Mutex::default(), Condvar::new());
        Arc::new(Self { limit, runtime, work: Box::new(work), crew, called })
    }

    /// There is something to do: sees to it that one more worker looks for it.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut crew = self.crew.lock().expect(POISONED);
        if crew.dismissed || std::mem::replace(&mut crew.call, true) {
            return;
        }
        if crew.idle > 0 {
            // It would wake up only to wait for the lock.
            drop(crew);
            self.called.notify_one();
        } else if crew.live < self.limit {
            crew.live += 1;
            let workers = self.clone();
            drop(crew);
            self.runtime.spawn_blocking(move || workers.run());
        }
        // Otherwise all are at work, and answer the call when they have done it.
    }

    /// Lets those go that have nothing to do, and the others when they are ready:
    /// they share the database, which somebody may want to open again.
    pub(super) fn dismiss(&self) {
        self.crew.lock().expect(POISONED).dismissed = true;
        self.called.notify_all();
    }

    fn run(&self) {
        loop {
            // Whoever looks answers the call: what comes after it is a new one.
            self.crew.lock().expect(POISONED).call = false;
            (self.work)();
            let mut crew = self.crew.lock().expect(POISONED);
            if !crew.call {
                crew.idle += 1;
                let waiting = |crew: &mut Crew| !crew.call && !crew.dismissed;
                crew = self.called.wait_timeout_while(crew, IDLE, waiting).expect(POISONED).0;
                crew.idle -= 1;
                if !crew.call {
                    crew.live -= 1;
                    return;
                }
            }
        }
    }
}

const POISONED: &str = "keeping count doesn't panic";
