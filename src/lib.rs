//! A notification appliance: what is posted to it is on disk before the answer,
//! and delivered until it arrives.
//!
//! # The life of a notification
//!
//! A client posts [`Params`] to `/send`. The [`server`](ApiServer) reads them, asks the
//! [`Driver`] of that type whether it could deliver them, and hands them to the
//! *recorder*, which writes all that waits in one transaction of the database
//! behind [`DBDrv`] and answers after the commit. The commit wakes the *sender*:
//! it claims what is due from the table, lane by lane, and has each attempt made on a
//! blocking thread of its own. What the attempt led to goes back through the
//! recorder; a failed one is tried again when the [`Scheduler`] says so.
//!
//! The table is the only queue: whatever happens to the process, what was accepted is
//! in the table and is sent after the next start.
//!
//! # Where is what
//!
//! | module | what it is about |
//! |---|---|
//! | [`notification`] | the nouns and their JSON |
//! | [`driver`], [`drivers`] | how one kind of notification is delivered; those that ship |
//! | [`scheduler`] | when a failed attempt is followed by another |
//! | [`db`] | where notifications live, and the suite that checks a database |
//! | `claims` | which rows are taken, and which lane gets the next free slot |
//! | `recorder` | group commit of all writes |
//! | `retention` | how long finished notifications are kept |
//! | `sender` | attempts, what they lead to, and the threads that make them |
//! | `metrics` | what is counted and measured |
//! | `server` | sockets, limits, endpoints |
//! | [`client`] | the calls of the API for Rust programs |
//!
//! # A server in a program of yours
//!
//! ```
//! use notify_api::{
//!     ApiServer, Client, ClientOptions, Params, SenderOptions, db::sqlite::Sqlite, drivers::stub::Stub,
//! };
//! use std::{error::Error, time::Duration};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
//!     let dir = tempfile::tempdir()?;
//!     let db = Sqlite::open(dir.path().join("notify.db"))?;
//!     let mut server = ApiServer::new(SenderOptions::new(db));
//!     let stub = Stub::new("STUB").recording();
//!     server.bind("127.0.0.1:0").register(stub.clone())?;
//!     let running = server.start().await?;
//!
//!     let url = format!("http://{}", running.local_addr());
//!     let calls = tokio::task::spawn_blocking(move || {
//!         let client = Client::new(&url, ClientOptions::default())?;
//!         let id = client.send(&Params::new("STUB", "anywhere", "hello")?)?;
//!         assert!(stub.wait_for(1, Duration::from_secs(10)));
//!         println!("{id} was delivered");
//!         Ok::<_, Box<dyn Error + Send + Sync>>(())
//!     });
//!     calls.await??;
//!
//!     running.shutdown(Duration::from_secs(30)).await;
//!     Ok(())
//! }
//! ```

#![cfg_attr(
    not(any(feature = "sqlite", feature = "mysql", feature = "postgres")),
    // What only the databases share.
    allow(dead_code, unused_imports)
)]

mod claims;
mod clock;
mod health;
mod json;
mod metrics;
mod recorder;
mod retention;
mod sender;
mod server;

pub mod client;
pub mod db;
pub mod driver;
pub mod drivers;
pub mod notification;
pub mod scheduler;

pub use client::{Client, ClientError, ClientOptions, InvalidClient, ListOptions};
pub use db::{DBDrv, DbError};
pub use driver::{Delivery, Driver, InvalidDriver, Rejected, SendError};
pub use json::InvalidJson;
pub use notification::{
    Detail, Id, InvalidId, InvalidParams, Item, Lane, Listed, Listing, Params, State, Status, Timestamp, When,
};
pub use retention::Retention;
pub use scheduler::{Attempt, DefaultScheduler, Next, Scheduler};
pub use sender::SenderOptions;
pub use server::{
    Activity, ApiServer, Certificate, DEFAULT_BODY_LIMIT, Monitor, Running, Service, StartError, listen,
    resolve,
};
