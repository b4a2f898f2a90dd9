//! What errors of PostgreSQL and its like mean to the caller.

use std::{error::Error as _, io};

use tokio_postgres::Error;

use crate::db::remote::backend::{Failure, Kind};

pub(super) fn failure(error: Error) -> Failure {
    if let Some(told) = error.as_db_error() {
        let code = told.code().code();
        let (kind, meaning) = meaning(code);
        return Failure::new(kind, meaning, format_args!("{}, SQLSTATE {code}", told.message()));
    }
    let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        // A U+0000 in a text, found before anything was sent.
        Some(io::ErrorKind::InvalidInput) if reason.contains("null") => {
            Failure::new(Kind::Refused, "a value doesn't fit", "it has a U+0000 in a text")
        }
        Some(io::ErrorKind::InvalidData) => Failure::new(Kind::Unavailable, "TLS failed", reason),
        _ if error.is_closed() || cause.is_some() => Failure::lost(reason),
        _ if reason.contains("connecting to server") => Failure::lost(reason),
        _ => Failure::new(Kind::Unavailable, "the connection can't be used", reason),
    }
}

/// By the five characters of the error, or its class.
fn meaning(code: &str) -> (Kind, &'static str) {
    match code {
        "40001" | "40P01" => (Kind::Conflict, "another transaction was in the way"),
        "40003" => (Kind::Unknown, "nobody knows whether it was committed"),
        // Also a table or a column that another node has made in the meantime.
        "23505" | "42P07" | "42701" | "42710" => (Kind::Duplicate, "it exists"),
        // Two nodes altered the table at once.
        "XX000" => (Kind::Conflict, "another node was in the way"),
        "55P03" => (Kind::Unavailable, "another transaction has locked a row"),
        "57014" => (Kind::Unavailable, "it took too long"),
        "25006" => (Kind::Unavailable, "the server is read-only"),
        "53100" => (Kind::Unavailable, "the server's disk is full"),
        "53300" => (Kind::Lost, "the server has too many connections"),
        "3D000" => (Kind::Unavailable, "there is no such database"),
        "42501" => (Kind::Unavailable, "the server refuses this user"),
        _ => match &code[..2.min(code.len())] {
            "08" | "57" => (Kind::Lost, "the server ended the connection"),
            "22" | "23" | "54" => (Kind::Refused, "a value doesn't fit"),
            "28" => (Kind::Unavailable, "the server refuses this user"),
            _ => (Kind::Unavailable, "the server refuses"),
        },
    }
}
