//! A copy in the place of the database.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use rusqlite::Connection as Database;

use super::{damage, done, files, home_with, ids, insert, refused};
use crate::support::{
    receiver::{Gate, Receiver},
    server::{Home, params},
};

/// The name of the file that was kept.
fn kept(home: &Home) -> String {
    let kept: Vec<String> =
        files(home).into_iter().filter(|name| name.starts_with("notify.db.before-restore-")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept.into_iter().next().unwrap()
}

#[test]
fn there_and_back() {
    let gate = Gate::default();
    let held = gate.clone();
    let receiver = Receiver::answering(move |request| {
        if request.target == "/slow" {
            held.pass();
        }
        (200, b"ok".to_vec())
    });
    let home = Home::new();
    let server = home.start(&[("NOTIFY_HTTP_TIMEOUT", "600")]);
    server.post("/send", params("done", &receiver.url("/quick")).to_string()).done("/send");
    server.settled("done");
    server.post("/send", params("waits", &receiver.url("/slow")).to_string()).done("/send");
    done(&home.run(&[], &["backup", "copy.db"]));
    gate.open();
    server.settled("waits");
    server.post("/send", params("later", &receiver.url("/quick")).to_string()).done("/send");
    server.settled("later");
    // What a crash leaves in the journal belongs to the database before.
    server.signal("KILL");
    server.ended();
    assert!(home.path("notify.db-wal").exists());
    fs::set_permissions(home.path("notify.db"), fs::Permissions::from_mode(0o640)).unwrap();

    let line = refused(&home.run(&[], &["restore", "copy.db"]));
    assert!(line.contains("3 notifications") && line.contains("--force"), "{line}");
    assert!(home.path("notify.db-wal").exists(), "nothing was touched");
    let said = done(&home.run(&[], &["restore", "--force", "copy.db"]));
    assert!(said.starts_with("2 notifications in notify.db; 1 of them are pending"), "{said}");
    let kept = kept(&home);
    assert!(said.contains(&kept), "{said}");
    assert_eq!(files(&home), ["copy.db", "notify.db", &*kept, "notify.db.lock"]);
    assert_eq!(ids(&home.path(&kept)), ["done", "later", "waits"]);
    assert_eq!(ids(&home.path("notify.db")), ["done", "waits"]);
    let mode = fs::metadata(home.path("notify.db")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640);

    let slow = receiver.count("/slow");
    let server = home.start(&[]);
    assert_eq!(server.settled("waits")["state"], 1);
    assert_eq!(receiver.count("/slow"), slow + 1, "it is sent again");
    assert_eq!(server.ask("/status", "later").status, 404);
    assert_eq!(server.ask("/status", "done").json()["state"], 1);
    server.post("/send", params("new", &receiver.url("/quick")).to_string()).done("/send");
    server.settled("new");
}

#[test]
fn where_nothing_is_there_is_nothing_to_force() {
    let home = home_with(100);
    done(&home.run(&[], &["backup", "copy.db"]));
    fs::create_dir(home.path("new")).unwrap();
    let dsn = [("NOTIFY_DSN", "new/notify.db")];
    // No file, an empty file, and a database without notifications.
    done(&home.run(&dsn, &["restore", "copy.db"]));
    assert_eq!(ids(&home.path("new/notify.db")).len(), 100);
    fs::write(home.path("new/notify.db"), "").unwrap();
    done(&home.run(&dsn, &["restore", "copy.db"]));
    Database::open(home.path("new/notify.db")).unwrap().execute("delete from items", []).unwrap();
    done(&home.run(&dsn, &["restore", "copy.db"]));
    assert_eq!(ids(&home.path("new/notify.db")).len(), 100);
    let mut left: Vec<_> =
        fs::read_dir(home.path("new")).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["notify.db", "notify.db.lock"]);
}

