//! A notification appliance: what is posted to it is on disk before the answer,
//! and delivered until it arrives.

mod claims;
mod clock;
mod health;
mod json;
mod recorder;
mod sender;
mod server;

pub mod db;
pub mod driver;
pub mod drivers;
pub mod notification;
pub mod scheduler;

pub use db::{DBDrv, DbError};
pub use driver::{Delivery, Driver, InvalidDriver, Rejected, SendError};
pub use json::InvalidJson;
pub use notification::{Detail, Id, InvalidId, InvalidParams, Item, Lane, Params, State, Status, Timestamp};
pub use scheduler::{Attempt, DefaultScheduler, Next, Scheduler};
pub use sender::SenderOptions;
pub use server::{ApiServer, Certificate, DEFAULT_BODY_LIMIT, Running, Service, StartError, listen};
