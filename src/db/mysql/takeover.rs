//! What a table lacks.
//!
//! An original one: `notify_id varchar(128)`, `driver varchar(16)`, `endpoint text`,
//! `content blob`, `create_at bigint`, `next_at bigint`, `tried int unsigned`,
//! `cur_state tinyint(1)`, `response blob`, in any character set, with the indexes
//! `pending_key(next_at)` and `creation_key(create_at)`. All that is there stays.

use mysql::Conn;

use super::Server;
use crate::db::remote::{
    backend::{Backend, Failure, Rows, Step},
    takeover::{self, SEAL},
};

const SCHEMA: &str = include_str!("schema.sql");

const COLUMNS: &str = "select lower(column_name), lower(column_type), \
     coalesce(character_maximum_length, 0), coalesce(lower(character_set_name), ''), \
     case when is_nullable = 'YES' then 1 else 0 end \
     from information_schema.columns where table_schema = database() and table_name = 'items'";

const INDEXES: &str = "select lower(index_name), lower(column_name) from information_schema.statistics \
     where table_schema = database() and table_name = 'items' and seq_in_index = 1";

/// All but the last can be added to millions of rows at once.
const ADDED: &takeover::Added = &[
    ("lane", "smallint unsigned not null default 0"),
    ("once", "tinyint not null default 0"),
    ("epoch", "int unsigned not null default 0"),
    ("lease_token", "bigint not null default 0"),
    (SEAL, "bigint not null default 0"),
];

/// A column as it is.
struct Column {
    name: String,
    /// Its type, in lower case, as the server spells it.
    kind: String,
    /// How many characters or bytes fit; 0 if that isn't limited.
    length: i64,
    /// How its text is encoded; empty if it is none.
    charset: String,
    is_nullable: bool,
}

pub(super) fn steps(connection: &mut Conn) -> Result<Vec<Step>, Failure> {
    let columns: Vec<Column> = ask(connection, COLUMNS)?
        .into_iter()
        .map(|mut row| Column {
            name: row.text(0),
            kind: row.text(1),
            length: row.integer(2),
            charset: row.text(3),
            is_nullable: row.integer(4) != 0,
        })
        .collect();
    if columns.is_empty() {
        return Ok(vec![Step { meaning: "making the table items", sql: SCHEMA.into() }]);
    }
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    let missing = takeover::missing(&names, ADDED)?;
    // Its bytes would be those of its character set, so it becomes UTF-8 first. As all that
    // is done to a table is one copy of it, the rest waits for the next look.
    let id = columns.iter().find(|column| column.name == "notify_id");
    if let Some(id) = id.filter(|id| !["", "utf8mb4"].contains(&&*id.charset)) {
        let length = id.length.max(128);
        let sql = format!(
            "alter table items modify notify_id varchar({length}) character set utf8mb4 collate utf8mb4_bin not null"
        );
        return Ok(vec![Step {
            meaning: "converting the ids of the table items to UTF-8: with millions of rows this takes minutes",
            sql,
        }]);
    }
    let mut changes: Vec<String> = columns.iter().filter_map(widened).collect();
    let is_sealed = !missing.iter().any(|(name, _)| *name == SEAL);
    changes.extend(
        missing
            .iter()
            .filter(|(name, _)| *name != SEAL)
            .map(|(name, kind)| format!("add column {name} {kind}")),
    );
    let mut indexes = ask(connection, INDEXES)?;
    let indexes: Vec<(String, String)> = indexes.iter_mut().map(|row| (row.text(0), row.text(1))).collect();
    if !indexes.iter().any(|(name, _)| name == "items_due") {
        changes.push("add index items_due (cur_state, lane, next_at)".into());
    }
    if !indexes.iter().any(|(_, first)| first == "create_at") {
        changes.push("add index items_created (create_at)".into());
    }
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
        let (name, kind) = ADDED[ADDED.len() - 1];
        let sql = format!("alter table items add column {name} {kind}");
        steps.push(Step { meaning: "completing the table items", sql });
    }
    Ok(steps)
}

/// What makes a column of the original wide enough.
fn widened(column: &Column) -> Option<String> {
    let Column { name, kind, length, charset, is_nullable } = column;
    let nullable = if *is_nullable { "null" } else { "not null" };
    let is_text_exact = charset == "utf8mb4";
    let kind = match name.as_str() {
        "notify_id" if !kind.starts_with("varbinary") || *length < 512 => {
            return Some("modify notify_id varbinary(512) not null".into());
        }
        "driver" if !is_text_exact || *length < 255 => {
            "varchar(255) character set utf8mb4 collate utf8mb4_bin"
        }
        // Its length is in bytes.
        "endpoint" if !is_text_exact || *length < 65_535 => "text character set utf8mb4 collate utf8mb4_bin",
        "content" | "response" if kind != "longblob" => "longblob",
        "create_at" | "next_at" if !kind.starts_with("bigint") => "bigint",
        "tried" if kind.starts_with("int") && kind.ends_with("unsigned") => return None,
        "tried" if !kind.starts_with("bigint") => "bigint",
        _ => return None,
    };
    Some(format!("modify {name} {kind} {nullable}"))
}

fn ask(connection: &mut Conn, sql: &str) -> Result<Rows, Failure> {
    Ok(Server::request(connection, sql)?.pop().unwrap_or_default())
}
