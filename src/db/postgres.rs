//! Notifications in PostgreSQL, or what speaks its protocol.

use std::{future::Future, pin::Pin, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage, error::SqlState};
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
#[cfg(test)]
mod tests;
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
        Self::open(Server::new(dsn)?)
    }

    /// Connects once, without waiting for a server that can't be reached, and changes nothing.
    /// Returns what [`connect`](Self::connect) would do to the table; nothing, if it fits.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn check(dsn: &str) -> Result<Vec<&'static str>, ConnectError> {
        Self::look(Server::new(dsn)?)
    }
}

/// Where the server is.
pub struct Server {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Server {
    fn new(dsn: &str) -> Result<Self, ConnectError> {
        let Dsn { mut config, tls } = Dsn::parse(dsn).map_err(ConnectError::Dsn)?;
        config
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(REQUEST_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        let tls = MakeRustlsConnect::new(tls.config().map_err(ConnectError::Dsn)?);
        Ok(Self { config, tls })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the password.
        f.write_str("Server")
    }
}

/// A session. It lives only as long as somebody waits for an answer: it has no thread, and
/// the answer has a time limit.
pub struct Connection {
    /// `None` when it is dropped.
    client: Option<Client>,
    /// Sends and receives; ends with the connection.
    driver: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    runtime: Option<Runtime>,
    limit: Option<Duration>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Says goodbye if there is no need to wait for it: this may be a thread of another runtime.
            drop(self.client.take());
            let within = runtime.enter();
            let _ = self.driver.as_mut().now_or_never();
            drop(within);
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

/// Statistics of a table that grows are never right: what has an index goes by it. And no
/// statement is worth compiling. Not every server has these.
const GO_BY_INDEX: &str =
    "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set jit = off";

impl Backend for Server {
    type Connection = Connection;

    const NAME: &'static str = "PostgreSQL";
    const CLOCK: &'static str = "cast(floor(extract(epoch from clock_timestamp())) as bigint)";
    const BY_DUE: &'static str = "items";
    const BY_ID: &'static str = "items";
    const DRIVER: &'static str = "driver";
    const LANES: &'static str = include_str!("postgres/lanes.sql");
    const HAS_FAILED_FIRST: bool = true;
    const RETURN_INSERTED: &'static str = " on conflict (notify_id) do nothing returning notify_id";

    fn connect(&self, purpose: Purpose) -> Result<Connection, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::lost)?;
        let (client, driver) = runtime
            .block_on(async { timeout(CONNECT_TIMEOUT, self.config.connect(self.tls.clone())).await })
            .map_err(|_| Failure::lost("it took too long to connect"))?
            .map_err(errors::failure)?;
        let mut connection = Connection {
            client: Some(client),
            driver: Box::pin(driver),
            runtime: Some(runtime),
            limit: Some(REQUEST_TIMEOUT),
        };
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
        let answer = connection.ask(sql).map_err(|error| match error {
            Unanswered::Told(error) => {
                // A session may stay so for ever when the server isn't any more, or when
                // another one has taken its place.
                if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
                    connection.client = None;
                }
                errors::failure(error)
            }
            Unanswered::Lost(failure) => failure,
        })?;
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

/// Why there is no answer.
enum Unanswered {
    Told(Error),
    Lost(Failure),
}

impl Connection {
    fn ask(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Unanswered> {
        let lost = |reason: &str| Unanswered::Lost(Failure::lost(reason));
        let (Some(client), Some(runtime)) = (&self.client, &self.runtime) else {
            return Err(lost("it is closed"));
        };
        let answer = async {
            match select(Box::pin(client.simple_query(sql)), self.driver.as_mut()).await {
                Either::Left((answer, _)) => answer.map_err(Unanswered::Told),
                // It may have received the answer before it ended.
                Either::Right((ended, answer)) => match (answer.now_or_never(), ended) {
                    (Some(Ok(answer)), _) => Ok(answer),
                    (_, Err(error)) | (Some(Err(error)), Ok(())) => Err(Unanswered::Told(error)),
                    (None, Ok(())) => Err(lost("the server has closed it")),
                },
            }
        };
        let limit = self.limit;
        runtime.block_on(async {
            match limit {
                Some(limit) => {
                    timeout(limit, answer).await.unwrap_or_else(|_| Err(lost("no answer in time")))
                }
                None => answer.await,
            }
        })
    }
}
