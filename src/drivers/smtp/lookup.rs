//! The addresses behind the server's name.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

use super::{Server, failure::Failure};

/// Looks the name up on a thread of its own, since the system's resolver knows
/// no deadline; those who ask meanwhile share its answer.
pub(super) struct Lookup {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    answered: Condvar,
}

struct State {
    is_running: bool,
    /// How many answers there were.
    answers: u64,
    latest: Result<Vec<SocketAddr>, String>,
}

impl Lookup {
    pub(super) fn new(server: Server) -> Self {
        let state = State { is_running: false, answers: 0, latest: Ok(Vec::new()) };
        Self { server, shared: Arc::new(Shared { state: Mutex::new(state), answered: Condvar::new() }) }
    }

    pub(super) fn addresses(&self, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(address) = self.server.address() {
            return Ok(vec![SocketAddr::new(address, self.server.port())]);
        }
        let lock = || self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        let answers = state.answers;
        if !state.is_running {
            let shared = Arc::clone(&self.shared);
            let name = (self.server.host(), self.server.port());
            thread::Builder::new().name("smtp-lookup".into()).spawn(move || shared.look_up(&name)).map_err(
                |error| Failure::temporary(format!("no thread for looking up {}: {error}", self.server)),
            )?;
            state.is_running = true;
        }
        while state.answers == answers {
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(Failure::unreachable(format!("looking up {} took too long", self.server.host())));
            }
            let answered = &self.shared.answered;
            state = answered.wait_timeout(state, remaining).unwrap_or_else(PoisonError::into_inner).0;
        }
        match &state.latest {
            Ok(addresses) => Ok(addresses.clone()),
            Err(reason) => {
                Err(Failure::unreachable(format!("{} has no address: {reason}", self.server.host())))
            }
        }
    }
}

impl Shared {
    fn look_up(&self, name: &(String, u16)) {
        let found = (name.0.as_str(), name.1).to_socket_addrs();
        let latest = found.map(Iterator::collect).map_err(|error| error.to_string());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { is_running: false, answers: state.answers + 1, latest };
        self.answered.notify_all();
    }
}
