//! Whom a driver trusts when it connects over TLS: one decision for all of them.

use std::{
    env, fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{CertificateError, ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

mod exact;

/// Where distributions keep the bundle of what they trust; the first that exists is read.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",   // older ones
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // BSD, macOS
    "/usr/local/share/certs/ca-root-nss.crt", // FreeBSD
];

/// The certificate authorities that TLS servers must be certified by; clones
/// share what was loaded, and sessions that can be resumed.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    source: Source,
    config: OnceLock<Arc<ClientConfig>>,
}

enum Source {
    System,
    Only(Roots),
    Exactly(CertificateDer<'static>),
}

/// Certificates that are trusted.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// These.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Also the bundled ones of Mozilla, since the system has none.
    pub bundled: bool,
}

impl Trust {
    /// What the system trusts, and what the files that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name hold; bundled ones where the system has none.
    ///
    /// They are read at the first connection. What can't be read is a warning:
    /// a broken file among a hundred good ones must not stop anything.
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// Nothing but these.
    pub fn only(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let certificates = certificates.into_iter().collect();
        Self::of(Source::Only(Roots { certificates, bundled: false }))
    }

    /// Nobody but the server that has the key of this certificate, under whatever name it is
    /// reached: for one that is known by its file.
    pub fn exactly(certificate: CertificateDer<'static>) -> Self {
        Self::of(Source::Exactly(certificate))
    }

    fn of(source: Source) -> Self {
        Self(Arc::new(Inner { source, config: OnceLock::new() }))
    }

    /// A client's configuration, without a client certificate.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let config = || {
            let provider = Arc::new(ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .expect("ring has what TLS 1.2 and 1.3 need");
            let builder = match &self.0.source {
                Source::Exactly(certificate) => {
                    let verifier = exact::Exactly { certificate: certificate.clone(), provider };
                    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
                }
                _ => builder.with_root_certificates(self.root_store()),
            };
            Arc::new(builder.with_no_client_auth())
        };
        self.0.config.get_or_init(config).clone()
    }

    fn root_store(&self) -> RootCertStore {
        let roots = self.roots();
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(roots.certificates);
        if ignored > 0 {
            tracing::warn!("{ignored} certificates to trust can't be used");
        }
        if roots.bundled {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        store
    }

    /// The certificates of authorities, for those that build a configuration of their own.
    pub fn roots(&self) -> Roots {
        match &self.0.source {
            Source::System => system(),
            Source::Only(roots) => roots.clone(),
            Source::Exactly(_) => Roots::default(),
        }
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::System => f.write_str("Trust::system()"),
            Source::Only(roots) => write!(f, "Trust::only({} certificates)", roots.certificates.len()),
            Source::Exactly(_) => f.write_str("Trust::exactly()"),
        }
    }
}

/// What is wrong with the certificate of a server, and what to do about it;
/// `None` if it isn't that which failed.
pub(super) fn certificate_problem(error: &rustls::Error, host: &str) -> Option<String> {
    let rustls::Error::InvalidCertificate(problem) = error else { return None };
    Some(match problem {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} is signed by nobody this system trusts: if that is a CA of your own, let \
             SSL_CERT_FILE name a PEM file with its certificate"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate that the server sent is not for {host}: {error}; reach the server by a name that is in it"
        ),
        CertificateError::ApplicationVerificationFailure => {
            format!("the certificate of {host} is not the one that is expected of it")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired: {error}; or the clock of this machine is wrong")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "the certificate of {host} is not valid yet: {error}; is the clock of this machine right?"
            )
        }
        _ => format!(
            "the certificate of {host} is not accepted: {error}; a CA of your own is trusted if SSL_CERT_FILE names a \
             PEM file with its certificate"
        ),
    })
}

fn system() -> Roots {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let named = set("SSL_CERT_FILE") || set("SSL_CERT_DIR");
    // With these variables set, the loader reads nothing else, and a server in
    // the home network would be trusted at the price of all the others.
    let mut certificates = if named { certificates(load_native_certs()) } else { Vec::new() };
    let system = match SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        Some(path) => self::certificates(load_certs_from_paths(Some(path), None)),
        None if !named => self::certificates(load_native_certs()),
        None => Vec::new(),
    };
    let bundled = system.is_empty();
    certificates.extend(system);
    certificates.sort_unstable_by(|left, right| left.as_ref().cmp(right.as_ref()));
    certificates.dedup();
    Roots { certificates, bundled }
}

fn certificates(loaded: CertificateResult) -> Vec<CertificateDer<'static>> {
    for error in loaded.errors {
        tracing::warn!("a certificate to trust can't be read: {error}");
    }
    loaded.certs
}
