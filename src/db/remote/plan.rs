//! What a batch of writes does to the rows it concerns, worked out in memory.
//!
//! The rows are read and locked, the writes are applied to them one after the other,
//! and what has changed in the end is written in three statements, however many
//! writes there were. So the order counts, and each write sees those before it.

use std::collections::{BTreeMap, HashMap};

use crate::{
    db::{DbError, Outcome, Row, Sending, Write, Written},
    notification::{Id, Item, Lane, State, Timestamp},
};

/// A row as it matters to writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) create_at: Timestamp,
    pub(super) next_at: Timestamp,
    pub(super) tried: u32,
    pub(super) state: State,
    pub(super) lane: Lane,
    pub(super) once: bool,
    pub(super) epoch: u32,
    /// The token of the latest lease; 0 if it was ended.
    pub(super) lease: u64,
    /// Somebody holds it.
    pub(super) is_leased: bool,
    pub(super) has_response: bool,
}

impl Image {
    fn of(item: &Item) -> Self {
        Self {
            create_at: item.create_at,
            next_at: item.next_at,
            tried: item.tried,
            state: State::Pending,
            lane: item.lane,
            once: item.once,
            epoch: item.epoch,
            lease: 0,
            is_leased: false,
            has_response: false,
        }
    }

    fn moved(row: &Row) -> Self {
        Self { state: row.state, has_response: row.response.is_some(), ..Self::of(&row.item) }
    }

    /// It is pending, and wasn't resent, which goes out at once.
    fn can_be_held(&self) -> bool {
        self.state == State::Pending && !(self.once && self.epoch > 0)
    }

    fn end_lease(&mut self) {
        self.lease = 0;
        self.is_leased = false;
    }
}

/// What a row was created from, to tell a repeat from something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) r#type: String,
    pub(super) endpoint: String,
    pub(super) content: Vec<u8>,
}

/// A row before and after the writes.
#[derive(Debug, Default)]
struct Entry<'a> {
    stored: Option<Image>,
    now: Option<Image>,
    /// What the stored row was created from, if that could be the same as what is to
    /// be created now.
    origin: Option<&'a Origin>,
    /// It was created by one of the writes.
    created: Option<&'a Item>,
    response: Option<&'a [u8]>,
}

/// The rows of a batch.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    rows: BTreeMap<&'a str, Entry<'a>>,
}

/// What is to be written, each in the order of the ids, so that two nodes' locks
/// don't wait for each other.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    pub(super) deleted: Vec<&'a str>,
    pub(super) inserted: Vec<Inserted<'a>>,
    pub(super) updated: Vec<Updated<'a>>,
}

/// A row to insert.
#[derive(Debug)]
pub(super) struct Inserted<'a> {
    pub(super) item: &'a Item,
    pub(super) image: Image,
    pub(super) response: Option<&'a [u8]>,
}

impl<'a> Inserted<'a> {
    /// A new one.
    pub(super) fn new(item: &'a Item) -> Self {
        Self { item, image: Image::of(item), response: None }
    }

    /// One that comes from another database.
    pub(super) fn moved(row: &'a Row) -> Self {
        Self { item: &row.item, image: Image::moved(row), response: row.response.as_deref() }
    }
}

/// A row to update.
#[derive(Debug)]
pub(super) struct Updated<'a> {
    pub(super) id: &'a str,
    pub(super) image: Image,
    pub(super) ends_lease: bool,
    /// `None` leaves what is there.
    pub(super) response: Option<&'a [u8]>,
}

