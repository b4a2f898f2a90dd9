//! Brings the table up to date: makes a new one, or takes one over as it is, with its
//! rows. Each kind of server says what is missing; this does it.
//!
//! What is there tells what is missing, so a takeover can be cut off at any point and
//! goes on at the next start, and does nothing when all is there. Two nodes that
//! start at once meet no lock that would have to be there first: one of them is told that
//! something exists already, looks again, and goes on from there.

use std::time::Instant;

use super::backend::{Backend, Failure, Kind, Step};

/// Looking again so often means that something else is wrong.
const ROUNDS: usize = 20;

/// The columns of a table of the original.
const ORIGINAL: [&str; 9] =
    ["notify_id", "driver", "endpoint", "content", "create_at", "next_at", "tried", "cur_state", "response"];

/// Whether attempts were made is all that the original tells of pending rows: with a
/// response they are retried; without one they had no attempt yet, and were made to
/// have only one.
const MARK_ONCE: &str =
    "update items set once = 1 where cur_state = 0 and tried > 0 and response is null and once = 0";

/// The column that is added last: as long as it is missing, nothing has been sent from the
/// table by this program, and rows may still have to be marked.
pub(in crate::db) const SEAL: &str = "lease_until";

/// What is to be added and how, by the names of columns, [`SEAL`] last.
pub(in crate::db) type Added = [(&'static str, &'static str)];

/// Checks that a table with these columns can be taken over, and says which it lacks.
pub(in crate::db) fn missing<'a>(
    columns: &[&str],
    added: &'a Added,
) -> Result<Vec<&'a (&'static str, &'static str)>, Failure> {
    let has = |name: &str| columns.contains(&name);
    if let Some(lacking) = ORIGINAL.iter().find(|name| !has(name)) {
        return Err(Failure::new(
            Kind::Unavailable,
            "the database has a table named items that belongs to another program",
            format_args!("it has no column {lacking}"),
        ));
    }
    Ok(added.iter().filter(|(name, _)| !has(name)).collect())
}

/// Marks rows that have one attempt; to be done before [`SEAL`] is added.
pub(in crate::db) fn mark_once() -> Step {
    Step {
        meaning: "marking the notifications that have one attempt: with millions of rows this takes minutes",
        sql: MARK_ONCE.into(),
    }
}

pub(super) fn take_over<B: Backend>(connection: &mut B::Connection) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut has_changed = false;
    for _ in 0..ROUNDS {
        let steps = B::takeover(connection)?;
        if steps.is_empty() {
            if has_changed {
                tracing::info!("the table items is up to date, after {:.1} s", begun.elapsed().as_secs_f32());
            }
            return Ok(());
        }
        for Step { meaning, sql } in steps {
            tracing::info!("{meaning}");
            has_changed = true;
            match B::request(connection, &sql) {
                Ok(_) => {}
                // Another node is at it.
                Err(Failure { kind: Kind::Duplicate | Kind::Conflict, .. }) => break,
                Err(failure) => return Err(failure),
            }
        }
    }
    Err(Failure {
        kind: Kind::Unavailable,
        sentence: "the table items could not be brought up to date".into(),
    })
}
