//! Where a secret is: in its variable, in a file that `NOTIFY_X_FILE` names, or among the
//! credentials that systemd hands to a service.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{ConfigError, Environment, variable::Variable};

/// The directory with a file of the variable's name for each credential.
pub(crate) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Longer than any secret.
const MAX_BYTES: u64 = 64 << 10;

/// Where a secret is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the variable itself.
    Variable(OsString),
    /// In the file that the variable with `_FILE` behind its name names.
    File(PathBuf),
    /// In a file that is handed over; if it is empty, there is no secret.
    Credential(PathBuf),
}

impl Place {
    /// The first place that there is.
    pub(super) fn find(env: &Environment<'_>, variable: &Variable) -> Option<Self> {
        if let Some(value) = env.raw(variable.name) {
            return Some(Self::Variable(value));
        }
        if !variable.has_file {
            return None;
        }
        if let Some(path) = env.raw(&variable.file_name()) {
            return Some(Self::File(path.into()));
        }
        let path = Path::new(&env.raw(CREDENTIALS)?).join(variable.name);
        let is_absent = match path.metadata() {
            Ok(metadata) => metadata.len() == 0,
            // Whatever else is wrong is told when it is read.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        (!is_absent).then_some(Self::Credential(path))
    }

    /// The file, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Variable(_) => None,
            Self::File(path) | Self::Credential(path) => Some(path),
        }
    }
}

/// The secret; an empty variable is an unset one.
pub(super) fn find(env: &Environment<'_>, variable: &Variable) -> Result<Option<OsString>, ConfigError> {
    let file_name = variable.file_name();
    match Place::find(env, variable) {
        Some(Place::Variable(_)) if env.raw(&file_name).is_some() => Err(ConfigError::new(
            variable.name,
            None,
            format!("{file_name} is set, too: it takes one of them"),
        )),
        Some(Place::Variable(value)) => Ok(Some(value)),
        Some(Place::File(path)) => {
            let wrong =
                |reason| ConfigError::new(file_name, Some(path.to_string_lossy().into_owned()), reason);
            match read(&path) {
                // Nobody names a file to have no token.
                Ok(secret) if secret.is_empty() => Err(wrong("the file is empty".into())),
                Ok(secret) => Ok(Some(secret.into())),
                Err(reason) => Err(wrong(reason)),
            }
        }
        Some(Place::Credential(path)) => match read(&path) {
            Ok(secret) => Ok(Some(OsString::from(secret)).filter(|secret| !secret.is_empty())),
            Err(reason) => {
                Err(ConfigError::new(variable.name, None, format!("the credential {path:?}: {reason}")))
            }
        },
        None => Ok(None),
    }
}

/// The only line of a file. Whatever can be read to its end will do, a pipe too.
fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("the file can't be read: {error}");
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("the file has more than {MAX_BYTES} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is no UTF-8 text".to_owned())?;
    // Editors and `echo` end it with a line break that belongs to no secret.
    let secret = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text);
    if secret.contains(['\n', '\r', '\0']) {
        return Err("the file has more than one line: it takes the secret alone".into());
    }
    text.truncate(secret.len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use tempfile::TempDir;

    use super::*;

    const TOKEN: &Variable = &Variable::secret("NOTIFY_TOKEN", "");

    /// What is found with these variables, in which `DIR` is the directory.
    fn found(directory: &TempDir, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let directory = directory.path().to_str().unwrap();
        let variables: HashMap<&str, OsString> =
            variables.iter().map(|(name, value)| (*name, value.replace("DIR", directory).into())).collect();
        let lookup = |name: &str| variables.get(name).cloned();
        let secret = find(&Environment(&lookup), TOKEN).map_err(|error| error.to_string())?;
        Ok(secret.map(|secret| secret.into_string().unwrap()))
    }

    fn directory(token: &[u8]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), token).unwrap();
        fs::write(directory.path().join("NOTIFY_TOKEN"), "credential\n").unwrap();
        directory
    }

    #[test]
    fn the_order_of_places() {
        let directory = directory(b"file\n");
        let variable = ("NOTIFY_TOKEN", "variable");
        let file = ("NOTIFY_TOKEN_FILE", "DIR/file");
        let credentials = (CREDENTIALS, "DIR");
        let found = |variables: &[_]| found(&directory, variables);
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[credentials]), Ok(Some("credential".into())));
        assert_eq!(found(&[credentials, file]), Ok(Some("file".into())));
        assert_eq!(found(&[credentials, variable]), Ok(Some("variable".into())));
        assert_eq!(
            found(&[credentials, ("NOTIFY_TOKEN", ""), ("NOTIFY_TOKEN_FILE", "")]),
            found(&[credentials])
        );
        assert_eq!(found(&[file, ("NOTIFY_TOKEN", "")]), Ok(Some("file".into())));
        assert_eq!(
            found(&[variable, file]),
            Err("NOTIFY_TOKEN: NOTIFY_TOKEN_FILE is set, too: it takes one of them".into())
        );
    }

    #[test]
    fn one_line_break_at_the_end_is_no_part_of_it() {
        for (content, secret) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a b \n", " a b "), ("a$b\\\t\"", "a$b\\\t\"")]
        {
            let directory = directory(content.as_bytes());
            assert_eq!(found(&directory, &[("NOTIFY_TOKEN_FILE", "DIR/file")]), Ok(Some(secret.into())));
        }
        let most = "x".repeat(65_535) + "\n";
        let most = found(&directory(most.as_bytes()), &[("NOTIFY_TOKEN_FILE", "DIR/file")]);
        assert_eq!(most.unwrap().unwrap().len(), 65_535);
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_without_showing_it() {
        for (content, reason) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"hush\n\n", "more than one line"),
            (b"# hush\nhush", "more than one line"),
            (b"hush\0", "more than one line"),
            (b"hush\xff", "no UTF-8 text"),
            (&b"hush".repeat(20_000), "more than 65536 bytes"),
        ] {
            let directory = directory(content);
            let error = found(&directory, &[("NOTIFY_TOKEN_FILE", "DIR/file")]).unwrap_err();
            assert!(error.starts_with("NOTIFY_TOKEN_FILE is \"/") && error.contains("/file\": "), "{error}");
            assert!(error.contains(reason) && !error.contains("hush"), "{error}");
        }
        let directory = directory(b"");
        for path in ["DIR/none", "DIR"] {
            let error = found(&directory, &[("NOTIFY_TOKEN_FILE", path)]).unwrap_err();
            assert!(error.contains("can't be read: "), "{error}");
        }
    }

    #[test]
    fn an_empty_credential_is_an_unset_one_and_a_bad_one_is_named() {
        let directory = directory(b"");
        let credential = directory.path().join("NOTIFY_TOKEN");
        for empty in ["", "\n"] {
            fs::write(&credential, empty).unwrap();
            assert_eq!(found(&directory, &[(CREDENTIALS, "DIR")]), Ok(None));
        }
        fs::write(&credential, "hush\nhush").unwrap();
        let error = found(&directory, &[(CREDENTIALS, "DIR")]).unwrap_err();
        assert!(error.starts_with("NOTIFY_TOKEN: the credential \"/") && !error.contains("hush"), "{error}");
    }
}