#[test]
fn not_while_somebody_has_it_open() {
    let home = home_with(10);
    done(&home.run(&[], &["backup", "copy.db"]));
    let server = home.start(&[]);
    for arguments in [&["restore", "copy.db"][..], &["restore", "--force", "copy.db"]] {
        let line = refused(&home.run(&[], arguments));
        assert!(line.contains("stop the server"), "{line}");
    }
    assert_eq!(server.get("/health").status, 200);
    server.stop();
    // Nor another program.
    let shell = home.database();
    let _: i64 = shell.query_row("select count(*) from items", [], |row| row.get(0)).unwrap();
    let line = refused(&home.run(&[], &["restore", "--force", "copy.db"]));
    assert!(line.contains("in use"), "{line}");
    drop(shell);
    assert_eq!(ids(&home.path("notify.db")).len(), 10);
    done(&home.run(&[], &["restore", "--force", "copy.db"]));
}

#[test]
fn what_is_no_sound_copy_is_refused() {
    let home = home_with(2_000);
    done(&home.run(&[], &["backup", "damaged.db"]));
    damage(&home.path("damaged.db"));
    fs::write(home.path("letter"), "dear aunt, ".repeat(1000)).unwrap();
    fs::write(home.path("empty"), "").unwrap();
    Database::open(home.path("recipes.db")).unwrap().execute("create table recipes(name text)", []).unwrap();
    done(&home.run(&[], &["backup", "newer.db"]));
    Database::open(home.path("newer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = (files(&home), fs::read(home.path("notify.db")).unwrap());
    for (file, reason) in [
        ("damaged.db", "damaged"),
        ("letter", "damaged"),
        ("empty", "another program"),
        ("recipes.db", "another program"),
        ("newer.db", "newer version"),
        ("missing.db", "no file"),
    ] {
        let line = refused(&home.run(&[], &["restore", "--force", file]));
        assert!(line.contains(file) && line.contains(reason), "{line}");
    }
    assert!(before == (files(&home), fs::read(home.path("notify.db")).unwrap()), "nothing was touched");
}

#[test]
fn a_damaged_database_is_replaced_when_forced() {
    let home = home_with(2_000);
    done(&home.run(&[], &["backup", "copy.db"]));
    fs::write(home.path("notify.db"), "x".repeat(50_000)).unwrap();
    fs::write(home.path("notify.db-wal"), "y".repeat(5_000)).unwrap();
    let line = refused(&home.run(&[], &["restore", "copy.db"]));
    assert!(line.contains("--force"), "{line}");
    done(&home.run(&[], &["restore", "--force", "copy.db"]));
    assert_eq!(ids(&home.path("notify.db")).len(), 2_000);
    let kept = files(&home).into_iter().find(|name| name.contains("before-restore")).unwrap();
    assert_eq!(fs::read(home.path(&kept)).unwrap().len(), 50_000);
    home.start(&[]).stop();
}

#[test]
fn each_database_that_is_replaced_is_kept() {
    let home = home_with(10);
    done(&home.run(&[], &["backup", "copy.db"]));
    // Faster than the names, which tell the second.
    for replaced in 1..4 {
        done(&home.run(&[], &["restore", "--force", "copy.db"]));
        let kept = files(&home).into_iter().filter(|name| name.contains("before-restore"));
        assert_eq!(kept.count(), replaced);
    }
}

#[test]
fn a_link_stays_one() {
    let home = home_with(10);
    done(&home.run(&[], &["backup", "copy.db"]));
    std::os::unix::fs::symlink("notify.db", home.path("link.db")).unwrap();
    insert(&home, 1, 2);
    done(&home.run(&[("NOTIFY_DSN", "link.db")], &["restore", "--force", "copy.db"]));
    assert!(fs::symlink_metadata(home.path("link.db")).unwrap().is_symlink());
    assert_eq!(ids(&home.path("notify.db")).len(), 10);
    assert_eq!(ids(&home.path(&kept(&home))).len(), 11);
}
