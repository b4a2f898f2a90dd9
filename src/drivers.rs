//! The drivers that ship with the crate.
//!
//! | type | module |
//! |---|---|
//! | `HTTPGET`, `HTTPPOST` | [`http`] |
//! | `TGMarkdown`, `TGHTML`, `TGPlain` | [`telegram`] |
//! | `SENDGRID` | [`sendgrid`] |
//! | `SMSAV8D` | [`every8d`] |
//! | `SMTP`, `SMTPHTML` | [`smtp`] |
//! | any, for tests | [`stub`] |
//!
//! What speaks HTTP shares one [`web::WebClient`]; whom to trust over TLS is
//! decided in [`tls`]. A driver that has a secret keeps it behind a [`mask`].

use std::io;

use serde::Deserialize;

use crate::{
    driver::{Rejected, SendError},
    json,
};

pub mod every8d;
pub mod http;
pub mod mask;
mod names;
pub mod sendgrid;
pub mod smtp;
pub mod stub;
pub mod telegram;
pub mod tls;
pub mod web;

/// The reason of an error in words; the system's own have a number behind them.
fn reason(error: &io::Error) -> String {
    let reason = error.to_string();
    match reason.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => reason,
    }
}

/// Reads a payload that must be a JSON object.
fn payload<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, Rejected> {
    json::object(content).map_err(|error| Rejected::new(format!("the payload is refused: {error}")))
}

/// What is refused at the door can still stand in the table, put there by
/// another program: no later attempt makes it better.
fn unsendable(reason: Rejected) -> SendError {
    SendError::permanent(reason.to_string())
}
