//! The load generator: keep-alive connections that each send the next request
//! when the last one is answered. One thread, two system calls a request.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{Result, proc, wire};

/// Bytes of the JSON text that is the payload.
pub(crate) const PAYLOAD: usize = 300;

/// Ids have this many bytes, those of a UUID.
const ID: usize = 36;

/// No answer for so long: the server hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A payload of [`PAYLOAD`] bytes for a webhook.
pub(crate) fn payload() -> String {
    let empty = "{\"body\":\"\"}".len();
    format!("{{\"body\":\"{}\"}}", "x".repeat(PAYLOAD - empty))
}

/// What ids look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Each sorts after the one before.
    Sequential,
    /// UUIDs of version 4.
    Random,
}

impl Ids {
    /// An id that no other call returns.
    pub(crate) fn make(self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        match self {
            Self::Sequential => format!("backup-2026-11-24-{:018}", NEXT.fetch_add(1, Ordering::Relaxed)),
            Self::Random => {
                let mut hex = format!("{:032x}", fastrand::u128(..));
                hex.replace_range(12..13, "4");
                for at in [8, 13, 18, 23] {
                    hex.insert(at, '-');
                }
                hex
            }
        }
    }
}

/// What is posted, to whom, over how many connections.
pub(crate) struct Load<'a> {
    pub(crate) server: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) ids: Ids,
    pub(crate) kind: &'a str,
    pub(crate) endpoint: &'a str,
}

/// When to end.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After a time to warm up and this time to measure.
    Time(Duration),
    /// After so many requests, all of them measured.
    Count(usize),
}

/// What came of it.
pub(crate) struct Answered {
    /// Answers while it measured.
    pub(crate) count: usize,
    /// Answers in all.
    pub(crate) posted: usize,
    pub(crate) seconds: f64,
    /// In seconds, sorted.
    latencies: Vec<f32>,
    /// What this thread cost, in cores.
    pub(crate) cores: f64,
}

impl Answered {
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The latency that this share of the requests kept.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.latencies, share)
    }
}

/// Of sorted values: the smallest one that this share of them doesn't exceed.
pub(crate) fn percentile(sorted: &[f32], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).map_or(0.0, |value| f64::from(*value))
}

impl Load<'_> {
    /// Posts as fast as the answers come.
    pub(crate) fn run(&self, until: Until) -> Result<Answered> {
        let (warm_up, end, mut left) = match until {
            Until::Time(time) => (time / 5, Some(time + time / 5), usize::MAX),
            Until::Count(count) => (Duration::ZERO, None, count),
        };
        let mut poll = Poll::new()?;
        let mut connections = Vec::with_capacity(self.connections);
        for token in 0..self.connections {
            let mut connection = Connection::new(self)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection.stream, Token(token), interest)?;
            connections.push(connection);
        }
        let begun = Instant::now();
        let measured_from = begun + warm_up;
        let mut latencies = Vec::new();
        let (mut open, mut posted) = (0, 0);
        for connection in &mut connections {
            if left > 0 {
                left -= 1;
                open += 1;
                connection.send(self.ids)?;
            }
        }
        let mut events = Events::with_capacity(self.connections.max(16));
        let mut cpu = proc::thread_cpu()?;
        let mut warm = warm_up.is_zero();
        let mut latest = begun;
        while open > 0 {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(format!("no answer within {PATIENCE:?}").into());
            }
            let now = Instant::now();
            let over = end.is_some_and(|end| now - begun >= end);
            if !warm && now >= measured_from {
                warm = true;
                cpu = proc::thread_cpu()?;
            }
            for event in &events {
                let connection = &mut connections[event.token().0];
                if connection.written < connection.request.len() {
                    connection.flush()?;
                }
                if !event.is_readable() || !connection.receive()? {
                    continue;
                }
                open -= 1;
                posted += 1;
                if warm && !over {
                    let now = Instant::now();
                    latencies.push((now - connection.sent_at).as_secs_f32());
                    latest = now;
                }
                if !over && left > 0 {
                    left -= 1;
                    open += 1;
                    connection.send(self.ids)?;
                }
            }
        }
        let seconds = (latest - measured_from.min(latest)).as_secs_f64();
        let cores = (proc::thread_cpu()? - cpu) / seconds;
        latencies.sort_unstable_by(f32::total_cmp);
        Ok(Answered { count: latencies.len(), posted, seconds, latencies, cores })
    }
}

/// A connection, with at most one request open.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The same every time but for the id, which has a fixed length.
    request: Vec<u8>,
    id_at: usize,
    written: usize,
    answer: [u8; 4096],
    filled: usize,
    sent_at: Instant,
}

impl Connection {
    fn new(load: &Load<'_>) -> Result<Self> {
        let stream = std::net::TcpStream::connect(load.server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (kind, endpoint, payload) = (load.kind, load.endpoint, payload());
        let (before, id) = ("{\"id\":\"", "0".repeat(ID));
        let body =
            format!("{before}{id}\",\"type\":\"{kind}\",\"endpoint\":\"{endpoint}\",\"payload\":{payload}}}");
        let head = format!(
            "POST /send HTTP/1.1\r\nhost: {}\r\nuser-agent: bench\r\naccept: */*\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n",
            load.server,
            body.len()
        );
        Ok(Self {
            stream: TcpStream::from_std(stream),
            id_at: head.len() + before.len(),
            written: 0,
            request: (head + &body).into_bytes(),
            answer: [0; 4096],
            filled: 0,
            sent_at: Instant::now(),
        })
    }

    fn send(&mut self, ids: Ids) -> Result<()> {
        self.request[self.id_at..self.id_at + ID].copy_from_slice(ids.make().as_bytes());
        self.written = 0;
        self.sent_at = Instant::now();
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the answer has come in whole. Less than the room there is means
    /// that nothing more is there: no second call tells so.
    fn receive(&mut self) -> Result<bool> {
        loop {
            let room = self.answer.len() - self.filled;
            match self.stream.read(&mut self.answer[self.filled..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(bytes) => {
                    self.filled += bytes;
                    let answer = &self.answer[..self.filled];
                    if wire::message_length(answer).is_some_and(|length| length <= self.filled) {
                        if !wire::is_ok(answer) {
                            return Err(
                                format!("not a 200: {}", String::from_utf8_lossy(answer).trim()).into()
                            );
                        }
                        self.filled = 0;
                        return Ok(true);
                    }
                    if bytes < room {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One request at a time over one blocking connection; returns when the answer is there.
pub(crate) struct Client {
    stream: std::net::TcpStream,
    inner: Connection,
}

impl Client {
    pub(crate) fn new(load: &Load<'_>) -> Result<Self> {
        let inner = Connection::new(load)?;
        let stream = std::net::TcpStream::connect(load.server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, inner })
    }

    /// When the answer was there.
    pub(crate) fn post(&mut self, ids: Ids) -> Result<Instant> {
        let Connection { request, id_at, answer, .. } = &mut self.inner;
        request[*id_at..*id_at + ID].copy_from_slice(ids.make().as_bytes());
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            match self.stream.read(&mut answer[filled..])? {
                0 => return Err("the server closed the connection".into()),
                bytes => filled += bytes,
            }
            if wire::message_length(&answer[..filled]).is_some_and(|length| length <= filled) {
                let now = Instant::now();
                return if wire::is_ok(&answer[..filled]) { Ok(now) } else { Err("not a 200".into()) };
            }
        }
    }
}
