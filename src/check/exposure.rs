//! Secrets that more people can read than should, and credentials that nobody reads.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::config::{self, CREDENTIALS, Config, EnvFile, Environment};

/// One sentence each.
pub(super) fn warnings(
    env: &Environment<'_>,
    config: &Config,
    file: Option<&(&Path, EnvFile)>,
) -> Vec<String> {
    let in_files = config::secrets(env).into_iter().filter_map(|(_, place)| place.path().map(PathBuf::from));
    let key = config.tls.as_ref().map(|(_, key)| key.clone());
    let env_file = file.filter(|(_, file)| {
        file.variables.iter().any(|(name, value)| !value.is_empty() && config::is_secret(name, value))
    });
    let secrets = in_files.chain(key).chain(env_file.map(|(path, _)| path.to_path_buf()));
    let exposed = secrets.filter(|path| is_exposed(path)).map(|path| {
        format!("everybody on this machine can read the secret in {0}: chmod o-r {0}", path.display())
    });
    let mut warnings: Vec<String> = exposed.collect();
    let directory = env.0(CREDENTIALS).map(fs::read_dir).and_then(Result::ok);
    let names = directory.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names: Vec<String> = names.filter_map(|name: OsString| name.into_string().ok()).collect();
    warnings.extend(config::unknown_credentials(names.iter().map(String::as_str)));
    warnings
}

/// Whether anybody may read the file and go to where it is.
fn is_exposed(path: &Path) -> bool {
    let allows = |path: &Path, bit| path.metadata().is_ok_and(|data| data.permissions().mode() & bit != 0);
    match path.canonicalize() {
        Ok(path) => {
            allows(&path, 0o004) && path.ancestors().skip(1).all(|directory| allows(directory, 0o001))
        }
        Err(_) => false,
    }
}
