//! What the tests share.

#![allow(dead_code)] // Not every test needs all of it.

pub(crate) mod ca;
pub(crate) mod child;
pub(crate) mod http;
pub(crate) mod receiver;
pub(crate) mod server;
pub(crate) mod sink;
pub(crate) mod webhook;
