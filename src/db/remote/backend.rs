//! What a kind of server has of its own: how to connect, how to ask, how to spell it.

use std::{error::Error, fmt};

use crate::{
    db::DbError,
    notification::{Id, Lane, State, Status, Timestamp},
};

/// A kind of database server. The statements are written once, in the SQL that all
/// kinds share; this is the rest.
pub trait Backend: fmt::Debug + Send + Sync + Sized + 'static {
    /// A session of the server.
    type Connection: Send + 'static;

    /// What people call it.
    const NAME: &'static str;
    /// The server's time, in whole seconds since the Unix epoch.
    const CLOCK: &'static str;
    /// The table, read by the index of what is due.
    const BY_DUE: &'static str;
    /// The table, read or updated by the ids.
    const BY_ID: &'static str;
    /// The type of a row, to be compared byte by byte.
    const DRIVER: &'static str;
    /// A query for the lanes that have pending rows, in parentheses: it must step from
    /// one to the next, whatever lies between.
    const LANES: &'static str;
    /// Whether an index has the failed rows alone, in the order of their creation.
    const HAS_FAILED_FIRST: bool;
    /// Ends an insert so that it passes over ids that exist and returns the others;
    /// empty if there is no such thing: then such an id fails the statement.
    const RETURN_INSERTED: &'static str;

    /// Opens a session. One for the takeover is never cut off for being slow.
    fn connect(&self, purpose: Purpose) -> Result<Self::Connection, Failure>;

    /// Has statements done, separated by semicolons, in one round trip. Returns the
    /// rows of each. The first one that fails ends it.
    fn request(connection: &mut Self::Connection, sql: &str) -> Result<Vec<Rows>, Failure>;

    /// Appends a text.
    fn text(sql: &mut String, text: &str);

    /// Appends bytes.
    fn bytes(sql: &mut String, bytes: &[u8]);

    /// Appends an id as the table has it.
    fn id(sql: &mut String, id: &[u8]);

    /// The bytes that a column of an answer spells.
    fn read_bytes(column: Vec<u8>) -> Vec<u8>;

    /// Updates rows from a list of values, which is called `v`.
    fn update_from(values: &Values, assignments: &str, condition: &str) -> String;

    /// What has to be done to the table so that it fits; empty if it does.
    fn takeover(connection: &mut Self::Connection) -> Result<Vec<Step>, Failure>;
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Short statements.
    Use,
    /// Bringing the table up to date.
    Takeover,
}

/// A part of a takeover.
#[derive(Debug)]
pub struct Step {
    /// For the log.
    pub meaning: &'static str,
    /// The statement.
    pub sql: String,
}

/// Rows that are spelled out: the columns' names and each row's literals.
#[derive(Debug)]
pub struct Values {
    /// The names, beginning with `id`.
    pub columns: &'static [&'static str],
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Why a server doesn't do what it is asked.
#[derive(Debug)]
pub struct Failure {
    /// What follows from it.
    pub kind: Kind,
    /// A sentence, without secrets.
    pub sentence: String,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The connection is gone, and whatever it had begun was rolled back.
    Lost,
    /// The connection is gone, and nobody knows whether the commit was done.
    Unknown,
    /// It was rolled back for the sake of another transaction.
    Conflict,
    /// Another row has this id, or another process has made this change.
    Duplicate,
    /// A row can't be stored, whatever the state of the server.
    Refused,
    /// The server can't do it now.
    Unavailable,
}

impl Failure {
    /// There is no connection, or no more.
    pub fn lost(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Lost, "there is no connection to the server", reason)
    }

    /// The server says so; what it says may have several lines.
    pub fn new(kind: Kind, meaning: &str, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string().replace(char::is_control, " ");
        Self { kind, sentence: format!("{meaning} ({reason})") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for Failure {}

impl From<Failure> for DbError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Refused => Self::Refused(failure.sentence),
            Kind::Duplicate => Self::Exists,
            _ => Self::unavailable(failure.sentence),
        }
    }
}

/// The rows of one statement.
pub(in crate::db) type Rows = Vec<Row>;

/// A row of an answer, as text; what is null is `None`.
#[derive(Debug)]
pub struct Row(pub Vec<Option<Vec<u8>>>);

impl Row {
    /// Takes a column out.
    pub(super) fn take(&mut self, column: usize) -> Option<Vec<u8>> {
        self.0.get_mut(column).and_then(Option::take)
    }

    /// A number; null, or what is none, is 0.
    pub fn integer(&self, column: usize) -> i64 {
        let text = self.0.get(column).and_then(Option::as_deref).and_then(|text| str::from_utf8(text).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// A number of 32 bits, the nearest there is.
    pub(super) fn count(&self, column: usize) -> u32 {
        u32::try_from(self.integer(column).max(0)).unwrap_or(u32::MAX)
    }

    pub(super) fn is_true(&self, column: usize) -> bool {
        self.integer(column) != 0
    }

    pub(super) fn timestamp(&self, column: usize) -> Timestamp {
        Timestamp::from_secs(self.integer(column))
    }

    pub(super) fn lane(&self, column: usize) -> Lane {
        Lane::from_number(self.integer(column))
    }

    pub(super) fn state(&self, column: usize) -> State {
        State::from_number(self.integer(column))
    }

    /// `create_at`, `next_at`, `tried` and `cur_state`, from that column on.
    pub(super) fn status(&self, column: usize) -> Status {
        Status {
            create_at: self.timestamp(column),
            next_at: self.timestamp(column + 1),
            tried: self.count(column + 2),
            state: self.state(column + 3),
        }
    }

    /// A text; what isn't UTF-8 is replaced, as null is by nothing.
    pub fn text(&mut self, column: usize) -> String {
        let bytes = self.take(column).unwrap_or_default();
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// An id, or the bytes that are none because no text can address them.
    pub(super) fn id(&mut self, column: usize) -> Result<Id, Vec<u8>> {
        String::from_utf8(self.take(column).unwrap_or_default())
            .map(Id::from_store)
            .map_err(std::string::FromUtf8Error::into_bytes)
    }
}
