//! Notifications in MySQL, MariaDB, or what speaks their protocol.

use std::io;

use mysql::{
    Conn, DriverError, Error, LocalInfileHandler, OptsBuilder, SslOpts, Value, consts::CapabilityFlags,
    prelude::Queryable,
};

use self::dsn::{Dsn, Tls};
use super::remote::{
    ConnectError, Remote,
    backend::{Backend, Failure, Purpose, Row, Rows, Step, Values},
    pool::{CONNECT_TIMEOUT, LOCK_TIMEOUT, REQUEST_TIMEOUT},
};

mod dsn;
mod errors;
mod takeover;
#[cfg(test)]
mod tests;

/// A MySQL or MariaDB database, which several nodes may share.
///
/// ```no_run
/// use notify_api::{DBDrv, db::mysql::MySql};
///
/// let db = MySql::connect("mysql://notify:secret@db.example.com/notify?tls=true")?;
/// assert!(db.is_shared());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type MySql = Remote<Server>;

impl MySql {
    /// Connects, and brings the table `items` up to date.
    ///
    /// Takes `mysql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE` and
    /// `USER:PASSWORD@tcp(HOST:PORT)/DATABASE?OPTION=VALUE` or `…@unix(PATH)/…`. The
    /// option `tls` is `true`, `skip-verify`, `preferred` or `false` (the default), `ssl-ca`
    /// a file with certificates to trust besides the public ones; others
    /// mean nothing here.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(dsn: &str) -> Result<Self, ConnectError> {
        Self::open(Server::new(Dsn::parse(dsn).map_err(ConnectError::Dsn)?))
    }

    /// Connects once, without waiting for a server that can't be reached, and changes nothing.
    /// Returns what [`connect`](Self::connect) would do to the table; nothing, if it fits.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn check(dsn: &str) -> Result<Vec<&'static str>, ConnectError> {
        Self::look(Server::new(Dsn::parse(dsn).map_err(ConnectError::Dsn)?))
    }
}

/// Where the server is.
#[derive(Debug)]
pub struct Server {
    opts: OptsBuilder,
    /// Do without TLS if the server has none.
    may_be_clear: bool,
}

/// What every session needs: errors instead of cut values, each statement seeing what is
/// committed, short waits, and counts of the rows found rather than changed.
fn set_up(purpose: Purpose) -> Vec<String> {
    let wait = match purpose {
        Purpose::Use => LOCK_TIMEOUT.as_secs(),
        Purpose::Takeover => 86_400,
    };
    vec![format!(
        "set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, \
         innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait}; \
         set session transaction isolation level read committed"
    )]
}

impl Server {
    fn new(dsn: Dsn) -> Self {
        let tls = match dsn.tls {
            Tls::Off => None,
            Tls::Verified => Some(SslOpts::default().with_root_cert_path(dsn.ca.or_else(dsn::system_roots))),
            Tls::Unverified | Tls::Preferred => Some(
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_skip_domain_validation(true),
            ),
        };
        if tls.is_some() {
            // It takes the provider of the process.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // The server could ask for any file.
        let no_file =
            |_: &[u8], _: &mut mysql::LocalInfile<'_>| Err(io::Error::from(io::ErrorKind::Unsupported));
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some(dsn.host))
            .tcp_port(dsn.port)
            .socket(dsn.socket)
            .user(dsn.user)
            .pass(dsn.password)
            .db_name(Some(dsn.database))
            .ssl_opts(tls)
            .enable_cleartext_plugin(dsn.allows_cleartext)
            .prefer_socket(false)
            .stmt_cache_size(0)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .tcp_keepalive_time_ms(Some(30_000))
            .write_timeout(Some(REQUEST_TIMEOUT))
            .local_infile_handler(Some(LocalInfileHandler::new(no_file)))
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS);
        Self { opts, may_be_clear: dsn.tls == Tls::Preferred }
    }

    fn open(&self, opts: OptsBuilder) -> Result<Conn, Failure> {
        match Conn::new(opts.clone()) {
            Err(Error::DriverError(DriverError::TlsNotSupported)) if self.may_be_clear => {
                Conn::new(opts.ssl_opts(None::<SslOpts>))
            }
            connected => connected,
        }
        .map_err(errors::failure)
    }
}

impl Backend for Server {
    type Connection = Conn;

    const NAME: &'static str = "MySQL";
    const CLOCK: &'static str = "unix_timestamp()";
    // Statistics of a table that grows are never right.
    const BY_DUE: &'static str = "items force index (items_due)";
    const BY_ID: &'static str = "items force index (primary)";
    // Else trailing spaces don't count.
    const DRIVER: &'static str = "cast(driver as binary)";
    // Only if the groups are those of the index it isn't read from end to end.
    const LANES: &'static str =
        "(select lane from items force index (items_due) where cur_state = 0 group by cur_state, lane)";
    // No index has some rows only, and one of all rows would cost every write.
    const HAS_FAILED_FIRST: bool = false;
    // "insert ignore" would hide values that don't fit.
    const RETURN_INSERTED: &'static str = "";

    fn connect(&self, purpose: Purpose) -> Result<Conn, Failure> {
        let opts = self.opts.clone().init(set_up(purpose));
        let limited = opts.clone().read_timeout(Some(REQUEST_TIMEOUT));
        let connected = self.open(limited)?;
        match purpose {
            Purpose::Use => Ok(connected),
            // It answers: from here on it may take its time.
            Purpose::Takeover => self.open(opts),
        }
    }

    fn request(connection: &mut Conn, sql: &str) -> Result<Vec<Rows>, Failure> {
        let mut answer = connection.query_iter(sql).map_err(errors::failure)?;
        let mut sets = Vec::new();
        while let Some(set) = answer.iter() {
            let row =
                |row: Result<mysql::Row, Error>| Ok(Row(row?.unwrap().into_iter().map(column).collect()));
            sets.push(set.map(row).collect::<Result<Rows, Error>>().map_err(errors::failure)?);
        }
        Ok(sets)
    }

    fn text(sql: &mut String, text: &str) {
        sql.push_str("_utf8mb4 ");
        Self::bytes(sql, text.as_bytes());
    }

    fn bytes(sql: &mut String, bytes: &[u8]) {
        sql.push_str("x'");
        super::remote::push_hex(sql, bytes);
        sql.push('\'');
    }

    fn id(sql: &mut String, id: &[u8]) {
        Self::bytes(sql, id);
    }

    fn read_bytes(column: Vec<u8>) -> Vec<u8> {
        column
    }

    fn update_from(values: &Values, assignments: &str, condition: &str) -> String {
        format!("update {} join ({}) v on {condition} set {assignments}", Self::BY_ID, values.as_union())
    }

    fn takeover(connection: &mut Conn) -> Result<Vec<Step>, Failure> {
        takeover::steps(connection)
    }
}

/// Statements without parameters are answered in text.
fn column(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}
