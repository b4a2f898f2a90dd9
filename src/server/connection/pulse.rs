//! What one connection is doing, since when, and so when it has to be closed.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::server::listener::Limits;

/// The life signs of one connection, shared by the one who serves it, the IO it is served on and the accept
/// loop.
///
/// hyper has one timer for heads and lets it run while a connection is idle as well; ours tells the two apart,
/// and knows besides which connections may be closed when places are needed.
#[derive(Debug)]
pub(in crate::server) struct Pulse {
    limits: Limits,
    state: Mutex<State>,
    /// Told whenever this connection has become one that may be closed to make place.
    idle: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Since when the client has taken nothing of what it has to be sent.
    blocked: Option<Instant>,
    order: Order,
    /// Who serves the connection, to be woken by an order.
    server: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Connected, or begun to send: a whole head has to come.
    Head,
    /// A request is with the service, or its answer is being produced.
    Busy,
    /// The answer is complete but may not be written yet.
    Answered,
    /// Between two requests.
    Idle,
    /// We said that there is no more; what the client still sends is dropped.
    Closing {
        /// Bytes dropped.
        dropped: usize,
        /// When the latest of them came.
        heard: Instant,
    },
}

/// What the accept loop wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// Nothing.
    Stay,
    /// Its place is needed: go, unless a request comes before that.
    MakePlace,
    /// The server stops: finish the open request, or the one that is about to come, then go.
    Stop,
}

/// What follows for whoever serves the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing before this moment, if there is one.
    Until(Option<Instant>),
    /// Answer the open request, then close.
    Finish,
    /// Close now.
    Close,
}

impl Pulse {
    /// The pulse of a connection that was accepted right now.
    pub(in crate::server) fn new(limits: Limits, idle: Arc<Notify>) -> Arc<Pulse> {
        let state = State {
            phase: Phase::Head,
            since: Instant::now(),
            blocked: None,
            order: Order::Stay,
            server: None,
        };
        Arc::new(Pulse { limits, state: Mutex::new(state), idle })
    }

    /// Since when the connection has been of no use, if it may be closed to make place.
    pub(in crate::server) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.phase.is_idle().then_some(state.since)
    }

    /// Whether the connection was told to go and hasn't gone yet.
    pub(in crate::server) fn is_leaving(&self) -> bool {
        self.state().order != Order::Stay
    }

    /// Tells the connection to go because its place is needed; whether it will, which it does unless a request has
    /// come.
    pub(in crate::server) fn make_place(&self) -> bool {
        self.order(Order::MakePlace, Phase::is_idle)
    }

    /// Tells the connection to go as soon as the open request, if there is one, is answered.
    pub(in crate::server) fn stop(&self) {
        self.order(Order::Stop, |_| true);
    }

    /// Gives an order if it `suits` the phase. It is carried out when the connection is polled next, which this
    /// brings about.
    fn order(&self, order: Order, suits: impl FnOnce(&Phase) -> bool) -> bool {
        let mut state = self.state();
        if !suits(&state.phase) {
            return false;
        }
        state.order = order;
        let server = state.server.take();
        drop(state);
        if let Some(server) = server {
            server.wake();
        }
        true
    }

    /// What the connection has to do. `server` is woken when an order changes that; a deadline is the caller's to
    /// watch.
    pub(super) fn verdict(&self, server: &Waker) -> Verdict {
        let mut state = self.state();
        if !state.server.as_ref().is_some_and(|known| known.will_wake(server)) {
            state.server = Some(server.clone());
        }
        match (state.order, state.phase) {
            (Order::MakePlace, phase) if phase.is_idle() => Verdict::Close,
            (Order::Stop, Phase::Idle) => Verdict::Close,
            // Its request may be on its way, or here already.
            (Order::Stop, Phase::Head) => Verdict::Until(Some(state.since + self.limits.settle)),
            (Order::Stop, Phase::Busy | Phase::Answered) if state.blocked.is_none() => Verdict::Finish,
            _ => Verdict::Until(self.deadline(&state)),
        }
    }

    fn deadline(&self, state: &State) -> Option<Instant> {
        match state.phase {
            Phase::Head => Some(state.since + self.limits.head),
            Phase::Idle => Some(state.since + self.limits.idle),
            // How long the service may take is the service's own affair.
            Phase::Busy => state.blocked.map(|since| since + self.limits.idle),
            Phase::Answered => Some(state.blocked.unwrap_or(state.since) + self.limits.idle),
            Phase::Closing { heard, .. } => {
                Some((state.since + self.limits.linger).min(heard + self.limits.linger_quiet))
            }
        }
    }

    /// A whole head is here, the service begins. What is returned is to be dropped with the end of the answer.
    pub(super) fn request(self: &Arc<Self>) -> Request {
        let mut state = self.state();
        state.enter(Phase::Busy);
        if state.order == Order::MakePlace {
            // It came just in time; another one has to be found.
            state.order = Order::Stay;
            self.idle.notify_one();
        }
        Request(self.clone())
    }

    /// The client sent this many bytes, which hyper takes.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        if state.phase == Phase::Idle && bytes > 0 {
            state.enter(Phase::Head);
        }
    }

    /// The client took something of what it has to be sent, or doesn't now.
    pub(super) fn wrote(&self, progress: bool) {
        let mut state = self.state();
        if progress {
            state.blocked = None;
        } else if state.blocked.is_none() {
            state.blocked = Some(Instant::now());
        }
    }

    /// All that was to be written is written.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.blocked = None;
        if state.phase == Phase::Answered {
            state.enter(Phase::Idle);
            self.idle.notify_one();
        }
    }

    /// Nothing more will be written.
    pub(super) fn closing(&self) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Closing { .. }) {
            state.enter(Phase::Closing { dropped: 0, heard: Instant::now() });
            self.idle.notify_one();
        }
    }

    /// This many bytes were dropped after the last answer; whether more of them are bearable.
    pub(super) fn dropped(&self, bytes: usize) -> bool {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Closing { dropped, heard } => {
                *dropped += bytes;
                *heard = Instant::now();
                *dropped < self.limits.linger_bytes
            }
            _ => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl Phase {
    /// Whether nobody loses an answer when the connection is closed.
    fn is_idle(&self) -> bool {
        matches!(self, Phase::Head | Phase::Idle | Phase::Closing { .. })
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

/// A request that is being served; dropped when its answer has been produced or given up.
#[derive(Debug)]
pub(super) struct Request(Arc<Pulse>);

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.phase == Phase::Busy {
            state.enter(Phase::Answered);
        }
    }
}
