//! Over real sockets, with a service of a few lines and limits that a test can wait for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use warp::Filter;
use warp::http::StatusCode;

use super::{Limits, Listener};

mod closing;
mod deadlines;
mod places;
mod stop;
mod tls;

/// Far longer than anything takes that is going to happen.
const SOON: Duration = Duration::from_secs(20);
/// Long enough to notice that something happens that mustn't.
const A_WHILE: Duration = Duration::from_millis(100);

/// Larger than what the kernel takes on behalf of a client that doesn't read.
const BIG: usize = 32 * 1024 * 1024;

/// A running server.
struct Server {
    address: SocketAddr,
    gate: Gate,
    stop: oneshot::Sender<Instant>,
    serving: JoinHandle<()>,
}

/// Holds up the requests for `/wait`.
#[derive(Clone)]
struct Gate {
    /// One for each request that has got to the gate.
    arrived: Arc<Semaphore>,
    /// One for each that may pass.
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Gate {
        Gate { arrived: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    async fn arrival(&self) {
        soon(self.arrived.acquire()).await.unwrap().forget();
    }

    fn let_one_pass(&self) {
        self.open.add_permits(1);
    }
}

impl Server {
    async fn start(limits: Limits) -> Server {
        Server::start_with(limits, None).await
    }

    async fn start_with(limits: Limits, tls: Option<TlsAcceptor>) -> Server {
        let listener = Listener::from_std(super::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let address = listener.local_addr();
        let gate = Gate::new();
        let (stop, stopped) = oneshot::channel();
        let service = TowerToHyperService::new(warp::service(routes(gate.clone())));
        let stopped = async { stopped.await.unwrap_or_else(|_| Instant::now()) };
        let serving = tokio::spawn(listener.serve(service, tls, limits, stopped));
        Server { address, gate, stop, serving }
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

fn routes(gate: Gate) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let hello = warp::path!("hello").map(|| "hello");
    let big = warp::path!("big").map(|| vec![b'x'; BIG]);
    let echo = warp::path!("echo").and(warp::body::bytes()).map(|body: Bytes| body.to_vec());
    let refuse =
        warp::path!("refuse").map(|| warp::reply::with_status("too much", StatusCode::PAYLOAD_TOO_LARGE));
    let panic = warp::path!("panic").map(|| -> &'static str { panic!("as the test wants it") });
    let wait = warp::path!("wait").and_then(move || {
        let gate = gate.clone();
        async move {
            gate.arrived.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
            Ok::<_, Infallible>("waited")
        }
    });
    hello.or(big).or(echo).or(refuse).or(panic).or(wait)
}

/// A client that says exactly what it is told to.
struct Client<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
        soon(self.0.flush()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    /// Reads one answer with a length; its head in lower case and its body.
    async fn answer(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(self.0.read_u8()).await.expect("the connection ended before the answer did"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        soon(self.0.read_exact(&mut body)).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// Reads until the connection ends, which must not be by a reset.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }

    /// Waits until the server has closed the connection without another word.
    async fn is_closed(&mut self) {
        match soon(self.0.read_u8()).await {
            Ok(byte) => panic!("the server sent something: {byte}"),
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
                    "{error}"
                );
            }
        }
    }

    /// Nothing happens for a while.
    async fn is_left_alone(&mut self) {
        let silent = timeout(A_WHILE, self.0.read_u8()).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    async fn is_served(&mut self) {
        self.get("/hello").await;
        assert_eq!(self.answer().await.1, "hello");
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it should have happened long ago")
}

/// Limits that never matter in a test, to be made narrower.
fn wide() -> Limits {
    Limits { connections: 100, ..Limits::default() }
}

#[tokio::test]
async fn many_requests_on_one_connection() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.get("/hello").await;
        let (head, body) = client.answer().await;
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(head.contains("\r\ndate: "), "{head}");
        assert_eq!(body, "hello");
    }
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nback").await;
    assert_eq!(client.answer().await.1, "back");
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    let one = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n";
    client.send(format!("{one}1{one}2{one}3")).await;
    for body in ["1", "2", "3"] {
        assert_eq!(client.answer().await.1, body);
    }
    client.is_served().await;
}

#[tokio::test]
async fn nonsense_gets_a_400_and_a_huge_head_a_431() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    client.send("how do you do?\r\n\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));

    let mut client = server.connect().await;
    client.send(format!("GET /hello HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "x".repeat(200_000))).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let server = Server::start(wide()).await;
    let mut other = server.connect().await;
    other.is_served().await;
    let mut client = server.connect().await;
    client.get("/panic").await;
    client.is_closed().await;
    other.is_served().await;
    server.connect().await.is_served().await;
}

#[tokio::test]
async fn a_client_may_end_its_side_before_the_answer() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    client.get("/wait").await;
    client.0.shutdown().await.unwrap();
    server.gate.arrival().await;
    server.gate.let_one_pass();
    assert!(client.rest().await.ends_with("waited"));
}
