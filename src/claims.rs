//! Which notifications are taken, and which one is attempted next.
//!
//! The table is the only queue. What stands here are claims on some of its rows:
//! a claim *waits* next in line in its lane until a slot is free, then its attempt
//! begins and the notification is *being sent*. Rows are read from the table and
//! enter the set of claims in one critical section, and whoever deletes rows does
//! so in the same one ([`Claims::exclusive`]); so nothing is sent after it was
//! deleted, and nothing twice at a time.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    db::{DBDrv, DbError, Outcome, Sending, Wanted, Write, Written},
    driver::{self, Driver, Drivers},
    health::Health,
    notification::{Id, Item, Lane, State, Timestamp},
};

mod lanes;

pub(crate) use lanes::Answer;
use lanes::Lanes;

/// So many attempts may have ended without their outcomes being stored yet,
/// beside those that run: what a crash repeats is bounded by it.
const MAX_UNRECORDED: usize = 64;

/// Payload bytes next in line in one lane, and in all lanes together.
const WAITING_BYTES_A_LANE: usize = 256 << 10;
const WAITING_BYTES: usize = 4 << 20;

/// Rows that are written back at once, when they can't be attempted now.
const WRITE_BACK: usize = 500;

/// Destinations that want nothing before some time: how many are remembered.
const MAX_HOLDS: usize = 65_536;

/// How long claiming pauses after the database failed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The claims on a table's rows.
pub(crate) struct Claims {
    db: Arc<dyn DBDrv>,
    drivers: Drivers,
    clock: Arc<Clock>,
    health: Arc<Health>,
    max_tries: u32,
    slots: usize,
    state: Mutex<Inner>,
    /// How many attempts are running, for those who can't wait for the lock: a
    /// write that another program holds up may hold it for seconds.
    running: AtomicUsize,
    /// No attempt may begin any more.
    stopping: AtomicBool,
    /// The earliest time at which something falls due has changed, or it's time to stop.
    timer: Condvar,
    /// The last running attempt has ended.
    idle: Condvar,
    /// Called when a slot is free and something is due.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    hasher: RandomState,
}

struct Inner {
    lanes: Lanes,
    /// All that is claimed, waiting or being sent or being written back.
    claimed: Sending,
    /// What is being sent.
    sending: Sending,
    /// The lanes of those that wait.
    waiting: HashMap<Id, Lane>,
    waiting_bytes: usize,
    /// Destinations that want nothing before some time, by their hashes.
    holds: HashMap<u64, Hold>,
    /// Rows that are being held back, the writing of which is owed; false if a
    /// client's write or the end of the hold came in between.
    holding: HashMap<Id, bool>,
    /// Outcomes can't be stored: no attempt may begin.
    unrecordable: bool,
    /// The table couldn't be read: no claiming before.
    paused: Option<(Instant, Duration)>,
    /// When the timer will go off.
    armed: Option<Timestamp>,
}

/// A destination wants nothing for now.
struct Hold {
    until: Timestamp,
    /// The lanes of rows that wait for it, and until when: a hold can be prolonged.
    rows: BTreeSet<(Lane, Timestamp)>,
}

/// An attempt that has begun.
pub(crate) struct Begun {
    pub(crate) item: Item,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) claim: Claim,
    pub(crate) slot: Slot,
}

/// The slot of a running attempt. Dropping it ends the attempt; the claim lives
/// on until the outcome is stored.
pub(crate) struct Slot {
    claims: Arc<Claims>,
    lane: Lane,
    /// What the attempt says about its lane.
    pub(crate) answer: Answer,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        state.lanes.end(self.lane, self.answer);
        self.claims.running.fetch_sub(1, Ordering::Relaxed);
        if state.lanes.running() == 0 {
            self.claims.idle.notify_all();
        }
        self.claims.unlock(state);
    }
}

/// A row that is taken. Dropping it gives the row back.
pub(crate) struct Claim {
    claims: Arc<Claims>,
    id: Option<Id>,
    lane: Lane,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let mut state = self.claims.lock();
            state.give_back(&id);
            state.lanes.note(self.lane, Timestamp::MIN);
            self.claims.unlock(state);
        }
    }
}

/// A write that the table still owes to the sender: unlike a client's, it is
/// kept until it is stored, and the rows it concerns are claimed until then.
pub(crate) struct Owed {
    pub(crate) write: Write,
    pub(crate) due: Due,
}

