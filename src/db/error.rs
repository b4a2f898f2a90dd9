//! What can go wrong with a database.

use std::{error::Error, fmt};

/// What can go wrong with a database.
#[derive(Debug)]
#[non_exhaustive]
pub enum DbError {
    /// No row has this id.
    NotFound,
    /// A row has this id already.
    Exists,
    /// It is being sent and can't be deleted.
    Sending,
    /// This row can't be stored, whatever the state of the database; says why.
    Refused(String),
    /// This kind of database never does it.
    Unsupported(&'static str),
    /// There is no room for anything new, though everything else can be stored; says why.
    Full(String),
    /// The database can't do it now: full, unreachable, locked, broken.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl DbError {
    /// The database can't do it now, for this reason.
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(reason.into())
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => write!(f, "no notification has this id"),
            Self::Exists => write!(f, "a notification with this id exists"),
            Self::Sending => write!(f, "the notification is being sent"),
            Self::Refused(reason) => write!(f, "the database refuses the notification: {reason}"),
            Self::Unsupported(what) => write!(f, "this database has no {what}"),
            Self::Full(reason) => f.write_str(reason),
            Self::Unavailable(reason) => write!(f, "the database can't answer: {reason}"),
        }
    }
}

impl Error for DbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(reason) => Some(reason.as_ref()),
            _ => None,
        }
    }
}