/// The ids that these writes concern, each once.
pub(super) fn ids(batch: &[Write]) -> Vec<&str> {
    let mut ids: Vec<&str> = Vec::with_capacity(batch.len());
    for write in batch {
        match write {
            Write::Create(Item { id, .. })
            | Write::Outcome(Outcome { id, .. })
            | Write::Resend { id, .. }
            | Write::Delete { id } => ids.push(id.as_str()),
            Write::Assign(lanes) => ids.extend(lanes.iter().map(|(id, _)| id.as_str())),
            Write::Hold { ids: held, .. } => ids.extend(held.iter().map(Id::as_str)),
            Write::Release { .. } => {}
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl<'a> Plan<'a> {
    /// Begins with these rows, as they are stored.
    pub(super) fn new(
        ids: &[&'a str],
        mut stored: HashMap<Id, Image>,
        origins: &'a HashMap<Id, Origin>,
    ) -> Self {
        let entry = |id: &&'a str| {
            let stored = stored.remove(*id);
            (*id, Entry { now: stored.clone(), stored, origin: origins.get(*id), ..Entry::default() })
        };
        Self { rows: ids.iter().map(entry).collect() }
    }

    /// Does one write; all but [`Write::Release`], which goes by lane and time.
    pub(super) fn apply(&mut self, write: &'a Write, sending: &Sending) -> Result<Written, DbError> {
        match write {
            Write::Create(item) => Ok(self.entry(&item.id).create(item)),
            Write::Outcome(outcome) => Ok(self.entry(&outcome.id).store(outcome)),
            Write::Resend { id, max_tries, now } => self.entry(id).resend(*max_tries, *now),
            Write::Delete { id } => self.entry(id).delete(sending.contains(id.as_str())),
            Write::Assign(lanes) => {
                for (id, lane) in lanes {
                    let unassigned = self.entry(id).now.as_mut().filter(|row| row.lane == Lane::NONE);
                    unassigned.into_iter().for_each(|row| row.lane = *lane);
                }
                Ok(Written::Done)
            }
            Write::Hold { ids, until } => {
                for id in ids {
                    let pending = self.entry(id).now.as_mut().filter(|row| row.can_be_held());
                    pending.into_iter().for_each(|row| row.next_at = *until);
                }
                Ok(Written::Done)
            }
            Write::Release { .. } => Ok(Written::Done),
        }
    }

    /// Takes a row from another database, if its id is free.
    pub(super) fn move_in(&mut self, row: &'a Row) -> Written {
        let entry = self.entry(&row.item.id);
        let written = entry.create(&row.item);
        if written == Written::Done {
            entry.now = Some(Image::moved(row));
            entry.response = row.response.as_deref();
        }
        written
    }

    fn entry(&mut self, id: &'a Id) -> &mut Entry<'a> {
        self.rows.entry(id.as_str()).or_default()
    }

    pub(super) fn changes(self) -> Changes<'a> {
        let mut changes = Changes::default();
        for (id, Entry { stored, now, created, response, .. }) in self.rows {
            let is_replaced = created.is_some() || now.is_none();
            if stored.is_some() && is_replaced {
                changes.deleted.push(id);
            }
            match (now, created) {
                (Some(image), Some(item)) => changes.inserted.push(Inserted { item, image, response }),
                (Some(image), None) if response.is_some() || stored.as_ref() != Some(&image) => {
                    let ends_lease = stored.is_some_and(|stored| stored.lease != image.lease);
                    changes.updated.push(Updated { id, image, ends_lease, response });
                }
                _ => {}
            }
        }
        changes
    }
}

impl<'a> Entry<'a> {
    fn create(&mut self, item: &'a Item) -> Written {
        if let Some(row) = &self.now {
            let same = match (self.created, self.origin) {
                (Some(first), _) => {
                    first.r#type == item.r#type
                        && first.endpoint == item.endpoint
                        && first.content == item.content
                }
                (None, Some(origin)) => {
                    origin.r#type == item.r#type
                        && origin.endpoint == item.endpoint
                        && origin.content == item.content
                }
                (None, None) => false,
            };
            return Written::Exists { create_at: row.create_at, same };
        }
        self.now = Some(Image::of(item));
        self.created = Some(item);
        self.response = None;
        Written::Done
    }

    fn store(&mut self, outcome: &'a Outcome) -> Written {
        let Some(row) = &mut self.now else { return Written::Done };
        if row.lease != outcome.lease {
            return Written::Lost;
        }
        row.end_lease();
        if !(outcome.keep_response && row.has_response) {
            row.has_response = true;
            self.response = Some(&outcome.response);
        }
        if row.epoch != outcome.epoch {
            return Written::Superseded;
        }
        row.tried = outcome.tried;
        row.next_at = outcome.next_at;
        row.state = outcome.state;
        Written::Done
    }

    /// The lease stays: the attempt that may be running ends first.
    fn resend(&mut self, max_tries: u32, now: Timestamp) -> Result<Written, DbError> {
        let row = self.now.as_mut().ok_or(DbError::NotFound)?;
        row.tried = max_tries.saturating_sub(1);
        row.state = State::Pending;
        row.next_at = now;
        row.once = true;
        row.epoch = row.epoch.wrapping_add(1);
        Ok(Written::Resent(row.lane))
    }

    fn delete(&mut self, is_being_sent: bool) -> Result<Written, DbError> {
        if is_being_sent || self.now.as_ref().is_some_and(|row| row.is_leased) {
            return Err(DbError::Sending);
        }
        self.now = None;
        self.created = None;
        self.response = None;
        Ok(Written::Done)
    }
}
