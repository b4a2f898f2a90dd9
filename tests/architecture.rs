//! Rules about what may depend on what, which keep the modules apart.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module of the crate, and which others it may use.
const MODULES: &[(&str, &[&str])] = &[
    ("json", &[]),
    ("notification", &["json"]),
    ("driver", &["notification"]),
    ("scheduler", &["notification"]),
    ("db", &["notification"]),
    ("drivers", &["driver", "json", "notification"]),
    ("client", &["json", "notification", "drivers"]),
    ("clock", &["notification"]),
    ("health", &[]),
    ("claims", &["clock", "db", "driver", "health", "notification"]),
    ("metrics", &["db", "driver", "notification"]),
    ("recorder", &["claims", "db", "health", "metrics", "notification"]),
    ("retention", &["db", "notification", "recorder"]),
    (
        "sender",
        &[
            "claims",
            "clock",
            "db",
            "driver",
            "health",
            "metrics",
            "notification",
            "recorder",
            "retention",
            "scheduler",
        ],
    ),
    ("server", &["db", "driver", "json", "metrics", "notification", "recorder", "sender"]),
    ("config", &[]),
    ("environment", &["config"]),
    ("cli", &["config", "environment"]),
    ("database", &["cli", "config"]),
    ("backup", &["cli", "config", "database"]),
    ("restore", &["cli", "config", "database"]),
    ("verify", &["cli", "config", "database"]),
    ("import", &["cli", "config", "database"]),
    ("services", &["config"]),
    ("systemd", &["cli"]),
    ("serve", &["cli", "config", "database", "services", "systemd"]),
    ("check", &["cli", "config", "database", "services"]),
    ("reach", &["cli", "config"]),
    ("list", &["cli", "config", "reach"]),
    ("resend", &["cli", "config", "list", "reach"]),
    (
        "main",
        &[
            "backup",
            "check",
            "cli",
            "config",
            "environment",
            "import",
            "list",
            "resend",
            "restore",
            "serve",
            "verify",
        ],
    ),
];

/// Crates that only these modules may use.
const CRATES: &[(&str, &[&str])] = &[
    ("warp", &["server"]),
    ("hyper", &["server"]),
    ("hyper_util", &["server"]),
    ("tokio_rustls", &["server"]),
    ("rusqlite", &["db"]),
    ("r2d2", &["db"]),
    ("rustix", &["db"]),
    ("r2d2_sqlite", &["db"]),
    ("mysql", &["db"]),
    ("r2d2_mysql", &["db"]),
    ("postgres", &["db"]),
    ("r2d2_postgres", &["db"]),
    ("tokio_postgres", &["db"]),
    ("tokio_postgres_rustls", &["db"]),
    ("ureq", &["client", "drivers"]),
    ("lettre", &["drivers"]),
    ("clap", &["cli"]),
    ("listenfd", &["systemd"]),
    ("sd_notify", &["systemd"]),
    ("prometheus_client", &["metrics"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

/// Each source file, its module, and its code without comments and tests.
fn files() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for path in sources(&root) {
        let inner = path.strip_prefix(&root).unwrap();
        if inner.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")) {
            continue;
        }
        let module = inner.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        files.push((path, module, code.join("\n")));
    }
    files
}

/// The names that stand behind `prefix` in the code, also in `prefix{a, b::c}`.
fn names_behind(code: &str, prefix: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            names.push(name(rest));
            continue;
        }
        let (mut depth, mut part) = (0, String::new());
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => names.push(name(&std::mem::take(&mut part))),
                _ if depth == 1 => part.push(c),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        names.push(name(&part));
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn dependencies_point_one_way() {
    let files = files();
    assert!(files.len() > 20, "the sources were found");
    let mut checked = 0;
    for (path, module, code) in files.iter().filter(|(_, module, _)| module != "lib") {
        let (_, allowed) = MODULES
            .iter()
            .find(|(known, _)| known == module)
            .unwrap_or_else(|| panic!("{module} is new: say what it may use"));
        for used in names_behind(code, "crate::") {
            let known = MODULES.iter().any(|(known, _)| *known == used);
            assert!(
                used == *module || (known && allowed.contains(&used.as_str())),
                "{}: {module} must not use {used}",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} uses were checked");
}

#[test]
fn each_foreign_crate_stays_in_its_place() {
    for (path, module, code) in files().iter().filter(|(_, module, _)| module != "lib") {
        for (name, places) in CRATES {
            let used =
                code.contains(&format!("{name}::")) && !names_behind(code, &format!("{name}::")).is_empty();
            let used = used || code.contains(&format!("use {name};"));
            assert!(
                !used || places.contains(&module.as_str()),
                "{}: {name} belongs into {places:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_reader_of_names_sees_them_all() {
    let code = "use crate::{\n a::{B, c::D},\n e,\n};\nlet x = crate::f::g();\nmy_crate::h();";
    assert_eq!(names_behind(code, "crate::"), ["a", "e", "f"]);
}

#[test]
fn readme_names_every_variable_and_only_those() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_notify-api")).arg("-h").output().unwrap();
    assert!(help.status.success());
    let variables = |text: &str| {
        let mut names: Vec<String> = text
            .match_indices("NOTIFY_")
            .map(|(at, _)| {
                text[at..]
                    .chars()
                    .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                    .collect()
            })
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let known = variables(&String::from_utf8(help.stdout).unwrap());
    assert!(known.len() > 10);
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `NOTIFY_")).collect();
    assert_eq!(variables(&table.join("\n")), known, "the table in README and -h name the same variables");
}
