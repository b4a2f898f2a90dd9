//! What is installed beside the program says what the program says.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// A file of `packaging/`, without the escapes of a manual page.
fn packaged(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
    fs::read_to_string(&path).unwrap().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
}

fn help() -> String {
    help_of(&["-h"])
}

fn help_of(arguments: &[&str]) -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_notify-api")).args(arguments).output().unwrap();
    assert!(help.status.success(), "{arguments:?}");
    String::from_utf8(help.stdout).unwrap()
}

/// The variables that a text names, with `NOTIFY_` before them.
fn variables(text: &str) -> BTreeSet<&str> {
    let is_outside = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    text.split(is_outside).filter(|word| word.starts_with("NOTIFY_")).collect()
}

/// The commands that `-h` lists.
fn commands(help: &str) -> BTreeSet<&str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed.map_while(|line| line.strip_prefix("  ")?.split(' ').next()).collect()
}

/// The options that the help of a command shows.
fn options(command: &str) -> BTreeSet<String> {
    let help = help_of(&[command, "--help"]);
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
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
fn the_example_changes_nothing() {
    let example = packaged("notify-api.env");
    let set: Vec<&str> = example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(set.is_empty(), "{set:?}");
}

#[test]
fn manual_and_completion_know_every_command_and_option() {
    let help = help();
    let commands = commands(&help);
    assert!(commands.contains("import"), "{commands:?}");
    let (manual, completion) = (packaged("notify-api.8"), packaged("notify-api.bash"));
    // What stands in quotes behind this.
    let words = |before: &str| -> BTreeSet<&str> {
        let (_, rest) =
            completion.split_once(before).unwrap_or_else(|| panic!("bash completes no {before:?}"));
        rest.split('\'').next().unwrap().split_whitespace().collect()
    };
    assert_eq!(words("commands='"), commands, "what bash completes, and -h");
    for command in commands {
        assert!(manual.contains(&format!("\n.B {command} ")), "the manual page describes {command}");
        let options = options(command);
        let completed = &words(&format!(" {command}) options='")) | &words("everywhere='");
        assert_eq!(
            completed,
            options.iter().map(String::as_str).collect(),
            "what bash completes for {command}"
        );
        for option in options {
            assert!(manual.contains(&option), "the manual page describes {option} of {command}");
        }
    }
}

#[test]
fn the_changelog_of_the_package_begins_with_this_version() {
    let first = format!("notify-api ({}) ", env!("CARGO_PKG_VERSION"));
    assert!(packaged("debian/changelog").starts_with(&first), "it begins with {first}");
}
