//! Receivers of webhooks on real sockets.

use std::{
    collections::HashSet,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, api::read_head};

/// What a receiver asks of itself.
const LAST: &str = "/the-last-connection";

/// Takes webhooks and remembers them.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// One request that has come in as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The notification's id.
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) at: Instant,
}

/// How to answer.
pub(crate) enum Reply {
    /// With this status and body.
    Status(u16, Vec<u8>),
    /// With a header too.
    Header(u16, &'static str, String),
    /// Not at all: the connection stays open until the client gives up.
    Hang,
    /// With a 200 once the gate is open.
    Wait(Gate),
    /// By closing the connection.
    Close,
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Status(200, b"taken".to_vec())
    }
}

/// Holds back whoever waits until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, PATIENCE * 3, |open| !*open).unwrap());
    }
}

type Handler = Box<dyn Fn(&Hit) -> Reply + Send + Sync>;

struct Shared {
    handler: Handler,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    hits: Vec<Hit>,
    open: usize,
    closed: bool,
}

impl Receiver {
    pub(crate) fn start(handler: impl Fn(&Hit) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { handler: Box::new(handler), state: Mutex::default(), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.state.lock().unwrap().closed {
                    return;
                }
                accepting.change(|state| state.open += 1);
                let shared = accepting.clone();
                thread::spawn(move || {
                    let _ = shared.serve(stream);
                    shared.change(|state| state.open -= 1);
                });
            }
        });
        Self { address, shared }
    }

    /// Answers everything with 200.
    pub(crate) fn friendly() -> Self {
        Self::start(|_| Reply::ok())
    }

    /// Accepts connections and never answers.
    pub(crate) fn blackhole() -> Self {
        Self::start(|_| Reply::Hang)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.shared.state.lock().unwrap().hits.clone()
    }

    pub(crate) fn count(&self, id: &str) -> usize {
        self.shared.state.lock().unwrap().hits.iter().filter(|hit| hit.id == id).count()
    }

    pub(crate) fn ids(&self) -> HashSet<String> {
        self.shared.state.lock().unwrap().hits.iter().map(|hit| hit.id.clone()).collect()
    }

    /// Waits until the hits are what they should be.
    #[track_caller]
    pub(crate) fn await_hits<T>(&self, limit: Duration, what: &str, look: impl Fn(&[Hit]) -> Option<T>) -> T {
        self.await_state(limit, what, |state| look(&state.hits))
    }

    /// Waits for this notification's `count`-th hit.
    #[track_caller]
    pub(crate) fn await_id(&self, id: &str, count: usize) -> Hit {
        self.await_hits(PATIENCE, &format!("hit {count} of {id}"), |hits| {
            hits.iter().filter(|hit| hit.id == id).nth(count - 1).cloned()
        })
    }

    /// Waits until all that was on its way here from a dead client has been read.
    #[track_caller]
    pub(crate) fn await_closed(&self) {
        // Connections are accepted in their order: once this one is, the earlier
        // ones are known.
        let mut last = TcpStream::connect(self.address).unwrap();
        write!(last, "GET {LAST} HTTP/1.1\r\n\r\n").unwrap();
        last.read_exact(&mut [0]).unwrap();
        drop(last);
        self.await_state(PATIENCE, "all connections end", |state| (state.open == 0).then_some(()));
    }

    #[track_caller]
    fn await_state<T>(&self, limit: Duration, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let hits = state.hits.len();
                drop(state);
                panic!("not within {limit:?}: {what}; {hits} hits so far");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.change(|state| state.closed = true);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(head) = read_head(&mut reader)? {
            io::copy(&mut reader.by_ref().take(head.content_length as u64), &mut io::sink())?;
            if head.start.contains(LAST) {
                return reader.get_mut().write_all(b"!");
            }
            let id = head.headers.iter().find(|(name, _)| name == "idempotency-key");
            let hit = Hit {
                id: id.map(|(_, id)| id.clone()).unwrap_or_default(),
                path: head.start.split(' ').nth(1).unwrap_or_default().to_owned(),
                at: Instant::now(),
            };
            self.change(|state| state.hits.push(hit.clone()));
            if !self.answer(&hit, &mut reader)? {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, hit: &Hit, reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
        let reply = (self.handler)(hit);
        if let Reply::Wait(gate) = &reply {
            gate.pass();
        }
        if matches!(reply, Reply::Hang) {
            let _ = io::copy(reader, &mut io::sink());
        }
        let (status, header, body) = match reply {
            Reply::Status(status, body) => (status, String::new(), body),
            Reply::Header(status, name, value) => (status, format!("{name}: {value}\r\n"), Vec::new()),
            Reply::Wait(_) => (200, String::new(), Vec::new()),
            Reply::Hang | Reply::Close => return Ok(false),
        };
        let length = body.len();
        let mut answer =
            format!("HTTP/1.1 {status} Status\r\n{header}Content-Length: {length}\r\n\r\n").into_bytes();
        answer.extend(body);
        reader.get_mut().write_all(&answer)?;
        Ok(true)
    }
}
