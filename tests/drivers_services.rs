//! The services behind an HTTP API, played by a server that answers like they do.

mod support;

use std::time::Duration;

use notify_api::{
    Driver,
    drivers::{
        every8d::{Every8d, Every8dConfig},
        mask::{Mask, Masked},
        sendgrid::{SendGrid, SendGridConfig},
        telegram::{Markup, Targets, Telegram, TelegramConfig},
        web::BaseUrl,
    },
};
use support::{
    sink::{Sink, Then},
    webhook::{LONG, SHORT, get, is_temporary, send, stored, web},
};

/// Everything that can go wrong with any service, and is never its own answer.
fn fails_like_any_service(driver: impl Fn(&str, Duration) -> Box<dyn Driver>, endpoint: &str, content: &str) {
    let failure =
        |sink: &Sink, timeout| send(&*driver(&sink.url(""), timeout), endpoint, content).unwrap_err();

    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 x", "502 x"] {
        let error = failure(&Sink::answering(status, &[], "<html>"), LONG);
        assert!(is_temporary(&error), "{status}");
        let response = stored(error);
        assert!(response.ends_with("<html>"), "{response}");
    }
    let error = failure(&Sink::answering("500 x", &[], ""), LONG);
    assert_eq!(stored(error), "HTTP 500 Internal Server Error, with an empty body");
    for status in ["429 x", "503 x"] {
        let error = failure(&Sink::answering(status, &[("Retry-After", "30")], "busy"), LONG);
        assert_eq!(error.wait(), Some(Duration::from_secs(30)));
    }
    let error = failure(&Sink::answering("302 x", &[("Location", "http://portal.test/")], ""), LONG);
    assert!(is_temporary(&error) && error.to_string().contains("http://portal.test/"));
    for script in [|_: &mut _| Then::Close, |_: &mut _| Then::Reset] {
        assert!(failure(&Sink::start(move |_, peer| script(peer)), LONG).is_unreachable());
    }
    assert!(failure(&Sink::start(|_, peer| peer.hang()), SHORT).is_unreachable());
    let garbage = Sink::start(|_, peer| {
        peer.raw(b"220 mail.test ESMTP\r\n");
        Then::Close
    });
    assert!(is_temporary(&failure(&garbage, LONG)));
    let huge = Sink::start(|_, peer| {
        peer.raw(b"HTTP/1.1 500 x\r\n\r\n");
        peer.raw(&vec![b'x'; 3 << 20]);
        Then::Close
    });
    let error = failure(&huge, LONG);
    assert!(is_temporary(&error));
    assert!(((1 << 20) + 1..(1 << 20) + 999).contains(&stored(error).len()));
    assert!(send(&*driver("http://127.0.0.1:1", LONG), endpoint, content).unwrap_err().is_unreachable());
}

/// Echoes what was sent, in each of many disguises, as a success and as a failure.
fn leaks_no_secret(
    driver: impl Fn(&str, Duration) -> Box<dyn Driver>,
    (endpoint, content): (&str, &str),
    secret: &'static str,
    success: &'static str,
) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let encoded: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let texts = [
        secret.to_owned(),
        encoded,
        BASE64_STANDARD.encode(format!("user:{secret}")),
        secret.replace('/', "\\/"),
    ];
    for text in texts {
        for status in ["200 OK", "302 Found", "400 Bad Request", "500 x"] {
            let echo = text.clone();
            let sink = Sink::start(move |seen, peer| {
                let body = format!("{success} {echo} {}", seen.head);
                peer.answer(status, &[("Location", &echo), ("X-Message-Id", &echo)], body.as_bytes())
            });
            let result = send(&*driver(&sink.url(""), LONG), endpoint, content);
            let told = match result {
                Ok(response) => response,
                Err(error) => format!("{error:?} {error} {}", stored(error.clone())),
            };
            assert!(told.contains("***"), "{told}");
            assert!(!told.contains(&text) && !told.contains(secret), "{status}: {told}");
        }
    }
}

mod telegram {
    use super::*;

