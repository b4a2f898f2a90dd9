//! Copies, also of a database that is in use.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{damage, done, files, home_with, ids, refused};
use crate::support::{
    http::Request,
    receiver::Receiver,
    server::{Home, params},
};

#[test]
fn beside_a_busy_server_it_holds_all_that_was_accepted_before() {
    let home = Home::new();
    let server = home.start(&[]);
    let receiver = Receiver::answering(|_| (200, b"ok".to_vec()));
    let (accepted, ended) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        for client in 0..4 {
            let (accepted, ended, server, url) = (&accepted, &ended, &server, receiver.url("/"));
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in 0.. {
                    let id = format!("{client}-{number}");
                    let body = params(&id, &url).to_string();
                    connection.call(&Request::post("/send", &body)).done(&id);
                    accepted.lock().unwrap().push(id);
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for copy in ["1.db", "2.db", "3.db"] {
            let known = |count| accepted.lock().unwrap().len() >= count;
            while !known(100) {
                thread::sleep(Duration::from_millis(1));
            }
            let before = accepted.lock().unwrap().clone();
            let said = done(&home.run(&[], &["backup", copy]));
            let path = home.path(copy);
            let copied = ids(&path);
            let there: HashSet<&str> = copied.iter().map(String::as_str).collect();
            let lost: Vec<&String> = before.iter().filter(|id| !there.contains(id.as_str())).collect();
            assert!(lost.is_empty(), "{copy}: {lost:?}");
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            let name = path.canonicalize().unwrap();
            let line =
                format!("{} notifications, {} bytes in {}\n", copied.len(), metadata.len(), name.display());
            assert_eq!(said, line);
        }
        ended.store(true, Ordering::Relaxed);
    });
    let lines = server.stop().lines;
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "{lines:?}");
    assert_eq!(files(&home), ["1.db", "2.db", "3.db", "notify.db", "notify.db.lock"]);
}

#[test]
fn of_a_stopped_server_it_leaves_nothing_else() {
    let home = home_with(100);
    let mut names = home.files();
    let before = fs::metadata(home.path("notify.db")).unwrap();
    done(&home.run(&[], &["backup", "copy.db"]));
    names.push("copy.db".into());
    names.sort();
    let mut now = home.files();
    now.sort();
    assert_eq!(now, names);
    assert_eq!(ids(&home.path("copy.db")).len(), 100);
    let after = fs::metadata(home.path("notify.db")).unwrap();
    assert_eq!((before.mtime_nsec(), before.len()), (after.mtime_nsec(), after.len()));
}

#[test]
fn nothing_is_overwritten() {
    let home = home_with(10);
    fs::write(home.path("letter"), "dear aunt").unwrap();
    symlink("nowhere", home.path("link")).unwrap();
    for name in ["letter", "link", "notify.db", "./letter"] {
        let line = refused(&home.run(&[], &["backup", name]));
        assert!(line.contains("exists"), "{line}");
    }
    assert_eq!(fs::read_to_string(home.path("letter")).unwrap(), "dear aunt");
    assert_eq!(files(&home), ["letter", "link", "notify.db", "notify.db.lock"]);
    let line = refused(&home.run(&[], &["backup", "missing/copy.db"]));
    assert!(line.contains("no file or directory"), "{line}");
    let line = refused(&home.run(&[], &["backup", "--keep", "3", "copy.db"]));
    assert!(line.contains("--keep"), "{line}");
    let line = refused(&home.run(&[("NOTIFY_DSN", "other.db")], &["backup", "copy.db"]));
    assert!(line.contains("other.db"), "{line}");
    assert_eq!(files(&home), ["letter", "link", "notify.db", "notify.db.lock"]);
}

#[test]
fn of_many_at_once_one_makes_the_file() {
    let home = home_with(2_000);
    let outputs: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| home.run(&[], &["backup", "copy.db"]))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (made, refusals): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
    assert_eq!(made.len(), 1, "{outputs:#?}");
    for output in refusals {
        let line = refused(output);
        assert!(line.contains("exists") || line.contains("another process"), "{line}");
    }
    assert_eq!(ids(&home.path("copy.db")).len(), 2_000);
    assert_eq!(files(&home), ["copy.db", "notify.db", "notify.db.lock"]);
}

