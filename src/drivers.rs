//! The drivers that ship with the crate.
//!
//! | type | module |
//! |---|---|
//! | `HTTPGET`, `HTTPPOST` | [`http`] |
//! | `SMTP`, `SMTPHTML` | [`smtp`] |
//! | any, for tests | [`stub`] |

pub mod http;
pub mod smtp;
pub mod stub;
