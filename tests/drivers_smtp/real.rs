//! The real mail server: a child process that runs `tests/support/smtp_server.py`.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use notify_api::drivers::tls::Trust;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

/// The version that the tests were written against.
const AIOSMTPD: &str = "aiosmtpd==1.4.6";

/// How long anything that will happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; it ends with this.
pub(crate) struct RealServer {
    child: Child,
    lines: Receiver<String>,
    pub(crate) port: u16,
}

impl RealServer {
    /// One in clear, for everybody.
    pub(crate) fn start() -> Self {
        Self::start_with(&json!({"tls": "none", "auth": null}))
    }

    pub(crate) fn start_with(settings: &Value) -> Self {
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp_server.py"))
            .arg(settings.to_string())
            .env("PYTHONPATH", aiosmtpd())
            .env("PYTHONWARNINGS", "ignore")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut server = Self { child, lines, port: 0 };
        server.port = u16::try_from(server.next()["port"].as_u64().unwrap()).unwrap();
        server
    }

    /// The next mail that it took.
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the server tells of a mail");
        serde_json::from_str(&line).unwrap()
    }

    /// Whether it told of every mail it took, now that it has ended.
    pub(crate) fn ends_without_more(mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        self.lines.recv_timeout(PATIENCE).is_err()
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where aiosmtpd is; it is installed below `target/` when it isn't there yet.
fn aiosmtpd() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(AIOSMTPD);
        if !place.exists() {
            let unfinished = place.with_extension(format!("unfinished-{}", std::process::id()));
            let status = Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
                .args([unfinished.as_os_str(), AIOSMTPD.as_ref()])
                .status()
                .expect("these tests need python3");
            assert!(
                status.success(),
                "these tests need {AIOSMTPD}, and pip could not install it (see above)"
            );
            // Another test run may have been faster.
            if std::fs::rename(&unfinished, &place).is_err() {
                std::fs::remove_dir_all(&unfinished).unwrap();
            }
        }
        place
    })
}

/// A certificate, in files, and what it is signed by.
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    authority: CertificateDer<'static>,
    /// The authority's certificate, for those that run the program.
    #[allow(dead_code)]
    pub(crate) authority_pem: String,
}

impl Identity {
    /// For these names, signed by an authority made just now.
    pub(crate) fn of(names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();

        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &authority).unwrap();

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("smtp-{}-{count}", std::process::id()));
        let identity = Self {
            cert: place.with_extension("crt"),
            key: place.with_extension("key"),
            authority: authority.der().clone(),
            authority_pem: authority.pem(),
        };
        std::fs::write(&identity.cert, cert.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::only([self.authority.clone()])
    }

    pub(crate) fn settings(&self, tls: &str, auth: Value) -> Value {
        json!({"tls": tls, "cert": self.cert, "key": self.key, "auth": auth})
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.cert);
        let _ = std::fs::remove_file(&self.key);
    }
}
