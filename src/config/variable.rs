//! What a variable is, and who may see its value.

use super::ConfigError;

/// What all names of variables begin with.
pub(super) const PREFIX: &str = "NOTIFY_";

/// An environment variable.
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// What an unset one stands for; empty if that is nothing.
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
    pub(super) secrecy: Secrecy,
    /// Whether its value may be in a file instead.
    pub(super) has_file: bool,
}

/// Who may see a variable's value.
#[derive(Clone, Copy)]
pub(super) enum Secrecy {
    Public,
    /// Nobody.
    Secret,
    /// The password in it is a secret; this hides it.
    Hides(fn(&str) -> String),
}

impl Variable {
    pub(super) const fn new(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { name, default, meaning, secrecy: Secrecy::Public, has_file: false }
    }

    pub(super) const fn url(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { name, default, meaning, secrecy: Secrecy::Hides(url_without_secrets), has_file: false }
    }

    pub(super) const fn secret(name: &'static str, meaning: &'static str) -> Self {
        Self { name, default: "", meaning, secrecy: Secrecy::Secret, has_file: true }
    }

    /// The variable that names a file with the value of this one.
    pub(super) fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// Says that it holds what it doesn't take.
    pub(super) fn wrong(&self, value: &str, takes: impl Into<String>) -> ConfigError {
        ConfigError::new(self.name, self.shown(value), takes)
    }

    /// What anybody may see of a value.
    pub(super) fn shown(&self, value: &str) -> Option<String> {
        match self.secrecy {
            Secrecy::Public => Some(value.to_owned()),
            Secrecy::Hides(hide) => Some(hide(value)).filter(|shown| shown != SET),
            Secrecy::Secret => None,
        }
    }
}

/// What is told of a value that can't be shown.
pub(super) const SET: &str = "set";

/// A URL for the eyes of anybody: tokens stand in its query as well.
pub(super) fn url_without_secrets(text: &str) -> String {
    const STARS: &str = "***";
    let Some(mut url) = url::Url::parse(text).ok().filter(url::Url::has_host) else {
        // It may be anything, for instance `user:password@host`.
        return if text.contains(['@', '?', '#']) { SET.into() } else { text.into() };
    };
    if !url.username().is_empty() || url.password().is_some() {
        let _ = url.set_username(STARS);
        let _ = url.set_password(None);
    }
    if url.query().is_some() {
        url.set_query(Some(STARS));
    }
    if url.fragment().is_some() {
        url.set_fragment(Some(STARS));
    }
    if url.as_str().contains(STARS) { url.into() } else { text.into() }
}
