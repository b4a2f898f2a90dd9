//! The environment that a file completes, as systemd does it for the service: so a command
//! that an administrator types sees what the service sees.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process,
};

use crate::config::{CREDENTIALS, EnvFile};

/// The option by which the program tells itself that a file has completed its environment.
pub(crate) const COMPLETED_BY: &str = "completed-by";

/// What systemd hands to the service.
const SERVICE_FILE: &str = "/etc/notify-api/notify-api.env";

/// Where the service finds its credentials and its database.
const SERVICE_DIRECTORIES: [(&str, &str); 2] =
    [(CREDENTIALS, "/etc/notify-api/credentials"), ("STATE_DIRECTORY", "/var/lib/notify-api")];

/// Which file completes the environment.
pub(crate) enum Completion {
    /// None.
    None,
    /// The service's, if there is one.
    Service,
    /// This one.
    By(PathBuf),
    /// This one has done so already.
    Done(PathBuf),
}

/// Completes the environment, and returns the file that did.
///
/// This process is started anew with it: much of what reads the environment
/// (`SSL_CERT_FILE`, `HTTPS_PROXY`) is not ours, and no environment can be changed safely
/// while a program runs.
///
/// # Errors
/// The file can't be read; one line that says so.
pub(crate) fn complete(completion: Completion) -> Result<Option<PathBuf>, String> {
    let (path, read) = match completion {
        Completion::None => return Ok(None),
        Completion::Done(path) => return Ok(Some(path)),
        Completion::By(path) => {
            let read = EnvFile::read(&path);
            (path, read)
        }
        Completion::Service => match EnvFile::read(Path::new(SERVICE_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => (PathBuf::from(SERVICE_FILE), read),
        },
    };
    let file = read.map_err(|error| {
        let what_to_do = match error.kind() {
            io::ErrorKind::PermissionDenied => "; run it as root, or name another file by --env-file",
            _ => "",
        };
        format!("the file of variables {path:?} can't be read: {error}{what_to_do}")
    })?;
    let error = start_anew(&path, file);
    Err(format!("can't start with the variables of {path:?}: {error}"))
}

/// Returns only if it fails.
fn start_anew(path: &Path, file: EnvFile) -> io::Error {
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from(env!("CARGO_PKG_NAME")));
    let directories = SERVICE_DIRECTORIES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let directories = directories.into_iter().filter(|_| path == Path::new(SERVICE_FILE));
    // What is there wins, even if it is empty.
    let missing =
        file.variables.into_iter().chain(directories).filter(|(name, _)| env::var_os(name).is_none());
    process::Command::new(program)
        .arg0(name)
        .arg(format!("--{COMPLETED_BY}"))
        .arg(path)
        .args(arguments)
        .envs(missing)
        .exec()
}
