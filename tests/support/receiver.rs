//! A receiver of webhooks that keeps what it gets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// Longer than a delivery takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a delivery brought.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Listens on a port of its own; answers as it is told.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A status and a body for each request.
type Answering = dyn Fn(&Received) -> (u16, Vec<u8>) + Send + Sync;

struct Shared {
    received: Mutex<Vec<Received>>,
    came: Condvar,
    answer: Box<Answering>,
}

impl Receiver {
    /// Answers everything with 200 and `ok`.
    pub(crate) fn new() -> Self {
        Self::answering(|_| (200, b"ok".to_vec()))
    }

    /// Answers with this status and body; the delivery counts as received before.
    pub(crate) fn answering(answer: impl Fn(&Received) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { received: Mutex::default(), came: Condvar::new(), answer: Box::new(answer) });
        let receiving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = receiving.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// The URL of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until so many have come; returns all.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let received = self.shared.received.lock().unwrap();
        let (received, waited) = self
            .shared
            .came
            .wait_timeout_while(received, PATIENCE, |received| received.len() < count)
            .unwrap();
        assert!(!waited.timed_out(), "{count} deliveries expected, {} came", received.len());
        received.clone()
    }

    /// How many came at this path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared.received.lock().unwrap().iter().filter(|received| received.target == path).count()
    }
}

impl Shared {
    /// Until the other side has had enough.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut stream = BufReader::new(stream);
        loop {
            let received = receive(&mut stream)?;
            self.received.lock().unwrap().push(received.clone());
            self.came.notify_all();
            let (status, body) = (self.answer)(&received);
            let mut answer =
                format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
            answer.extend(body);
            stream.get_mut().write_all(&answer).ok()?;
        }
    }
}

fn receive(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut received = Received { method, target, headers, body: Vec::new() };
    if let Some(length) = received.header("content-length") {
        received.body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut received.body).ok()?;
    }
    Some(received)
}

/// Holds up those who come until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn pass(&self) {
        let Gate(shared) = self;
        let open = shared.0.lock().unwrap();
        drop(shared.1.wait_while(open, |open| !*open).unwrap());
    }

    pub(crate) fn open(&self) {
        let Gate(shared) = self;
        *shared.0.lock().unwrap() = true;
        shared.1.notify_all();
    }
}
