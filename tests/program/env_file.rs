//! Variables from a file.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::environment::refusal;
use crate::support::{
    http::Request,
    receiver::Receiver,
    server::{Home, Server, params},
};

fn serve(home: &Home, variables: &[(&str, &str)]) -> Server {
    let mut program = home.program(variables);
    program.args(["--env-file", "env"]);
    Server::start(program)
}

#[test]
fn the_file_completes_the_environment() {
    let home = Home::new();
    let content =
        "# The service.\nNOTIFY_TOKEN='pa$$ \"word\\'\nNOTIFY_DSN=other.db\n\nNOTIFY_LOG = debug # no\n";
    fs::write(home.path("env"), content).unwrap();
    // What is set wins, also if it is empty.
    let server = serve(&home, &[("NOTIFY_LOG", "")]);
    let password = "pa$$ \"word\\";
    let bearer = format!("Bearer {password}");
    let request =
        Request { headers: &[("Authorization", &bearer)], ..Request::post("/status", br#"{"id":"a"}"#) };
    assert_eq!(server.call(&request).status, 404);
    assert_eq!(server.ask("/status", "a").status, 401);
    let command_line = fs::read(format!("/proc/{}/cmdline", server.process())).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains("pa$$"));
    let lines = server.stop().lines.concat();
    assert!(!lines.contains("DEBUG") && !lines.contains("pa$$"), "{lines}");
    assert!(home.path("notify.db").exists() && !home.path("other.db").exists(), "NOTIFY_DSN was set");
}

/// What isn't read by this program itself counts as well.
#[test]
fn a_proxy_of_the_file_is_used() {
    let home = Home::new();
    let proxy = Receiver::new();
    fs::write(home.path("env"), format!("http_proxy=\"{}\"", proxy.url(""))).unwrap();
    let server = serve(&home, &[]);
    server.post("/sendOnce", params("a", "http://hook.test/a").to_string()).done("/sendOnce");
    assert_eq!(proxy.wait_for(1)[0].target, "http://hook.test/a");
}

#[test]
fn commands_take_it_too() {
    let home = Home::new();
    home.start(&[("NOTIFY_DSN", "from.db")]).stop();
    fs::write(home.path("env"), "NOTIFY_DSN=into.db").unwrap();
    for arguments in [
        &["--env-file", "env", "import", "--from", "from.db"][..],
        &["import", "--from=from.db", "--env-file=env"],
    ] {
        let mut program = home.program(&[]);
        let output = program.env_remove("NOTIFY_DSN").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(home.path("into.db").exists() && !home.path("notify.db").exists());
        fs::remove_file(home.path("into.db")).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let home = Home::new();
    fs::write(home.path("latin"), b"NOTIFY_TOKEN=hush\xe9").unwrap();
    fs::create_dir(home.path("directory")).unwrap();
    for (file, reason) in [("none", "No such file"), ("latin", "no UTF-8 text"), ("directory", "directory")] {
        let line = refusal(&home.run(&[], &["--env-file", file]));
        assert!(line.contains(&format!("the file of variables {file:?} can't be read: ")), "{line}");
        assert!(line.contains(reason) && !line.contains("hush"), "{line}");
    }
    fs::write(home.path("env"), "NOTIFY_THREADS=ten").unwrap();
    let line = refusal(&home.run(&[], &["--env-file=env"]));
    assert!(line.starts_with("notify-api: NOTIFY_THREADS is \"ten\": "), "{line}");
    // No file is no mistake.
    let line = refusal(&home.run(&[("NOTIFY_THREADS", "0")], &["--env-file", ""]));
    assert!(line.starts_with("notify-api: NOTIFY_THREADS is \"0\": "), "{line}");

    let secret = home.path("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if fs::read(&secret).is_err() {
        let line = refusal(&home.run(&[], &["--env-file", "secret"]));
        assert!(line.contains("run it as root, or name another file by --env-file"), "{line}");
    }
}

#[test]
fn a_mistyped_name_is_a_warning() {
    let home = Home::new();
    fs::write(home.path("env"), "NOTIFY_TOKN=hush").unwrap();
    let ended = serve(&home, &[("NOTIFY_SMTP_PASSWORD", "hush"), ("NOTIFY_SOCKET", "/nowhere")]).stop();
    let warnings: Vec<&String> = ended.lines.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for warning in
        ["\"NOTIFY_TOKN\" means nothing, is NOTIFY_TOKEN meant?", "\"NOTIFY_SMTP_PASSWORD\" means nothing"]
    {
        assert!(ended.lines.iter().any(|line| line.contains(warning)), "{warning}: {:?}", ended.lines);
    }
    assert!(!ended.lines.concat().contains("hush"), "{:?}", ended.lines);
}
