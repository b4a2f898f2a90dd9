//! Servers that refuse, hang up, fall silent or talk without end: which kind of
//! failure it is, what is stored of it, and that it ends in time.

use notify_api::drivers::mask::Masked;
use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use notify_api::{
    SendError,
    drivers::smtp::{Auth, Credentials, Smtp, SmtpConfig},
};
use serde_json::json;

use crate::{driver, driver_with, minimal, response, scripted::Scripted, send};

/// How long an attempt may take here.
const DEADLINE: Duration = Duration::from_millis(400);

/// How much later it may end on a busy machine.
const GRACE: Duration = Duration::from_secs(5);

const STAGES: [&str; 7] = ["connect", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "mail"];

/// Logs in, so that it gets to every stage; has all the time in the world.
fn patient(port: u16) -> Masked<Smtp> {
    driver_with(port, log_in)
}

/// Gives up soon.
fn hasty(port: u16) -> Masked<Smtp> {
    driver_with(port, |config| {
        log_in(config);
        config.deadline = DEADLINE;
    })
}

fn log_in(config: &mut SmtpConfig) {
    config.auth = Auth::Plain(Credentials::new("nas", "geheim"));
}

/// The failure of a send, which must end in time.
fn failure(driver: &Masked<Smtp>) -> SendError {
    let begun = Instant::now();
    let error = send(driver, &minimal()).unwrap_err();
    assert!(begun.elapsed() < DEADLINE + GRACE, "it took {:?}", begun.elapsed());
    error
}

#[test]
fn refusals_at_every_stage() {
    for stage in STAGES {
        for reply in [
            "421 4.3.2 Closing",
            "450 4.2.0 Later",
            "451-4.3.0 Well,\r\n451 4.3.0 later",
            "550 5.7.1 No",
            "554 No",
            "552 5.3.4 Too big",
        ] {
            let server = Scripted::start(move |_, peer| {
                peer.serve(|asked, _| (asked == stage).then(|| reply.into()));
            });
            let error = failure(&patient(server.port));
            let is_permanent = reply.starts_with('5') && ["MAIL", "RCPT", "DATA", "mail"].contains(&stage);
            assert_eq!(error.is_permanent(), is_permanent, "{stage} {reply}");
            assert!(!error.is_unreachable());
            assert!(!error.to_string().contains('\n'), "it is logged as one line");
            assert_eq!(response(error), reply.replace("\r\n", "\n"));
        }
    }
}

#[test]
fn credentials_are_temporary_whenever_they_are_spoken_of() {
    for stage in STAGES {
        for reply in
            ["530 5.7.0 Log in first", "534 5.7.9 Too weak", "535 5.7.8 Wrong", "538 5.7.11 Encrypt first"]
        {
            let server = Scripted::start(move |_, peer| {
                peer.serve(|asked, _| (asked == stage).then(|| reply.into()));
            });
            let error = failure(&patient(server.port));
            assert!(!error.is_permanent() && !error.is_unreachable(), "{stage} {reply}");
            assert_eq!(response(error), reply);
        }
    }
}

#[test]
fn hang_ups_at_every_stage() {
    for stage in STAGES {
        let server = Scripted::start(move |_, peer| {
            peer.serve(|asked, _| (asked == stage).then(String::new));
        });
        let error = failure(&patient(server.port));
        assert!(error.is_unreachable(), "{stage}: {error}");
        let sentence = response(error);
        assert!(sentence.contains(&format!("127.0.0.1:{}", server.port)), "{sentence}");
    }
}

#[test]
fn silence_at_every_stage() {
    for stage in STAGES {
        let server = Scripted::start(move |_, peer| {
            peer.serve(|asked, _| {
                (asked == stage).then(|| {
                    thread::park_timeout(DEADLINE + GRACE);
                    String::new()
                })
            });
        });
        let error = failure(&hasty(server.port));
        assert!(error.is_unreachable(), "{stage}: {error}");
        assert!(response(error).contains("in time"));
    }
}

#[test]
fn replies_that_never_end() {
    // Quick enough for every read to find something.
    const PACE: Duration = Duration::from_millis(5);
    for stage in STAGES {
        for piece in ["2", "220-x\r\n"] {
            let server = Scripted::start(move |_, peer| {
                let mut reached = false;
                peer.serve(|asked, _| {
                    reached = asked == stage;
                    reached.then(String::new)
                });
                while reached && peer.say_raw(piece.as_bytes()) {
                    thread::sleep(PACE);
                }
            });
            let error = failure(&hasty(server.port));
            assert!(error.is_unreachable(), "{stage}: {error}");
        }
    }
}

