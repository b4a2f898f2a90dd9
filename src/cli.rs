//! The command line, and how it ends: a sentence, an exit code.

use std::{error::Error, ffi::OsString, path::PathBuf};

use clap::{
    ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue, ErrorKind},
};
use notify_api::{State, When};

use crate::{
    config::{self, Environment},
    environment::{COMPLETED_BY, Completion},
};

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
    /// Variables that the environment lacks, as systemd's EnvironmentFile has them; '' is no
    /// file [default for commands: /etc/notify-api/notify-api.env, if it is there].
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Option<OsString>,
    /// This file has completed the environment.
    #[arg(long = COMPLETED_BY, hide = true)]
    completed_by: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    fn completion(&self) -> Completion {
        match (&self.completed_by, &self.env_file) {
            (Some(file), _) => Completion::Done(file.clone()),
            (None, Some(file)) if file.is_empty() => Completion::None,
            (None, Some(file)) => Completion::By(file.into()),
            (None, None) if self.command.is_some() => Completion::Service,
            (None, None) => Completion::None,
        }
    }
}

/// What else than to serve.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tell what is configured and whether it can be right, and change nothing.
    Check {
        /// Also try the accounts and the database server, without sending anything.
        #[arg(long)]
        online: bool,
    },
    /// Copy all notifications of another database into NOTIFY_DSN, while neither is in use.
    Import {
        /// The other database; - reads it from stdin, since a process list shows arguments.
        #[arg(long, value_name = "DSN")]
        from: String,
    },
    /// Show what is pending, delivered or failed, and why, the newest first.
    List(List),
    /// Make one more attempt for each of some notifications.
    Resend(Resend),
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

/// What to list.
#[derive(Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<Named>,
    /// Only those of this type.
    #[arg(long, value_name = "TYPE")]
    pub(crate) r#type: Option<String>,
    /// Only those accepted since: Unix seconds, or how long ago, as 1d or 12h.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<When>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Print each as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Another server than the one that NOTIFY_HTTP_BIND and NOTIFY_TLS_CERT tell.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// What to send again.
#[derive(Args)]
#[command(group(ArgGroup::new("age").args(["since", "all"])))]
pub(crate) struct Resend {
    /// These.
    #[arg(value_name = "ID", required_unless_present = "failed")]
    pub(crate) ids: Vec<String>,
    /// All that have failed: --since some time, or --all of them.
    #[arg(long, conflicts_with = "ids", requires = "age")]
    pub(crate) failed: bool,
    /// Those accepted since: Unix seconds, or how long ago, as 1d or 12h.
    #[arg(long, value_name = "WHEN", requires = "failed", conflicts_with = "ids")]
    pub(crate) since: Option<When>,
    /// However old they are.
    #[arg(long, requires = "failed", conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Only those of this type.
    #[arg(long, value_name = "TYPE", requires = "failed", conflicts_with = "ids")]
    pub(crate) r#type: Option<String>,
    /// Show them only.
    #[arg(long, requires = "failed", conflicts_with = "ids")]
    pub(crate) dry_run: bool,
    /// Another server than the one that NOTIFY_HTTP_BIND and NOTIFY_TLS_CERT tell.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// A state by its name.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Named {
    Pending,
    Delivered,
    Failed,
}

impl From<Named> for State {
    fn from(named: Named) -> Self {
        match named {
            Named::Pending => Self::Pending,
            Named::Delivered => Self::Success,
            Named::Failed => Self::Failed,
        }
    }
}

/// What the command line asks for.
pub(crate) enum Asked {
    /// Serve, or this, when the environment is complete.
    Todo(Option<Command>, Completion),
    /// Print this and nothing else.
    Text(String),
}

/// Reads the arguments of this process.
///
/// # Errors
/// One line that says what is wrong, without the value of an argument: it may hold a password.
pub(crate) fn parse(env: &Environment<'_>) -> Result<Asked, Refusal> {
    if std::env::args_os().len() <= 1 {
        // The service: what the parser takes in memory, it would keep.
        return Ok(Asked::Todo(None, Completion::None));
    }
    let variables = config::help(env);
    let parsed = Arguments::command().after_help(variables).try_get_matches();
    match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => {
            let completion = arguments.completion();
            Ok(Asked::Todo(arguments.command, completion))
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Text(error.to_string())),
            kind => Err(match culprit(&error) {
                Some(culprit) => format!("{kind}: {culprit:?}{}, see -h", expected(&error)),
                None => format!("{kind}, see -h"),
            }),
        },
    }
}

/// What an argument takes, as far as that is known here.
fn expected(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue) {
        return format!(": it takes {}", values.join(", "));
    }
    let reason = error.source().filter(|_| error.kind() == ErrorKind::ValueValidation);
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// The argument that is wrong, unless it may be a DSN.
fn culprit(error: &clap::Error) -> Option<String> {
    let told = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
    let argument = told.into_iter().find_map(|kind| error.get(kind))?.to_string();
    (!argument.contains(['@', '=', ':'])).then_some(argument)
}
