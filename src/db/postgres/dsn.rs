//! The forms in which one says where a PostgreSQL server is.

use std::net::IpAddr;

use tokio_postgres::{
    Config,
    config::{ChannelBinding, SslMode, TargetSessionAttrs},
};

use super::tls::{Tls, Trust};
use crate::db::remote::dsn::Url;

/// Where it is and how to get there.
#[derive(Debug)]
pub(super) struct Dsn {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

impl Dsn {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let options = match url {
            Some(rest) => options_of(Url::parse(rest)?),
            None => key_values(text)?,
        };
        Self::of(options)
    }

    /// Options as libpq names them; those that mean nothing here are passed over.
    fn of(options: Vec<(String, String)>) -> Result<Self, String> {
        let mut config = Config::new();
        let mut tls = Tls { trust: Trust::Any, roots: None, identity: (None, None) };
        let mut has_host = false;
        config.ssl_mode(SslMode::Prefer).application_name("notify-api");
        for (name, value) in options {
            match name.as_str() {
                "host" => {
                    for host in value.split(',').filter(|host| !host.is_empty()) {
                        config.host(host);
                        has_host = true;
                    }
                }
                "hostaddr" => {
                    for address in value.split(',') {
                        let wrong = "its option hostaddr takes an IP address";
                        config.hostaddr(address.parse::<IpAddr>().map_err(|_| wrong)?);
                        has_host = true;
                    }
                }
                "port" => {
                    for port in value.split(',').filter(|port| !port.is_empty()) {
                        config.port(port.parse().map_err(|_| "its port is not a number from 0 to 65535")?);
                    }
                }
                "user" => _ = config.user(value),
                "password" => _ = config.password(value),
                "dbname" | "database" => _ = config.dbname(value),
                "application_name" => _ = config.application_name(value),
                "options" => _ = config.options(value),
                "sslmode" => {
                    let (mode, trust) = ssl_mode(&value)?;
                    config.ssl_mode(mode);
                    tls.trust = trust;
                }
                "sslrootcert" if value != "system" => tls.roots = Some(value.into()),
                "sslcert" => tls.identity.0 = Some(value.into()),
                "sslkey" => tls.identity.1 = Some(value.into()),
                "channel_binding" if value == "require" => {
                    _ = config.channel_binding(ChannelBinding::Require);
                }
                "channel_binding" if value == "disable" => {
                    _ = config.channel_binding(ChannelBinding::Disable);
                }
                "target_session_attrs" if ["read-write", "primary"].contains(&value.as_str()) => {
                    _ = config.target_session_attrs(TargetSessionAttrs::ReadWrite);
                }
                _ => {}
            }
        }
        if !has_host {
            config.host("localhost");
        }
        // As libpq does it: with certificates to trust, "require" is "verify-ca".
        if tls.roots.is_some() && tls.trust == Trust::Any && config.get_ssl_mode() == SslMode::Require {
            tls.trust = Trust::Chain;
        }
        if config.get_user().is_none() {
            return Err("it names no user: a PostgreSQL DSN has user=USER, or USER@ before the host".into());
        }
        Ok(Self { config, tls })
    }
}

fn ssl_mode(value: &str) -> Result<(SslMode, Trust), String> {
    Ok(match value {
        "disable" => (SslMode::Disable, Trust::Any),
        "allow" | "prefer" => (SslMode::Prefer, Trust::Any),
        "require" => (SslMode::Require, Trust::Any),
        "verify-ca" => (SslMode::Require, Trust::Chain),
        "verify-full" => (SslMode::Require, Trust::Full),
        _ => return Err("its option sslmode takes disable, prefer, require, verify-ca or verify-full".into()),
    })
}

fn options_of(url: Url) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut set = |name: &str, value: String| options.push((name.to_owned(), value));
    // Either each has a port or all have the default's.
    let has_ports = url.hosts.iter().any(|(_, port)| port.is_some());
    for (host, port) in url.hosts {
        set("host", host);
        if has_ports {
            set("port", port.unwrap_or(5432).to_string());
        }
    }
    if !url.database.is_empty() {
        set("dbname", url.database);
    }
    url.user.into_iter().for_each(|user| set("user", user));
    url.password.into_iter().for_each(|password| set("password", password));
    options.extend(url.options);
    options
}

/// `name=value name='a value'`, where a backslash takes away the meaning of what follows.
fn key_values(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut options = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("it has a word without =")?;
        let mut characters = after.trim_start().chars();
        let quoted = characters.as_str().starts_with('\'');
        if quoted {
            characters.next();
        }
        let mut value = String::new();
        let mut is_closed = !quoted;
        while let Some(character) = characters.next() {
            match character {
                '\\' => value.extend(characters.next()),
                '\'' if quoted => {
                    is_closed = true;
                    break;
                }
                space if !quoted && space.is_whitespace() => break,
                other => value.push(other),
            }
        }
        if !is_closed {
            return Err("it has a quote that isn't closed".into());
        }
        options.push((name.trim().to_owned(), value));
        rest = characters.as_str().trim_start();
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_leads_to_the_same_place() {
        for text in [
            r"host=db.example.com port=5433 dbname=d user=u password='p\'@ w' sslmode=verify-full extra=1",
            r"host = db.example.com  port = 5433 user=u password=p\'@\ w dbname=d sslmode=verify-full",
            "postgres://u:p'@ w@db.example.com:5433/d?sslmode=verify-full",
            "postgresql://u:p%27%40%20w@db.example.com:5433/d?sslmode=verify-full&binary_parameters=yes",
        ] {
            let Dsn { config, tls } = Dsn::parse(text).unwrap();
            assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")), "{text}");
            assert_eq!(config.get_password(), Some(&b"p'@ w"[..]), "{text}");
            assert_eq!(
                (config.get_ports(), config.get_ssl_mode()),
                (&[5433][..], SslMode::Require),
                "{text}"
            );
            assert_eq!((config.get_hosts().len(), tls.trust), (1, Trust::Full), "{text}");
        }
    }

    #[test]
    fn modes_of_tls() {
        for (mode, expected) in [
            ("", (SslMode::Prefer, Trust::Any)),
            ("sslmode=disable", (SslMode::Disable, Trust::Any)),
            ("sslmode=require", (SslMode::Require, Trust::Any)),
            ("sslmode=require sslrootcert=/ca.pem", (SslMode::Require, Trust::Chain)),
            ("sslmode=verify-ca", (SslMode::Require, Trust::Chain)),
            ("sslmode=verify-full sslrootcert=system", (SslMode::Require, Trust::Full)),
        ] {
            let Dsn { config, tls } = Dsn::parse(&format!("user=u {mode}")).unwrap();
            assert_eq!((config.get_ssl_mode(), tls.trust), expected, "{mode}");
        }
    }

    #[test]
    fn refusals_tell_no_password() {
        for text in [
            "host=h user=u password='hush",
            "postgres://u:hush@h:x/d",
            "postgres://u:hush@h/d?sslmode=maybe",
            "host=h password=hush",
            "host=h user=u password=hush port=x",
        ] {
            let refusal = Dsn::parse(text).unwrap_err();
            assert!(!refusal.contains("hush"), "{refusal}");
        }
    }
}