#[test]
fn one_that_is_killed_leaves_no_half_of_a_file() {
    let home = home_with(60_000);
    let mut child = home
        .program(&[])
        .args(["backup", "copy.db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let partial = home.path(".copy.db.partial");
    let begin = Instant::now();
    while fs::metadata(&partial).map_or(0, |file| file.len()) == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is being written");
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was still writing");
    assert!(!home.path("copy.db").exists() && partial.exists());
    // The next one takes its place.
    done(&home.run(&[], &["backup", "copy.db"]));
    assert_eq!(ids(&home.path("copy.db")).len(), 60_000);
    assert_eq!(files(&home), ["copy.db", "notify.db", "notify.db.lock"]);
}

#[test]
fn a_directory_keeps_the_newest_ones() {
    let home = home_with(10);
    fs::create_dir(home.path("copies")).unwrap();
    let old = ["notify-20200101T000000Z.db", "notify-20210101T000000Z.db", "notify-20220101T000000Z.db"];
    for name in old.iter().chain(&["notify.db", "letter"]) {
        fs::write(home.path("copies").join(name), "old").unwrap();
    }
    let copies = || {
        let mut names: Vec<String> = fs::read_dir(home.path("copies"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let said = done(&home.run(&[], &["backup", "copies"]));
    let new = said.trim().rsplit('/').next().unwrap().to_owned();
    assert!(new.starts_with("notify-2") && new.ends_with("Z.db") && new.len() == old[0].len(), "{new}");
    assert_eq!(copies(), ["letter", old[0], old[1], old[2], &new, "notify.db"]);
    assert_eq!(ids(&home.path("copies").join(&new)).len(), 10);
    // Also within the same second.
    let newer = done(&home.run(&[], &["backup", "--keep", "3", "copies/"]));
    let newer = newer.trim().rsplit('/').next().unwrap().to_owned();
    assert!(newer > new);
    assert_eq!(copies(), ["letter", old[2], &new, &newer, "notify.db"]);
}

#[test]
fn what_root_copies_stays_the_owners() {
    const NOBODY: u32 = 65534;
    let home = home_with(0);
    if chown(home.path("notify.db"), Some(NOBODY), Some(NOBODY)).is_err() {
        return; // Only root can give files away, and only root needs this.
    }
    chown(home.path("notify.db.lock"), Some(NOBODY), Some(NOBODY)).unwrap();
    // As a crash leaves it: what was written is in the journal, and there is no index of that.
    let server = home.start(&[]);
    server.post("/send", params("n", "http://127.0.0.1:9/").to_string()).done("/send");
    server.signal("KILL");
    server.ended();
    fs::remove_file(home.path("notify.db-shm")).unwrap();
    done(&home.run(&[], &["backup", "copy.db"]));
    done(&home.run(&[], &["verify"]));
    let owned = |name: &str| fs::metadata(home.path(name)).unwrap().uid() == NOBODY;
    for name in home.files().iter().filter(|name| name.starts_with("notify.db")) {
        assert!(owned(name), "{name}");
    }
    fs::remove_file(home.path("notify.db.lock")).unwrap();
    done(&home.run(&[], &["restore", "--force", "copy.db"]));
    for name in home.files().iter().filter(|name| name.starts_with("notify.db")) {
        assert!(owned(name), "{name}");
    }
    assert_eq!(ids(&home.path("notify.db")), ["n"]);
}

#[test]
fn a_copy_of_a_damaged_database_is_none() {
    let home = home_with(2_000);
    damage(&home.path("notify.db"));
    let line = refused(&home.run(&[], &["backup", "copy.db"]));
    assert!(line.contains("malformed") || line.contains("damaged"), "{line}");
    assert_eq!(files(&home), ["notify.db", "notify.db.lock"]);
}
