//! The HTTP API as its clients see it, over real sockets.
#![cfg(feature = "sqlite")]

mod support;

#[path = "api/access.rs"]
mod access;
#[path = "api/bodies.rs"]
mod bodies;
#[path = "api/clearing.rs"]
mod clearing;
#[path = "api/codes.rs"]
mod codes;
#[path = "api/commands.rs"]
mod commands;
#[path = "api/ids.rs"]
mod ids;
#[path = "api/listing.rs"]
mod listing;
#[path = "api/metrics.rs"]
mod metrics;
#[path = "api/payloads.rs"]
mod payloads;
#[path = "api/repeats.rs"]
mod repeats;