#[test]
fn floods() {
    for piece in ["2".repeat(1000), "220-x\r\n".repeat(100)] {
        let server = Scripted::start(move |_, peer| while peer.say_raw(piece.as_bytes()) {});
        let error = failure(&driver_with(server.port, |_| {}));
        assert!(!error.is_permanent() && !error.is_unreachable(), "{error}");
        let sentence = response(error);
        assert!(sentence.contains("is not SMTP") && sentence.len() < 200, "{sentence}");
    }
}

#[test]
fn a_mail_that_nobody_reads() {
    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, _| (stage == "DATA").then(String::new));
        peer.say("354 Go on");
        thread::park_timeout(DEADLINE + GRACE);
    });
    let mut payload = minimal();
    // More than the buffers on the way hold.
    payload["Content"] = format!("{}\n", "x".repeat(70)).repeat(1 << 18).into();
    let begun = Instant::now();
    let error = send(&driver_with(server.port, |config| config.deadline = Duration::from_secs(5)), &payload)
        .unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[test]
fn a_mail_that_is_refused_on_the_way() {
    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, _| (stage == "DATA").then(String::new));
        peer.say("354 Go on");
        peer.hear();
        peer.say("552 5.3.4 Too big");
        peer.hear_the_end();
    });
    let mut payload = minimal();
    payload["Content"] = "x\n".repeat(1 << 20).into();
    let error = send(&driver(server.port), &payload).unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(response(error), "552 5.3.4 Too big");
}

#[test]
fn what_is_no_smtp() {
    for answer in ["HTTP/1.1 400 Bad Request", "\u{1}\u{2}", "", "99 x", "600 x", "220x", "2200 x", "ü20 x"]
    {
        let server = Scripted::start(move |_, peer| {
            peer.say(answer);
            peer.hear_the_end();
        });
        let error = failure(&driver_with(server.port, |_| {}));
        assert!(!error.is_permanent() && !error.is_unreachable(), "{answer:?}: {error}");
        let sentence = response(error);
        assert!(sentence.contains("is not SMTP"), "{sentence}");
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
    }
    // An answer to the mail that makes no sense: who knows what became of it.
    for (stage, reply) in
        [("mail", "354 Go on"), ("MAIL", "354 Go on"), ("DATA", "250 Ok"), ("AUTH", "250 Ok")]
    {
        let server =
            Scripted::start(move |_, peer| peer.serve(|asked, _| (asked == stage).then(|| reply.into())));
        let error = failure(&patient(server.port));
        assert!(!error.is_permanent(), "{stage}");
    }
}

#[test]
fn lines_without_carriage_return() {
    let server = Scripted::start(|_, peer| {
        peer.say_raw(b"220 hello\n");
        peer.hear();
        peer.say_raw(b"250-hello\n250 SIZE\n");
        for reply in ["250 ok\n", "250 ok\n", "354 ok\n"] {
            peer.hear();
            peer.say_raw(reply.as_bytes());
        }
        while peer.hear() != "." {}
        peer.say_raw(b"250\n");
    });
    assert_eq!(send(&driver(server.port), &minimal()).unwrap(), "250");
}

#[test]
fn nobody_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = failure(&driver(port));
    assert!(error.is_unreachable());
    assert!(response(error).starts_with(&format!("no connection to 127.0.0.1:{port}: ")));

    let error = failure(&driver_with(port, |config| config.server = "nowhere.invalid:25".parse().unwrap()));
    assert!(error.is_unreachable());
    assert!(response(error).starts_with("nowhere.invalid has no address: "));
}

#[test]
fn nobody_gets_it_when_one_is_refused() {
    for (recipients, refused) in [(3, 0), (3, 1), (3, 2)] {
        let server = Scripted::start(move |_, peer| {
            let mut asked = 0;
            peer.serve(|stage, _| {
                let is_recipient = stage == "RCPT";
                asked += usize::from(is_recipient);
                (is_recipient && asked == refused + 1).then(|| "550 No".into())
            });
        });
        let mut payload = minimal();
        payload["CC"] = (1..recipients).map(|n| json!({"Address": format!("cc{n}@example.org")})).collect();
        let error = send(&driver(server.port), &payload).unwrap_err();
        assert!(error.is_permanent());
        server.wait_for("QUIT");
        assert!(!server.heard().contains(&"DATA".to_owned()));
    }
}

#[test]
fn its_size_is_told_where_it_may_be() {
    let server = Scripted::start(|_, peer| {
        peer.serve(|stage, line| {
            (stage == "MAIL" && line.contains(" SIZE=")).then(|| "552 5.3.4 Too big".into())
        });
    });
    let error = send(&driver(server.port), &minimal()).unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(response(error), "552 5.3.4 Too big");
}
