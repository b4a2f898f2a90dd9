//! What errors of MySQL, MariaDB and their like mean to the caller.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
};

use mysql::{DriverError, Error};

use crate::db::remote::backend::{Failure, Kind};

pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::MySqlError(error) => {
            let (kind, meaning) = meaning(error.code);
            Failure::new(kind, meaning, format_args!("{}, error {}", error.message, error.code))
        }
        Error::DriverError(DriverError::PacketTooLarge) => too_big(),
        // Its type can't be named here.
        Error::CodecError(error) => {
            match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
                Some(error) => disconnected(error),
                None if error.to_string().contains("max_allowed_packet") => too_big(),
                None => Failure::lost(error),
            }
        }
        Error::IoError(error) => disconnected(&error),
        Error::DriverError(DriverError::TlsNotSupported) => {
            Failure::new(Kind::Unavailable, "TLS failed", "the server has none")
        }
        Error::DriverError(
            error @ (DriverError::ConnectTimeout | DriverError::CouldNotConnect(_) | DriverError::Timeout),
        ) => Failure::lost(error),
        Error::TlsError(error) => Failure::new(Kind::Unavailable, "TLS failed", error),
        error => Failure::new(Kind::Unavailable, "the server gives no answer that makes sense", error),
    }
}

fn too_big() -> Failure {
    Failure::new(Kind::Refused, "it is too big", "more than half of the server's max_allowed_packet")
}

fn disconnected(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::lost("no answer in time"),
        _ => Failure::lost(error),
    }
}

/// By the server's number of the error.
fn meaning(code: u16) -> (Kind, &'static str) {
    match code {
        // Deadlocks, write conflicts of Galera and TiDB, snapshots that have changed.
        1213 | 1020 | 8002 | 8022 | 8028 | 9007 => (Kind::Conflict, "another transaction was in the way"),
        1062 => (Kind::Duplicate, "the id exists"),
        // A column, an index or a table that another node has made in the meantime.
        1050 | 1060 | 1061 => (Kind::Duplicate, "it exists"),
        1153 | 1301 => (Kind::Refused, "it is too big"),
        1048 | 1264 | 1265 | 1292 | 1300 | 1366 | 1406 | 1118 | 3819 | 4025 => {
            (Kind::Refused, "a value doesn't fit")
        }
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 | 4031 => {
            (Kind::Lost, "the server ended the connection")
        }
        1040 | 1203 | 1226 => (Kind::Lost, "the server has too many connections"),
        1205 => (Kind::Unavailable, "another transaction has locked a row"),
        1290 | 1792 | 1836 => (Kind::Unavailable, "the server is read-only"),
        3 | 1021 | 1026 | 1114 => (Kind::Unavailable, "the server's disk is full"),
        1044 | 1045 | 1130 | 1142 | 1698 => (Kind::Unavailable, "the server refuses this user"),
        1049 => (Kind::Unavailable, "there is no such database"),
        1047 => (Kind::Unavailable, "the node is not ready"),
        1317 | 1969 | 3024 => (Kind::Unavailable, "it took too long"),
        _ => (Kind::Unavailable, "the server refuses"),
    }
}
