//! The drivers that ship with the crate.
//!
//! | type | module |
//! |---|---|
//! | `HTTPGET`, `HTTPPOST` | [`http`] |
//! | any, for tests | [`stub`] |
//!
//! What speaks HTTP shares one [`web::WebClient`].

pub mod http;
pub mod stub;
pub mod tls;
pub mod web;
