//! What becomes of one notification: when it is attempted, what each ending
//! leads to, and what resending, deleting and clearing do to it.
#![cfg(feature = "sqlite")]

mod support {
    pub(crate) mod harness;
}

#[path = "attempts/failures.rs"]
mod failures;
#[path = "attempts/first.rs"]
mod first;
#[path = "attempts/holds.rs"]
mod holds;
#[path = "attempts/removal.rs"]
mod removal;
#[path = "attempts/resend.rs"]
mod resend;
#[path = "attempts/stop.rs"]
mod stop;
#[path = "attempts/taken_over.rs"]
mod taken_over;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use notify_api::{Attempt, Delivery, Driver, Next, Rejected, SendError};
use serde_json::json;
use support::harness::{
    Api, Audience, Gate, Library, MOMENT, PATIENCE, Receiver, Reply, Server, Setup, Stage, Table, eventually,
    now,
};
use tempfile::{TempDir, tempdir};

const PENDING: i64 = 0;
const SUCCESS: i64 = 1;
const FAILED: i64 = 2;

/// A server with one driver, `STAGE`, that the test plays.
fn stage(setup: Setup) -> (TempDir, Library, Audience) {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), setup);
    (directory, server, audience)
}

fn stage_in(directory: &Path, setup: Setup) -> (Library, Audience) {
    let (driver, audience) = Stage::new("STAGE");
    let server = Library::start(directory, setup, move |server| {
        server.register(driver).unwrap();
    });
    (server, audience)
}

/// Answers every send at once.
struct Instantly;

impl Driver for Instantly {
    fn r#type(&self) -> &str {
        "INSTANTLY"
    }

    fn send(&self, delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        match delivery.endpoint {
            "fail" => Err(SendError::permanent("never")),
            "panic" => panic!("the driver has a bug"),
            "panic with a number" => std::panic::panic_any(5),
            endpoint => Ok(endpoint.into()),
        }
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }
}

fn answered(sending: support::harness::Sending) -> String {
    let id = sending.id.clone();
    sending.deliver("ok");
    id
}
