//! The forms in which one says where a MySQL server is.

use std::{env, path::PathBuf};

use crate::db::remote::dsn::{self, Url};

/// Where it is and how to get there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dsn {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) socket: Option<String>,
    pub(super) database: String,
    pub(super) tls: Tls,
    /// Certificates to trust.
    pub(super) ca: Option<PathBuf>,
    /// The password may be sent as it is.
    pub(super) allows_cleartext: bool,
}

/// How much a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    /// If the server has it.
    Preferred,
    /// With any certificate.
    Unverified,
    Verified,
}

const PORT: u16 = 3306;

impl Dsn {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let dsn = match text.strip_prefix("mysql://") {
            Some(rest) => Self::of_url(Url::parse(rest)?),
            None => Self::of_go(text),
        }?;
        match dsn.database.as_str() {
            "" => Err("it names no database: a MySQL DSN ends with /DATABASE".into()),
            _ => Ok(dsn),
        }
    }

    fn of_url(url: Url) -> Result<Self, String> {
        let (host, port) = url.hosts.into_iter().next().unwrap_or_default();
        let dsn = Self::to(host, port, url.user, url.password, url.database);
        dsn.with(url.options)
    }

    /// `[USER[:PASSWORD]@][NETWORK[(ADDRESS)]]/DATABASE[?OPTION=VALUE]`, nothing of it encoded.
    fn of_go(text: &str) -> Result<Self, String> {
        let form = "it is not of the form USER:PASSWORD@tcp(HOST:PORT)/DATABASE";
        // A path in parentheses has slashes too, and so may the password.
        let (place, rest) = match text.rfind(")/") {
            Some(at) => (&text[..=at], &text[at + 2..]),
            None => text.rsplit_once('/').ok_or(form)?,
        };
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, network) =
            place.rsplit_once('@').map_or((None, place), |(login, rest)| (Some(login), rest));
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            Some(Ok((user, password))) => (Some(user.to_owned()), Some(password.to_owned())),
            Some(Err(user)) => (Some(user.to_owned()), None),
            None => (None, None),
        };
        let (network, address) = match network.split_once('(') {
            Some((network, address)) => (network, address.strip_suffix(')').ok_or(form)?),
            None => (network, ""),
        };
        let mut dsn = match network {
            "" | "tcp" | "tcp4" | "tcp6" => {
                let (host, port) = dsn::host(address)?;
                Self::to(host, port, user, password, dsn::decode(database))
            }
            "unix" => Self::to(String::new(), None, user, password, dsn::decode(database)),
            _ => return Err("its network is neither tcp nor unix".into()),
        };
        if network == "unix" {
            dsn.socket = Some(if address.is_empty() { "/tmp/mysql.sock" } else { address }.into());
        }
        dsn.with(dsn::options(query))
    }

    fn to(
        host: String,
        port: Option<u16>,
        user: Option<String>,
        password: Option<String>,
        database: String,
    ) -> Self {
        let host = if host.is_empty() { "127.0.0.1".into() } else { host };
        let (socket, tls, ca) = (None, Tls::Off, None);
        let port = port.unwrap_or(PORT);
        Self { user, password, host, port, socket, database, tls, ca, allows_cleartext: false }
    }

    /// Options of Go's driver and of MySQL's own URLs; others mean nothing here.
    fn with(mut self, options: Vec<(String, String)>) -> Result<Self, String> {
        for (name, value) in options {
            match name.to_ascii_lowercase().replace('_', "-").as_str() {
                "tls" => self.tls = Tls::by_go(&value)?,
                "ssl-mode" | "sslmode" => self.tls = Tls::by_mode(&value)?,
                "ssl-ca" | "sslca" => self.ca = Some(value.into()),
                "socket" => self.socket = Some(value),
                "allowcleartextpasswords" => self.allows_cleartext = is_on(&value),
                _ => {}
            }
        }
        Ok(self)
    }
}

impl Tls {
    fn by_go(value: &str) -> Result<Self, String> {
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Self::Verified),
            "false" | "0" | "" => Ok(Self::Off),
            "skip-verify" => Ok(Self::Unverified),
            "preferred" => Ok(Self::Preferred),
            _ => Err("its option tls takes true, skip-verify, preferred or false".into()),
        }
    }

    fn by_mode(value: &str) -> Result<Self, String> {
        match value.to_ascii_lowercase().replace('-', "_").as_str() {
            "disabled" | "disable" => Ok(Self::Off),
            "preferred" | "prefer" => Ok(Self::Preferred),
            "required" | "require" => Ok(Self::Unverified),
            "verify_ca" | "verify_identity" | "verify_full" => Ok(Self::Verified),
            _ => Err("its option ssl-mode takes disabled, preferred, required, verify_ca or verify_identity"
                .into()),
        }
    }
}

fn is_on(value: &str) -> bool {
    ["true", "1"].contains(&value)
}

/// Where systems keep the certificates they trust. Those that browsers trust are built in.
pub(super) fn system_roots() -> Option<PathBuf> {
    const PLACES: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(PLACES.map(PathBuf::from)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Dsn {
        Dsn::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_leads_to_the_same_place() {
        let expected = Dsn {
            user: Some("u".into()),
            password: Some("p@/:w?".into()),
            host: "db.example.com".into(),
            port: 3307,
            socket: None,
            database: "d".into(),
            tls: Tls::Verified,
            ca: None,
            allows_cleartext: false,
        };
        for text in [
            "u:p@/:w?@tcp(db.example.com:3307)/d?parseTime=true&tls=true&charset=utf8mb4",
            "mysql://u:p@/:w?@db.example.com:3307/d?tls=true",
            "mysql://u:p%40%2f%3aw%3f@db.example.com:3307/d?ssl-mode=VERIFY_IDENTITY",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_has_a_default() {
        for text in ["u@/d", "u@tcp/d", "u@tcp(127.0.0.1)/d", "mysql://u@/d", "mysql://u@127.0.0.1/d"] {
            let dsn = parse(text);
            assert_eq!((dsn.host.as_str(), dsn.port, dsn.tls), ("127.0.0.1", 3306, Tls::Off), "{text}");
            assert_eq!((dsn.user.as_deref(), dsn.password), (Some("u"), None), "{text}");
        }
        assert_eq!(parse("u@tcp([::1]:33)/d").host, "::1");
        assert_eq!(parse("u@unix(/run/my.sock)/d?timeout=1s").socket.as_deref(), Some("/run/my.sock"));
        assert_eq!(parse("u@unix(/run/my.sock)/d").database, "d");
    }

    #[test]
    fn refusals_tell_no_password() {
        for text in ["u:hush@tcp(h)/", "u:hush@udp(h)/d", "u:hush@tcp(h:x)/d", "u:hush@tcp(h)/d?tls=mine"] {
            let refusal = Dsn::parse(text).unwrap_err();
            assert!(!refusal.contains("hush"), "{refusal}");
        }
    }
}
