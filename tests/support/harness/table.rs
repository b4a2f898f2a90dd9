//! The table as another program sees it, while the server is stopped.

use std::path::Path;

use notify_api::db::sqlite::Sqlite;
use rusqlite::{Connection, params};

use super::eventually;

/// A connection to `notify.db` in a directory.
pub(crate) struct Table(pub(crate) Connection);

impl Table {
    /// Makes the table if there is none, as the server would.
    #[track_caller]
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join("notify.db");
        eventually("the server has let go", || Sqlite::open(&path).ok());
        Self(Connection::open(path).unwrap())
    }

    /// A row as simple as the contract allows; the payload is a text.
    pub(crate) fn insert(&self, id: &str, kind: &str, endpoint: &str, content: &str, next_at: i64) {
        self.0
            .prepare_cached(
                "insert into items(notify_id, driver, endpoint, content, create_at, next_at) \
                 values(?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![id, kind, endpoint, content, super::now(), next_at])
            })
            .unwrap();
    }

    /// Many rows at once, made by SQLite itself: `ID-1` to `ID-count`.
    pub(crate) fn fill(&self, id: &str, count: u32, columns: &[(&str, &str)]) {
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<_> = columns.iter().map(|(_, value)| *value).collect();
        let insert = format!(
            "begin; with recursive n(n) as (select 1 union all select n + 1 from n where n < {count}) \
             insert into items(notify_id, {}) select '{id}-' || n, {} from n; commit",
            names.join(", "),
            values.join(", ")
        );
        self.0.execute_batch(&insert).unwrap();
    }

    pub(crate) fn count(&self, condition: &str) -> u32 {
        let query = format!("select count(*) from items where {condition}");
        self.0.query_row(&query, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn set(&self, assignments: &str, condition: &str) {
        self.0.execute(&format!("update items set {assignments} where {condition}"), []).unwrap();
    }
}
