//! How commands reach the running server: by the configuration it was started with.

use std::{net::IpAddr, path::Path, process::ExitCode};

use notify_api::{
    Client, ClientError, ClientOptions,
    drivers::{tls::Trust, web::Proxies},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    cli::{EXIT_FAILED, Refusal},
    config::Config,
};

/// A client of the server at `url`, or else of the one that this configuration starts here.
pub(crate) fn client(config: &Config, url: Option<&str>) -> Result<Client, Refusal> {
    let token = config.token.clone();
    if let Some(url) = url {
        let proxies = Proxies::from_env().map_err(|error| error.to_string())?;
        let options = ClientOptions { token, proxies, ..ClientOptions::default() };
        return Client::new(url, options).map_err(|error| format!("--url: {error}"));
    }
    let address = address(&config.bind).ok_or_else(|| {
        config.wrong_bind("this tells no address to reach the server at: say --url").to_string()
    })?;
    let (scheme, trust) = match &config.tls {
        // Its name is hardly the one it is reached by here, but the file says who it is.
        Some((cert, _)) => {
            ("https", Trust::exactly(leaf(cert).map_err(|reason| config.wrong_tls(reason).to_string())?))
        }
        None => ("http", Trust::only([])),
    };
    let options = ClientOptions { token, trust, ..ClientOptions::default() };
    Client::new(&format!("{scheme}://{address}"), options).map_err(|error| error.to_string())
}

/// Where a server that listens there is reached from here.
fn address(bind: &str) -> Option<String> {
    let (host, port) = bind.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some(match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[::1]:{port}"),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        // Every interface, by whichever protocol there is.
        Err(_) if host.is_empty() => format!("127.0.0.1:{port}"),
        _ => format!("{host}:{port}"),
    })
}

/// The server's own certificate, which comes first.
fn leaf(file: &Path) -> Result<CertificateDer<'static>, String> {
    let mut chain = CertificateDer::pem_file_iter(file).map_err(|error| format!("{file:?}: {error}"))?;
    let leaf = chain.next().ok_or_else(|| format!("{file:?}: there is no certificate in it"))?;
    leaf.map_err(|error| format!("{file:?}: {error}"))
}

/// Says why a command can't be carried out.
pub(crate) fn failed(error: &ClientError) -> ExitCode {
    match error {
        ClientError::Unreachable(reason) => eprintln!("notify-api: {reason}: is the server running?"),
        ClientError::Unauthorized(reason) => eprintln!("notify-api: {reason}: is NOTIFY_TOKEN the server's?"),
        error => eprintln!("notify-api: {error}"),
    }
    ExitCode::from(EXIT_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_interface_is_reached_on_the_loopback() {
        for (bind, reached) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[::1]:80", "[::1]:80"),
            ("[0:0::5]:80", "[::5]:80"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("localhost:8080", "localhost:8080"),
        ] {
            assert_eq!(address(bind).as_deref(), Some(reached), "{bind}");
        }
        for bind in ["", "8080", "127.0.0.1", "127.0.0.1:0", ":", "x:y", "x:65536"] {
            assert_eq!(address(bind), None, "{bind}");
        }
    }
}
