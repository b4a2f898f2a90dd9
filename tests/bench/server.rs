//! Processes to measure, each started as the unit of the service would start it.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{Result, load::payload, wire};

/// The release binary.
pub(crate) const PRODUCT: &str = env!("CARGO_BIN_EXE_notify-api");

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a log that are kept, to tell why a process has ended.
const LAST_WORDS: usize = 5;

/// What to start.
pub(crate) enum Program<'a> {
    /// The release binary on this database.
    Product { db: &'a Path },
    /// The library with a driver that does nothing.
    Nothing { db: &'a Path },
    /// A warp route that parses and answers, and stores nothing.
    Bare,
    /// The product's HTTP driver in a loop: that many posts to this hook.
    Loop { hook: &'a str, count: usize },
}

/// A process; it is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    last_words: Arc<Mutex<VecDeque<String>>>,
    addresses: mpsc::Receiver<SocketAddr>,
}

impl Process {
    pub(crate) fn start(program: &Program<'_>, port: u16, timeout: u64) -> Result<Self> {
        let bind = format!("127.0.0.1:{port}");
        let mut command = match program {
            Program::Product { db } => {
                let mut command = Command::new(PRODUCT);
                // Nothing of the caller's environment, proxies least of all.
                command.env_clear().env("NOTIFY_DSN", db).env("NOTIFY_HTTP_BIND", bind);
                command.env("NOTIFY_HTTP_TIMEOUT", timeout.to_string());
                command
            }
            own => {
                let mut command = Command::new(std::env::current_exe()?);
                command.env_clear();
                match own {
                    Program::Nothing { db } => command.arg("serve-nothing").arg(db).arg(bind),
                    Program::Loop { hook, count } => command.arg("loop").arg(hook).arg(count.to_string()),
                    _ => command.arg("serve-bare").arg(bind),
                };
                command
            }
        };
        command.env("MALLOC_ARENA_MAX", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, addresses) = mpsc::channel();
        thread::spawn({
            let last_words = last_words.clone();
            move || {
                for line in BufReader::new(stderr).lines().map_while(std::io::Result::ok) {
                    if let Some(address) = address_in(&line) {
                        let _ = sender.send(address);
                    }
                    let mut words = last_words.lock().expect("nobody panics with it");
                    words.push_back(line);
                    if words.len() > LAST_WORDS {
                        words.pop_front();
                    }
                }
            }
        });
        Ok(Self { child, last_words, addresses })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would, but for the disk.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(mut self) -> Result<()> {
        let sent = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status()?;
        if !sent.success() {
            return Err("kill failed".into());
        }
        self.wait_for_end()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.ended(status).into()),
                None if begun.elapsed() > PATIENCE => return Err("a process doesn't end".into()),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn address(&mut self) -> Result<SocketAddr> {
        match self.addresses.recv_timeout(PATIENCE) {
            Ok(address) => Ok(address),
            Err(_) => match self.child.try_wait()? {
                Some(status) => Err(self.ended(status).into()),
                None => Err("a server doesn't start".into()),
            },
        }
    }

    fn ended(&self, status: ExitStatus) -> String {
        let words = self.last_words.lock().expect("nobody panics with it");
        format!("a process ended with {status}: {}", Vec::from_iter(words.iter().cloned()).join(" / "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line of a log that tells where a server listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A process that listens.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(program: &Program<'_>) -> Result<Self> {
        Self::with_timeout(program, 10)
    }

    /// One delivery may take this many seconds.
    pub(crate) fn with_timeout(program: &Program<'_>, timeout: u64) -> Result<Self> {
        let mut process = Process::start(program, 0, timeout)?;
        let address = process.address()?;
        Ok(Self { process, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()
    }

    pub(crate) fn kill(self) -> Result<()> {
        self.process.kill()
    }
}

/// Starts the product and posts to it; returns how long it took from the start
/// of the process to the 200, in seconds.
pub(crate) fn time_to_first_200(db: &Path, id: &str, hook: &str) -> Result<f64> {
    // A port that was free just now: who waits for a port to be told, measures that as well.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let payload = payload();
    let body =
        format!("{{\"id\":\"{id}\",\"type\":\"HTTPPOST\",\"endpoint\":\"{hook}\",\"payload\":{payload}}}");
    let request =
        format!("POST /send HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let begun = Instant::now();
    let process = Process::start(&Program::Product { db }, port, 10)?;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 4096];
    let bytes = stream.read(&mut answer)?;
    let seconds = begun.elapsed().as_secs_f64();
    if !wire::is_ok(&answer[..bytes]) {
        return Err(format!("not a 200: {}", String::from_utf8_lossy(&answer[..bytes])).into());
    }
    process.stop()?;
    Ok(seconds)
}
