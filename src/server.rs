//! The HTTP server.

mod connection;
mod listener;
mod tls;
