//! The same over TLS.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::server::tls::acceptor;

/// A directory with certificates, gone with the test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let directory = std::env::temp_dir().join(format!("notify-api-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Files(directory)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, content).unwrap();
        file
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap()
}

/// A server with TLS, and a connector that trusts it and offers HTTP/2 as well.
async fn start(test: &str, limits: Limits) -> (Server, TlsConnector) {
    let files = Files::new(test);
    let pair = certificate();
    let cert = files.write("cert.pem", pair.cert.pem());
    let key = files.write("key.pem", pair.signing_key.serialize_pem());
    let server = Server::start_with(limits, Some(acceptor(&cert, &key).unwrap())).await;

    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (server, TlsConnector::from(Arc::new(config)))
}

async fn connect(server: &Server, connector: &TlsConnector) -> Client<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    Client(soon(connector.connect(name, server.connect().await.0)).await.unwrap())
}

#[tokio::test]
async fn requests_are_served() {
    let (server, connector) = start("served", wide()).await;
    let mut client = connect(&server, &connector).await;
    assert_eq!(client.0.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    client.is_served().await;
    client.is_served().await;

    client.send("POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: 5000000\r\n\r\n").await;
    client.send(vec![b'x'; 5_000_000]).await;
    // An end without TLS's own goodbye would be an error here.
    assert!(client.rest().await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_client_may_insist_on_http_1_0() {
    let (server, connector) = start("old", wide()).await;
    let mut config = ClientConfig::clone(connector.config());
    config.alpn_protocols = vec![b"http/1.0".to_vec()];
    let mut client = connect(&server, &TlsConnector::from(Arc::new(config))).await;
    client.send("GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(client.rest().await.ends_with("hello"));
}

#[tokio::test]
async fn a_handshake_has_to_come_in_time() {
    let (server, connector) = start("handshake", Limits { head: Duration::from_millis(300), ..wide() }).await;
    server.connect().await.is_closed().await;
    let mut client = connect(&server, &connector).await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn plain_http_is_closed_and_harms_nobody() {
    let (server, connector) = start("plain", wide()).await;
    let mut plain = server.connect().await;
    plain.get("/hello").await;
    let mut answer = Vec::new();
    let _ = soon(plain.0.read_to_end(&mut answer)).await;
    // At most a TLS alert.
    assert!(answer.len() < 10 && !answer.starts_with(b"HTTP"), "{answer:?}");
    connect(&server, &connector).await.is_served().await;
}

#[tokio::test]
async fn an_unfinished_handshake_makes_place_and_does_not_hold_up_a_stop() {
    let limits = Limits { connections: 1, settle: Duration::ZERO, ..wide() };
    let (server, connector) = start("place", limits).await;
    let mut silent = server.connect().await;
    let mut client = connect(&server, &connector).await;
    silent.is_closed().await;
    client.is_served().await;
    let mut silent = server.connect().await;
    assert_eq!(client.rest().await, "");
    server.stop.send(Instant::now() + SOON).unwrap();
    silent.is_closed().await;
    timeout(SOON / 2, server.serving).await.unwrap().unwrap();
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let files = Files::new("wrong");
    let (one, two) = (certificate(), certificate());
    let cert = files.write("cert.pem", one.cert.pem());
    let key = files.write("key.pem", one.signing_key.serialize_pem());
    let both = files.write("both.pem", one.cert.pem() + &one.signing_key.serialize_pem());
    let other_key = files.write("other.pem", two.signing_key.serialize_pem());
    let empty = files.write("empty.pem", "");
    let broken = files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let no_der = files.write("no-der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = files.write(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let no_key = files.write("no-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let missing = files.0.join("missing.pem");

    assert!(acceptor(&cert, &key).is_ok());
    assert!(acceptor(&both, &both).is_ok());
    for (cert, key, file, reason) in [
        (&missing, &key, &missing, "can't be read"),
        (&cert, &missing, &missing, "can't be read"),
        (&empty, &key, &empty, "no certificate"),
        (&key, &key, &key, "no certificate"),
        (&broken, &key, &broken, "PEM"),
        (&no_der, &key, &no_der, "can't be used"),
        (&cert, &cert, &cert, "no private key"),
        (&cert, &locked, &locked, "encrypted"),
        (&cert, &no_key, &no_key, "can't be used"),
        (&cert, &other_key, &other_key, "doesn't belong"),
    ] {
        let error = acceptor(cert, key).err().unwrap().to_string();
        let names = |file: &Path| error.starts_with(&format!("{file:?}: "));
        assert!(names(file) && error.contains(reason) && !error.contains('\n'), "{error}");
    }
}
