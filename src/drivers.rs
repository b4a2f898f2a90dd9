//! The drivers that ship with the crate.
//!
//! | type | module |
//! |---|---|
//! | `HTTPGET`, `HTTPPOST` | [`http`] |
//! | any, for tests | [`stub`] |

pub mod http;
pub mod stub;
