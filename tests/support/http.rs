//! A client of HTTP/1.1 that sends exactly what it is told, and keeps what it gets.

use std::{
    fmt::Debug,
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Longer than anything that the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(45);

/// A connection to a server.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Writes these bytes.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call(&mut self, request: &Request<'_>) -> Answer {
        self.write(request.bytes()).expect("the server takes the request");
        self.answer_to(request.method).expect("the server answers")
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self) -> Result<Answer> {
        self.answer_to("POST")
    }

    /// Reads the answer to a request of this method; `HEAD` gets no body.
    pub(crate) fn answer_to(&mut self, method: &str) -> Result<Answer> {
        let mut words = self.line()?;
        words.replace_range(..words.find(' ').ok_or(ErrorKind::InvalidData)? + 1, "");
        let status = words.get(..3).and_then(|code| code.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if method == "HEAD" || status == 204 || status < 200 {
            return Ok(answer);
        }
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        match length {
            Some(length) => {
                answer.body.resize(length, 0);
                self.0.read_exact(&mut answer.body)?;
            }
            None if answer.header("transfer-encoding").is_some() => self.chunks(&mut answer.body)?,
            None => {
                self.0.read_to_end(&mut answer.body)?;
            }
        }
        Ok(answer)
    }

    /// Waits until the server has closed the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Says that no more is coming from this side.
    pub(crate) fn finish(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(Error::other)?;
            let start = body.len();
            body.resize(start + length, 0);
            self.0.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

/// What to send.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn post(target: &'a str, body: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { method: "POST", target, headers: &[], body: body.as_ref() }
    }

    pub(crate) fn bodiless(method: &'a str, target: &'a str) -> Self {
        Self { method, target, headers: &[], body: b"" }
    }

    /// With these headers, too.
    pub(crate) fn with(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nhost: notify\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in *headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// The body, which is to be a line of JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let text = self.text();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "one line: {text:?}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// Checks that it is a success that says nothing.
    #[track_caller]
    pub(crate) fn done(self, what: impl Debug) -> Self {
        assert_eq!((self.status, self.text()), (200, ""), "{what:?}");
        self
    }

    /// Checks that it is a failure of this kind, and returns its sentence.
    #[track_caller]
    pub(crate) fn failure(&self, status: u16, what: impl Debug) -> String {
        assert_eq!(self.status, status, "{what:?}: {:?}", String::from_utf8_lossy(&self.body));
        let json = self.json();
        let fields = json.as_object().expect("an object");
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["error"], "{what:?}");
        let sentence = fields["error"].as_str().expect("a sentence");
        assert!(!sentence.is_empty(), "{what:?}");
        sentence.to_owned()
    }
}