/// What becomes possible once an owed write is stored.
#[derive(Default)]
pub(crate) struct Due {
    /// These rows can be claimed again.
    claims: Vec<Claim>,
    /// Something falls due in these lanes.
    notes: Vec<(Lane, Timestamp)>,
    /// This lane waits for it.
    written_back: Option<Lane>,
}

impl Owed {
    /// What an attempt led to.
    pub(crate) fn outcome(outcome: Outcome, claim: Claim) -> Self {
        let next = (claim.lane, outcome.next_at);
        let notes = if outcome.state == State::Pending { vec![next] } else { Vec::new() };
        let due = Due { claims: vec![claim], notes, written_back: None };
        Self { write: Write::Outcome(outcome), due }
    }
}

/// What [`Claims::next`] found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) begun: Option<Begun>,
    /// Rows that can't be attempted now are to be written back.
    pub(crate) owed: Vec<Owed>,
}

impl Claims {
    pub(crate) fn new(
        db: Arc<dyn DBDrv>,
        drivers: Drivers,
        clock: Arc<Clock>,
        health: Arc<Health>,
        max_tries: u32,
        slots: usize,
    ) -> Self {
        let state = Inner {
            lanes: Lanes::new(slots),
            claimed: Sending::default(),
            sending: Sending::default(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
            holds: HashMap::new(),
            holding: HashMap::new(),
            unrecordable: false,
            paused: None,
            armed: None,
        };
        Self {
            db,
            drivers,
            clock,
            health,
            max_tries,
            slots,
            state: Mutex::new(state),
            running: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            timer: Condvar::new(),
            idle: Condvar::new(),
            wake: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }

    /// From now on, `wake` is called whenever there is something to attempt.
    pub(crate) fn on_due(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Rows fall due in these lanes then.
    pub(crate) fn note(&self, due: impl IntoIterator<Item = (Lane, Timestamp)>) {
        let mut state = self.lock();
        for (lane, at) in due {
            state.lanes.note(lane, at);
        }
        self.unlock(state);
    }

    /// Begins the next attempt, if there is one to begin now.
    pub(crate) fn next(self: &Arc<Self>) -> Found {
        let mut found = Found::default();
        let mut state = self.lock();
        // Asked under the lock: an earlier time than the lanes have seen would find
        // none of the rows that are due by theirs, for ever.
        let now = self.clock.now();
        while let Some(lane) = self.pick(&mut state, now) {
            let Some(item) = state.take_waiting(lane) else {
                match self.fill(&mut state, lane, now, &mut found.owed) {
                    Ok(()) => self.resume(&mut state),
                    Err(error) => self.pause(&mut state, &error),
                }
                continue;
            };
            let Some(driver) = self.drivers.find(&item.r#type) else {
                state.give_back(&item.id);
                continue;
            };
            if item.is_resent() {
                self.end_hold(&mut state, driver.as_ref(), &item, &mut found.owed, now);
            } else if let Some((key, until)) = self.held_until(&state, &item) {
                state.wait_for(key, lane);
                self.hold_back(&mut state, lane, vec![item.id], until, &mut found.owed);
                continue;
            }
            state.sending.insert(item.id.clone());
            state.lanes.begin(lane);
            self.running.fetch_add(1, Ordering::Relaxed);
            let claim = Claim { claims: self.clone(), id: Some(item.id.clone()), lane };
            let slot = Slot { claims: self.clone(), lane, answer: Answer::Answered };
            found.begun = Some(Begun { driver: driver.clone(), item, claim, slot });
            break;
        }
        self.unlock(state);
        found
    }

    /// Nothing for the destination of this notification, itself included, is
    /// attempted before then.
    pub(crate) fn hold(&self, driver: &dyn Driver, item: &Item, until: Timestamp) {
        let Some(key) = self.destination(driver, &item.endpoint) else { return };
        let now = self.clock.now();
        let mut state = self.lock();
        state.holds.retain(|_, hold| hold.until > now);
        if state.holds.len() < MAX_HOLDS {
            let hold = state.holds.entry(key).or_insert_with(|| Hold { until, rows: BTreeSet::new() });
            hold.until = until.max(hold.until);
            hold.rows.retain(|(_, until)| *until > now);
            hold.rows.insert((item.lane, until));
        }
    }

    /// These owed writes are done, with these results. Returns what has to be
    /// done again.
    pub(crate) fn settle(
        &self,
        done: impl IntoIterator<Item = (Owed, Result<Written, DbError>)>,
    ) -> Vec<Owed> {
        let mut again = Vec::new();
        let mut state = self.lock();
        for (mut owed, written) in done {
            for claim in &mut owed.due.claims {
                let is_overruled = state.give_back(&claim.id.take().expect("a claim is settled once"));
                let retry = match written {
                    _ if is_overruled => Timestamp::MIN,
                    Ok(Written::Superseded) => Timestamp::MIN,
                    Err(_) => self.clock.now() + Duration::from_secs(60),
                    _ => continue,
                };
                state.lanes.note(claim.lane, retry);
            }
            for (lane, at) in owed.due.notes.drain(..) {
                state.lanes.note(lane, at);
            }
            if let Some(lane) = owed.due.written_back {
                state.lanes.set_writing_back(lane, false);
            }
            match (&owed.write, written) {
                (Write::Release { lane, to, .. }, Ok(Written::Released(rows))) if rows > 0 => {
                    state.lanes.note(*lane, *to);
                    again.push(owed);
                }
                (_, Err(error)) => tracing::error!(%error, "the database refused an outcome"),
                _ => {}
            }
        }
        self.unlock(state);
        again
    }

    /// Whether outcomes can be stored; while they can't, no attempt begins.
    pub(crate) fn set_recordable(&self, recordable: bool) {
        let mut state = self.lock();
        state.unrecordable = !recordable;
        self.unlock(state);
    }

    /// Keeps claims and attempts from beginning as long as the guard lives.
    pub(crate) fn exclusive(&self) -> Exclusive<'_> {
        Exclusive { claims: self, state: Some(self.lock()) }
    }

    /// Sleeps until something falls due, calls `wake`, and so on; returns when stopped.
    pub(crate) fn run_timer(&self) {
        let mut state = self.lock();
        while !self.is_stopping() {
            if self.pick(&mut state, self.clock.now()).is_some() {
                drop(state);
                self.wake();
                state = self.lock();
            }
            state.armed = state.lanes.next_timer();
            let due = state.armed.map(|at| self.clock.until(at));
            let resumed = state.paused.map(|(until, _)| until.saturating_duration_since(Instant::now()));
            // While claiming is paused, whatever is due has to wait for that.
            state = match resumed.filter(|left| !left.is_zero()).or(due) {
                // A moment longer, so that the second has begun in any rounding.
                Some(wait) => {
                    let wait = wait.max(Duration::from_millis(1));
                    self.timer.wait_timeout(state, wait).expect(POISONED).0
                }
                None => self.timer.wait(state).expect(POISONED),
            };
        }
    }

    /// From now on no attempt begins. Never waits.
    pub(crate) fn begin_no_more(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The same, and ends the timer. Waits for the lock, so that the timer can't
    /// miss it.
    pub(crate) fn stop(&self) {
        self.begin_no_more();
        drop(self.lock());
        self.timer.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits until no attempt runs; false if that takes longer than `deadline`.
    pub(crate) fn wait_idle(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.lanes.running() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.idle.wait_timeout(state, left).expect(POISONED).0;
        }
        true
    }

    /// How many attempts are running. Never waits.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect(POISONED)
    }

    /// Ends a critical section that may have made something due.
    fn unlock(&self, mut state: MutexGuard<'_, Inner>) {
        let earliest = state.lanes.next_timer();
        if earliest.is_some_and(|at| state.armed.is_none_or(|armed| at < armed)) {
            state.armed = earliest;
            self.timer.notify_one();
        }
        let due = self.pick(&mut state, self.clock.now()).is_some();
        drop(state);
        if due {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The lane that may begin an attempt now.
    fn pick(&self, state: &mut Inner, now: Timestamp) -> Option<Lane> {
        if self.is_stopping()
            || state.unrecordable
            || state.sending.len() >= self.slots + MAX_UNRECORDED
            || state.paused.is_some_and(|(until, _)| Instant::now() < until)
        {
            return None;
        }
        state.lanes.pick(now)
    }

    /// Claims the oldest due rows of a lane.
    fn fill(
        self: &Arc<Self>,
        state: &mut Inner,
        lane: Lane,
        now: Timestamp,
        owed: &mut Vec<Owed>,
    ) -> Result<(), DbError> {
        if lane == Lane::NONE && self.db.has_lanes() {
            return self.assign_lanes(state, owed);
        }
        let types: Vec<&str> = self.drivers.types().collect();
        let crowded = state.waiting_bytes > WAITING_BYTES;
        let mut wanted = Wanted {
            lane,
            now,
            drivers: &types,
            skip: &state.claimed,
            max_tries: self.max_tries,
            limit: if crowded { 1 } else { state.lanes.claim_size(lane) },
            max_bytes: WAITING_BYTES_A_LANE,
        };
        let mut claimed = self.db.claim(&wanted)?;
        if !claimed.items.is_empty() && claimed.items.iter().all(|item| self.is_out(state, item)) {
            // Nothing but rows to write back: take them in larger portions.
            wanted.limit = WRITE_BACK;
            wanted.max_bytes = WAITING_BYTES;
            claimed = self.db.claim(&wanted)?;
        }
        state.lanes.set_due(lane, claimed.next_at);
        let mut held: HashMap<Timestamp, Vec<Id>> = HashMap::new();
        for mut item in claimed.items {
            item.lane = lane;
            if self.is_exhausted(&item) {
                owed.push(self.give_up(state, item));
            } else if let Some((key, until)) = self.held_until(state, &item) {
                state.wait_for(key, lane);
                held.entry(until).or_default().push(item.id);
            } else {
                state.push_waiting(item);
            }
        }
        for (until, ids) in held {
            self.hold_back(state, lane, ids, until, owed);
        }
        Ok(())
    }

    /// Whether this row can't be attempted now and has to be written back.
    fn is_out(&self, state: &Inner, item: &Item) -> bool {
        self.is_exhausted(item) || self.held_until(state, item).is_some()
    }

    fn is_exhausted(&self, item: &Item) -> bool {
        !item.once && item.tried >= self.max_tries
    }

    /// Which hold keeps the row, and until when. A resent one goes out at once.
    fn held_until(&self, state: &Inner, item: &Item) -> Option<(u64, Timestamp)> {
        if state.holds.is_empty() || item.is_resent() {
            return None;
        }
        let driver = self.drivers.find(&item.r#type)?;
        let key = self.destination(driver.as_ref(), &item.endpoint)?;
        let until = state.holds.get(&key)?.until;
        (until > self.clock.now()).then_some((key, until))
    }

    /// A resent one is attempted: that ends the hold of its destination.
    fn end_hold(
        &self,
        state: &mut Inner,
        driver: &dyn Driver,
        item: &Item,
        owed: &mut Vec<Owed>,
        now: Timestamp,
    ) {
        if state.holds.is_empty() {
            return;
        }
        let Some(hold) = self.destination(driver, &item.endpoint).and_then(|key| state.holds.remove(&key))
        else {
            return;
        };
        for (lane, from) in hold.rows.into_iter().filter(|(_, until)| *until > now) {
            owed.push(Owed { write: Write::Release { lane, from, to: now }, due: Due::default() });
        }
        // Those on their way into the table are met again, and held back if
        // another hold keeps them.
        state.holding.values_mut().for_each(|holds| *holds = false);
    }

    fn destination(&self, driver: &dyn Driver, endpoint: &str) -> Option<u64> {
        driver::destination(driver, endpoint).map(|name| self.hasher.hash_one(name))
    }

    fn hold_back(
        self: &Arc<Self>,
        state: &mut Inner,
        lane: Lane,
        ids: Vec<Id>,
        until: Timestamp,
        owed: &mut Vec<Owed>,
    ) {
        state.lanes.set_writing_back(lane, true);
        state.holding.extend(ids.iter().map(|id| (id.clone(), true)));
        let due = Due {
            claims: ids.iter().map(|id| self.claim(state, id, lane)).collect(),
            notes: vec![(lane, until)],
            written_back: Some(lane),
        };
        owed.push(Owed { write: Write::Hold { ids, until }, due });
    }

    /// A row that used up its attempts before `max_tries` was lowered.
    fn give_up(self: &Arc<Self>, state: &mut Inner, item: Item) -> Owed {
        let reason =
            format!("given up: {} attempts were made, the limit is {} now", item.tried, self.max_tries);
        tracing::error!(id = item.id.as_str(), r#type = item.r#type, reason, "FAILED");
        let claim = self.claim(state, &item.id, item.lane);
        let outcome = Outcome {
            id: item.id,
            epoch: item.epoch,
            tried: item.tried,
            next_at: item.next_at,
            state: State::Failed,
            response: reason.into_bytes(),
            keep_response: true,
        };
        Owed::outcome(outcome, claim)
    }

    /// Rows that another program wrote get their lanes.
    fn assign_lanes(&self, state: &mut Inner, owed: &mut Vec<Owed>) -> Result<(), DbError> {
        let rows = self.db.unassigned(WRITE_BACK)?;
        state.lanes.set_due(Lane::NONE, None);
        if rows.is_empty() {
            return Ok(());
        }
        state.lanes.set_writing_back(Lane::NONE, true);
        let mut notes = vec![(Lane::NONE, Timestamp::MIN)];
        let mut lanes = Vec::with_capacity(rows.len());
        for row in rows {
            let lane = self.drivers.lane(&row.r#type, &row.endpoint);
            notes.push((lane, row.next_at));
            lanes.push((row.id, lane));
        }
        let due = Due { claims: Vec::new(), notes, written_back: Some(Lane::NONE) };
        owed.push(Owed { write: Write::Assign(lanes), due });
        Ok(())
    }

    fn claim(self: &Arc<Self>, state: &mut Inner, id: &Id, lane: Lane) -> Claim {
        state.claimed.insert(id.clone());
        Claim { claims: self.clone(), id: Some(id.clone()), lane }
    }

    fn resume(&self, state: &mut Inner) {
        if state.paused.take().is_some() {
            self.health.works(Health::CLAIMING);
        }
    }

    fn pause(&self, state: &mut Inner, error: &DbError) {
        self.health.failed(Health::CLAIMING, error);
        let wait = state.paused.map_or(PAUSE, |(_, wait)| LONGEST_PAUSE.min(wait * 2));
        state.paused = Some((Instant::now() + wait, wait));
        self.timer.notify_one();
    }
}

impl Inner {
    fn take_waiting(&mut self, lane: Lane) -> Option<Item> {
        let item = self.lanes.take_waiting(lane)?;
        self.waiting.remove(&item.id);
        self.waiting_bytes -= item.content.len();
        Some(item)
    }

    fn push_waiting(&mut self, item: Item) {
        self.claimed.insert(item.id.clone());
        self.waiting.insert(item.id.clone(), item.lane);
        self.waiting_bytes += item.content.len();
        self.lanes.push_waiting(item);
    }

    /// A row of this lane waits for the hold.
    fn wait_for(&mut self, key: u64, lane: Lane) {
        if let Some(hold) = self.holds.get_mut(&key) {
            hold.rows.insert((lane, hold.until));
        }
    }

    /// The table has it again. Returns whether it was to be held back, and wasn't.
    fn give_back(&mut self, id: &Id) -> bool {
        self.claimed.remove(id.as_str());
        self.sending.remove(id.as_str());
        self.holding.remove(id.as_str()) == Some(false)
    }
}

impl Item {
    /// Its next attempt is the one that a resend gave it.
    fn is_resent(&self) -> bool {
        self.once && self.epoch > 0
    }
}

/// See [`Claims::exclusive`].
pub(crate) struct Exclusive<'a> {
    claims: &'a Claims,
    state: Option<MutexGuard<'a, Inner>>,
}

impl Exclusive<'_> {
    /// What is being sent.
    pub(crate) fn sending(&self) -> &Sending {
        &self.state().sending
    }

    /// Whether the row is still to be held back.
    pub(crate) fn is_held(&self, id: &str) -> bool {
        self.state().holding.get(id).copied().unwrap_or(false)
    }

    /// If it is merely next in line, or about to be held back, it isn't any more.
    pub(crate) fn revoke(&mut self, id: &str) {
        let state = self.state_mut();
        if let Some(holds) = state.holding.get_mut(id) {
            *holds = false;
        }
        if let Some(lane) = state.waiting.remove(id) {
            state.waiting_bytes -= state.lanes.drop_waiting(lane, id);
            state.claimed.remove(id);
        }
    }

    /// Nothing is next in line any more.
    pub(crate) fn revoke_all(&mut self) {
        let state = self.state_mut();
        for id in state.lanes.drop_all_waiting() {
            state.claimed.remove(id.as_str());
        }
        state.waiting.clear();
        state.waiting_bytes = 0;
    }

    fn state(&self) -> &Inner {
        self.state.as_ref().expect(HELD)
    }

    fn state_mut(&mut self) -> &mut Inner {
        self.state.as_mut().expect(HELD)
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.claims.unlock(self.state.take().expect(HELD));
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// Drivers run outside of the lock, and a database that panics is beyond repair.
const POISONED: &str = "no critical section panics";
const HELD: &str = "the guard is held until it is dropped";
