//! The receiver of what is delivered: one thread that answers 200 and counts.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};

use crate::{Result, wire};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Connections come after the listeners, and the waker after everything.
const WAKER: Token = Token(usize::MAX);

/// Nothing arrived for so long: what is waited for doesn't come any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running sink.
pub(crate) struct Sink {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    start: Instant,
    count: AtomicU64,
    /// When the first and the latest one of `count` arrived, in nanoseconds after `start`.
    first: AtomicU64,
    latest: AtomicU64,
    arrivals: Mutex<Option<Sender<Instant>>>,
    is_watched: AtomicBool,
    stop: AtomicBool,
}

impl Sink {
    /// Listens on so many loopback addresses; each is a server of its own to the product.
    pub(crate) fn start(addresses: u8) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for number in 1..=addresses {
            let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, number], 0)))?;
            poll.registry().register(&mut listener, Token(listeners.len()), Interest::READABLE)?;
            listeners.push(listener);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            count: AtomicU64::new(0),
            first: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            arrivals: Mutex::new(None),
            is_watched: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("sink".into()).spawn({
            let shared = shared.clone();
            move || Serving { poll, listeners, connections: Vec::new(), free: Vec::new(), shared }.run()
        })?;
        Ok(Self { addresses, shared, waker, thread: Some(thread) })
    }

    /// A webhook on one of the addresses.
    pub(crate) fn hook(&self, address: usize) -> String {
        format!("http://{}/hook", self.addresses[address])
    }

    /// Webhooks on all of them.
    pub(crate) fn hooks(&self) -> Vec<String> {
        (0..self.addresses.len()).map(|address| self.hook(address)).collect()
    }

    /// How many requests have arrived since the last reset.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Acquire)
    }

    pub(crate) fn reset(&self) {
        self.shared.count.store(0, Ordering::Release);
    }

    /// Waits for so many since the last reset; returns when the last one of them arrived.
    pub(crate) fn wait_for(&self, count: usize) -> Result<Instant> {
        let mut seen = (self.count(), Instant::now());
        while seen.0 < count as u64 {
            thread::sleep(Duration::from_millis(5));
            let arrived = self.count();
            if arrived > seen.0 {
                seen = (arrived, Instant::now());
            } else if seen.1.elapsed() > PATIENCE {
                return Err(format!("{arrived} of {count} deliveries arrived, then none").into());
            }
        }
        Ok(self.shared.start + Duration::from_nanos(self.shared.latest.load(Ordering::Acquire)))
    }

    /// The same; returns how many arrived in a second.
    pub(crate) fn rate_of(&self, count: usize) -> Result<f64> {
        let latest = self.wait_for(count)?;
        let first = self.shared.start + Duration::from_nanos(self.shared.first.load(Ordering::Acquire));
        Ok((self.count() - 1) as f64 / (latest - first).as_secs_f64())
    }

    /// From now on, each arrival is told.
    pub(crate) fn arrivals(&self) -> Receiver<Instant> {
        let (sender, receiver) = mpsc::channel();
        *self.shared.arrivals.lock().expect("nobody panics with it") = Some(sender);
        self.shared.is_watched.store(true, Ordering::Release);
        receiver
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn arrived(&self) {
        let now = Instant::now();
        let nanos = (now - self.start).as_nanos() as u64;
        if self.count.load(Ordering::Relaxed) == 0 {
            self.first.store(nanos, Ordering::Relaxed);
        }
        self.latest.store(nanos, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
        if self.is_watched.load(Ordering::Acquire) {
            let mut arrivals = self.arrivals.lock().expect("nobody panics with it");
            if arrivals.as_ref().is_some_and(|sender| sender.send(now).is_err()) {
                *arrivals = None;
                self.is_watched.store(false, Ordering::Release);
            }
        }
    }
}

struct Serving {
    poll: Poll,
    listeners: Vec<TcpListener>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    shared: Arc<Shared>,
}

struct Connection {
    stream: TcpStream,
    request: Box<[u8; 16 << 10]>,
    filled: usize,
}

impl Serving {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.shared.stop.load(Ordering::Acquire) {
            if self.poll.poll(&mut events, None).is_err() {
                continue;
            }
            for event in &events {
                let Token(token) = event.token();
                if event.token() == WAKER {
                    continue;
                }
                if token < self.listeners.len() {
                    self.accept(token);
                    continue;
                }
                let place = token - self.listeners.len();
                let alive = self.connections[place].as_mut().is_some_and(|known| known.serve(&self.shared));
                if !alive && self.connections[place].take().is_some() {
                    self.free.push(place);
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) {
        while let Ok((mut stream, _)) = self.listeners[listener].accept() {
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let _ = stream.set_nodelay(true);
            let token = Token(self.listeners.len() + place);
            if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_ok() {
                let request = Box::new([0; 16 << 10]);
                self.connections[place] = Some(Connection { stream, request, filled: 0 });
            }
        }
    }
}

impl Connection {
    /// Answers what has arrived; false if the connection has ended.
    fn serve(&mut self, shared: &Shared) -> bool {
        loop {
            let room = self.request.len() - self.filled;
            let bytes = match self.stream.read(&mut self.request[self.filled..]) {
                Ok(0) => return false,
                Ok(bytes) => bytes,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            self.filled += bytes;
            while let Some(length) = wire::message_length(&self.request[..self.filled]) {
                if length > self.filled {
                    break;
                }
                shared.arrived();
                self.request.copy_within(length..self.filled, 0);
                self.filled -= length;
                // It fits into the socket's buffer: clients wait for one answer at a time.
                if self.stream.write(ANSWER).is_err() {
                    return false;
                }
            }
            // Less than the room there is: nothing more is there.
            if bytes < room {
                return true;
            }
        }
    }
}
