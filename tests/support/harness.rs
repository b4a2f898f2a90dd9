//! What the tests of deliveries share: the real program as a process, the library
//! with drivers that the test plays itself, receivers on real sockets, and the
//! table as another program sees it.

// Each test file uses its own part of it.
#![allow(dead_code, unused_imports)]

mod api;
mod library;
mod process;
mod stage;
mod table;
mod ten;
mod webhook;

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub(crate) use api::{Answer, Api, Connection};
pub(crate) use library::{Library, Setup};
pub(crate) use process::Server;
pub(crate) use stage::{Audience, Sending, Stage};
pub(crate) use table::Table;
pub(crate) use ten::TenMethods;
pub(crate) use webhook::{Gate, Hit, Receiver, Reply};

/// What should happen at once may take this long on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What must not happen is awaited for so long.
pub(crate) const MOMENT: Duration = Duration::from_millis(150);

/// Unix time.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// The same with a deadline that is part of the contract.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
