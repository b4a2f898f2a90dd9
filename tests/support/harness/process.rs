//! The real program as a process of its own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{Api, PATIENCE, eventually, within};

/// A running server; it is killed when dropped.
pub(crate) struct Server {
    pub(crate) api: Api,
    child: Child,
    log: Arc<Log>,
}

/// What it wrote to stderr so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Server {
    /// The program with `notify.db` in this directory.
    #[track_caller]
    pub(crate) fn start(directory: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_notify-api"));
        command
            .env_clear()
            .env("NOTIFY_DSN", directory.join("notify.db"))
            .env("NOTIFY_HTTP_BIND", "127.0.0.1:0")
            .envs(variables.iter().copied());
        Self::run(command)
    }

    /// Any program that says `address=http://…` on stderr once it listens.
    #[track_caller]
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Log::default());
        let (stderr, writer) = (child.stderr.take().unwrap(), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().lines.push(line);
                writer.more.notify_all();
            }
            writer.lines.lock().unwrap().ended = true;
            writer.more.notify_all();
        });
        let mut server = Self { api: Api(([127, 0, 0, 1], 0).into()), child, log };
        let line = server.await_line(PATIENCE, |line| line.contains("address=http://"));
        let address = line.split("address=http://").nth(1).unwrap().split_whitespace().next().unwrap();
        server.api = Api(address.parse().unwrap());
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line.
    #[track_caller]
    pub(crate) fn await_line(&self, limit: Duration, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + limit;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !lines.ended, "this line didn't come:\n{}", lines.lines.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The log lines so far that contain this.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.log.lines.lock().unwrap();
        lines.lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let kill = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &pid]).status();
        assert!(kill.expect("there is a shell").success());
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn await_exit(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the server ends", || self.child.try_wait().unwrap())
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.await_exit(PATIENCE).code(), Some(0));
    }

    /// A value of `/proc/PID/status`, in kB.
    pub(crate) fn memory_kb(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        number_after(&status, field)
    }

    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// Voluntary context switches of all its threads so far.
    pub(crate) fn switches(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .map(|status| number_after(&status, "voluntary_ctxt_switches"))
            .sum()
    }
}

fn number_after(status: &str, field: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line[field.len()..].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
