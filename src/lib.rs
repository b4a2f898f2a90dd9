//! A notification appliance: what is posted to it is on disk before the answer,
//! and delivered until it arrives.

mod json;

pub mod client;
pub mod db;
pub mod driver;
pub mod drivers;
pub mod notification;
pub mod scheduler;

pub use client::{Client, ClientError, ClientOptions, InvalidClient};
pub use db::{DBDrv, DbError};
pub use driver::{Delivery, Driver, InvalidDriver, Rejected, SendError};
pub use json::InvalidJson;
pub use notification::{Detail, Id, InvalidId, InvalidParams, Item, Lane, Params, State, Status, Timestamp};
pub use scheduler::{Attempt, DefaultScheduler, Next, Scheduler};
