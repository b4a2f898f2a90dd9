//! The connections to the server: never more than there may be, each used again
//! while it is fresh, and closed soon after the last mail.
//!
//! Nothing wakes up while there is nothing to do: a thread that closes what is
//! left over lives only as long as something is.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use super::{connection::Connection, failure::Failure};

/// Room for QUIT over TLS.
const CLOSER_STACK_BYTES: usize = 256 * 1024;

/// The connections of an account.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    max: usize,
    keep_for: Duration,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    /// The one used latest at the back.
    idle: VecDeque<(Connection, Instant)>,
    /// Leases there are.
    leased: usize,
    /// Whether a closer lives.
    has_closer: bool,
}

/// The right to have one connection; given back when dropped.
pub(super) struct Lease<'a>(&'a Pool);

impl Pool {
    pub(super) fn new(max: usize, keep_for: Duration) -> Self {
        Self(Arc::new(Shared { max: max.max(1), keep_for, state: Mutex::default(), freed: Condvar::new() }))
    }

    /// Waits for a lease, and takes along a connection that was left, if there is one.
    pub(super) fn lease(&self, deadline: Instant) -> Result<(Lease<'_>, Option<Connection>), Failure> {
        let mut state = self.0.lock();
        while state.leased >= self.0.max {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(Failure::temporary("all connections to the mail server were in use"));
            }
            state = self.0.freed.wait_timeout(state, remaining).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.leased += 1;
        let lease = Lease(self);
        // One taken from the idle ones never adds to their number; and only
        // when there is none a new one is opened.
        let left = state.idle.pop_back();
        drop(state);
        let usable = left.and_then(|(connection, since)| {
            if since.elapsed() < self.0.keep_for && connection.is_quiet() {
                return Some(connection);
            }
            connection.quit();
            None
        });
        Ok((lease, usable))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.0.lock().idle);
        idle.into_iter().for_each(|(connection, _)| connection.leave());
    }
}

impl Lease<'_> {
    /// Leaves a connection for the next mail.
    pub(super) fn keep(self, connection: Connection) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if !state.has_closer {
            let weak = Arc::downgrade(shared);
            let wait = shared.keep_for;
            let closer = thread::Builder::new()
                .name("smtp-closer".into())
                .stack_size(CLOSER_STACK_BYTES)
                .spawn(move || close_left_over(&weak, wait));
            if closer.is_err() {
                drop(state);
                connection.quit();
                return;
            }
            state.has_closer = true;
        }
        state.idle.push_back((connection, Instant::now()));
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.0.lock().leased -= 1;
        self.0.0.freed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic can't leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody has used for a while, until nothing is left.
fn close_left_over(shared: &Weak<Shared>, mut wait: Duration) {
    loop {
        thread::sleep(wait);
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.lock();
        let fresh = state.idle.iter().position(|(_, since)| since.elapsed() < shared.keep_for);
        let count = fresh.unwrap_or(state.idle.len());
        let expired: Vec<_> = state.idle.drain(..count).collect();
        match state.idle.front() {
            Some((_, since)) => wait = shared.keep_for.saturating_sub(since.elapsed()),
            None => state.has_closer = false,
        }
        let is_done = !state.has_closer;
        drop(state);
        expired.into_iter().for_each(|(connection, _)| connection.quit());
        if is_done {
            return;
        }
    }
}
