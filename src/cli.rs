//! The command line, and how it ends: a sentence, an exit code.

#[cfg(feature = "sqlite")]
use std::path::PathBuf;

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ErrorKind},
};

use crate::config::{self, Environment};

/// It could not start; 0 is stopped by a signal, 1 failed while running.
pub(crate) const EXIT_NO_START: u8 = 2;
pub(crate) const EXIT_FAILED: u8 = 1;

/// What ends the program early: a line for stderr.
pub(crate) type Refusal = String;

/// Stores notifications that are posted to it and delivers them until they arrive.
/// Without a command it does so until a signal stops it.
#[derive(Parser)]
#[command(name = "notify-api", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else than to serve.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Copy all notifications of another database into NOTIFY_DSN, while neither is in use.
    Import {
        /// The other database; - reads it from stdin, since a process list shows arguments.
        #[arg(long, value_name = "DSN")]
        from: String,
    },
    /// Copy the SQLite database, also while the server runs. Nothing is overwritten.
    #[cfg(feature = "sqlite")]
    Backup {
        /// The new file; or a directory, for one whose name tells the time.
        file: PathBuf,
        /// Remove older copies from the directory, beyond so many in all.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        keep: Option<u16>,
    },
    /// Put such a copy in the place of the database, while the server is stopped. What was
    /// pending when it was made will be sent again.
    #[cfg(feature = "sqlite")]
    Restore {
        /// The copy; it stays.
        file: PathBuf,
        /// Also if the database holds notifications; it is kept under another name.
        #[arg(long)]
        force: bool,
    },
    /// Check a whole SQLite database, also while the server runs, and change nothing.
    #[cfg(feature = "sqlite")]
    Verify {
        /// Another file than the database.
        file: Option<PathBuf>,
    },
}

/// What the command line asks for.
pub(crate) enum Asked {
    /// Serve, or this.
    Todo(Option<Command>),
    /// Print this and nothing else.
    Text(String),
}

/// Reads the arguments of this process.
///
/// # Errors
/// One line that says what is wrong, without the value of an argument: it may hold a password.
pub(crate) fn parse(env: &Environment<'_>) -> Result<Asked, Refusal> {
    let variables = config::help(env);
    let parsed = Arguments::command().after_help(variables).try_get_matches();
    match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(Arguments { command }) => Ok(Asked::Todo(command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Text(error.to_string())),
            kind => Err(match culprit(&error) {
                Some(culprit) => format!("{kind}: {culprit:?}, see -h"),
                None => format!("{kind}, see -h"),
            }),
        },
    }
}

/// The argument that is wrong, unless it may be a DSN.
fn culprit(error: &clap::Error) -> Option<String> {
    let told = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
    let argument = told.into_iter().find_map(|kind| error.get(kind))?.to_string();
    (!argument.contains(['@', '=', ':'])).then_some(argument)
}
