//! An HTTP server that does what a test tells it, good or bad.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port of the loopback; it ends when it is dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    ended: AtomicBool,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line and the headers, with their line breaks.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Which request of that connection it is, from 0.
    pub(crate) nth: usize,
}

/// What follows an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    /// Closes the connection the hard way.
    Reset,
}

type Script = dyn Fn(&Seen, &mut Peer) -> Then + Send + Sync;

impl Sink {
    /// Runs `script` for each request.
    pub(crate) fn start(script: impl Fn(&Seen, &mut Peer) -> Then + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(script))
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Seen, &mut Peer) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(config), Arc::new(script))
    }

    /// Answers everything with this and keeps the connection.
    pub(crate) fn answering(
        status: &'static str,
        headers: &'static [(&str, &str)],
        body: &'static str,
    ) -> Self {
        Self::start(move |_, peer| peer.answer(status, headers, body.as_bytes()))
    }

    fn serve(tls: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { break };
                if accepting.ended.load(SeqCst) {
                    break;
                }
                let _ = stream.set_nodelay(true);
                let stream = Arc::new(stream);
                accepting.open.lock().unwrap().push(Arc::downgrade(&stream));
                let (shared, tls, script) = (accepting.clone(), tls.clone(), script.clone());
                thread::spawn(move || {
                    let _ = shared.talk(connection, stream, tls, &*script);
                });
            }
        });
        Self { address, shared }
    }

    /// A URL of this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request there was.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests: {seen:#?}");
        seen.into_iter().next().unwrap()
    }

    /// Waits for the `count`th request.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, timeout) =
            self.shared.changed.wait_timeout_while(seen, PATIENCE, |seen| seen.len() < count).unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests came", seen.len());
        seen.clone()
    }

    /// Closes all connections from this side.
    pub(crate) fn close_connections(&self) {
        let open: Vec<_> = self.shared.open.lock().unwrap().drain(..).collect();
        for stream in open.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.close_connections();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn talk(
        &self,
        connection: usize,
        handle: Arc<TcpStream>,
        tls: Option<Arc<ServerConfig>>,
        script: &Script,
    ) -> io::Result<()> {
        let tcp = Tcp(handle.clone());
        let stream: Box<dyn Stream> = match tls {
            Some(config) => {
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(connection, tcp))
            }
            None => Box::new(tcp),
        };
        let mut peer = Peer { stream: BufReader::new(stream), handle: handle.clone() };
        for nth in 0.. {
            let Some(seen) = peer.request(connection, nth)? else { break };
            self.seen.lock().unwrap().push(seen.clone());
            self.changed.notify_all();
            match script(&seen, &mut peer) {
                Then::Keep => {}
                Then::Close => {
                    let _ = handle.shutdown(Shutdown::Both);
                    break;
                }
                Then::Reset => {
                    // Dropped by the last handle, at the end of this function.
                    let _ = socket2::SockRef::from(&*handle).set_linger(Some(Duration::ZERO));
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of a header, its name in any case.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The names of all headers, in lower case and sorted.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.sort();
        names
    }
}

struct Tcp(Arc<TcpStream>);

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The client at the other end.
pub(crate) struct Peer {
    stream: BufReader<Box<dyn Stream>>,
    handle: Arc<TcpStream>,
}

impl Peer {
    /// A whole answer with a `Content-Length`.
    pub(crate) fn answer(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) -> Then {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        self.raw(&[head.as_bytes(), body].concat());
        Then::Keep
    }

    /// These bytes; whether they still reach anybody doesn't matter.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes).and_then(|()| self.stream.get_mut().flush());
    }

    /// These bytes one by one with a pause after each, until nobody takes them.
    pub(crate) fn drip(&mut self, bytes: impl IntoIterator<Item = u8>, pause: Duration) -> Then {
        for byte in bytes {
            let stream = self.stream.get_mut();
            if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() {
                break;
            }
            thread::sleep(pause);
        }
        Then::Close
    }

    /// Says nothing more until the client has gone.
    pub(crate) fn hang(&mut self) -> Then {
        let _ = io::copy(&mut self.stream, &mut io::sink());
        Then::Close
    }

    /// Reads nothing for that long.
    pub(crate) fn stall(&mut self, pause: Duration) -> Then {
        thread::sleep(pause);
        Then::Close
    }

    /// Passes all bytes between this client and `address` until one of them has gone.
    pub(crate) fn tunnel(&mut self, address: &str) -> Then {
        let Ok(mut upstream) = TcpStream::connect(address) else { return Then::Close };
        let (mut reading, mut writing) = (upstream.try_clone().unwrap(), self.handle.try_clone().unwrap());
        let back = thread::spawn(move || {
            let _ = io::copy(&mut reading, &mut writing);
            let _ = writing.shutdown(Shutdown::Both);
        });
        let _ = io::copy(&mut self.stream, &mut upstream);
        let _ = upstream.shutdown(Shutdown::Both);
        let _ = back.join();
        Then::Close
    }

    fn request(&mut self, connection: usize, nth: usize) -> io::Result<Option<Seen>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Ok(None);
            }
        }
        let mut seen = Seen { head, body: Vec::new(), connection, nth };
        // A server that answers before it has read all.
        if seen.line().contains("/early") {
            return Ok(Some(seen));
        }
        let length = seen.header("content-length").first().map_or(0, |value| value.parse().unwrap());
        seen.body.resize(length, 0);
        self.stream.read_exact(&mut seen.body)?;
        assert!(seen.header("transfer-encoding").is_empty(), "nothing here is sent in chunks");
        Ok(Some(seen))
    }
}
