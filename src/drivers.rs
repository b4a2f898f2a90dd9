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

pub mod every8d;
pub mod http;
pub mod mask;
pub mod sendgrid;
pub mod smtp;
pub mod stub;
pub mod telegram;
pub mod tls;
pub mod web;
