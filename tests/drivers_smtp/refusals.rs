//! Payloads that are refused before they are accepted, and the sentences that
//! say why.

use notify_api::{Delivery, Driver};
use serde_json::{Value, json};

use crate::{driver, minimal};

/// What it says about a payload.
fn refusal(payload: &str) -> String {
    let driver = driver(1);
    let sentence = driver.verify(payload.as_bytes()).expect_err(payload).to_string();
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
    // A row that another program wrote was never verified.
    let error = driver
        .send(&Delivery { id: "id", endpoint: "", content: payload.as_bytes() })
        .expect_err("it is refused by send too");
    assert!(error.is_permanent());
    assert_eq!(crate::response(error), sentence);
    sentence
}

fn refusal_of(payload: &Value) -> String {
    refusal(&payload.to_string())
}

/// A payload with this field in place of the usual one.
fn with(field: &str, value: Value) -> Value {
    let mut payload = minimal();
    payload[field] = value;
    payload
}

fn attached(attachment: Value) -> Value {
    with("Attach", json!([attachment]))
}

#[test]
fn not_an_object() {
    for payload in ["null", "[]", "\"text\"", "1", "{", "", "{} {}", "\u{feff}{}"] {
        assert!(refusal(payload).starts_with("invalid JSON: "), "{payload}");
    }
    let content = b"{\"Subject\": \"\xff\"}";
    assert!(driver(1).verify(content).unwrap_err().to_string().starts_with("invalid JSON: "));
}

#[test]
fn what_is_required() {
    for field in ["To", "Subject", "Content"] {
        let mut payload = minimal();
        payload.as_object_mut().unwrap().remove(field);
        assert_eq!(refusal_of(&payload), format!("\"{field}\" is missing"));
        assert_eq!(refusal_of(&with(field, json!(null))), format!("\"{field}\" is missing"));
    }
    assert_eq!(refusal_of(&with("Subject", json!(""))), "\"Subject\" is missing");
    assert_eq!(refusal_of(&with("Content", json!(""))), "\"Content\" is missing");
    assert_eq!(refusal_of(&with("To", json!(""))), "\"To\" is missing");
    for to in [json!({}), json!({"Name": "Ada"}), json!({"Address": null}), json!({"Address": ""})] {
        assert_eq!(refusal_of(&with("To", to)), "\"To.Address\" is missing");
    }
    for field in ["CC", "BCC"] {
        let payload = with(field, json!([{"Address": "a@example.org"}, {"Name": "Bob"}]));
        assert_eq!(refusal_of(&payload), format!("\"{field}[1].Address\" is missing"));
    }
}

#[test]
fn optional_ones_may_be_null_or_empty() {
    for payload in [
        json!({"CC": null, "BCC": null, "Attach": null}),
        json!({"CC": "", "BCC": [], "Attach": ""}),
        json!({"Attach": [{"RawContent": "x", "Base64Content": "", "Type": null, "ID": "", "Filename": ""}]}),
        json!({"Attach": [{"RawContent": null, "Base64Content": "AA=="}]}),
        json!({"To": {"Name": null, "Address": "a@example.org"}}),
    ] {
        let mut whole = minimal();
        whole.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
        driver(1).verify(whole.to_string().as_bytes()).unwrap();
    }
}

