//! How long and how much is kept.

use std::time::Duration;

use notify_api::Retention;

use super::{ConfigError, Dsn, Environment, Variable};

pub(super) const KEEP_SUCCESS: Variable = Variable::new(
    "NOTIFY_KEEP_SUCCESS",
    "",
    "how long delivered ones are kept: 30d, 12h, 90m, forever [default: 30d with SQLite, else forever]",
);
pub(super) const KEEP_FAILED: Variable = Variable::new(
    "NOTIFY_KEEP_FAILED",
    "",
    "how long failed ones are kept, likewise [default: 90d with SQLite, else forever]",
);
pub(super) const DB_MAX: Variable = Variable::new(
    "NOTIFY_DB_MAX",
    "",
    "size of the SQLite database, like 500M or 2G, at which nothing new is taken [default: no limit]",
);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Until then, a repeated `/send` is recognised.
const REPEATABLE_FOR: Duration = DAY;

/// An empty database fits into it.
const LEAST_BYTES: u64 = 64 << 10;

/// How long and how much is kept.
pub(crate) struct Care {
    pub(crate) retention: Retention,
    pub(crate) db_max: Option<DbMax>,
}

/// The largest size of the database.
#[cfg_attr(not(feature = "sqlite"), allow(dead_code))]
#[derive(Clone)]
pub(crate) struct DbMax {
    pub(crate) bytes: u64,
    /// What the sentence says that it has reached.
    pub(crate) name: String,
}

impl Care {
    pub(super) fn read(
        env: &Environment<'_>,
        dsn: &Dsn,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let is_file = matches!(dsn, Dsn::Sqlite(_));
        let default = |days| is_file.then_some(DAY * days);
        let retention = Retention {
            success: keep(env, &KEEP_SUCCESS, default(30))?,
            failed: keep(env, &KEEP_FAILED, default(90))?,
        };
        if retention.success.into_iter().chain(retention.failed).any(|keep| keep < REPEATABLE_FOR) {
            warnings.push(
                "NOTIFY_KEEP_SUCCESS or NOTIFY_KEEP_FAILED is less than a day: a /send that is repeated after that \
                 is sent again"
                    .into(),
            );
        }
        let mut db_max = db_max(env)?;
        if db_max.is_some() && !is_file {
            db_max = None;
            warnings.push("NOTIFY_DB_MAX is ignored: only an SQLite database has a size limit here".into());
        }
        Ok(Self { retention, db_max })
    }
}

fn keep(
    env: &Environment<'_>,
    variable: &Variable,
    default: Option<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    match env.text(variable)?.as_deref() {
        None => Ok(default),
        Some("forever") => Ok(None),
        Some(text) => match humantime::parse_duration(text) {
            Ok(keep) if keep >= Duration::from_secs(1) => Ok(Some(keep)),
            _ => Err(variable.wrong(text, "it takes a duration like 30d, 12h, 90m or 2w, or forever")),
        },
    }
}

fn db_max(env: &Environment<'_>) -> Result<Option<DbMax>, ConfigError> {
    let Some(text) = env.text(&DB_MAX)? else { return Ok(None) };
    let bytes = bytes(&text).filter(|bytes| *bytes >= LEAST_BYTES);
    let bytes = bytes
        .ok_or_else(|| DB_MAX.wrong(&text, "it takes a number of bytes like 500M or 2G, at least 64K"))?;
    Ok(Some(DbMax { bytes, name: format!("NOTIFY_DB_MAX ({text})") }))
}

/// A number of bytes, or of KiB, MiB, GiB, TiB, of which the first letter is enough.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn read(
        dsn: &str,
        variables: &'static [(&'static str, &'static str)],
    ) -> Result<(Care, Vec<String>), String> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let mut warnings = Vec::new();
        let care = Care::read(&Environment(&lookup), &Dsn::parse(dsn).unwrap(), &mut warnings);
        care.map(|care| (care, warnings)).map_err(|error| error.to_string())
    }

    #[test]
    fn by_default_a_file_keeps_a_month_and_a_server_for_ever() {
        let (care, warnings) = read("notify.db", &[]).ok().unwrap();
        assert_eq!(care.retention, Retention { success: Some(DAY * 30), failed: Some(DAY * 90) });
        assert!(care.db_max.is_none() && warnings.is_empty());
        for dsn in ["mysql://h/d", "postgres://h/d"] {
            assert_eq!(read(dsn, &[]).ok().unwrap().0.retention, Retention::default());
        }
    }

    #[test]
    fn durations() {
        for (text, hours) in [("2w", 14 * 24), ("30d", 720), ("36h", 36), ("2160m", 36), ("1day 12h", 36)] {
            let lookup = |name: &str| (name == "NOTIFY_KEEP_FAILED").then(|| text.into());
            let kept = keep(&Environment(&lookup), &KEEP_FAILED, None).ok().unwrap();
            assert_eq!(kept, Some(Duration::from_secs(hours * 3600)), "{text}");
        }
        for text in ["30", "0d", "999ms", "-1d", "d", "never", "30 bananas", "99999999999999999999d"] {
            let lookup = |_: &str| Some(OsString::from(text));
            let error = keep(&Environment(&lookup), &KEEP_FAILED, None).err().unwrap().to_string();
            assert!(error.contains("NOTIFY_KEEP_FAILED") && error.contains("forever"), "{error}");
        }
        let (care, warnings) =
            read("mysql://h/d", &[("NOTIFY_KEEP_SUCCESS", "90m"), ("NOTIFY_KEEP_FAILED", "forever")])
                .ok()
                .unwrap();
        assert_eq!(care.retention.success, Some(Duration::from_secs(5400)));
        assert!(care.retention.failed.is_none() && warnings[0].contains("less than a day"));
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("1048576", Some(1 << 20)),
            ("2048K", Some(2 << 20)),
            ("500M", Some(500 << 20)),
            ("2g", Some(2 << 30)),
            ("99999999999G", None),
            ("1.5G", None),
            ("+5M", None),
            ("M", None),
            ("5MB", Some(5 << 20)),
            ("5MiB", Some(5 << 20)),
            ("1T", Some(1 << 40)),
            ("5MM", None),
            ("5 M", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
        assert!(read("n.db", &[("NOTIFY_DB_MAX", "63K")]).err().unwrap().contains("at least 64K"));
        let (care, _) = read("n.db", &[("NOTIFY_DB_MAX", "500M")]).ok().unwrap();
        assert_eq!(care.db_max.unwrap().name, "NOTIFY_DB_MAX (500M)");
        let (care, warnings) = read("mysql://h/d", &[("NOTIFY_DB_MAX", "500M")]).ok().unwrap();
        assert!(care.db_max.is_none() && warnings[0].contains("NOTIFY_DB_MAX is ignored"));
    }
}
