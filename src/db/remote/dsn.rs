//! Data source names: the parts that the URLs of all servers share.

use percent_encoding::percent_decode_str;

/// `scheme://user:password@host:port,host:port/database?option=value`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::db) struct Url {
    pub(in crate::db) user: Option<String>,
    pub(in crate::db) password: Option<String>,
    /// Names or addresses, with the ports that are given.
    pub(in crate::db) hosts: Vec<(String, Option<u16>)>,
    pub(in crate::db) database: String,
    pub(in crate::db) options: Vec<(String, String)>,
}

impl Url {
    /// Reads what follows `scheme://`. A password may hold anything: the last `@` ends it,
    /// and what isn't a percent-encoding stands for itself.
    pub(in crate::db) fn parse(rest: &str) -> Result<Self, String> {
        let (login, place) =
            rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
        let (user, password) = match login {
            Some(login) => match login.split_once(':') {
                Some((user, password)) => (Some(decode(user)), Some(decode(password))),
                None => (Some(decode(login)), None),
            },
            None => (None, None),
        };
        let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(host);
        Ok(Self {
            user: user.filter(|user| !user.is_empty()),
            password,
            hosts: hosts.collect::<Result<_, _>>()?,
            database: decode(database),
            options: options(query),
        })
    }
}

/// `option=value&option=value`.
pub(in crate::db) fn options(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// `host`, `host:port` or `[address]:port`.
pub(in crate::db) fn host(text: &str) -> Result<(String, Option<u16>), String> {
    let (name, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => match text.rsplit_once(':') {
            // More than one colon: an address without brackets.
            Some((name, _)) if name.contains(':') => (text, None),
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose();
    Ok((decode(name), port.map_err(|_| "its port is not a number from 0 to 65535")?))
}

/// Undoes percent-encoding; what isn't any stands for itself.
pub(in crate::db) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("u%40x:p@ss:w/rd?#%zz@[::1]:3307/d%20b?tls=true&x=a%26b&flag").unwrap();
        assert_eq!(url.user.as_deref(), Some("u@x"));
        assert_eq!(url.password.as_deref(), Some("p@ss:w/rd?#%zz"));
        assert_eq!(url.hosts, [("::1".to_owned(), Some(3307))]);
        assert_eq!(url.database, "d b");
        let options: Vec<_> = url.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(options, [("tls", "true"), ("x", "a&b"), ("flag", "")]);
    }

    #[test]
    fn whatever_may_be_missing_may_be_missing() {
        assert_eq!(Url::parse("").unwrap(), Url::default());
        let url = Url::parse("a,b:5433/").unwrap();
        assert_eq!(url.hosts, [("a".to_owned(), None), ("b".to_owned(), Some(5433))]);
        assert_eq!(Url::parse("u@h").unwrap().password, None);
        assert_eq!(Url::parse("u:@h").unwrap().password.as_deref(), Some(""));
        assert_eq!(host("::1").unwrap(), ("::1".into(), None));
        assert!(host("h:x").is_err());
    }
}
