//! A database of one test on either kind of server.

use std::{
    env,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mysql::{Conn, Opts, Value, prelude::Queryable};
use notify_api::{
    DBDrv,
    db::{mysql::MySql, postgres::Postgres},
};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::harness::{Server, now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MySql,
    Postgres,
}

pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A database that is dropped in the end.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// A user of that name owns it, who may do nothing else.
    has_user: bool,
    is_read_only: bool,
}

/// Of those users.
pub(crate) const PASSWORD: &str = "right";

/// A server is read-only as a whole, and becomes it only when no table is locked. Whoever
/// makes it so or locks one keeps this until the end.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    pub(crate) fn new(kind: Kind) -> Self {
        let name = format!("notify_test_{}", uuid::Uuid::now_v7().simple());
        Session::open(kind, &address(kind)).ask(&format!("create database {name}"));
        Self { kind, name, has_user: false, is_read_only: false }
    }

    /// One whose servers can be told that it is read-only: those who may do everything don't mind.
    pub(crate) fn with_user(kind: Kind) -> Self {
        let mut database = Self::new(kind);
        database.has_user = true;
        let name = &database.name;
        let mut server = Session::open(kind, &address(kind));
        match kind {
            Kind::MySql => {
                server.ask(&format!("create user {name} identified by '{PASSWORD}'"));
                server.ask(&format!("grant all on {name}.* to {name}"));
            }
            Kind::Postgres => {
                server.ask(&format!("create role {name} login password '{PASSWORD}'"));
                server.ask(&format!("alter database {name} owner to {name}"));
            }
        }
        database
    }

    /// For a server of ours.
    pub(crate) fn dsn(&self) -> String {
        match self.has_user {
            true => self.dsn_of(&self.name, PASSWORD),
            false => self.own_dsn(),
        }
    }

    fn own_dsn(&self) -> String {
        let address = address(self.kind);
        let server = match self.kind {
            Kind::MySql => &address,
            Kind::Postgres => address.rsplit_once('/').unwrap().0,
        };
        format!("{server}/{}", self.name)
    }

    pub(crate) fn dsn_of(&self, user: &str, password: &str) -> String {
        let address = address(self.kind);
        let (scheme, rest) = address.split_once("://").unwrap();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split('/').next().unwrap();
        format!("{scheme}://{user}:{password}@{place}/{}", self.name)
    }

    /// A server that works on it.
    pub(crate) fn node(&self, variables: &[(&str, &str)]) -> Server {
        let dsn = self.dsn();
        let mut all = vec![("NOTIFY_DSN", dsn.as_str())];
        all.extend(variables);
        Server::start(Path::new(""), &all)
    }

    pub(crate) fn open(&self) -> Box<dyn DBDrv> {
        match self.kind {
            Kind::MySql => Box::new(MySql::connect(&self.dsn()).unwrap()),
            Kind::Postgres => Box::new(Postgres::connect(&self.dsn()).unwrap()),
        }
    }

    /// A session beside the server's.
    pub(crate) fn session(&self) -> Session {
        Session::open(self.kind, &self.own_dsn())
    }

    pub(crate) fn sql(&self, sql: &str) -> Rows {
        self.session().ask(sql)
    }

    pub(crate) fn count(&self, condition: &str) -> usize {
        let rows = self.sql(&format!("select count(*) from items where {condition}"));
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    /// Rows as another program inserts them: `PREFIX-0` and so on, due now.
    pub(crate) fn insert(&self, prefix: &str, count: usize, endpoint: &str) {
        let now = now();
        let row = |number| {
            format!(
                "('{prefix}-{number}', 'HTTPPOST', '{endpoint}', '{{\"body\":\"x\"}}', {now}, {now}, 0, 0)"
            )
        };
        let rows: Vec<String> = (0..count).map(row).collect();
        self.sql(&format!(
            "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, cur_state) values {}",
            rows.join(",")
        ));
    }

    /// All leases end, as they would after a minute.
    pub(crate) fn expire(&self) {
        self.sql("update items set lease_until = 1 where lease_until > 0");
    }

    /// Ends all sessions of the servers.
    pub(crate) fn cut(&self) {
        let mut server = Session::open(self.kind, &address(self.kind));
        match self.kind {
            Kind::MySql => {
                let sessions =
                    format!("select id from information_schema.processlist where db = '{}'", self.name);
                for row in server.ask(&sessions) {
                    // It may have ended by itself.
                    server.try_ask(&format!("kill {}", row[0].as_deref().unwrap()));
                }
            }
            Kind::Postgres => {
                let sessions = format!("from pg_stat_activity where datname = '{}'", self.name);
                server.ask(&format!("select pg_terminate_backend(pid) {sessions}"));
            }
        }
    }

    /// Takes writing away from the servers' sessions, or gives it back.
    pub(crate) fn set_read_only(&mut self, is_read_only: bool) {
        self.is_read_only = is_read_only;
        let mut server = Session::open(self.kind, &address(self.kind));
        match self.kind {
            Kind::MySql => server.ask(&format!("set global read_only = {}", u8::from(is_read_only))),
            Kind::Postgres => {
                let name = &self.name;
                let rows = server
                    .ask(&format!("alter role {name} set default_transaction_read_only = {is_read_only}"));
                if is_read_only {
                    self.cut();
                }
                rows
            }
        };
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_read_only && self.kind == Kind::MySql {
            self.set_read_only(false);
        }
        let mut server = Session::open(self.kind, &address(self.kind));
        match self.kind {
            Kind::MySql => {
                server.try_ask(&format!("drop database {}", self.name));
                if self.has_user {
                    server.try_ask(&format!("drop user {}", self.name));
                }
            }
            Kind::Postgres => {
                server.try_ask(&format!("drop database {} with (force)", self.name));
                if self.has_user {
                    server.try_ask(&format!("drop role {}", self.name));
                }
            }
        }
    }
}

