//! The `notify-api` program: reads its command line, completes its environment, and does
//! what they say.

use std::process::ExitCode;

use cli::{Asked, EXIT_NO_START, Refusal};
use config::Environment;

mod cli;
mod commands;
mod config;
mod database;
mod environment;
mod services;
mod systemd;

fn main() -> ExitCode {
    run().unwrap_or_else(|reason| {
        eprintln!("notify-api: {reason}");
        ExitCode::from(EXIT_NO_START)
    })
}

fn run() -> Result<ExitCode, Refusal> {
    let lookup = |name: &str| std::env::var_os(name);
    let env = Environment(&lookup);
    match cli::parse(&env)? {
        Asked::Text(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Asked::Todo(command, completion) => {
            let completed_by = environment::complete(completion)?;
            commands::run(command, &env, completed_by.as_deref())
        }
    }
}
