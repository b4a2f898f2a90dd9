//! A client of the HTTP API that does no more than a socket can.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::eventually;

/// Longer than any call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A server's address; each call has a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api(pub(crate) SocketAddr);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Api {
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        Connection::open(self.0)?.call(method, path, body)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string()).expect("the server answers")
    }

    /// `/send` that must be accepted.
    #[track_caller]
    pub(crate) fn send(&self, id: &str, kind: &str, endpoint: &str) {
        self.accept("/send", id, kind, endpoint);
    }

    #[track_caller]
    pub(crate) fn send_once(&self, id: &str, kind: &str, endpoint: &str) {
        self.accept("/sendOnce", id, kind, endpoint);
    }

    #[track_caller]
    fn accept(&self, path: &str, id: &str, kind: &str, endpoint: &str) {
        let body = json!({"id": id, "type": kind, "endpoint": endpoint, "payload": {"body": id}});
        let answer = self.post(path, &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A command on one notification; returns the status code.
    #[track_caller]
    pub(crate) fn command(&self, path: &str, id: &str) -> u16 {
        self.post(path, &json!({"id": id})).status
    }

    #[track_caller]
    pub(crate) fn resend(&self, id: &str) {
        assert_eq!(self.command("/resend", id), 200);
    }

    #[track_caller]
    pub(crate) fn delete(&self, id: &str) -> u16 {
        self.command("/delete", id)
    }

    #[track_caller]
    pub(crate) fn clear(&self, path: &str, before: i64) {
        let answer = self.post(path, &json!({"before": before}));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// `/status`, `None` if unknown.
    #[track_caller]
    pub(crate) fn find(&self, id: &str) -> Option<Value> {
        let answer = self.post("/status", &json!({"id": id}));
        match answer.status {
            200 => Some(answer.json()),
            404 => None,
            _ => panic!("{answer:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> Value {
        self.find(id).unwrap_or_else(|| panic!("{id} is unknown"))
    }

    /// One number of the status.
    #[track_caller]
    pub(crate) fn number(&self, id: &str, field: &str) -> i64 {
        self.status(id)[field].as_i64().expect("a number")
    }

    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> i64 {
        self.number(id, "state")
    }

    /// Waits until it has this state; returns the status then.
    #[track_caller]
    pub(crate) fn await_state(&self, id: &str, state: i64) -> Value {
        eventually(&format!("{id} gets state {state}"), || {
            Some(self.status(id)).filter(|status| status["state"] == state)
        })
    }

    /// Waits until so many attempts are counted; returns the status then.
    #[track_caller]
    pub(crate) fn await_tried(&self, id: &str, tried: u32) -> Value {
        eventually(&format!("{id} has been tried {tried} times"), || {
            Some(self.status(id)).filter(|status| status["tried"] == tried)
        })
    }

    /// The latest response, by `/detail`.
    #[track_caller]
    pub(crate) fn response(&self, id: &str) -> Option<Vec<u8>> {
        let detail = self.post("/detail", &json!({"id": id})).json();
        detail["response"].as_str().map(|text| BASE64_STANDARD.decode(text).unwrap())
    }

    /// The same as text.
    #[track_caller]
    pub(crate) fn response_text(&self, id: &str) -> String {
        String::from_utf8(self.response(id).expect("a response")).unwrap()
    }

    pub(crate) fn health(&self) -> u16 {
        self.call("GET", "/health", "").expect("/health answers").status
    }
}

/// A connection that is used for many calls.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes())?;
        let head = read_head(&mut self.0)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut body = vec![0; head.content_length];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, headers: head.headers, body })
    }
}

/// The part of a request or an answer that comes before its body.
pub(super) struct Head {
    pub(super) start: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content_length: usize,
}

/// `None` if the connection was closed instead.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut start = String::new();
    if reader.read_line(&mut start)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let content_length = headers.iter().find(|(name, _)| name == "content-length");
    let content_length = content_length.map_or(0, |(_, value)| value.parse().unwrap_or(0));
    Ok(Some(Head { start: start.trim_end().to_owned(), headers, content_length }))
}
