//! What a table lacks.
//!
//! An original one: `notify_id varchar(128) primary key`, `driver varchar(16)`,
//! `endpoint text`, `content bytea`, `create_at bigint`, `next_at bigint`, `tried integer`,
//! `cur_state smallint`, `response bytea`, with the indexes `items_pending_idx(cur_state)`
//! and `clear_idx(create_at)`. All that is there stays.

use super::{Connection, Server};
use crate::db::remote::{
    backend::{Backend, Failure, Rows, Step},
    takeover::{self, SEAL},
};

const SCHEMA: &str = include_str!("schema.sql");

const COLUMNS: &str = "select lower(column_name), lower(data_type), coalesce(character_maximum_length, 0) \
     from information_schema.columns where table_schema = current_schema() and table_name = 'items'";

const INDEXES: &str =
    "select indexname from pg_indexes where schemaname = current_schema() and tablename = 'items'";

/// Those by `create_at` tell rows of the same second apart, which an index here doesn't do by itself.
const WANTED_INDEXES: [(&str, &str); 3] = [
    ("items_due", "items_due on items (lane, next_at) where cur_state = 0"),
    ("items_created", "items_created on items (create_at, notify_id)"),
    ("items_failed", "items_failed on items (create_at, notify_id) where cur_state not in (0, 1)"),
];

const ADDED: &takeover::Added = &[
    ("lane", "integer not null default 0"),
    ("once", "smallint not null default 0"),
    ("epoch", "bigint not null default 0"),
    ("lease_token", "bigint not null default 0"),
    (SEAL, "bigint not null default 0"),
];

pub(super) fn steps(connection: &mut Connection) -> Result<Vec<Step>, Failure> {
    let columns: Vec<(String, String, i64)> = ask(connection, COLUMNS)?
        .into_iter()
        .map(|mut row| (row.text(0), row.text(1), row.integer(2)))
        .collect();
    if columns.is_empty() {
        return Ok(vec![Step { meaning: "making the table items", sql: SCHEMA.into() }]);
    }
    let names: Vec<&str> = columns.iter().map(|(name, ..)| &**name).collect();
    let missing = takeover::missing(&names, ADDED)?;
    let mut changes: Vec<String> =
        columns.iter().filter_map(|(name, kind, length)| widened(name, kind, *length)).collect();
    let added = |(name, kind): &(&str, &str)| format!("add column if not exists {name} {kind}");
    let is_sealed = !missing.iter().any(|(name, _)| *name == SEAL);
    changes.extend(missing.into_iter().filter(|(name, _)| *name != SEAL).map(added));
    let mut steps = Vec::new();
    if !changes.is_empty() {
        let sql = format!("alter table items {}", changes.join(", "));
        steps.push(Step {
            meaning: "adding what the table items lacks: with millions of rows this takes minutes",
            sql,
        });
    }
    if !is_sealed {
        steps.push(takeover::mark_once());
    }
    let indexes: Vec<String> = ask(connection, INDEXES)?.iter_mut().map(|row| row.text(0)).collect();
    for (name, definition) in WANTED_INDEXES {
        if !indexes.iter().any(|index| index == name) {
            let sql = format!("create index if not exists {definition}");
            steps.push(Step {
                meaning: "adding an index to the table items: with millions of rows this takes minutes",
                sql,
            });
        }
    }
    if !is_sealed {
        let sql = format!("alter table items {}", added(&ADDED[ADDED.len() - 1]));
        steps.push(Step { meaning: "completing the table items", sql });
    }
    Ok(steps)
}

/// What makes a column of the original wide enough.
fn widened(name: &str, kind: &str, length: i64) -> Option<String> {
    let is_limited = |least: i64| (1..least).contains(&length) || kind == "character";
    let kind = match name {
        "notify_id" if is_limited(128) => "varchar(128)",
        "driver" if is_limited(255) => "varchar(255)",
        "endpoint" if is_limited(8_192) => "text",
        "tried" | "create_at" | "next_at" if kind != "bigint" => "bigint",
        _ => return None,
    };
    Some(format!("alter column {name} type {kind}"))
}

fn ask(connection: &mut Connection, sql: &str) -> Result<Rows, Failure> {
    Ok(Server::request(connection, sql)?.pop().unwrap_or_default())
}
