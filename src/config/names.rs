//! Names that look like those of variables, but mean nothing: a mistyped `NOTIFY_TOKEN`
//! leaves the door open.

use super::{VARIABLES, variable::PREFIX};

/// Means something to systemd.
const FOREIGN: &str = "NOTIFY_SOCKET";

/// How alike two names are, from 0 to 1, when one is most likely meant to be the other.
const ALIKE: f64 = 0.85;

/// Warns of such names of variables, one sentence each.
pub(crate) fn unknown_variables<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let files = VARIABLES.iter().filter(|variable| variable.has_file).map(|variable| variable.file_name());
    let known: Vec<String> = VARIABLES.iter().map(|variable| variable.name.into()).chain(files).collect();
    names.into_iter().filter_map(|name| doubt("", name, &known)).collect()
}

/// Warns of such names of credentials.
pub(crate) fn unknown_credentials<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let secrets = VARIABLES.iter().filter(|variable| variable.has_file);
    let known: Vec<String> = secrets.map(|variable| variable.name.into()).collect();
    names.into_iter().filter_map(|name| doubt("the credential ", name, &known)).collect()
}

fn doubt(kind: &str, name: &str, known: &[String]) -> Option<String> {
    if name == FOREIGN || known.iter().any(|known| known == name) {
        return None;
    }
    let upper = name.to_uppercase();
    let likeness = |known: &&String| strsim::normalized_damerau_levenshtein(&upper, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    match likeness(&nearest) {
        alike if alike >= ALIKE => Some(format!("{kind}{name:?} means nothing, is {nearest} meant?")),
        _ if upper.starts_with(PREFIX) => Some(format!("{kind}{name:?} means nothing, see -h")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mistyped_is_told_with_what_is_meant() {
        for (name, meant) in [
            ("NOTIFY_TOKN", "NOTIFY_TOKEN meant?"),
            ("NOTFIY_TOKEN", "NOTIFY_TOKEN meant?"),
            ("notify_token", "NOTIFY_TOKEN meant?"),
            ("NOTIFY_TG_TOKENFILE", "NOTIFY_TG_TOKEN_FILE meant?"),
            ("NOTIFY_SMTP_PASSWORD", "see -h"),
            ("NOTIFY_PORT", "see -h"),
            ("NOTIFY_THREADS_FILE", "see -h"),
        ] {
            let warnings = unknown_variables([name]);
            assert!(warnings.len() == 1 && warnings[0].contains(meant), "{name}: {warnings:?}");
        }
    }

    #[test]
    fn what_is_known_or_foreign_is_no_mistake() {
        assert_eq!(unknown_variables(VARIABLES.iter().map(|variable| variable.name)), [""; 0]);
        let others =
            ["NOTIFY_SOCKET", "NOTIFY_DSN_FILE", "HTTP_PROXY", "PATH", "TOKEN", "DSN", "NO_PROXY", ""];
        assert_eq!(unknown_variables(others), [""; 0]);
    }

    #[test]
    fn only_secrets_are_credentials() {
        assert_eq!(unknown_credentials(["NOTIFY_TOKEN", "NOTIFY_DSN", "tls.key"]), [""; 0]);
        let warnings = unknown_credentials(["NOTIFY_TOKN", "NOTIFY_THREADS"]);
        let expected = ["\"NOTIFY_TOKN\" means nothing, is NOTIFY_TOKEN", "\"NOTIFY_THREADS\" means nothing"];
        assert!(warnings.iter().zip(expected).all(|(told, part)| told.contains(part)), "{warnings:?}");
        assert_eq!(warnings.len(), 2);
    }
}
