//! What is installed beside the program says what the program says.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// A file of `packaging/`, without the escapes of a manual page.
fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
    fs::read_to_string(&path).unwrap().replace("\\-", "-").replace("\\fB", "")
}

fn help() -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_notify-api")).arg("-h").output().unwrap();
    assert!(help.status.success());
    String::from_utf8(help.stdout).unwrap()
}

/// The variables that a text names, with `NOTIFY_` before them.
fn variables(text: &str) -> BTreeSet<&str> {
    let is_outside = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    text.split(is_outside).filter(|word| word.starts_with("NOTIFY_")).collect()
}

/// The commands that `-h` names: in its usage, and in a list of them.
fn commands(help: &str) -> BTreeSet<&str> {
    let usage = help.lines().filter(|line| line.starts_with("Usage: ") || line.starts_with(' '));
    let usage = usage.filter_map(|line| line.split_once(" notify-api ")).map(|(_, rest)| rest);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with(' '));
    let first = usage.chain(listed).filter_map(|line| line.split_whitespace().next());
    first.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).collect()
}

#[test]
fn manual_and_example_name_every_variable_and_only_those() {
    let help = help();
    let known = variables(&help);
    assert!(known.len() > 10);
    for file in ["notify-api.8", "notify-api.env"] {
        assert_eq!(variables(&packaged(file)), known, "{file} and -h name the same variables");
    }
}

#[test]
fn the_example_sets_the_database_of_the_service_and_nothing_else() {
    let example = packaged("notify-api.env");
    let set: Vec<&str> = example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(set, ["NOTIFY_DSN=/var/lib/notify-api/notify.db"]);
}

#[test]
fn manual_and_completion_know_every_command() {
    let help = help();
    let commands = commands(&help);
    assert!(commands.contains("import"), "{commands:?}");
    let (manual, completion) = (packaged("notify-api.8"), packaged("notify-api.bash"));
    let (_, rest) = completion.split_once("commands='").unwrap();
    let (completed, _) = rest.split_once('\'').unwrap();
    assert_eq!(completed.split(' ').collect::<BTreeSet<_>>(), commands, "what bash completes, and -h");
    for command in commands {
        assert!(manual.contains(&format!("\n.B {command}")), "the manual page describes {command}");
    }
}

#[test]
fn the_changelog_of_the_package_begins_with_this_version() {
    let first = format!("notify-api ({}) ", env!("CARGO_PKG_VERSION"));
    assert!(packaged("debian/changelog").starts_with(&first), "it begins with {first}");
}
