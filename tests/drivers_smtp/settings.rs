//! How settings are written, and what is said of bad ones.

use notify_api::drivers::smtp::{Auth, Credentials, Mailbox, Mechanism, Server, SmtpConfig, Tls};

#[test]
fn servers() {
    for (value, host, port, shown) in [
        ("mail.example.org:587", "mail.example.org", 587, "mail.example.org:587"),
        ("MAIL.example.org:587", "mail.example.org", 587, "mail.example.org:587"),
        ("localhost:25", "localhost", 25, "localhost:25"),
        ("mail_1:25", "mail_1", 25, "mail_1:25"),
        ("192.0.2.1:25", "192.0.2.1", 25, "192.0.2.1:25"),
        ("[2001:db8::1]:465", "2001:db8::1", 465, "[2001:db8::1]:465"),
        ("bücher.example:25", "xn--bcher-kva.example", 25, "xn--bcher-kva.example:25"),
    ] {
        let server: Server = value.parse().unwrap();
        assert_eq!((server.host().as_str(), server.port()), (host, port));
        assert_eq!(server.to_string(), shown);
    }
    for value in [
        "",
        ":",
        ":25",
        "mail.example.org",
        "mail.example.org:",
        "mail.example.org:0",
        "mail.example.org:65536",
        "mail.example.org:+25",
        "mail.example.org:smtp",
        "::1:25",
        "[::1]",
        "2001:db8::1",
        "a b:25",
        "smtp://a:25",
        "user@mail:25",
        "[mail]:25",
    ] {
        let sentence = value.parse::<Server>().expect_err(value).to_string();
        assert!(sentence.starts_with("it takes host:port, as in "), "{sentence}");
    }
}

#[test]
fn loopback() {
    for value in
        ["localhost:25", "127.0.0.1:25", "127.8.8.8:25", "[::1]:25", "[::ffff:127.0.0.1]:25", "LOCALHOST:1"]
    {
        assert!(value.parse::<Server>().unwrap().is_loopback(), "{value}");
    }
    for value in ["mail.example.org:25", "192.0.2.1:25", "[2001:db8::1]:25", "localhost.example.org:25"] {
        assert!(!value.parse::<Server>().unwrap().is_loopback(), "{value}");
    }
}

#[test]
fn mailboxes() {
    for (value, name, address) in [
        ("nas@example.org", "", "nas@example.org"),
        ("<nas@example.org>", "", "nas@example.org"),
        (" NAS  <nas@example.org> ", "NAS", "nas@example.org"),
        ("Notify, Inc. (Köln) <nas@example.org>", "Notify, Inc. (Köln)", "nas@example.org"),
        (r#""A \"B\" \\ <C>" <nas@example.org>"#, r#"A "B" \ <C>"#, "nas@example.org"),
        ("root@nas", "", "root@nas"),
    ] {
        let mailbox: Mailbox = value.parse().unwrap();
        assert_eq!((mailbox.name(), mailbox.address()), (name, address));
    }
    assert_eq!("NAS <nas@example.org>".parse::<Mailbox>().unwrap().to_string(), "NAS <nas@example.org>");
    for value in
        ["", "nas", "NAS nas@example.org", "NAS <nas@example.org", "NAS <>", "a\nb <nas@example.org>"]
    {
        assert!(value.parse::<Mailbox>().is_err(), "{value}");
    }
}

#[test]
fn mechanisms() {
    for (value, mechanism) in [
        ("plain", Mechanism::Plain),
        ("PLAIN", Mechanism::Plain),
        ("Login", Mechanism::Login),
        ("nOnE", Mechanism::None),
    ] {
        assert_eq!(value.parse::<Mechanism>().unwrap(), mechanism);
    }
    for value in ["crammd5", "CRAMMD5", "cram-md5"] {
        let sentence = value.parse::<Mechanism>().unwrap_err().to_string();
        assert!(sentence.starts_with("CRAM-MD5 is not supported: "), "{sentence}");
        assert!(sentence.contains("\"plain\" or \"login\""), "{sentence}");
    }
    let sentence = "xoauth2".parse::<Mechanism>().unwrap_err().to_string();
    assert_eq!(sentence, "it takes \"plain\", \"login\" or \"none\"");
}

#[test]
fn encryption() {
    for value in ["tls", "TLS"] {
        assert_eq!(Tls::parse(value), (Tls::Implicit, None));
    }
    for value in ["", "none", "None"] {
        assert_eq!(Tls::parse(value), (Tls::None, None));
    }
    assert_eq!(Tls::parse("StartTLS"), (Tls::StartTls, None));
    for value in ["yes", "ssl", "1"] {
        let (tls, warning) = Tls::parse(value);
        assert_eq!(tls, Tls::StartTls);
        let warning = warning.unwrap();
        assert!(warning.contains(value) && warning.contains("STARTTLS is required"), "{warning}");
    }
}

#[test]
fn logins() {
    let secret = || Credentials::new("user", "geheim");
    assert_eq!(Auth::new(None, None, None).unwrap(), Auth::None);
    assert_eq!(Auth::new(None, Some("user"), Some("geheim")).unwrap(), Auth::Plain(secret()));
    assert_eq!(
        Auth::new(Some(Mechanism::Plain), Some("user"), Some("geheim")).unwrap(),
        Auth::Plain(secret())
    );
    assert_eq!(
        Auth::new(Some(Mechanism::Login), Some("user"), Some("geheim")).unwrap(),
        Auth::Login(secret())
    );
    assert_eq!(Auth::new(Some(Mechanism::None), Some("user"), None).unwrap(), Auth::None);
    for (mechanism, user, password, sentence) in [
        (None, Some("user"), None, "there is a user, but no password"),
        (None, None, Some("geheim"), "there is a password, but no user"),
        (Some(Mechanism::Login), None, None, "logging in takes a user and a password"),
    ] {
        assert_eq!(Auth::new(mechanism, user, password).unwrap_err().to_string(), sentence);
    }
    assert!(!format!("{:?}", Auth::Plain(secret())).contains("geheim"));
}

#[test]
fn warnings() {
    let warnings = |server: &str, tls: Tls, auth: Auth| {
        let mut config = SmtpConfig::new(server.parse().unwrap(), "a@example.org".parse().unwrap());
        config.tls = tls;
        config.auth = auth;
        config.warnings()
    };
    let auth = || Auth::Plain(Credentials::new("user", "geheim"));
    let [warning] = warnings("mail.example.org:25", Tls::None, auth()).try_into().unwrap();
    assert!(warning.contains("mail.example.org:25 in clear") && !warning.contains("geheim"), "{warning}");
    assert!(warnings("localhost:25", Tls::None, auth()).is_empty());
    assert!(warnings("[::1]:25", Tls::None, auth()).is_empty());
    assert!(warnings("mail.example.org:25", Tls::None, Auth::None).is_empty());
    assert!(warnings("mail.example.org:25", Tls::StartTls, auth()).is_empty());
    assert!(warnings("mail.example.org:465", Tls::Implicit, auth()).is_empty());
}
