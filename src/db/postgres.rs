//! Notifications in PostgreSQL, or what speaks its protocol.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::dsn::Dsn;
use super::remote::{
    ConnectError, Remote,
    backend::{Backend, Failure, Kind, Purpose, Row, Rows, Step, Values},
    pool::{CONNECT_TIMEOUT, LOCK_TIMEOUT, REQUEST_TIMEOUT},
    push_hex,
};

mod dsn;
mod errors;
mod takeover;
mod tls;

/// A PostgreSQL database, which several nodes may share.
///
/// ```no_run
/// use notify_api::{DBDrv, db::postgres::Postgres};
///
/// let db = Postgres::connect("postgres://notify:secret@db.example.com/notify?sslmode=verify-full")?;
/// assert!(db.is_shared());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Postgres = Remote<Server>;

impl Postgres {
    /// Connects, and brings the table `items` up to date. Blocks, like everything that is
    /// done with a database: async code does it in a blocking task.
    ///
    /// Takes `postgres://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE` and
    /// `host=HOST dbname=DATABASE user=USER password=PASSWORD`. The option `sslmode` is
    /// `disable`, `prefer` (the default), `require`, `verify-ca` or `verify-full`,
    /// `sslrootcert` a file with certificates to trust instead of the
    /// system's; some others of PostgreSQL are known too, and the rest mean nothing here.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(dsn: &str) -> Result<Self, ConnectError> {
        let Dsn { mut config, tls } = Dsn::parse(dsn).map_err(ConnectError::Dsn)?;
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(REQUEST_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        Self::open(Server { config, tls: MakeRustlsConnect::new(tls.config().map_err(ConnectError::Dsn)?) })
    }
}

/// Where the server is.
pub struct Server {
    config: Config,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the password.
        f.write_str("Server")
    }
}

/// A session. Its runtime runs only as long as somebody waits for an answer: it has no
/// thread, and the answer has a time limit.
pub struct Connection {
    client: Client,
    runtime: Option<Runtime>,
    limit: Option<Duration>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropped otherwise it would block, which a thread of another runtime must not.
            runtime.shutdown_background();
        }
    }
}

/// What every session needs: short waits, and answers that can be read.
fn set_up(purpose: Purpose) -> String {
    let millis = |limit: Duration| match purpose {
        Purpose::Use => limit.as_millis(),
        Purpose::Takeover => 0,
    };
    format!(
        "set statement_timeout = {}; set lock_timeout = {}; set standard_conforming_strings = on; \
         set bytea_output = 'hex'; set client_min_messages = warning; \
         set default_transaction_isolation = 'read committed'",
        millis(REQUEST_TIMEOUT),
        millis(LOCK_TIMEOUT),
    )
}

/// Statistics of a table that grows are never right: what has an index goes by it. Not
/// every server has these.
const GO_BY_INDEX: &str = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off";

impl Backend for Server {
    type Connection = Connection;

    const NAME: &'static str = "PostgreSQL";
    const CLOCK: &'static str = "cast(floor(extract(epoch from clock_timestamp())) as bigint)";
    const BY_DUE: &'static str = "items";
    const BY_ID: &'static str = "items";
    const DRIVER: &'static str = "driver";
    const HEADS: &'static str = include_str!("postgres/heads.sql");
    const RETURN_INSERTED: &'static str = " on conflict (notify_id) do nothing returning notify_id";

    fn connect(&self, purpose: Purpose) -> Result<Connection, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::lost)?;
        let connecting = timeout(CONNECT_TIMEOUT, self.config.connect(self.tls.clone()));
        let (client, driver) = runtime
            .block_on(connecting)
            .map_err(|_| Failure::lost("it took too long to connect"))?
            .map_err(errors::failure)?;
        // Whatever ends it is told to those who wait for an answer.
        runtime.spawn(async move { drop(driver.await) });
        let mut connection = Connection { client, runtime: Some(runtime), limit: Some(REQUEST_TIMEOUT) };
        Self::request(&mut connection, &set_up(purpose))?;
        match Self::request(&mut connection, GO_BY_INDEX) {
            Err(failure) if failure.kind == Kind::Lost => return Err(failure),
            _ => {}
        }
        if purpose == Purpose::Takeover {
            connection.limit = None;
        }
        Ok(connection)
    }

    fn request(connection: &mut Connection, sql: &str) -> Result<Vec<Rows>, Failure> {
        let answer = connection.wait(connection.client.simple_query(sql))?.map_err(errors::failure)?;
        let mut sets = Vec::new();
        let mut rows = Vec::new();
        for message in answer {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let column = |number| row.get(number).map(|text| text.as_bytes().to_vec());
                    rows.push(Row((0..row.len()).map(column).collect()));
                }
                // The end of one statement.
                SimpleQueryMessage::CommandComplete(_) => sets.push(std::mem::take(&mut rows)),
                _ => {}
            }
        }
        Ok(sets)
    }

    /// A U+0000 ends the statement there, which the client refuses to send.
    fn text(sql: &mut String, text: &str) {
        sql.push('\'');
        sql.push_str(&text.replace('\'', "''"));
        sql.push('\'');
    }

    fn bytes(sql: &mut String, bytes: &[u8]) {
        sql.push_str("cast('\\x");
        push_hex(sql, bytes);
        sql.push_str("' as bytea)");
    }

    fn id(sql: &mut String, id: &[u8]) {
        Self::text(sql, &String::from_utf8_lossy(id));
    }

    /// `\x` and hexadecimal digits.
    fn read_bytes(column: Vec<u8>) -> Vec<u8> {
        let digits = column.strip_prefix(b"\\x").unwrap_or_default();
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn update_from(values: &Values, assignments: &str, condition: &str) -> String {
        format!("update items set {assignments} from {} where {condition}", values.as_values())
    }

    fn takeover(connection: &mut Connection) -> Result<Vec<Step>, Failure> {
        takeover::steps(connection)
    }
}

impl Connection {
    fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Failure::lost("it is closed"))?;
        let answer = async {
            match self.limit {
                Some(limit) => timeout(limit, answer).await.map_err(|_| Failure::lost("no answer in time")),
                None => Ok(answer.await),
            }
        };
        runtime.block_on(answer)
    }
}
