//! A mail server that does as it is told, right or wrong.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

/// How long anything that will happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose every connection is led by one function, on a thread of its own.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    heard: Receiver<String>,
}

impl Scripted {
    /// The function gets the number of the connection, from 0.
    pub(crate) fn start(script: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heard) = channel();
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut peer = Peer::new(stream.unwrap(), sender.clone());
                let script = Arc::clone(&script);
                thread::spawn(move || {
                    script(number, &mut peer);
                    peer.close();
                });
            }
        });
        Self { port, heard }
    }

    /// Waits until it hears a line that begins like this.
    pub(crate) fn wait_for(&self, beginning: &str) {
        while !self.heard.recv_timeout(PATIENCE).expect(beginning).starts_with(beginning) {}
    }

    /// Everything heard so far; `(closed)` where a connection ended.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.try_iter().collect()
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
    heard: Sender<String>,
}

impl Peer {
    fn new(stream: TcpStream, heard: Sender<String>) -> Self {
        // Nagle would hold back what is said byte by byte.
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), heard }
    }

    /// Sends a line; whether anybody is there to get it is not asked.
    pub(crate) fn say(&mut self, line: &str) {
        self.say_raw(format!("{line}\r\n").as_bytes());
    }

    pub(crate) fn say_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// The next line; empty at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.stream.read_line(&mut line);
        let line = line.trim_end().to_owned();
        if !line.is_empty() {
            let _ = self.heard.send(line.clone());
        }
        line
    }

    /// Waits until the other side has closed.
    pub(crate) fn hear_the_end(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    fn close(&mut self) {
        let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Both);
        let _ = self.heard.send("(closed)".into());
    }

    /// Leads a whole session as a good server does, but says what `answer`
    /// returns for a stage (`connect`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `mail`, …);
    /// an empty answer ends the session.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(&str, &str) -> Option<String>) {
        let mut stage = "connect".to_owned();
        let mut line = String::new();
        loop {
            let usual = match stage.as_str() {
                "connect" => "220 mail.test",
                "EHLO" => "250-mail.test\r\n250-SIZE 10000000\r\n250 AUTH PLAIN LOGIN",
                "AUTH" => "235 2.7.0 Welcome",
                "DATA" => "354 Go on",
                "QUIT" => "221 Bye",
                _ => "250 2.0.0 Ok",
            };
            let said = answer(&stage, &line).unwrap_or_else(|| usual.to_owned());
            if said.is_empty() {
                return;
            }
            self.say(&said);
            if stage == "QUIT" {
                return;
            }
            if stage == "DATA" && said.starts_with("354") {
                while !matches!(self.hear().as_str(), "." | "(closed)") {
                    if self.is_at_end() {
                        return;
                    }
                }
                stage = "mail".into();
                line.clear();
                continue;
            }
            if self.is_at_end() {
                return;
            }
            line = self.hear();
            stage = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}
