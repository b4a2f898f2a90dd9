//! Where notifications live: the [`DBDrv`] trait, whose comments are the
//! contract of every database, and the suite in [`conformance`] that checks it.
//!
//! Ten methods are required. The provided ones are what batches, lanes and large
//! tables need; their defaults are loops over the ten, which make a working
//! server with one lane.

use std::{borrow::Borrow, collections::HashSet};

use crate::notification::{Detail, Id, Item, Lane, State, Status, Timestamp};

mod batch;
mod clearing;
pub mod conformance;
mod error;
mod listing;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod remote;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use remote::{ConnectError, Remote};

pub use batch::{Outcome, Write, Written};
pub use clearing::{Clear, Cleared, Cursor, Scope};
pub use error::DbError;
pub use listing::{Figures, Page, Query};

/// A table of notifications.
///
/// Every method may block, and is called from several threads at once. A write
/// is durable when the method returns. Ids are compared byte by byte.
pub trait DBDrv: Send + Sync + 'static {
    /// Stores a new notification in state [`State::Pending`].
    ///
    /// # Errors
    /// [`DbError::Exists`] if the id is taken, whatever its content; then nothing changes.
    /// [`DbError::Full`] if there is no room for anything new, while there is for the rest.
    fn create(&self, item: &Item) -> Result<(), DbError>;

    /// Gives a notification one more attempt, whatever its state: `tried = max_tries - 1`,
    /// state [`State::Pending`], due `now`, [once](Item::once). The latest response stays.
    ///
    /// # Errors
    /// [`DbError::NotFound`].
    fn resend(&self, id: &str, max_tries: u32, now: Timestamp) -> Result<(), DbError>;

    /// Stores what an attempt led to. An unknown id is no error: the row was
    /// deleted meanwhile.
    ///
    /// # Errors
    /// Those of the database, never [`DbError::NotFound`].
    fn update(
        &self,
        id: &str,
        tried: u32,
        next_at: Timestamp,
        state: State,
        response: &[u8],
    ) -> Result<(), DbError>;

    /// The latest response, `None` before the first attempt has ended.
    ///
    /// # Errors
    /// [`DbError::NotFound`].
    fn result(&self, id: &str) -> Result<Option<Vec<u8>>, DbError>;

    /// What has become of a notification.
    ///
    /// # Errors
    /// [`DbError::NotFound`].
    fn status(&self, id: &str) -> Result<Status, DbError>;

    /// All that is known of a notification.
    ///
    /// # Errors
    /// [`DbError::NotFound`].
    fn detail(&self, id: &str) -> Result<Detail, DbError>;

    /// The one with the oldest `next_at` that is pending, due (`next_at <= now`),
    /// has attempts left (`tried < max_tries`, or [once](Item::once)), whose type
    /// is one of `drivers` and whose id is not in `sending`.
    ///
    /// # Errors
    /// Those of the database; that there is none is `Ok(None)`.
    fn pending(
        &self,
        now: Timestamp,
        max_tries: u32,
        drivers: &[&str],
        sending: &Sending,
    ) -> Result<Option<Item>, DbError>;

    /// Deletes a notification. An unknown id is no error.
    ///
    /// # Errors
    /// [`DbError::Sending`] if it is in `sending`, never [`DbError::NotFound`].
    fn delete(&self, id: &str, sending: &Sending) -> Result<(), DbError>;

    /// Deletes all that are [`State::Success`] or [`State::Failed`], created
    /// strictly before `before` and not in `sending`.
    ///
    /// # Errors
    /// Those of the database.
    fn clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError>;

    /// Deletes all, whatever their state, created strictly before `before` and
    /// not in `sending`.
    ///
    /// # Errors
    /// Those of the database.
    fn force_clear(&self, before: Timestamp, sending: &Sending) -> Result<(), DbError>;

    /// Whether other processes may send from the same table at the same time.
    /// Then [`claim`](Self::claim) leases what it returns, for 60 s of the
    /// database's clock, under a random [token](Item::lease) that the row holds; what
    /// is leased is returned to nobody else and can't be deleted by anybody.
    fn is_shared(&self) -> bool {
        false
    }

    /// Prolongs leases of this process that haven't been lost, to 60 s from now.
    ///
    /// # Errors
    /// Those of the database.
    fn renew(&self, leases: &[(Id, u64)]) -> Result<(), DbError> {
        let _ = leases;
        Ok(())
    }

    /// Gives leases back whose attempts will not be made; lost ones are passed over.
    ///
    /// # Errors
    /// Those of the database.
    fn give_back(&self, leases: &[(Id, u64)]) -> Result<(), DbError> {
        let _ = leases;
        Ok(())
    }

    /// Whether rows keep their [`Lane`], and [`claim`](Self::claim) and
    /// [`heads`](Self::heads) go by it. Without, all share [`Lane::NONE`].
    fn has_lanes(&self) -> bool {
        false
    }

    /// The newest `create_at` there is: the clock never runs behind it.
    ///
    /// # Errors
    /// Those of the database.
    fn newest(&self) -> Result<Option<Timestamp>, DbError> {
        Ok(None)
    }

    /// Each lane that has pending rows, with its earliest `next_at`, whatever the
    /// rows' types; it may be earlier than the truth, never later.
    ///
    /// # Errors
    /// Those of the database.
    fn heads(&self) -> Result<Vec<(Lane, Timestamp)>, DbError> {
        Ok(vec![(Lane::NONE, Timestamp::MIN)])
    }

    /// The oldest due rows of a lane, in the order of `next_at`, equal ones in the
    /// order of their arrival where that is known; and when the row after them
    /// will be due. Rows that have used up their attempts are among them.
    ///
    /// # Errors
    /// Those of the database.
    fn claim(&self, wanted: &Wanted<'_>) -> Result<Claimed, DbError> {
        let mut sending = wanted.skip.clone();
        let mut claimed = Claimed::default();
        let mut bytes = 0;
        while claimed.items.len() < wanted.limit && bytes <= wanted.max_bytes {
            let Some(item) = self.pending(wanted.now, wanted.max_tries, wanted.drivers, &sending)? else {
                break;
            };
            bytes += item.content.len();
            sending.insert(item.id.clone());
            claimed.items.push(item);
        }
        claimed.next_at = self
            .pending(Timestamp::MAX, wanted.max_tries, wanted.drivers, &sending)?
            .map(|item| item.next_at);
        Ok(claimed)
    }

    /// At most `limit` pending rows whose lane is [`Lane::NONE`], because another
    /// program wrote them. They are given one by [`Write::Assign`].
    ///
    /// # Errors
    /// Those of the database.
    fn unassigned(&self, limit: usize) -> Result<Vec<Unassigned>, DbError> {
        let _ = limit;
        Ok(Vec::new())
    }

    /// Does all these writes in their order, in one transaction where there are
    /// transactions, and tells what became of each. One that is refused (an id
    /// that exists, one that is unknown) doesn't harm the others.
    ///
    /// # Errors
    /// The transaction failed, and nothing was written; or nobody knows.
    fn write(&self, batch: &[Write], sending: &Sending) -> Result<Vec<Result<Written, DbError>>, DbError> {
        let write_one = |write| match write_alone(self, write, sending) {
            // It is the database's trouble, not this write's: all of them are kept.
            Err(DbError::Unavailable(reason)) => Err(DbError::Unavailable(reason)),
            answer => Ok(answer),
        };
        batch.iter().map(write_one).collect()
    }

    /// Does a part of [`clear`](Self::clear) or [`force_clear`](Self::force_clear)
    /// that takes a short time: looks at some thousand rows and deletes at most
    /// 500 of them, in one transaction. The default does all at once, and nothing for a
    /// [`Scope`] of a single state: what can't be removed alone is kept.
    ///
    /// # Errors
    /// Those of the database; nothing was deleted then.
    fn clear_slice(&self, clear: &Clear, sending: &Sending) -> Result<Cleared, DbError> {
        match clear.scope {
            Scope::All => self.force_clear(clear.before, sending)?,
            Scope::Finished => self.clear(clear.before, sending)?,
            Scope::Success | Scope::Failed => {}
        }
        Ok(Cleared::default())
    }

    /// A part of all rows, the newest first: by `create_at`, equal ones in the order of
    /// their arrival where that is known. Following [`Page::next`] meets each row that is
    /// there all the time exactly once, whatever comes and goes meanwhile.
    ///
    /// It takes some seconds at most, whatever the table holds: a page may have fewer rows than
    /// asked for, even none, though more follow.
    ///
    /// # Errors
    /// Those of the database; [`DbError::Unsupported`] by default.
    fn list(&self, query: &Query) -> Result<Page, DbError> {
        let _ = query;
        Err(DbError::Unsupported("list"))
    }

    /// How much is pending, since when, and how much room all takes.
    ///
    /// # Errors
    /// Those of the database; [`DbError::Unsupported`] by default.
    fn figures(&self) -> Result<Figures, DbError> {
        Err(DbError::Unsupported("figures"))
    }

    /// At most `limit` whole rows whose ids are greater than `after`, in the order of
    /// the ids' bytes: for moving to another database.
    ///
    /// # Errors
    /// Those of the database; [`DbError::Unsupported`] by default.
    fn export(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Row>, DbError> {
        let _ = (after, limit);
        Err(DbError::Unsupported("export"))
    }

    /// Stores rows as they are, durably. A row whose id exists with the same type,
    /// endpoint and payload is there already, and is left as it is.
    ///
    /// # Errors
    /// Those of the database; [`DbError::Unsupported`] by default. For a single row,
    /// [`DbError::Exists`]: its id stands for something else here.
    fn import(&self, rows: &[Row]) -> Result<Vec<Result<(), DbError>>, DbError> {
        let _ = rows;
        Err(DbError::Unsupported("import"))
    }

    /// Makes pending rows due at `to` that are due later than `after`, if an attempt was made
    /// of them or they were resent: what somebody else has stored for a later time stays so.
    /// Returns how many; 0 by default.
    ///
    /// # Errors
    /// Those of the database.
    fn hasten(&self, after: Timestamp, to: Timestamp) -> Result<u64, DbError> {
        let _ = (after, to);
        Ok(0)
    }

    /// How many rows are pending, but counts no further than `limit`. `None`, the default: it
    /// can't tell in a short time.
    ///
    /// # Errors
    /// Those of the database.
    fn count_pending(&self, limit: usize) -> Result<Option<usize>, DbError> {
        let _ = limit;
        Ok(None)
    }

    /// Tells whether the database answers.
    ///
    /// # Errors
    /// It doesn't.
    fn ping(&self) -> Result<(), DbError> {
        match self.status("") {
            Ok(_) | Err(DbError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts the database in order before the process ends; it isn't used any more after.
    fn close(&self) {}
}

fn write_alone<D: DBDrv + ?Sized>(db: &D, write: &Write, sending: &Sending) -> Result<Written, DbError> {
    match write {
        Write::Create(item) => match db.create(item) {
            Ok(()) => Ok(Written::Done),
            Err(DbError::Exists) => {
                let stored = db.detail(item.id.as_str())?;
                Ok(Written::Exists {
                    create_at: stored.status.create_at,
                    same: stored.r#type == item.r#type
                        && stored.endpoint == item.endpoint
                        && stored.content == item.content,
                })
            }
            Err(error) => Err(error),
        },
        Write::Outcome(Outcome { id, tried, next_at, state, response, .. }) => {
            db.update(id.as_str(), *tried, *next_at, *state, response)?;
            Ok(Written::Done)
        }
        Write::Resend { id, max_tries, now } => {
            db.resend(id.as_str(), *max_tries, *now)?;
            Ok(Written::Resent(Lane::NONE))
        }
        Write::Delete { id } => {
            db.delete(id.as_str(), sending)?;
            Ok(Written::Done)
        }
        // Only a database with lanes has rows to assign or to hold back.
        Write::Assign(_) | Write::Hold { .. } | Write::Release { .. } => Ok(Written::Done),
    }
}

/// What [`DBDrv::claim`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Rows of this lane,
    pub lane: Lane,
    /// due by now,
    pub now: Timestamp,
    /// of one of these types,
    pub drivers: &'a [&'a str],
    /// and not among these.
    pub skip: &'a Sending,
    /// The limit of attempts now in force.
    pub max_tries: u32,
    /// At most so many,
    pub limit: usize,
    /// and no more once their payloads together have over this many bytes.
    pub max_bytes: usize,
}

/// What [`DBDrv::claim`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The oldest due ones.
    pub items: Vec<Item>,
    /// When the next row of the lane is due, of the wanted types and not to be
    /// skipped; `None` if there is none.
    pub next_at: Option<Timestamp>,
}

/// A row that has no lane yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unassigned {
    /// Its id.
    pub id: Id,
    /// The driver's type.
    pub r#type: String,
    /// Where it goes.
    pub endpoint: String,
    /// When it is due.
    pub next_at: Timestamp,
}

/// A row with what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is to be sent, or was; never under a lease.
    pub item: Item,
    /// What has become of it.
    pub state: State,
    /// The latest response.
    pub response: Option<Vec<u8>>,
}

/// The ids that are being sent: no clearing and no delete may touch them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending(HashSet<Id>);

impl Sending {
    /// Whether this one is being sent.
    pub fn contains(&self, id: &str) -> bool {
        self.0.contains(id)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Borrow::borrow)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is being sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one; false if it was there.
    pub fn insert(&mut self, id: Id) -> bool {
        self.0.insert(id)
    }

    /// Adds all these.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = Id>) {
        self.0.extend(ids);
    }

    /// Takes one away; false if it wasn't there.
    pub fn remove(&mut self, id: &str) -> bool {
        self.0.remove(id)
    }
}

impl FromIterator<Id> for Sending {
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}
