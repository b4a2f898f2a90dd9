//! Connections, and what is done again when one fails.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use scheduled_thread_pool::ScheduledThreadPool;

use super::backend::{Backend, Failure, Kind, Purpose, Rows};

/// How long a statement may take: a call of the API has to be answered within 10 s.
pub(in crate::db) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for another transaction's lock.
pub(in crate::db) const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long it may take to reach the server.
pub(in crate::db) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What fails is done again only so long after its first attempt.
const RETRY_WITHIN: Duration = Duration::from_secs(2);

/// How long the server may be unreachable at the start. With one last attempt it
/// stays below 30 s.
const START_WITHIN: Duration = Duration::from_secs(24);

/// Sessions at once: the recorder, a claim, and reads.
const CONNECTIONS: u32 = 8;

/// A session in the pool.
pub(super) struct Pooled<C> {
    connection: C,
    is_broken: bool,
}

/// Makes sessions. It neither asks the server whether one works when it is taken, nor
/// when it is given back: that would be a round trip each.
pub(super) struct Manager<B>(B);

impl<B: Backend> ManageConnection for Manager<B> {
    type Connection = Pooled<B::Connection>;
    type Error = Failure;

    fn connect(&self) -> Result<Self::Connection, Failure> {
        Ok(Pooled { connection: self.0.connect(Purpose::Use)?, is_broken: false })
    }

    fn is_valid(&self, pooled: &mut Self::Connection) -> Result<(), Failure> {
        B::request(&mut pooled.connection, "select 1").map(drop)
    }

    fn has_broken(&self, pooled: &mut Self::Connection) -> bool {
        pooled.is_broken
    }
}

/// A pool without threads that wake up.
pub(super) fn pool<B: Backend>(backend: B) -> Pool<Manager<B>> {
    let threads = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("database-{}").build();
    Pool::builder()
        .max_size(CONNECTIONS)
        .min_idle(Some(0))
        .idle_timeout(None)
        .max_lifetime(None)
        .thread_pool(threads.into())
        .test_on_check_out(false)
        .connection_timeout(CONNECT_TIMEOUT)
        // The caller gets to hear of it.
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(Manager(backend))
}

/// Connects, and waits for a server that is still starting.
pub(super) fn first_connection<B: Backend>(backend: &B) -> Result<B::Connection, Failure> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match backend.connect(Purpose::Takeover) {
            Err(failure) if failure.kind == Kind::Lost && begun.elapsed() < START_WITHIN => {
                if !is_told {
                    tracing::warn!(error = %failure, "{} can't be reached yet, waiting for it", B::NAME);
                    is_told = true;
                }
                thread::sleep(Duration::from_millis(500));
            }
            connected => return connected,
        }
    }
}

/// One use of a connection.
pub(super) struct Session<B: Backend> {
    pooled: PooledConnection<Manager<B>>,
    in_transaction: bool,
}

impl<B: Backend> Session<B> {
    /// Has statements done that commit nothing, or that may as well be done twice.
    pub(super) fn request(&mut self, sql: &str) -> Result<Vec<Rows>, Failure> {
        let asked = B::request(&mut self.pooled.connection, sql);
        if let Err(Failure { kind: Kind::Lost | Kind::Unknown, .. }) = asked {
            self.pooled.is_broken = true;
        }
        asked
    }

    /// Begins a transaction, with these statements.
    pub(super) fn begin(&mut self, sql: &str) -> Result<Vec<Rows>, Failure> {
        self.in_transaction = true;
        match sql {
            "" => self.request("begin"),
            sql => self.request(&format!("begin;{sql}")),
        }
    }

    /// Ends a transaction, with these statements.
    pub(super) fn commit(&mut self, sql: &str) -> Result<(), Failure> {
        let committed = match sql {
            "" => self.request("commit"),
            sql => self.request(&format!("{sql};commit")),
        };
        match committed {
            Ok(_) => {
                self.in_transaction = false;
                Ok(())
            }
            Err(failure) if failure.kind == Kind::Lost => Err(Failure { kind: Kind::Unknown, ..failure }),
            Err(failure) => Err(failure),
        }
    }

    /// Undoes what the transaction has done so far, if there is one.
    pub(super) fn roll_back(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.in_transaction) {
            self.request("rollback")?;
        }
        Ok(())
    }

    /// Leaves nothing open behind a failure.
    fn abandon(mut self) {
        if !self.pooled.is_broken && self.roll_back().is_err() {
            self.pooled.is_broken = true;
        }
    }
}

/// Does work that is a transaction, and does it again where it can't have been done:
/// on another connection if one is lost (after a restart of the server all that the
/// pool holds are), or after a conflict with another transaction.
///
/// `is_repeatable` says that it may also be done twice.
pub(super) fn run<B: Backend, T>(
    pool: &Pool<Manager<B>>,
    is_repeatable: bool,
    mut work: impl FnMut(&mut Session<B>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    for attempt in 1.. {
        let pooled = pool.get().map_err(|error| {
            Failure::new(Kind::Unavailable, "there is no connection to the server", error)
        })?;
        let mut session = Session { pooled, in_transaction: false };
        let failure = match work(&mut session) {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        session.abandon();
        let again = match failure.kind {
            Kind::Lost | Kind::Conflict | Kind::Duplicate => true,
            Kind::Unknown => is_repeatable,
            Kind::Refused | Kind::Unavailable => false,
        };
        if !again || begun.elapsed() > RETRY_WITHIN {
            return Err(failure);
        }
        // Those who met must not meet again.
        if failure.kind == Kind::Conflict || attempt > CONNECTIONS {
            thread::sleep(Duration::from_millis(fastrand::u64(1..=10 * u64::from(attempt.min(20)))));
        }
    }
    unreachable!("it returns, or goes on")
}

impl<B> fmt::Debug for Manager<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manager")
    }
}
