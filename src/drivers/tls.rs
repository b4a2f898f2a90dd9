//! Whom a driver trusts when it connects over TLS: one decision for all of them.

use std::{
    env, fmt,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

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

    fn of(source: Source) -> Self {
        Self(Arc::new(Inner { source, config: OnceLock::new() }))
    }

    /// A client's configuration, without a client certificate.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let config = || {
            let roots = self.roots();
            let mut store = RootCertStore::empty();
            let (_, ignored) = store.add_parsable_certificates(roots.certificates);
            if ignored > 0 {
                tracing::warn!("{ignored} certificates to trust can't be used");
            }
            if roots.bundled {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring has what TLS 1.2 and 1.3 need")
                .with_root_certificates(store)
                .with_no_client_auth();
            Arc::new(config)
        };
        self.0.config.get_or_init(config).clone()
    }

    /// The certificates themselves, for those that build a configuration of their own.
    pub fn roots(&self) -> Roots {
        match &self.0.source {
            Source::System => system(),
            Source::Only(roots) => roots.clone(),
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
        }
    }
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
