//! The program as its operator sees it: its environment, its start and end, its log.
#![cfg(feature = "sqlite")]

mod support;

#[path = "program/database.rs"]
mod database;
#[path = "program/environment.rs"]
mod environment;
#[path = "program/list_and_resend.rs"]
mod list_and_resend;
#[path = "program/listening.rs"]
mod listening;
#[path = "program/logs.rs"]
mod logs;
#[path = "program/services.rs"]
mod services;
#[path = "program/stopping.rs"]
mod stopping;
