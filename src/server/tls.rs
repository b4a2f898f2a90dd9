//! The server's certificate and key.

use std::error::Error;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, InconsistentKeys, RootCertStore, ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

/// What is wrong with a certificate or key file.
#[derive(Debug)]
pub(crate) struct TlsFileError {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.file, self.reason)
    }
}

impl Error for TlsFileError {}

/// Serves TLS with the certificate chain in one PEM file and its private key in another (or the same).
pub(crate) fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsFileError> {
    let chain = chain(cert)?;
    let private_key = private_key(key)?;
    // Explicitly: which provider is the default depends on all crates in the build.
    let provider = Arc::new(crypto::ring::default_provider());
    // The step below reads it once more, but doesn't say which of the two files it complains about.
    if let Err(error) = provider.key_provider.load_private_key(private_key.clone_key()) {
        return Err(wrong(key, format!("the private key can't be used: {error}")));
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves the protocol versions that rustls has")
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                wrong(key, format!("the private key doesn't belong to the certificate in {cert:?}"))
            }
            error => wrong(cert, format!("the certificate can't be used: {error}")),
        })?;
    // `curl -0` offers the older one only, and a client that is offered nothing it knows must give up.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the certificate in a file expires. Whoever verifies it too late is told so, before all
/// that may be wrong with it as well.
pub(crate) fn expiry(cert: &Path) -> Option<SystemTime> {
    /// The last second that a certificate can name, which means never.
    const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);
    let certificate = chain(cert).ok()?.into_iter().next()?;
    let mut roots = RootCertStore::empty();
    // Nobody is trusted, but there has to be somebody.
    roots.add(certificate.clone()).ok()?;
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
    let now = UnixTime::since_unix_epoch(END_OF_TIME);
    match verifier.verify_server_cert(&certificate, &[], &name, &[], now) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let text = read(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(file, format!("broken PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(file, "there is no certificate in it (no BEGIN CERTIFICATE)"));
    }
    Ok(chain)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&text, b"BEGIN ENCRYPTED PRIVATE KEY") => {
            wrong(file, "the private key is encrypted; it has to be without a passphrase")
        }
        pem::Error::NoItemsFound => wrong(file, "there is no private key in it (no BEGIN PRIVATE KEY)"),
        error => wrong(file, format!("broken PEM: {error}")),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFileError> {
    fs::read(file).map_err(|error| wrong(file, format!("can't be read: {error}")))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn wrong(file: &Path, reason: impl Into<String>) -> TlsFileError {
    TlsFileError { file: file.into(), reason: reason.into() }
}
