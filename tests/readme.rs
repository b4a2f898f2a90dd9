//! README's examples, run as somebody would paste them.

mod support;

#[allow(dead_code)] // Other tests need the rest of it.
#[path = "support/appliance.rs"]
mod appliance;
#[allow(dead_code)] // Other tests need the rest of it.
#[path = "drivers_smtp/real.rs"]
mod real;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use appliance::{Appliance, ClosedPort, Status};
use real::RealServer;
use serde_json::{Value, json};
use support::sink::Sink;

/// How long anything that will happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The blocks of code in this language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let mut parts = readme.split("```");
    // Text and code alternate.
    parts.next();
    parts
        .step_by(2)
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .map(str::to_owned)
        .collect()
}

/// The only block that contains this.
fn block(needle: &str) -> String {
    let found: Vec<_> = blocks("sh").into_iter().filter(|block| block.contains(needle)).collect();
    assert_eq!(found.len(), 1, "{needle}: {found:?}");
    found.into_iter().next().unwrap()
}

/// With the ports of this test in the place of README's.
fn at(script: &str, server: SocketAddr, receiver: SocketAddr) -> String {
    script
        .replace("127.0.0.1:8080", &server.to_string())
        .replace("127.0.0.1:9000", &receiver.to_string())
        .replace("(\"127.0.0.1\", 9000)", &format!("(\"127.0.0.1\", {})", receiver.port()))
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn sh(script: &str) -> Ran {
    let output = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs what must succeed with empty answers, as a `/send` does.
fn accepted(script: &str) {
    let ran = sh(script);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{script}\n{}", ran.stderr);
}

/// README's receiver of webhooks, which prints what comes.
struct PrintingReceiver {
    child: Child,
    lines: Receiver<String>,
}

impl PrintingReceiver {
    fn start(port: &ClosedPort) -> Self {
        // `exec`, so that it is python that ends with this.
        let script = at(&format!("exec {}", block("import http.server")), port.address, port.address);
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let receiver = Self { child, lines };
        // It says nothing when it is ready.
        while std::net::TcpStream::connect(port.address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        receiver
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a webhook comes")
    }
}

impl Drop for PrintingReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn five_minutes() {
    let port = ClosedPort::reserve();
    let receiver = PrintingReceiver::start(&port);
    let appliance = Appliance::start([("NOTIFY_LOG", "info")]);
    let run = |appliance: &Appliance, script: &str| at(script, appliance.address, port.address);

    let sending = block("\"id\": \"first\", \"type\"");
    accepted(&run(&appliance, &sending));
    let line = "/hook {\"text\": \"the backup is done\"}";
    assert_eq!(receiver.next(), line);
    assert!(readme().contains(&format!("prints `{line}`")), "README says what comes");

    assert_eq!(appliance.outcome("first").state, Status::SUCCESS);
    let asked = sh(&run(&appliance, &block("/status   #")));
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    let (status, result) = asked.stdout.split_once("}").unwrap();
    let status: Value = serde_json::from_str(&format!("{status}}}")).unwrap();
    assert_eq!((&status["tried"], &status["state"]), (&json!(1), &json!(1)));
    assert_eq!(result.trim(), "thanks");
    assert_eq!(receiver.next(), line, "once more");
    appliance.status_when("first", |status| status.state == Status::SUCCESS);

    // Stop the receiver and send another one.
    drop(receiver);
    let another = sending.replace("\"first\"", "\"second\"");
    accepted(&run(&appliance, &another));
    let status = appliance.outcome("second");
    assert_eq!(status.state, Status::PENDING);
    assert!((50..=67).contains(&(status.next_at - appliance::now())), "within about a minute");
    assert!(appliance.result("second").starts_with("nobody answers at "), "{}", appliance.result("second"));

    // Kill the server and start it again, and the receiver too.
    let appliance = appliance.crash_and_restart();
    assert_eq!(appliance.status("first").state, Status::SUCCESS);
    let receiver = PrintingReceiver::start(&port);
    let resend = "curl -d '{\"id\": \"second\"}' 127.0.0.1:8080/resend";
    accepted(&run(&appliance, resend));
    assert_eq!(receiver.next(), line);
}

/// A crontab as cron reads it: the variable, and the command of the only job.
fn crontab(server: SocketAddr, receiver: SocketAddr) -> (String, String) {
    let [text] = blocks("crontab").try_into().unwrap();
    let text = at(&text, server, receiver);
    let notify = text.lines().find_map(|line| line.strip_prefix("NOTIFY=")).unwrap().to_owned();
    let job = text.lines().find_map(|line| line.strip_prefix("30 3 * * * ")).unwrap();
    assert!(!job.replace("\\%", "").contains('%'), "a bare % ends the command");
    (notify, job.replace("\\%", "%"))
}

fn run_job(notify: &str, job: &str) -> Ran {
    // The backup fails.
    let script = format!("NOTIFY='{notify}'\n{}", job.replace("backup.sh", "false"));
    sh(&script)
}

#[test]
fn the_crontab_is_silent_on_success_and_speaks_on_failure() {
    let sink = Sink::answering("200 OK", &[], "thanks");
    let appliance = Appliance::start([("NOTIFY_LOG", "info")]);
    let (notify, job) = crontab(appliance.address, sink.address);

    // What is repeated within a day is one notification.
    for _ in 0..2 {
        let ran = run_job(&notify, &job);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    }
    let seen = sink.wait_for(1);
    assert_eq!(
        (seen[0].line(), seen[0].body.as_slice()),
        ("POST /hook HTTP/1.1", &b"the backup has failed"[..])
    );
    let id = format!("backup-{}", sh("date +%F").stdout.trim());
    assert_eq!(seen[0].header("webhook-id"), [id.as_str()]);
    assert_eq!(appliance.outcome(&id).tried, 1);
    sink.only();

    // Refused.
    for (from, to, code, sentence) in [
        ("\"HTTPPOST\"", "\"HTTPOST\"", "400", "no driver of type \\\"HTTPOST\\\" is on"),
        ("has failed", "is late", "409", "is taken by other content"),
    ] {
        assert!(job.contains(from));
        let ran = run_job(&notify, &job.replace(from, to));
        assert_eq!(ran.code, Some(22), "{}", ran.stderr);
        assert!(ran.stderr.contains(code), "{}", ran.stderr);
        assert!(ran.stdout.starts_with("{\"error\":\"") && ran.stdout.contains(sentence), "{}", ran.stdout);
    }

    // Down. One retry is as good as five, and done in a second.
    drop(appliance);
    let port = ClosedPort::reserve();
    let (notify, job) = crontab(port.address, sink.address);
    assert!(notify.contains("--retry 5 "));
    let ran = run_job(&notify.replace("--retry 5 ", "--retry 1 "), &job);
    assert_eq!(ran.code, Some(7));
    assert!(ran.stderr.contains("Failed to connect") && ran.stdout.is_empty(), "{}", ran.stderr);
}

#[test]
fn a_restart_is_ridden_out() {
    let sink = Sink::answering("200 OK", &[], "thanks");
    let port = ClosedPort::reserve();
    let (notify, job) = crontab(port.address, sink.address);
    let curl = thread::spawn(move || run_job(&notify, &job));
    // Whether it has asked in vain by now or not, it finds somebody in the end.
    let _appliance = Appliance::start([("NOTIFY_HTTP_BIND", port.address.to_string())]);
    let ran = curl.join().unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    sink.wait_for(1);
}

#[test]
fn what_has_failed_is_seen_and_sent_again() {
    let sink = Sink::answering("500 Internal Server Error", &[], "sorry");
    let appliance = Appliance::start([("NOTIFY_LOG", "info")]);
    for id in ["first", "second"] {
        let body =
            json!({ "id": id, "type": "HTTPPOST", "endpoint": sink.url("/"), "payload": { "body": "" } });
        accepted(&at(&format!("curl -sd '{body}' 127.0.0.1:8080/sendOnce"), appliance.address, sink.address));
        appliance.status_when(id, |status| status.state == Status::FAILED);
    }
    let listed = sh(&at(&block("/list?state=failed"), appliance.address, sink.address));
    let listing: Value = serde_json::from_str(&listed.stdout).expect(&listed.stderr);
    assert_eq!((&listing["items"][1]["id"], &listing["next"]), (&json!("first"), &Value::Null));
    assert_eq!(listing["items"][1]["response"], "sorry");

    let program = Path::new(env!("CARGO_BIN_EXE_notify-api")).parent().unwrap().display();
    let script = format!(
        "export PATH={program}:$PATH NOTIFY_HTTP_BIND={}\n{}",
        appliance.address,
        block("notify-api list ")
    );
    let ran = sh(&script);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let begins = |words: &str| ran.stdout.lines().filter(|line| line.starts_with(words)).count();
    assert_eq!((begins("TIME "), begins("20")), (3, 6), "{}", ran.stdout);
    for line in ["failed notifications that would be sent again: 2", "failed notifications sent again: 2"] {
        assert_eq!(begins(line), 1, "{}", ran.stdout);
    }
    sink.wait_for(4);
}

/// Each example of a type, with services behind that take everything.
#[test]
fn each_types_example_is_delivered() {
    let sink = Sink::start(|seen, peer| match seen.line() {
        line if line.contains("/sendMessage") => peer.answer("200 OK", &[], br#"{"ok":true}"#),
        line if line.contains("/API21/") => peer.answer("200 OK", &[], b"97.00,1,1.0,0,id"),
        line if line.contains("/v3/mail/send") => peer.answer("202 Accepted", &[], b""),
        _ => peer.answer("200 OK", &[], b"thanks"),
    });
    let mail = RealServer::start();
    let appliance = Appliance::start([
        ("NOTIFY_LOG", "debug".to_owned()),
        ("NOTIFY_TG_TOKEN", "1:key".into()),
        ("NOTIFY_TG_TARGET", "me=123456789".into()),
        ("NOTIFY_TG_URL", sink.url("")),
        ("NOTIFY_SENDGRID_KEY", "key".into()),
        ("NOTIFY_SENDGRID_URL", sink.url("")),
        ("NOTIFY_AV8D_USER", "user".into()),
        ("NOTIFY_AV8D_PASS", "pass".into()),
        ("NOTIFY_AV8D_URL", sink.url("")),
        ("NOTIFY_SMTP_SERVER", format!("127.0.0.1:{}", mail.port)),
        ("NOTIFY_SMTP_FROM", "NAS <nas@example.org>".into()),
    ]);
    let mut count = 0;
    for script in blocks("sh").iter().filter(|block| block.contains("\"type\"")) {
        accepted(&at(script, appliance.address, sink.address));
        count += script.matches("\"type\": \"").count() - script.matches("\"text/plain\"").count();
    }
    assert_eq!(count, 7, "one of each kind, and the first of the tour");

    let seen = sink.wait_for(5);
    let request = |needle: &str| {
        let found = seen.iter().find(|seen| seen.line().contains(needle));
        let found = found.unwrap_or_else(|| panic!("no {needle} in {seen:#?}"));
        format!("{}\n{}", found.line(), String::from_utf8_lossy(&found.body))
    };
    assert_eq!(request("/ping"), "GET /ping?from=cron&text=all+is+well HTTP/1.1\n");
    assert_eq!(request("/hook"), "POST /hook HTTP/1.1\n{\"text\": \"the backup is done\"}");
    assert!(request("/bot1:key/sendMessage").ends_with("\nchat_id=123456789&text=The+backup+is+done."));
    assert!(request("/API21/").contains("MSG=The+backup+is+done.&DEST=0912345678%2C%2B886987654321"));
    let sendgrid = request("/v3/mail/send");
    let sendgrid: Value = serde_json::from_str(sendgrid.split_once('\n').unwrap().1).unwrap();
    assert_eq!(sendgrid["content"][0]["value"], "It is done.");

    let mut mails = [mail.next(), mail.next()];
    mails.sort_by_key(|mail| mail["subject"].to_string());
    assert_eq!((&mails[0]["subject"], &mails[1]["subject"]), (&json!("Backup"), &json!("Disk")));
    assert_eq!(mails[0]["root"]["parts"][1]["filename"], "log.txt");
    assert_eq!(mails[1]["root"]["type"], "multipart/related");
    assert_eq!(mails[1]["root"]["parts"][1]["id"], "<dot>");
    assert!(mail.ends_without_more());

    let log = appliance.stop();
    assert!(!log.contains("attempt failed") && !log.contains("FAILED"), "{log}");
}

/// Whatever README shows is run by one of these tests, except for what builds, tests and measures.
#[test]
fn no_example_is_left_out() {
    for block in blocks("sh").iter().filter(|block| !block.starts_with("cargo ")) {
        let is_run = ["\"type\"", "import http.server", "/status", "/list?state=failed", "notify-api list "]
            .iter()
            .any(|part| block.contains(part));
        assert!(is_run, "{block}");
    }
}
