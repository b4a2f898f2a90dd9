//! Which database: the forms of `NOTIFY_DSN`.

use std::{fmt, path::PathBuf};

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dsn {
    Sqlite(PathBuf),
    MySql(String),
    Postgres(String),
}

const FORMS: &str = "it takes a path or sqlite:PATH, mysql://USER:PASSWORD@HOST/DATABASE or \
                     postgres://USER:PASSWORD@HOST/DATABASE";

impl Dsn {
    /// Tells the databases apart by the form of the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = scheme(text) {
            return match scheme {
                "mysql" => Ok(Self::MySql(text.into())),
                "postgres" | "postgresql" => Ok(Self::Postgres(text.into())),
                "sqlite" => Self::sqlite(rest.strip_prefix("//").unwrap_or(rest)),
                unknown => Err(format!("there is no database {unknown:?}; {FORMS}")),
            };
        }
        if is_go_mysql(text) {
            return Ok(Self::MySql(text.into()));
        }
        if is_key_value(text) {
            return Ok(Self::Postgres(text.into()));
        }
        Self::sqlite(text)
    }

    fn sqlite(path: &str) -> Result<Self, String> {
        match path {
            "" => Err(FORMS.into()),
            ":memory:" => Err("a database in memory would lose what was accepted: give it a path".into()),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }

    /// The text without the password that may be in it.
    pub(crate) fn masked(text: &str) -> String {
        match Self::parse(text) {
            Ok(Self::Sqlite(_)) => text.into(),
            Ok(dsn) => dsn.to_string(),
            Err(_) => "set".into(),
        }
    }
}

impl fmt::Display for Dsn {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::MySql(_) => f.write_str("a MySQL database"),
            Self::Postgres(_) => f.write_str("a PostgreSQL database"),
        }
    }
}

/// `scheme:rest`, if it is one that stands for more than a path with a colon in it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (is_scheme && (rest.starts_with("//") || ["sqlite", "file"].contains(&scheme))).then_some((scheme, rest))
}

/// `user:password@tcp(host:3306)/database`, as Go's MySQL driver takes it; without
/// an address (`user:password@/database`) it is this machine's.
fn is_go_mysql(text: &str) -> bool {
    let (address, _) = text.rsplit_once('/').unwrap_or_default();
    let network = match address.rsplit_once('@') {
        Some((user, "" | "tcp" | "unix")) => return !user.starts_with(['/', '.']),
        Some((_, network)) => network,
        None => address,
    };
    network.ends_with(')') && network.contains('(') || text.contains("@tcp(") || text.contains("@unix(")
}

/// `host=… dbname=…`, as libpq takes it: in any order, with space around the `=`.
fn is_key_value(text: &str) -> bool {
    const KEYS: [&str; 7] = ["host", "hostaddr", "port", "dbname", "user", "password", "sslmode"];
    let is_key = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut before: Vec<&str> = text.split('=').collect();
    before.pop();
    before.first().is_some_and(|first| is_key(first.trim()))
        && before
            .iter()
            .any(|part| part.split_whitespace().next_back().is_some_and(|key| KEYS.contains(&key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_picks_the_database() {
        for (text, path) in [
            ("notify.db", "notify.db"),
            ("/var/lib/notify.db", "/var/lib/notify.db"),
            ("sqlite:notify.db", "notify.db"),
            ("sqlite:/var/n.db", "/var/n.db"),
            ("sqlite:///var/n.db", "/var/n.db"),
            ("a:b.db", "a:b.db"),
            ("/home/me@/n.db", "/home/me@/n.db"),
            ("me@host/n.db", "me@host/n.db"),
            ("/a=b/host=c.db", "/a=b/host=c.db"),
            ("a=b.db", "a=b.db"),
        ] {
            assert_eq!(Dsn::parse(text), Ok(Dsn::Sqlite(path.into())), "{text}");
        }
        for text in [
            "mysql://u:p@h/d",
            "u:p@tcp(h:3306)/d?parseTime=true",
            "u@unix(/run/x.sock)/d",
            "u:p@/d",
            "u:p/@tcp/d",
            "tcp(h)/d",
        ] {
            assert_eq!(Dsn::parse(text), Ok(Dsn::MySql(text.into())), "{text}");
        }
        for text in [
            "postgres://u:p@h/d",
            "postgresql://h/d",
            "host=h dbname=d user=u",
            "connect_timeout=5 host=h",
            "host = h user = u",
        ] {
            assert_eq!(Dsn::parse(text), Ok(Dsn::Postgres(text.into())), "{text}");
        }
        for text in ["redis://h", "file:x.db", "sqlite:", ":memory:", "sqlite::memory:", "http://h/x"] {
            assert!(Dsn::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        for text in [
            "mysql://u:hush@h/d",
            "u:hush@tcp(h)/d",
            "u:hush@/d",
            "host=h password=hush",
            "connect_timeout=5 password = hush",
            "redis://:hush@h",
        ] {
            assert!(!Dsn::masked(text).contains("hush"), "{text}");
        }
    }
}