    const TOKEN: &str = "123456:AA-bb_CC/dd";
    const DELIVERY: (&str, &str) = ("me", "\"hello\"");
    const OK: &str = r#"{"ok":true,"result":{"message_id":1}}"#;

    fn driver(url: &str, timeout: Duration, markup: Markup) -> Masked<Telegram> {
        let config = TelegramConfig {
            url: BaseUrl::parse(url).unwrap(),
            token: TOKEN.into(),
            targets: Targets::parse("me=42,news=@channel").unwrap(),
        };
        Telegram::new(&web(timeout), config, markup)
    }

    fn plain(url: &str, timeout: Duration) -> Box<dyn Driver> {
        Box::new(driver(url, timeout, Markup::Plain))
    }

    fn answered(
        status: &'static str,
        headers: &'static [(&str, &str)],
        body: &'static str,
    ) -> Result<String, notify_api::SendError> {
        let sink = Sink::answering(status, headers, body);
        send(&*plain(&sink.url(""), LONG), "me", "\"hello\"")
    }

    #[test]
    fn a_message_is_a_form() {
        for (markup, kind, form) in [
            (Markup::Plain, "TGPlain", "chat_id=42&text=a%26%3C%C3%A4%3E%0A%2B+b"),
            (Markup::Html, "TGHTML", "chat_id=42&text=a%26%3C%C3%A4%3E%0A%2B+b&parse_mode=HTML"),
            (
                Markup::Markdown,
                "TGMarkdown",
                "chat_id=42&text=a%26%3C%C3%A4%3E%0A%2B+b&parse_mode=MarkdownV2",
            ),
        ] {
            let sink = Sink::answering("200 OK", &[], OK);
            for base in [sink.url(""), sink.url("/"), sink.url("/proxy"), sink.url("/proxy/")] {
                let driver = driver(&base, LONG, markup);
                assert_eq!(driver.r#type(), kind);
                assert_eq!(send(&driver, "me", r#""a&<\u00e4>\n+ b""#).unwrap(), OK);
            }
            let seen = sink.seen();
            assert_eq!(seen[0].line(), "POST /bot123456:AA-bb_CC%2Fdd/sendMessage HTTP/1.1");
            assert_eq!(seen[3].line(), "POST /proxy/bot123456:AA-bb_CC%2Fdd/sendMessage HTTP/1.1");
            assert_eq!(seen[0].header("content-type"), ["application/x-www-form-urlencoded"]);
            assert_eq!(String::from_utf8_lossy(&seen[0].body), form);
        }
    }

    #[test]
    fn a_channel_is_a_chat_and_a_base_url_may_have_credentials() {
        let sink = Sink::answering("200 OK", &[], OK);
        let base = format!("http://user:pass@{}", sink.address);
        send(&*plain(&base, LONG), "news", "\"x\"").unwrap();
        let seen = sink.only();
        assert_eq!(seen.body, b"chat_id=%40channel&text=x");
        assert_eq!(seen.header("authorization"), ["Basic dXNlcjpwYXNz"]);
    }

    #[test]
    fn only_its_own_400_is_permanent() {
        let own = r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#;
        let error = answered("400 Bad Request", &[], own).unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(stored(error), own);
        for body in ["", "<html>", "{}", "[]", r#"{"ok":"no"}"#, r#"{"error":"x"}"#] {
            assert!(is_temporary(&answered("400 Bad Request", &[], body).unwrap_err()), "{body}");
        }
        for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "409 x", "500 x"] {
            let body = r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#;
            assert!(is_temporary(&answered(status, &[], body).unwrap_err()), "{status}");
        }
    }

    #[test]
    fn an_answer_that_is_not_its_own_is_no_success() {
        for body in ["", "ok", "<html>", "{}", r#"{"ok":false}"#, r#"{"ok":1}"#, r#"[true]"#] {
            assert!(is_temporary(&answered("200 OK", &[], body).unwrap_err()), "{body}");
        }
    }

    #[test]
    fn it_may_ask_for_a_pause() {
        let wait = |body, headers| answered("429 x", headers, body).unwrap_err().wait();
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(r#"{"ok":false,"error_code":429,"parameters":{"retry_after":35}}"#, &[]), asked(35));
        assert_eq!(wait(r#"{"ok":false,"parameters":{"retry_after":1.2}}"#, &[]), asked(2));
        assert_eq!(wait(r#"{"ok":false,"parameters":{"retry_after":1e300}}"#, &[]), asked(86400));
        assert_eq!(wait(r#"{"ok":false}"#, &[("Retry-After", "7")]), asked(7));
        for nonsense in ["0", "-5", "\"5\"", "null", "[]"] {
            let body = format!(r#"{{"ok":false,"parameters":{{"retry_after":{nonsense}}}}}"#);
            assert_eq!(wait(body.leak(), &[]), None);
        }
    }

    #[test]
    fn an_answer_that_breaks_off_after_ok_is_a_success() {
        for (came, is_success) in [(r#"{ "ok" : true, "res"#, true), (r#"{"ok":tr"#, false), ("", false)] {
            let sink = Sink::start(move |_, peer| {
                peer.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{came}").as_bytes());
                peer.hang()
            });
            let result = send(&*plain(&sink.url(""), SHORT), "me", "\"x\"");
            assert_eq!(result.is_ok(), is_success, "{came}");
            assert!(result.err().is_none_or(|error| error.is_unreachable()));
        }
    }

    #[test]
    fn what_cannot_be_a_message_is_refused() {
        let driver = driver("http://127.0.0.1:1", LONG, Markup::Plain);
        for content in ["null", "\"\"", "{}", "7", "x"] {
            driver.verify(content.as_bytes()).unwrap_err();
            assert!(send(&driver, "me", content).unwrap_err().is_permanent());
        }
        driver.verify(format!("\"{}\"", "x".repeat(4096)).as_bytes()).unwrap();
        driver.verify(format!("\"{}\"", "x".repeat(4097)).as_bytes()).unwrap_err();
        driver.check_endpoint("me").unwrap();
        for endpoint in ["", "ME", "42", "you"] {
            driver.check_endpoint(endpoint).unwrap_err();
            assert!(is_temporary(&send(&driver, endpoint, "\"x\"").unwrap_err()));
        }
    }

    #[test]
    fn a_target_is_one_lane_for_all_types() {
        let lane = |markup, target| driver("http://127.0.0.1:1", LONG, markup).lane(target);
        assert_eq!(lane(Markup::Plain, "me"), lane(Markup::Html, "me"));
        assert_ne!(lane(Markup::Plain, "me"), lane(Markup::Plain, "news"));
    }

    #[test]
    fn it_fails_like_any_service() {
        fails_like_any_service(plain, DELIVERY.0, DELIVERY.1);
    }

    #[test]
    fn the_token_stays_secret() {
        leaks_no_secret(plain, DELIVERY, TOKEN, "");
        leaks_no_secret(plain, DELIVERY, "AA-bb_CC/dd", "");
        let echo =
            Sink::answering("200 OK", &[], r#"{"ok":true,"url":"https://x/bot123456:AA-bb_CC\/dd/send"}"#);
        let response = send(&*plain(&echo.url(""), LONG), "me", "\"x\"").unwrap();
        assert_eq!(response, r#"{"ok":true,"url":"https://x/bot***/send"}"#);
    }
}

mod sendgrid {
    use super::*;

    const KEY: &str = "SG.aa/bb.cc+dd==";
    const MAIL: &str = r#"{ "from":{"email":"a@b.test"},  "content":[{"x": 1.0}], "unknown": [] }"#;

    fn driver(url: &str, timeout: Duration) -> Box<dyn Driver> {
        let config = SendGridConfig { url: BaseUrl::parse(url).unwrap(), key: KEY.into() };
        Box::new(SendGrid::new(&web(timeout), config))
    }

    fn answered(
        status: &'static str,
        headers: &'static [(&str, &str)],
        body: &'static str,
    ) -> Result<String, notify_api::SendError> {
        send(&*driver(&Sink::answering(status, headers, body).url("/"), LONG), "", MAIL)
    }

    #[test]
    fn a_mail_is_passed_on_byte_for_byte() {
        let sink = Sink::answering("202 Accepted", &[("X-Message-Id", "the.id")], "");
        for base in [sink.url(""), sink.url("/"), sink.url("/proxy/")] {
            assert_eq!(
                send(&*driver(&base, LONG), "", MAIL).unwrap(),
                "HTTP 202 Accepted\nX-Message-Id: the.id"
            );
        }
        let seen = sink.seen();
        assert_eq!(seen[0].line(), "POST /v3/mail/send HTTP/1.1");
        assert_eq!(seen[2].line(), "POST /proxy/v3/mail/send HTTP/1.1");
        assert_eq!(seen[0].header("authorization"), [format!("Bearer {KEY}")]);
        assert_eq!(seen[0].header("content-type"), ["application/json"]);
        assert_eq!(seen[0].body, MAIL.as_bytes());
    }

    #[test]
    fn a_response_has_status_id_and_body() {
        assert_eq!(answered("200 OK", &[], "{}").unwrap(), "HTTP 200 OK\n\n{}");
        let errors = r#"{"errors":[{"message":"x"}]}"#;
        let error = answered("401 Unauthorized", &[("X-Message-Id", "i")], errors).unwrap_err();
        assert!(is_temporary(&error));
        assert_eq!(stored(error), format!("HTTP 401 Unauthorized\nX-Message-Id: i\n\n{errors}"));
    }

    #[test]
    fn a_bad_mail_is_permanent() {
        for status in ["400 Bad Request", "413 Payload Too Large"] {
            assert!(answered(status, &[], r#"{"errors":[]}"#).unwrap_err().is_permanent());
        }
    }

    #[test]
    fn what_cannot_be_a_mail_is_refused() {
        let driver = driver("http://127.0.0.1:1", LONG);
        for (content, sentence) in [
            ("null", "the payload is refused: invalid JSON: "),
            ("[]", "the payload is refused: invalid JSON: "),
            (r#"{"from":1,"from":2}"#, "the payload is refused: invalid JSON: duplicate field `from`"),
            (r#"{"content":[1]}"#, "\"from\" is missing"),
            (r#"{"from":null,"content":[1]}"#, "\"from\" is missing"),
            (r#"{"from":{}}"#, "neither \"content\" nor \"template_id\" is there"),
            (r#"{"from":{},"content":[]}"#, "neither "),
            (r#"{"from":{},"content":null,"template_id":""}"#, "neither "),
            (r#"{"from":{},"content":"text"}"#, "the payload is refused: invalid JSON: "),
        ] {
            let refused = driver.verify(content.as_bytes()).unwrap_err().to_string();
            assert!(refused.starts_with(sentence), "{content}: {refused}");
            assert!(send(&*driver, "", content).unwrap_err().is_permanent());
        }
        driver.verify(MAIL.as_bytes()).unwrap();
        driver.verify(br#"{"from":{},"template_id":"d-1"}"#).unwrap();
        driver.check_endpoint("whatever").unwrap();
        assert_eq!(driver.lane("a"), driver.lane("b"));
    }

    #[test]
    fn it_fails_like_any_service() {
        fails_like_any_service(driver, "", MAIL);
    }

    #[test]
    fn the_key_stays_secret() {
        leaks_no_secret(driver, ("", MAIL), KEY, "");
    }
}

mod every8d {
    use super::*;

    const PASSWORD: &str = "pa/ss&w+rd";
    const MESSAGE: &str = r#"{"content": "hi & bye"}"#;
    const OK: &str = "97.00,1,1.0,0,d6a0c1e2-0000";

    fn driver(url: &str, timeout: Duration) -> Box<dyn Driver> {
        let url = BaseUrl::parse(url).unwrap();
        let config = Every8dConfig { url, user: "us er".into(), password: PASSWORD.into() };
        Box::new(Every8d::new(&web(timeout), config))
    }

    fn answered(status: &'static str, body: &'static str) -> Result<String, notify_api::SendError> {
        send(&*driver(&Sink::answering(status, &[], body).url("/"), LONG), "0912345678", MESSAGE)
    }

    #[test]
    fn a_message_is_a_query() {
        let sink = Sink::answering("200 OK", &[], OK);
        let full = r#"{"content": "ä", "subject": "s", "time": "20261124100000", "retry": 10}"#;
        let zero = r#"{"content": "x", "retry": 0}"#;
        for (base, payload) in [(sink.url(""), MESSAGE), (sink.url("/"), full), (sink.url("/proxy"), zero)] {
            assert_eq!(send(&*driver(&base, LONG), "0912345678,+4912", payload).unwrap(), OK);
        }
        let credentials = "UID=us+er&PWD=pa%2Fss%26w%2Brd";
        let lines: Vec<_> = sink.seen().iter().map(|seen| seen.line().to_owned()).collect();
        assert_eq!(
            lines,
            [
                format!(
                    "GET /API21/HTTP/sendSMS.ashx?{credentials}&SB=&MSG=hi+%26+bye&DEST=0912345678%2C%2B4912&ST= HTTP/1.1"
                ),
                format!(
                    "GET /API21/HTTP/sendSMS.ashx?{credentials}&SB=s&MSG=%C3%A4&DEST=0912345678%2C%2B4912&ST=20261124100000&RETRYTIME=10 HTTP/1.1"
                ),
                format!(
                    "GET /proxy/API21/HTTP/sendSMS.ashx?{credentials}&SB=&MSG=x&DEST=0912345678%2C%2B4912&ST= HTTP/1.1"
                ),
            ]
        );
    }

    #[test]
    fn a_number_from_0_on_is_a_success() {
        for body in ["0", "0,1", "97.00,1,1.0,0,id", " 12 ,x", "12\r\n"] {
            assert_eq!(answered("200 OK", body).unwrap(), body);
        }
        for body in
            ["", "-99,error", "-0.5", "nan", "inf,1", "<html>", "1e3", "+1", ".", "1.2.3,4", ",1", "١"]
        {
            assert!(is_temporary(&answered("200 OK", body).unwrap_err()), "{body}");
        }
        assert!(is_temporary(&answered("400 Bad Request", OK).unwrap_err()));
        assert!(is_temporary(&answered("500 x", OK).unwrap_err()));
    }

    #[test]
    fn what_cannot_be_a_message_is_refused() {
        let driver = driver("http://127.0.0.1:1", LONG);
        assert!(driver.verify(b"{}").unwrap_err().to_string().starts_with("\"content\" is missing"));
        assert!(send(&*driver, "0912345678", "{}").unwrap_err().is_permanent());
        assert!(
            driver.check_endpoint("12").unwrap_err().to_string().starts_with("\"12\" is no phone number")
        );
        assert!(send(&*driver, "12", MESSAGE).unwrap_err().is_permanent());
        driver.check_endpoint("0912345678,+886912345678").unwrap();
        assert_eq!(driver.lane("a"), driver.lane("b"));
    }

    #[test]
    fn a_message_that_is_too_long_for_a_url_is_permanent() {
        let message = format!(r#"{{"content": "{}"}}"#, "x".repeat(70_000));
        let error = send(&*driver("http://127.0.0.1:1", LONG), "0912345678", &message).unwrap_err();
        assert!(error.is_permanent());
        assert_eq!(stored(error), "the message is too long for a URL");
    }

    #[test]
    fn it_fails_like_any_service() {
        fails_like_any_service(driver, "0912345678", MESSAGE);
    }

    #[test]
    fn the_password_stays_secret() {
        leaks_no_secret(driver, ("0912345678", MESSAGE), PASSWORD, "1,");
    }
}

/// A webhook's receiver may know the secrets of the services as well.
#[test]
fn webhooks_hide_the_secrets_of_services() {
    let sink = Sink::answering("200 OK", &[], "the key is s3cr%65t");
    let driver = Masked::new(get(), Mask::new(["s3cret"]));
    assert_eq!(send(&driver, &sink.url("/"), "{}").unwrap(), "the key is ***");
    assert_eq!(driver.lane(&sink.url("/x")), get().lane(&sink.url("/")));
    assert_eq!(driver.destination("http://a.test/x"), "http://a.test/x");
    let refused = driver.check_endpoint("http://a.test:s3cret/").unwrap_err().to_string();
    assert!(!refused.contains("s3cret"));
}
