//! Databases with many rows, made once and copied for each run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use notify_api::{
    Driver, Lane,
    db::sqlite::Sqlite,
    drivers::{
        http::{HttpPost, Validator},
        web::{WebClient, WebOptions},
    },
};
use rusqlite::{Connection, params};

use crate::{
    Result,
    load::{Ids, payload},
};

/// Rows that look the same.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) count: usize,
    /// 0 pending, 1 delivered.
    pub(crate) state: u8,
    /// When they are due, in seconds from now.
    pub(crate) due_in: i64,
    /// Where they go, in turns.
    pub(crate) hooks: Vec<String>,
}

impl Rows {
    pub(crate) fn due(count: usize, hooks: &[String]) -> Self {
        Self { count, state: 0, due_in: -60, hooks: hooks.to_vec() }
    }

    /// Due tomorrow: every second one in the lane of `hook`, the others in a thousand others.
    pub(crate) fn not_due(count: usize, hook: &str) -> Self {
        let hooks = (0..1000)
            .flat_map(|number| [hook.to_owned(), format!("http://receiver-{number}.example/hook")])
            .collect();
        Self { count, state: 0, due_in: 86_400, hooks }
    }

    pub(crate) fn finished(count: usize, hook: &str) -> Self {
        Self { count, state: 1, due_in: -86_400, hooks: vec![hook.to_owned()] }
    }
}

/// The schema of a new database, and no row.
pub(crate) fn empty(path: &Path) -> Result<()> {
    drop(Sqlite::open(path)?);
    Ok(())
}

/// Adds these rows, in this order, to a database that nobody has open.
pub(crate) fn fill(path: &Path, rows: &[Rows]) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("pragma synchronous = off; pragma cache_size = -100000")?;
    let web = HttpPost::new(&WebClient::new(WebOptions::default()), Validator::Status2xx);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let payload = payload();
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "insert into items(notify_id, cur_state, tried, next_at, create_at, lane, driver, endpoint, \
             content, response) values(?1, ?2, ?2, ?3, ?4, ?5, 'HTTPPOST', ?6, ?7, ?8)",
        )?;
        for Rows { count, state, due_in, hooks } in rows {
            let lanes: Vec<u16> = hooks.iter().map(|hook| Lane::named(&web.lane(hook)).number()).collect();
            let response = (*state != 0).then_some(&b"ok"[..]);
            for number in 0..*count {
                let at = number % hooks.len();
                insert.execute(params![
                    Ids::Sequential.make(),
                    state,
                    now + due_in,
                    now - 100_000,
                    lanes[at],
                    hooks[at],
                    payload.as_bytes(),
                    response
                ])?;
            }
        }
    }
    transaction.commit()?;
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
    Ok(())
}

/// Copies a database that nobody has open. It is on the disk when this returns,
/// so that its writing doesn't disturb what is measured next.
pub(crate) fn copy(from: &Path, to: PathBuf) -> Result<PathBuf> {
    remove(&to);
    fs::copy(from, &to)?;
    File::open(&to)?.sync_all()?;
    Ok(to)
}

/// Removes a database and the files beside it.
pub(crate) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
}

/// Whether no row of a database waits for delivery.
pub(crate) fn is_drained(connection: &Connection) -> Result<bool> {
    let pending = "select exists(select 1 from items indexed by items_due where cur_state = 0)";
    Ok(!connection.query_row(pending, [], |row| row.get::<_, bool>(0))?)
}
