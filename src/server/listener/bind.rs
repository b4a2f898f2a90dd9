//! From an address as a person writes it to a socket.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds for us while we can't accept them.
const BACKLOG: i32 = 1024;

/// Why there is no listening on an address.
#[derive(Debug)]
pub(crate) struct BindError {
    address: String,
    reason: String,
    source: Option<io::Error>,
}

impl BindError {
    /// The system refused.
    pub(super) fn new(address: &str, error: io::Error) -> BindError {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the port is already in use".into(),
            io::ErrorKind::PermissionDenied => {
                "not permitted (a port below 1024 needs root or CAP_NET_BIND_SERVICE)".into()
            }
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address".into(),
            _ => error.to_string(),
        };
        BindError { address: address.into(), reason, source: Some(error) }
    }

    fn malformed(address: &str, reason: &str) -> BindError {
        BindError { address: address.into(), reason: reason.into(), source: None }
    }

    fn unknown_host(address: &str, host: &str, source: Option<io::Error>) -> BindError {
        BindError { address: address.into(), reason: format!("the host name {host:?} is unknown"), source }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug keeps control characters from breaking the line.
        write!(f, "cannot listen on {:?}: {}", self.address, self.reason)
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// What an address says.
#[derive(Debug, PartialEq)]
enum Place<'a> {
    Address(SocketAddr),
    EveryInterface(u16),
    Host(&'a str, u16),
}

/// Listens on `address`: an IP address or a host name, and a port, as in `127.0.0.1:8080`, `[::1]:8080` or
/// `localhost:8080`. Without a host (`:8080`) it is every interface, IPv6 and IPv4; port 0 is any free one.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, BindError> {
    let bound = match parse(address)? {
        Place::Address(place) => listen(place),
        Place::EveryInterface(port) => match listen_on_both(port) {
            Err(error) if !is_about_the_port(&error) => listen((Ipv4Addr::UNSPECIFIED, port).into()),
            bound => bound,
        },
        Place::Host(host, port) => {
            let mut places: Vec<SocketAddr> = match tokio::net::lookup_host((host, port)).await {
                Ok(places) => places.collect(),
                Err(error) => return Err(BindError::unknown_host(address, host, Some(error))),
            };
            // A name stands for one of its addresses, and for the IPv4 one if it has one: `localhost` is what
            // people then reach as 127.0.0.1.
            places.sort_by_key(SocketAddr::is_ipv6);
            let mut bound = None;
            for place in places {
                let attempt = listen(place);
                let settled = attempt.as_ref().err().is_none_or(is_about_the_port);
                bound = Some(attempt);
                if settled {
                    break;
                }
            }
            bound.ok_or_else(|| BindError::unknown_host(address, host, None))?
        }
    };
    bound.map_err(|error| BindError::new(address, error))
}

/// What an address stands for, without listening there.
pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, BindError> {
    let places: Vec<SocketAddr> = match parse(address)? {
        Place::Address(place) => vec![place],
        Place::EveryInterface(port) => vec![(Ipv6Addr::UNSPECIFIED, port).into()],
        Place::Host(host, port) => match (host, port).to_socket_addrs() {
            Ok(places) => places.collect(),
            Err(error) => return Err(BindError::unknown_host(address, host, Some(error))),
        },
    };
    Ok(places)
}

fn parse(address: &str) -> Result<Place<'_>, BindError> {
    let malformed = |reason| Err(BindError::malformed(address, reason));

    if let Ok(place) = address.parse() {
        return Ok(Place::Address(place));
    }
    if address.contains("//") {
        return malformed("that is a URL; an address is a host and a port, as in 127.0.0.1:8080");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return malformed("a port is missing; an address is a host and a port, as in 127.0.0.1:8080");
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return malformed("an IPv6 address is written in brackets, as in [::1]:8080");
    }
    // Digits only: `parse` would take a plus sign.
    let port = match port.parse::<u16>() {
        Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
        _ => return malformed("the port is a number from 0 to 65535"),
    };
    match bracketed.unwrap_or(host) {
        "" if bracketed.is_none() => Ok(Place::EveryInterface(port)),
        "" => malformed("there is no address in the brackets"),
        host if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') => {
            malformed("that is no host name")
        }
        host => Ok(Place::Host(host, port)),
    }
}

