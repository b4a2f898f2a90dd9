//! Reads columns as they come: the table isn't strict, and a row that was
//! written by hand must not stop the others.

use std::borrow::Cow;

use rusqlite::{Row, types::ValueRef};

use crate::{
    db::DbError,
    notification::{State, Status, Timestamp},
};

/// The text of an id, `None` if no text can address the row: it is a blob, or
/// isn't UTF-8.
pub(super) fn id<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<&'a str>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    })
}

/// A number. A fraction counts as the next whole one, so that a scan that goes on
/// behind it doesn't meet it again; what isn't a number is 0.
pub(super) fn integer(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => number,
        ValueRef::Real(number) => number.ceil() as i64,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    })
}

/// How many there are of something.
pub(super) fn quantity(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    integer(row, column).map(|number| u64::try_from(number).unwrap_or(0))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    integer(row, column).map(Timestamp::from_secs)
}

/// A number of attempts, the nearest there is.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    integer(row, column).map(|number| u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Cow<'a, str>> {
    Ok(match bytes(row, column)?.unwrap_or_default() {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// The bytes of a blob or a text, the digits of a number, `None` for null.
pub(super) fn bytes<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<Cow<'a, [u8]>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(Cow::Borrowed(bytes)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string().into_bytes())),
    })
}

/// `create_at`, `next_at`, `tried` and `cur_state`, from that column on.
pub(super) fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    Ok(Status {
        create_at: timestamp(row, column)?,
        next_at: timestamp(row, column + 1)?,
        tried: count(row, column + 2)?,
        state: state(row, column + 3)?,
    })
}

pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => State::from_number(number),
        // Only the number 0 is in the index of pending rows.
        _ => State::Failed,
    })
}

/// What an error of SQLite means to the caller.
pub(super) fn failed(error: rusqlite::Error) -> DbError {
    use rusqlite::ErrorCode::*;
    let meaning = match error.sqlite_error_code() {
        Some(TooBig) => return DbError::Refused("it is too big".into()),
        Some(ConstraintViolation | TypeMismatch) => return DbError::Refused(sentence(&error)),
        Some(DiskFull) => "the disk is full",
        Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed) => {
            "another program has locked the file"
        }
        Some(SystemIoFailure) => "reading or writing the file failed",
        Some(CannotOpen) => "the file can't be opened",
        Some(ReadOnly | PermissionDenied) => "the file can't be written",
        Some(DatabaseCorrupt | NotADatabase) => "the file is damaged",
        Some(OutOfMemory) => "there is not enough memory",
        _ => return DbError::unavailable(sentence(&error)),
    };
    DbError::unavailable(format!("{meaning} ({})", sentence(&error)))
}

/// What SQLite says, without the statement, which has several lines.
pub(super) fn sentence(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        _ => error.to_string(),
    }
}
