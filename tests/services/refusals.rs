//! What can't be delivered is refused at `/send`, with a sentence, and leaves
//! nothing behind.

use crate::{all_on, appliance::Appliance, taking_all};

#[test]
fn each_refusal_is_a_sentence_and_stores_nothing() {
    let sink = taking_all();
    let mut environment = all_on(&sink.url(""));
    environment.push(("NOTIFY_SMTP_SERVER", sink.address.to_string()));
    environment.push(("NOTIFY_SMTP_FROM", "nas@example.org".into()));
    let appliance = Appliance::start(environment);

    let too_long = format!("\"{}\"", "x".repeat(4097));
    let hook = sink.url("/post");
    let sms = r#"{"content": "x"}"#;
    let mail =
        |more: &str| format!(r#"{{"To": {{"Address": "a@b.test"}}, "Subject": "s", "Content": "c"{more}}}"#);
    let mut cases = vec![
        // Webhooks.
        ("HTTPGET", "", "{}", "\"endpoint\" is missing: it is the URL to call"),
        ("HTTPGET", "ftp://a.test/", "{}", "the endpoint must begin with http:// or https://"),
        ("HTTPPOST", "http:///x", r#"{"body": "x"}"#, "the endpoint has no host"),
        ("HTTPGET", &hook, "[]", "the payload is refused: invalid JSON: "),
        ("HTTPGET", &hook, r#"{"values": {"a": 1}}"#, "the payload is refused: invalid JSON: "),
        ("HTTPPOST", &hook, "null", "\"payload\" is missing: HTTPPOST needs "),
        ("HTTPPOST", &hook, r#"{"body": "\ud800"}"#, "\"body\" is no valid text: "),
        ("HTTPPOST", &hook, r#"{"headers": {"a b": "x"}}"#, "\"a b\" is no valid name of a header"),
        (
            "HTTPPOST",
            &hook,
            r#"{"headers": {"X": "a\nb"}}"#,
            "the value of the header X has a control character",
        ),
        (
            "HTTPPOST",
            &hook,
            r#"{"headers": {"Connection": "x"}}"#,
            "the header Connection is set by the server itself",
        ),
        ("HTTPPOST", &hook, r#"{"headers": {"Content-Length": "1"}}"#, "the header Content-Length is set"),
        (
            "HTTPPOST",
            &hook,
            r#"{"headers": {"Transfer-Encoding": "x"}}"#,
            "the header Transfer-Encoding is set",
        ),
        // Telegram.
        ("TGPlain", "you", "\"x\"", "there is no target \"you\"; the configured ones are: group, me, news"),
        ("TGPlain", "", "\"x\"", "there is no target \"\"; the configured ones are: group, me, news"),
        ("TGPlain", "me", "\"\"", "the text is empty"),
        ("TGHTML", "me", "\"\"", "the text is empty"),
        ("TGMarkdown", "me", "null", "the payload must be a JSON string, the text: "),
        ("TGMarkdown", "me", r#"{"text": "x"}"#, "the payload must be a JSON string, the text: "),
        ("TGPlain", "me", &too_long, "the text has 4097 UTF-16 units, Telegram takes at most 4096"),
        // SendGrid.
        ("SENDGRID", "", "null", "the payload is refused: invalid JSON: "),
        ("SENDGRID", "", r#"{"content": [{}]}"#, "\"from\" is missing"),
        ("SENDGRID", "", r#"{"from": "", "content": [{}]}"#, "\"from\" is missing"),
        (
            "SENDGRID",
            "",
            r#"{"from": {}, "content": []}"#,
            "neither \"content\" nor \"template_id\" is there",
        ),
        // every8d.
        ("SMSAV8D", "", sms, "\"endpoint\" is missing: it is a phone number"),
        ("SMSAV8D", "12345", sms, "\"12345\" is no phone number: "),
        ("SMSAV8D", "0912345678,", sms, "\"\" is no phone number: "),
        ("SMSAV8D", "0912345678", "null", "the payload is refused: invalid JSON: "),
        ("SMSAV8D", "0912345678", "{}", "\"content\" is missing: it is the text of the message"),
        ("SMSAV8D", "0912345678", r#"{"content": "x", "retry": -1}"#, "\"retry\" can't be negative"),
        // Unknown.
        (
            "tgplain",
            "me",
            "\"x\"",
            "no driver of type \"tgplain\" is on, only: HTTPGET, HTTPPOST, SENDGRID, SMSAV8D, SMTP, SMTPHTML, TGHTML, TGMarkdown, TGPlain",
        ),
    ];
    let broken = mail(r#", "subject": "again""#);
    let injected = mail("").replace("\"s\"", r#""s\r\nBcc: eve@b.test""#);
    let attached = mail(r#", "Attach": [{"Filename": "a"}]"#);
    let base64 = mail(r#", "Attach": [{"Base64Content": "?"}]"#);
    let copied = mail(r#", "CC": [{"Address": "nobody"}]"#);
    let twice = mail(r#", "to": {"Address": "a@b.test"}"#);
    for kind in ["SMTP", "SMTPHTML"] {
        cases.extend([
            (kind, "", "null", "invalid JSON: "),
            (kind, "", "{}", "\"To\" is missing"),
            (
                kind,
                "",
                r#"{"To": {"Address": "nobody"}, "Subject": "s", "Content": "c"}"#,
                "\"To\": \"nobody\" is no mail address",
            ),
            (kind, "", r#"{"To": {"Address": "a@b.test"}, "Content": "c"}"#, "\"Subject\" is missing"),
            (kind, "", r#"{"To": {"Address": "a@b.test"}, "Subject": "s"}"#, "\"Content\" is missing"),
            (kind, "", &broken, "\"Subject\" is given twice"),
            (kind, "", &twice, "\"To\" is given twice"),
            (kind, "", &injected, "\"Subject\" contains a line break"),
            (kind, "", &attached, "\"Attach[0]\": \"RawContent\" or \"Base64Content\" is missing"),
            (kind, "", &base64, "\"Attach[0]\": \"Base64Content\" is no standard base64: "),
            (kind, "", &copied, "\"CC[0]\": \"nobody\" is no mail address"),
        ]);
    }
    for call in ["/send", "/sendOnce"] {
        for (kind, endpoint, payload, sentence) in &cases {
            let answer = appliance.try_send(call, "refused", kind, endpoint, payload);
            assert_eq!(answer.code, 400, "{kind} {payload:.100}");
            let refused = answer.refusal();
            assert!(refused.starts_with(sentence), "{kind} {payload:.100}: {refused}");
            assert!(appliance.is_unknown("refused"), "{kind} {payload:.100}");
        }
    }
    assert!(sink.seen().is_empty());
}

/// The answer of a refusal stays readable, whatever was sent.
#[test]
fn a_refusal_does_not_repeat_what_is_long() {
    let sink = taking_all();
    let mut environment = all_on(&sink.url(""));
    environment.push(("NOTIFY_SMTP_SERVER", sink.address.to_string()));
    environment.push(("NOTIFY_SMTP_FROM", "nas@example.org".into()));
    let appliance = Appliance::start(environment);
    let long = "x".repeat(8000);
    let mail = |field: &str| {
        format!(r#"{{"To": {{"Address": "a@b.test"}}, "Subject": "s", "Content": "c", {field}}}"#)
    };
    for (kind, endpoint, payload) in [
        ("TGPlain", long.as_str(), "\"x\"".to_owned()),
        ("SMSAV8D", long.as_str(), r#"{"content": "x"}"#.to_owned()),
        ("HTTPPOST", &sink.url("/"), format!(r#"{{"headers": {{"a b{long}": "x"}}}}"#)),
        ("HTTPPOST", &sink.url("/"), format!(r#"{{"headers": {{"a{long}": "x\n"}}}}"#)),
        ("SMTP", "", mail(&format!(r#""CC": [{{"Address": "{long}"}}]"#))),
        ("SMTP", "", mail(&format!(r#""Attach": [{{"RawContent": "x", "ID": "{long}"}}]"#))),
    ] {
        let sentence = appliance.try_send("/send", "long", kind, endpoint, &payload).refusal();
        assert!(sentence.len() < 500, "{kind}: {} bytes: {sentence:.200}", sentence.len());
    }
}