/// Whether another address with the same port should not be tried: the port would look free when it isn't.
fn is_about_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn listen_on_both(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    // Some systems, and some administrators, have it the other way by default.
    socket.set_only_v6(false)?;
    finish(socket, (Ipv6Addr::UNSPECIFIED, port).into())
}

fn listen(place: SocketAddr) -> io::Result<TcpListener> {
    finish(Socket::new(Domain::for_address(place), Type::STREAM, Some(Protocol::TCP))?, place)
}

fn finish(socket: Socket, place: SocketAddr) -> io::Result<TcpListener> {
    // Without it a restart has to wait until the closed connections of the last run are forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&place.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let literal = |text: &str| Place::Address(text.parse().unwrap());
        for (address, place) in [
            ("127.0.0.1:8080", literal("127.0.0.1:8080")),
            ("0.0.0.0:0", literal("0.0.0.0:0")),
            ("[::1]:8080", literal("[::1]:8080")),
            ("[::]:8080", literal("[::]:8080")),
            (":8080", Place::EveryInterface(8080)),
            (":0", Place::EveryInterface(0)),
            ("localhost:8080", Place::Host("localhost", 8080)),
            ("[fe80::1%eth0]:80", Place::Host("fe80::1%eth0", 80)),
        ] {
            assert_eq!(parse(address).unwrap(), place, "{address}");
        }
    }

    #[test]
    fn what_an_address_stands_for() {
        let resolved =
            |address| resolve(address).unwrap().iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        assert_eq!(resolved("127.0.0.1:8080"), ["127.0.0.1:8080"]);
        assert_eq!(resolved(":8080"), ["[::]:8080"]);
        assert!(resolve("localhost:80").unwrap().iter().all(|place| place.ip().is_loopback()));
        let unknown = resolve("no..host:80").unwrap_err().to_string();
        assert_eq!(unknown, "cannot listen on \"no..host:80\": the host name \"no..host\" is unknown");
    }

    #[test]
    fn malformed_addresses() {
        for address in [
            "",
            "8080",
            "localhost",
            "127.0.0.1",
            "::1:8080",
            "::1",
            "[::1]",
            "[]:8080",
            "localhost:",
            ":",
            "localhost:http",
            ":+80",
            ":-1",
            ":65536",
            ": 80",
            "a b:80",
            "a\nb:80",
            "http://localhost:8080",
        ] {
            let error = parse(address).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot listen on {address:?}: ")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_said() {
        let first = bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        for address in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!(":{port}")] {
            let error = bind(&address).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("cannot listen on {address:?}: the port is already in use")
            );
            assert!(error.source().is_some());
        }
    }

    #[tokio::test]
    async fn an_unknown_host_and_a_foreign_address_are_said() {
        // No name may contain an empty label, so no resolver asks anybody.
        let error = bind("no..host:8080").await.unwrap_err().to_string();
        assert!(error.contains(r#"the host name "no..host" is unknown"#), "{error}");
        // An address for documentation.
        let error = bind("192.0.2.1:0").await.unwrap_err().to_string();
        assert!(error.contains("no interface"), "{error}");
    }

    #[tokio::test]
    async fn without_a_host_it_is_every_interface() {
        let socket = bind(":0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if socket.local_addr().unwrap().is_ipv6() {
            std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[tokio::test]
    async fn localhost_is_reached_as_127_0_0_1() {
        let socket = bind("localhost:0").await.unwrap();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port())).unwrap();
    }
}
