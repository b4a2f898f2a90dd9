//! What the tests share.

#![allow(dead_code)] // Not every test needs all of it.

pub mod sink;
