//! Where it listens, with TLS and without.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::environment::refusal;
use crate::support::{
    http::{Connection, Request},
    receiver::Receiver,
    server::{Home, params},
};

/// Puts a certificate for this machine and its key into files.
pub(crate) fn certify(home: &Home, name: &str) {
    let names = ["localhost".into(), "127.0.0.1".into()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    fs::write(home.path(&format!("{name}.pem")), cert.pem()).unwrap();
    fs::write(home.path(&format!("{name}.key")), signing_key.serialize_pem()).unwrap();
}

#[test]
fn without_a_host_it_is_every_interface_and_a_warning() {
    let home = Home::new();
    let server = home.start(&[("NOTIFY_HTTP_BIND", ":0")]);
    let port = server.address().port();
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()] {
        let answer = Connection::open(address).call(&Request::bodiless("GET", "/health"));
        assert_eq!(answer.status, 200, "{address}");
    }
    server.log().wait_for("warning", |line| line.contains("WARN") && line.contains("NOTIFY_TOKEN"));
}

#[test]
fn beyond_loopback_it_warns_unless_there_is_a_token() {
    for (bind, token, warns) in [
        ("0.0.0.0:0", "", true),
        ("[::]:0", "", true),
        ("0.0.0.0:0", "hush", false),
        (":0", "hush", false),
        ("127.0.0.1:0", "", false),
        ("[::1]:0", "", false),
        ("localhost:0", "", false),
    ] {
        let home = Home::new();
        let server = home.start(&[("NOTIFY_HTTP_BIND", bind), ("NOTIFY_TOKEN", token)]);
        // Whatever is warned of comes before the stop.
        let lines = server.stop().lines;
        let warning = lines.iter().any(|line| line.contains("WARN") && line.contains("NOTIFY_TOKEN"));
        assert_eq!(warning, warns, "{bind} {token:?}: {lines:?}");
        assert!(!lines.concat().contains("hush"));
    }
}

#[test]
fn https() {
    let (home, receiver) = (Home::new(), Receiver::new());
    certify(&home, "cert");
    let server = home.start(&[
        ("NOTIFY_TLS_CERT", "cert.pem"),
        ("NOTIFY_TLS_KEY", "cert.key"),
        ("NOTIFY_HTTP_BIND", "localhost:0"),
    ]);
    let started = server.log().lines().concat();
    assert!(started.contains(&format!("address=https://{}", server.address())), "{started}");
    let url = format!("https://localhost:{}", server.address().port());
    let curl = |arguments: &[&str]| {
        Command::new("curl").current_dir(home.path("")).arg("-sS").args(arguments).output().unwrap()
    };
    let body = params("tls", &receiver.url("/tls")).to_string();
    let sent = curl(&["--cacert", "cert.pem", "-f", "-d", &body, &format!("{url}/send")]);
    assert!(sent.status.success() && sent.stdout.is_empty(), "{sent:?}");
    receiver.wait_for(1);
    let health = curl(&["--cacert", "cert.pem", "-0", &format!("{url}/health")]);
    assert!(String::from_utf8(health.stdout).unwrap().contains("ok"));
    // Who doesn't know the certificate doesn't take it.
    assert_eq!(curl(&[&format!("{url}/health")]).status.code(), Some(60));
    // Plain HTTP gets nothing.
    let mut plain = server.connect();
    plain.write("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(plain.answer().is_err());
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_certificate_and_its_key_in_one_file() {
    let home = Home::new();
    certify(&home, "cert");
    let both = [fs::read(home.path("cert.key")).unwrap(), fs::read(home.path("cert.pem")).unwrap()].concat();
    fs::write(home.path("both.pem"), both).unwrap();
    let server = home.start(&[("NOTIFY_TLS_CERT", "both.pem"), ("NOTIFY_TLS_KEY", "both.pem")]);
    let url = format!("https://{}/health", server.address());
    let curl =
        Command::new("curl").args(["-sSf", "--cacert"]).arg(home.path("cert.pem")).arg(url).output().unwrap();
    assert!(curl.status.success(), "{curl:?}");
}

#[test]
fn files_that_are_no_certificate_and_key() {
    let home = Home::new();
    certify(&home, "one");
    certify(&home, "two");
    fs::write(home.path("text"), "no PEM here\n").unwrap();
    fs::write(home.path("broken"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let before = home.files().len();
    for (cert, key, wrong, why) in [
        ("missing.pem", "one.key", "missing.pem", "can't be read"),
        ("one.pem", "missing.key", "missing.key", "can't be read"),
        ("text", "one.key", "text", "no certificate"),
        ("broken", "one.key", "broken", ""),
        ("one.pem", "text", "text", "no private key"),
        ("one.pem", "one.pem", "one.pem", "no private key"),
        ("one.key", "one.key", "one.key", "no certificate"),
        ("one.pem", "two.key", "two.key", "doesn't belong"),
    ] {
        let line = refusal(&home.run(&[("NOTIFY_TLS_CERT", cert), ("NOTIFY_TLS_KEY", key)], &[]));
        assert!(
            line.contains("NOTIFY_TLS_") && line.contains(wrong) && line.contains(why),
            "{cert} {key}: {line}"
        );
        assert!(!line.contains("PRIVATE KEY-"), "{line}");
    }
    assert_eq!(home.files().len(), before);
}
