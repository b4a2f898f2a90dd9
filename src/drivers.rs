//! The drivers that ship with the crate.
//!
//! | type | module |
//! |---|---|
//! | `HTTPGET`, `HTTPPOST` | [`http`] |
//! | `SMTP`, `SMTPHTML` | [`smtp`] |
//! | any, for tests | [`stub`] |
//!
//! What speaks HTTP shares one [`web::WebClient`].

pub mod http;
pub mod smtp;
pub mod stub;
pub mod web;