fn address(kind: Kind) -> String {
    let (variable, usual) = match kind {
        Kind::MySql => ("NOTIFY_TEST_MYSQL", "mysql://root@127.0.0.1:3306"),
        Kind::Postgres => ("NOTIFY_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres"),
    };
    env::var(variable).unwrap_or_else(|_| usual.into())
}

/// A session of somebody else.
pub(crate) enum Session {
    MySql(Box<Conn>),
    Postgres(Box<(Runtime, Client)>),
}

impl Session {
    fn open(kind: Kind, dsn: &str) -> Self {
        match kind {
            Kind::MySql => Self::MySql(Box::new(Conn::new(Opts::from_url(dsn).unwrap()).unwrap())),
            Kind::Postgres => {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                let (client, connection) = runtime.block_on(tokio_postgres::connect(dsn, NoTls)).unwrap();
                runtime.spawn(connection);
                Self::Postgres(Box::new((runtime, client)))
            }
        }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, sql: &str) -> Rows {
        self.request(sql).unwrap_or_else(|error| panic!("{sql:.200}: {error}"))
    }

    fn try_ask(&mut self, sql: &str) {
        let _ = self.request(sql);
    }

    fn request(&mut self, sql: &str) -> Result<Rows, String> {
        match self {
            Self::MySql(connection) => {
                let rows: Vec<mysql::Row> = connection.query(sql).map_err(|error| error.to_string())?;
                let text = |value| match value {
                    Value::NULL => None,
                    Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
                    other => Some(other.as_sql(true)),
                };
                Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
            }
            Self::Postgres(session) => {
                let (runtime, client) = session.as_mut();
                let messages =
                    runtime.block_on(client.simple_query(sql)).map_err(|error| format!("{error:?}"))?;
                let rows = messages.into_iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                    }
                    _ => None,
                });
                Ok(rows.collect())
            }
        }
    }
}
