//! The program as its operator sees it: its environment, its start and end, its log.
#![cfg(feature = "sqlite")]

mod support;

#[path = "program/check.rs"]
mod check;
#[path = "program/database.rs"]
mod database;
#[path = "program/env_file.rs"]
mod env_file;
#[path = "program/environment.rs"]
mod environment;
#[path = "program/list_and_resend.rs"]
mod list_and_resend;
#[path = "program/listening.rs"]
mod listening;
#[path = "program/logs.rs"]
mod logs;
#[path = "program/secrets.rs"]
mod secrets;
#[path = "program/services.rs"]
mod services;
#[path = "program/stopping.rs"]
mod stopping;
#[path = "program/systemd.rs"]
mod systemd;