#[test]
fn given_twice() {
    let to = r#"{"Address":"a@example.org"}"#;
    let rest = r#""Subject":"s","Content":"c""#;
    for (payload, field) in [
        (format!(r#"{{"To":{to},"To":{to},{rest}}}"#), "To"),
        (format!(r#"{{"To":{to},"tO":{to},{rest}}}"#), "To"),
        (format!(r#"{{"To":{to},"TO":null,{rest}}}"#), "To"),
        (format!(r#"{{"To":{to},{rest},"cc":[],"CC":[]}}"#), "CC"),
        (format!(r#"{{"To":{to},{rest},"bcc":[],"Bcc":[]}}"#), "BCC"),
        (format!(r#"{{"To":{to},{rest},"subject":"s"}}"#), "Subject"),
        (format!(r#"{{"To":{to},{rest},"CONTENT":"s"}}"#), "Content"),
        (format!(r#"{{"To":{to},{rest},"attach":[],"Attach":[]}}"#), "Attach"),
        (format!(r#"{{"To":{{"Address":"a@b.c","address":"d@e.f"}},{rest}}}"#), "To.Address"),
        (format!(r#"{{"To":{{"Address":"a@b.c","Name":"a","name":"a"}},{rest}}}"#), "To.Name"),
        (
            format!(r#"{{"To":{to},{rest},"Attach":[{{"RawContent":"a","rawcontent":"b"}}]}}"#),
            "Attach[0].RawContent",
        ),
    ] {
        assert_eq!(refusal(&payload), format!("\"{field}\" is given twice"));
    }
    let unknown = format!(r#"{{"To":{to},"x":1,"x":2,{rest}}}"#);
    driver(1).verify(unknown.as_bytes()).unwrap();
}

#[test]
fn wrong_types() {
    assert_eq!(
        refusal_of(&with("To", json!([{"Address": "a@example.org"}]))),
        "\"To\" is one object {\"Name\", \"Address\"}: further recipients go into \"CC\" or \"BCC\""
    );
    assert!(refusal_of(&with("To", json!("a@example.org"))).starts_with("\"To\": invalid JSON: "));
    assert_eq!(refusal_of(&with("CC", json!({"Address": "a@example.org"}))), "\"CC\" must be a list");
    assert_eq!(refusal_of(&with("Attach", json!("x"))), "\"Attach\" must be a list");
    assert!(refusal_of(&with("CC", json!([null]))).starts_with("\"CC[0]\": invalid JSON: "));
    assert!(refusal_of(&with("Attach", json!([1]))).starts_with("\"Attach[0]\": invalid JSON: "));
    for (field, value) in [("Subject", json!(1)), ("Content", json!(["c"])), ("Subject", json!({}))] {
        let start = format!("\"{field}\" is no text that can be sent: ");
        assert!(refusal_of(&with(field, value)).starts_with(&start));
    }
    // JSON can carry half a character, UTF-8 can't.
    let half = r#"{"To":{"Address":"a@example.org"},"Subject":"s","Content":"\ud800"}"#;
    assert!(refusal(half).starts_with("\"Content\" is no text that can be sent: "));
}

#[test]
fn no_header_is_added() {
    for evil in ["a\r\nBcc: eve@example.org", "a\nb", "a\rb", "a\0b", "a\tb", "a\u{7f}b", "a\u{85}b"] {
        assert_eq!(
            refusal_of(&with("Subject", json!(evil))),
            "\"Subject\" contains a line break or another control character"
        );
        let sentence = "contains a line break or another control character";
        assert_eq!(
            refusal_of(&with("To", json!({"Name": evil, "Address": "a@example.org"}))),
            format!("\"To\": the name {sentence}")
        );
        assert_eq!(
            refusal_of(&with("BCC", json!([{"Name": evil, "Address": "a@example.org"}]))),
            format!("\"BCC[0]\": the name {sentence}")
        );
        assert_eq!(
            refusal_of(&attached(json!({"RawContent": "x", "Filename": evil}))),
            format!("\"Attach[0].Filename\" {sentence}")
        );
        for address in [format!("{evil}@example.org"), format!("\"{evil}\"@example.org"), format!("a@{evil}")]
        {
            let refused = refusal_of(&with("CC", json!([{"Address": address}])));
            assert!(refused.starts_with("\"CC[0]\": "), "{refused}");
        }
        let refused = refusal_of(&attached(json!({"RawContent": "x", "ID": evil})));
        assert!(refused.starts_with("\"Attach[0]\": \"ID\" "), "{refused}");
        for kind in
            [format!("text/{evil}"), format!("text/plain; name=\"{evil}\""), format!("text/plain; a={evil}")]
        {
            let refused = refusal_of(&attached(json!({"RawContent": "x", "Type": kind})));
            assert!(refused.starts_with("\"Attach[0]\": \"Type\" "), "{refused}");
        }
    }
}

#[test]
fn addresses() {
    for address in [
        "ada",
        "@",
        "ada@",
        "@example.org",
        "a b@example.org",
        "ada@exa mple.org",
        "<ada@example.org>",
        "ada@example.org,eve@example.org",
        "Ada <ada@example.org>",
        "ada@example..org",
        "ada@-example.org",
        ".a@example.org",
        "a..b@example.org",
        "ada@example.org>",
        "ada@[example]",
        " ada@example.org",
    ] {
        let sentence = refusal_of(&with("To", json!({"Address": address})));
        assert_eq!(sentence, format!("\"To\": {address:?} is no mail address"));
    }
    assert_eq!(
        refusal_of(&with("To", json!({"Address": "jürgen@example.org"}))),
        "\"To\": \"jürgen@example.org\" has characters before the @ that are not ASCII, which many mail servers refuse"
    );
}

#[test]
fn attachments() {
    for (attachment, sentence) in [
        (json!({}), "\"RawContent\" or \"Base64Content\" is missing"),
        (json!({"RawContent": "", "Filename": "a"}), "\"RawContent\" or \"Base64Content\" is missing"),
        (
            json!({"RawContent": "a", "Base64Content": "YQ=="}),
            "either \"RawContent\" or \"Base64Content\" can be given, not both",
        ),
        (json!({"Base64Content": "Y"}), "\"Base64Content\" is no standard base64: Invalid input length: 1"),
        (
            json!({"Base64Content": "a_-="}),
            "\"Base64Content\" is no standard base64: Invalid symbol 95, offset 1.",
        ),
        (json!({"RawContent": "a", "Type": "text"}), "\"Type\" \"text\" is no MIME type"),
        (json!({"RawContent": "a", "Type": "text/"}), "\"Type\" \"text/\" is no MIME type"),
        (json!({"RawContent": "a", "Type": "text/a/b"}), "\"Type\" \"text/a/b\" is no MIME type"),
        (json!({"RawContent": "a", "Type": "täxt/plain"}), "\"Type\" \"täxt/plain\" is no MIME type"),
        (json!({"RawContent": "a", "Type": "text/plain; x"}), "\"Type\" \"text/plain; x\" is no MIME type"),
        (
            json!({"RawContent": "a", "Type": "text/plain; x=\"y"}),
            "\"Type\" \"text/plain; x=\\\"y\" is no MIME type",
        ),
        (
            json!({"RawContent": "a", "Type": "multipart/mixed; boundary=x"}),
            "\"Type\" \"multipart/mixed; boundary=x\" can't be attached",
        ),
        (
            json!({"RawContent": "ü", "Type": "text/plain; charset=iso-8859-1"}),
            "\"Type\" says charset=iso-8859-1, but \"RawContent\" is sent as utf-8; other encodings go into \
             \"Base64Content\"",
        ),
        (
            json!({"RawContent": "Subject: ü", "Type": "message/rfc822"}),
            "a \"message/…\" must be ASCII with lines of at most 998 characters; as \"application/octet-stream\" \
             anything can be attached",
        ),
        (
            json!({"RawContent": "a", "ID": "with space"}),
            "\"ID\" \"with space\" must be up to 256 ASCII characters without spaces, quotes and brackets",
        ),
        (
            json!({"RawContent": "a", "ID": "a><b"}),
            "\"ID\" \"a><b\" must be up to 256 ASCII characters without spaces, quotes and brackets",
        ),
        (
            json!({"RawContent": "a", "ID": "ü"}),
            "\"ID\" \"ü\" must be up to 256 ASCII characters without spaces, quotes and brackets",
        ),
    ] {
        assert_eq!(refusal_of(&attached(attachment)), format!("\"Attach[0]\": {sentence}"));
    }
    let long = format!("text/{}", "x".repeat(300));
    assert_eq!(
        refusal_of(&attached(json!({"RawContent": "a", "Type": long}))),
        "\"Attach[0]\": \"Type\" has 305 bytes, at most 256 are allowed"
    );
}

#[test]
fn any_endpoint_and_one_lane() {
    let driver = driver(2525);
    for endpoint in ["", "anything", "http://example.org"] {
        driver.check_endpoint(endpoint).unwrap();
        assert_eq!(driver.lane(endpoint), "smtp://127.0.0.1:2525");
    }
}
