//! Whether a database is sound.

use std::{fs, process::Output};

use super::{damage, done, files, home_with, insert, refused};
use crate::support::server::Home;

/// What it found.
#[track_caller]
fn findings(output: &Output) -> Vec<String> {
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    let mut lines = said.lines().map(str::to_owned);
    let head = lines.next().unwrap();
    assert!(head.contains("is damaged"), "{head}");
    let findings: Vec<String> = lines.collect();
    assert!((1..=20).contains(&findings.len()), "{findings:#?}");
    findings
}

#[test]
fn a_sound_one_is_counted_whether_it_is_in_use_or_not() {
    let home = home_with(20);
    insert(&home, 3, 0);
    insert(&home, 4, 2);
    let ok = "ok: 27 notifications (3 pending, 20 delivered, 4 failed)\n";
    let before = home.files();
    assert_eq!(done(&home.run(&[], &["verify"])), ok);
    assert_eq!(home.files().len(), before.len());
    done(&home.run(&[], &["backup", "copy.db"]));
    let server = home.start(&[]);
    assert_eq!(done(&home.run(&[], &["verify"])), ok);
    assert_eq!(done(&home.run(&[], &["verify", "copy.db"])), ok);
    assert_eq!(server.get("/health").status, 200);
    server.stop();
    assert_eq!(done(&home.run(&[("NOTIFY_DSN", "mysql://h/d")], &["verify", "copy.db"])), ok);
    assert_eq!(files(&home), ["copy.db", "notify.db", "notify.db.lock"]);
}

#[test]
fn what_is_not_there_is_not_made() {
    let home = Home::new();
    for arguments in [&["verify"][..], &["verify", "other.db"]] {
        let line = refused(&home.run(&[], arguments));
        assert!(line.contains(".db") && line.contains("no file"), "{line}");
    }
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn damage_is_found_and_left_alone() {
    let home = home_with(2_000);
    damage(&home.path("notify.db"));
    let damaged = fs::read(home.path("notify.db")).unwrap();
    let found = findings(&home.run(&[], &["verify"]));
    assert!(found.iter().any(|finding| finding.contains("page") || finding.contains("Page")), "{found:#?}");
    // Its head, and all of it.
    let mut headless = damaged.clone();
    headless[..100].fill(0);
    fs::write(home.path("headless.db"), headless).unwrap();
    findings(&home.run(&[], &["verify", "headless.db"]));
    fs::write(home.path("letter"), "dear aunt, ".repeat(1000)).unwrap();
    findings(&home.run(&[], &["verify", "letter"]));
    // A file that ends too early.
    fs::write(home.path("short.db"), &damaged[..damaged.len() / 4]).unwrap();
    findings(&home.run(&[], &["verify", "short.db"]));
    assert!(fs::read(home.path("notify.db")).unwrap() == damaged);
    assert_eq!(files(&home), ["headless.db", "letter", "notify.db", "notify.db.lock", "short.db"]);
}

#[test]
fn what_no_server_can_have_written_is_found() {
    for (change, finding) in [
        ("update items set cur_state = 7 where notify_id = '1-0000003'", "row 3, id \"1-0000003\""),
        ("update items set create_at = 'yesterday' where notify_id = '1-0000003'", "row 3"),
        ("update items set notify_id = x'00' where notify_id = '1-0000003'", "row 3"),
        ("drop index items_due", "items_due is missing"),
        ("drop index items_created", "items_created is missing"),
    ] {
        let home = home_with(5);
        home.database().execute_batch(change).unwrap();
        let found = findings(&home.run(&[], &["verify"]));
        assert!(found.len() == 1 && found[0].contains(finding), "{change}: {found:?}");
    }
}

#[test]
fn a_foreign_one_is_no_finding() {
    let home = Home::new();
    home.database().execute_batch("create table recipes(name text)").unwrap();
    let line = refused(&home.run(&[], &["verify"]));
    assert!(line.contains("another program"), "{line}");
}
