//! The mail drivers against a real server, whose mails are read back by a parser
//! that isn't ours, and against one that misbehaves in every way.

#[path = "drivers_smtp/login_and_tls.rs"]
mod login_and_tls;
#[path = "drivers_smtp/mails.rs"]
mod mails;
#[path = "drivers_smtp/misbehaviour.rs"]
mod misbehaviour;
#[path = "drivers_smtp/pool.rs"]
mod pool;
#[path = "drivers_smtp/random.rs"]
mod random;
#[path = "drivers_smtp/real.rs"]
mod real;
#[path = "drivers_smtp/refusals.rs"]
mod refusals;
#[path = "drivers_smtp/scripted.rs"]
mod scripted;
#[path = "drivers_smtp/settings.rs"]
mod settings;

use notify_api::drivers::mask::Masked;
use notify_api::{
    Delivery, Driver, SendError,
    drivers::smtp::{Account, Smtp, SmtpConfig},
};
use serde_json::{Value, json};

/// A driver for the server on that port of this machine.
fn driver(port: u16) -> Masked<Smtp> {
    driver_with(port, |_| {})
}

fn driver_with(port: u16, adjust: impl FnOnce(&mut SmtpConfig)) -> Masked<Smtp> {
    Smtp::text(account(port, adjust))
}

fn account(port: u16, adjust: impl FnOnce(&mut SmtpConfig)) -> std::sync::Arc<Account> {
    let server = format!("127.0.0.1:{port}").parse().unwrap();
    let mut config = SmtpConfig::new(server, "NAS <nas@example.org>".parse().unwrap());
    adjust(&mut config);
    Account::new(config)
}

/// The smallest payload there is.
fn minimal() -> Value {
    json!({"To": {"Address": "ada@example.org"}, "Subject": "Done", "Content": "All is well."})
}

fn send(driver: &Masked<Smtp>, payload: &Value) -> Result<String, SendError> {
    send_as(driver, "an-id", payload)
}

fn send_as(driver: &Masked<Smtp>, id: &str, payload: &Value) -> Result<String, SendError> {
    let content = payload.to_string();
    driver.verify(content.as_bytes()).expect("it is accepted");
    driver
        .send(&Delivery { id, endpoint: "", content: content.as_bytes() })
        .map(|response| String::from_utf8(response).unwrap())
}

fn response(error: SendError) -> String {
    String::from_utf8(error.into_response()).unwrap()
}
