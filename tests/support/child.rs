//! Tests that need an environment of their own.

use std::process::Command;

/// Runs a test that is otherwise ignored in a process with these variables.
pub(crate) fn in_child(test: &str, url: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env("CHILD_URL", url)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("running 1 test"), "{said}");
    if output.status.success() { Ok(()) } else { Err(said) }
}
