//! Mail addresses with names, checked once, at the door.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use lettre::Address;
use url::Host;

use super::InvalidSetting;

/// A mail address and the name of the person or machine behind it; written
/// `Name <address>` or just `address`.
///
/// A domain that isn't ASCII is kept in its ASCII form (`xn--…`), which every
/// server understands. An address whose part before the `@` isn't ASCII is
/// refused: it could only be delivered while each server on the way has
/// `SMTPUTF8`, which many haven't.
///
/// ```
/// use notify_api::drivers::smtp::Mailbox;
///
/// let mailbox: Mailbox = "The NAS <nas@example.org>".parse()?;
/// assert_eq!((mailbox.name(), mailbox.address()), ("The NAS", "nas@example.org"));
/// assert_eq!("nas@bücher.example".parse::<Mailbox>()?.address(), "nas@xn--bcher-kva.example");
/// # Ok::<(), notify_api::drivers::smtp::InvalidSetting>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    name: String,
    address: Address,
}

impl Mailbox {
    /// Takes a name, which may be empty, and an address.
    ///
    /// # Errors
    /// It is no mail address, or one of them has a line break or another control character in it.
    pub fn new(name: &str, address: &str) -> Result<Self, InvalidSetting> {
        if name.contains(char::is_control) {
            return Err(InvalidSetting::new("the name contains a line break or another control character"));
        }
        let no_address = || InvalidSetting::new(format!("{address:?} is no mail address"));
        let (user, domain) = address.rsplit_once('@').ok_or_else(no_address)?;
        if !user.is_ascii() {
            return Err(InvalidSetting::new(format!(
                "{address:?} has characters before the @ that are not ASCII, which many mail servers refuse"
            )));
        }
        // The parser lets what stands in quotes pass as it is.
        if user.contains(|char: char| char.is_control()) {
            return Err(no_address());
        }
        // So it does with brackets.
        if domain.starts_with('[') && !is_literal(domain) {
            return Err(no_address());
        }
        let address = if domain.is_ascii() {
            Address::new(user, domain)
        } else {
            match Host::parse(domain) {
                Ok(Host::Domain(ascii)) => Address::new(user, ascii),
                _ => return Err(no_address()),
            }
        };
        Ok(Self { name: name.trim().to_owned(), address: address.map_err(|_| no_address())? })
    }

    /// The name, empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    pub fn address(&self) -> &str {
        self.address.as_ref()
    }

    pub(super) fn domain(&self) -> &str {
        self.address.domain()
    }

    /// Where mail for it lands: domains have no case.
    pub(super) fn place(&self) -> (&str, String) {
        (self.address.user(), self.domain().to_ascii_lowercase())
    }
}

impl FromStr for Mailbox {
    type Err = InvalidSetting;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let value = value.trim();
        let Some((name, address)) = value.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) else {
            return Self::new("", value);
        };
        let name = name.trim();
        match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => Self::new(&unescape(quoted), address.trim()),
            None => Self::new(name, address.trim()),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            f.write_str(self.address())
        } else {
            write!(f, "{} <{}>", self.name, self.address())
        }
    }
}

/// Whether it is an address in brackets, as RFC 5321 writes it.
fn is_literal(domain: &str) -> bool {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    match inner.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

/// The text inside a quoted string: a backslash stands before what is meant literally.
fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}
