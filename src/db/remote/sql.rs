//! Writes statements.
//!
//! Values are spelled out in the text rather than bound: then a whole batch is one
//! round trip, with nothing to prepare first on each connection and nothing that
//! becomes stale when another node alters the table. Only these methods spell
//! values, and whatever comes from a client is written in hexadecimal or quoted by the
//! one rule of its backend.

use std::{fmt::Write, marker::PhantomData};

use super::backend::{Backend, Values};
use crate::notification::{Id, Timestamp};

/// A statement in the making.
pub(super) struct Sql<B> {
    text: String,
    backend: PhantomData<B>,
}

impl<B: Backend> Sql<B> {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), backend: PhantomData }
    }

    /// Goes on with words of SQL.
    pub(super) fn sql(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn id(mut self, id: &str) -> Self {
        B::id(&mut self.text, id.as_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        B::bytes(&mut self.text, bytes);
        self
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        B::text(&mut self.text, text);
        self
    }

    pub(super) fn number(mut self, number: impl Into<i64>) -> Self {
        number_to(&mut self.text, number.into());
        self
    }

    pub(super) fn time(self, at: Timestamp) -> Self {
        self.number(at.as_secs())
    }

    /// The values with commas between them.
    pub(super) fn list<T>(
        mut self,
        values: impl IntoIterator<Item = T>,
        spell: impl Fn(Self, T) -> Self,
    ) -> Self {
        let begin = self.text.len();
        for value in values {
            if self.text.len() > begin {
                self.text.push(',');
            }
            self = spell(self, value);
        }
        self
    }

    /// `(id, id)`.
    pub(super) fn ids<'a>(self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.sql("(").list(ids, Self::id).sql(")")
    }

    /// The pairs of id and token, as a condition that goes by the ids.
    pub(super) fn leases(mut self, leases: &[(Id, u64)]) -> Self {
        self = self.sql("notify_id in ").ids(leases.iter().map(|(id, _)| id.as_str())).sql(" and ");
        for (number, (id, lease)) in leases.iter().enumerate() {
            self = self.sql(if number == 0 { "(" } else { " or " });
            self =
                self.sql("(notify_id = ").id(id.as_str()).sql(" and lease_token = ").lease(*lease).sql(")");
        }
        self.sql(")")
    }

    /// A lease's token; the column is signed.
    pub(super) fn lease(self, lease: u64) -> Self {
        self.number(lease.cast_signed())
    }

    pub(super) fn done(self) -> String {
        self.text
    }
}

/// The smallest number can't be written down: it is taken for the negation of one
/// that is too large.
fn number_to(sql: &mut String, number: i64) {
    let _ = match number {
        i64::MIN => write!(sql, "({} - 1)", i64::MIN + 1),
        number => write!(sql, "{number}"),
    };
}

/// A value by itself.
pub(super) fn literal<B: Backend>(spell: impl FnOnce(Sql<B>) -> Sql<B>) -> String {
    spell(Sql::new("")).done()
}

impl Values {
    /// Rows as `select … union all select …`.
    pub fn as_union(&self) -> String {
        let mut sql = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            sql.push_str(if number == 0 { "select " } else { " union all select " });
            for (column, (name, value)) in self.columns.iter().zip(row).enumerate() {
                let comma = if column == 0 { "" } else { ", " };
                let _ = match number {
                    0 => write!(sql, "{comma}{value} as {name}"),
                    _ => write!(sql, "{comma}{value}"),
                };
            }
        }
        sql
    }

    /// Rows as `(values (…), (…)) as v(…)`.
    pub fn as_values(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| format!("({})", row.join(", "))).collect();
        format!("(values {}) as v({})", rows.join(", "), self.columns.join(", "))
    }
}
