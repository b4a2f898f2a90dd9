//! Which notifications are taken, and which one is attempted next.
//!
//! The table is the only queue. What stands here are claims on some of its rows:
//! a claim *waits* next in line in its lane until a slot is free, then its attempt
//! begins and the notification is *being sent*. Rows are read from the table and
//! enter the set of claims in one critical section, and whoever deletes rows does
//! so in the same one ([`Claims::exclusive`]); so nothing is sent after it was
//! deleted, and nothing twice at a time. A row that was just created needn't be read
//! if it is the latest of its lane: the recorder, who alone deletes rows, leaves it in the
//! inbox before its next write ([`Claims::committed`]), and each critical section begins with that.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    db::{DBDrv, DbError, Sending},
    driver::{self, Driver, Drivers},
    health::Health,
    notification::{Id, Item, Lane, Timestamp},
};

mod filling;
mod guards;
mod holds;
mod inbox;
mod lanes;
mod leases;
mod owed;

pub(crate) use guards::{Begun, Claim, Exclusive, Slot};
use holds::Holds;
use inbox::Inbox;
pub(crate) use inbox::Noted;
pub(crate) use lanes::Answer;
use lanes::Lanes;
use leases::SCAN;
pub(crate) use owed::{Due, Owed};

/// So many attempts may have ended without their outcomes being stored yet,
/// beside those that run: what a crash repeats is bounded by it.
const MAX_UNRECORDED: usize = 64;

/// The same for the bytes of their responses.
const MAX_UNRECORDED_BYTES: isize = 8 << 20;

/// How long the timer sleeps at most while something is pending: nothing tells when the wall
/// clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

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
    /// The table is being asked under the lock, which takes a while with a database
    /// server. What the recorder has to tell waits in the inbox meanwhile.
    asking: AtomicBool,
    inbox: Mutex<Inbox>,
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
    /// Bytes of responses that are not stored yet. A quick recorder makes it negative
    /// for a moment: they are counted when their slots end.
    unrecorded_bytes: isize,
    /// Where other processes share the table: the leases of all that is claimed,
    leases: HashMap<Id, u64>,
    /// and those that can be given back, with the lanes to look at then.
    returned: Vec<(Id, u64, Lane)>,
    /// When what is next in line was last given up, for a new look at the table.
    looked_at: Instant,
    holds: Holds,
    /// Rows that are being held back, the writing of which is owed; false if a
    /// client's write or the end of the hold came in between.
    holding: HashMap<Id, bool>,
    /// Outcomes can't be stored: no attempt may begin.
    unrecordable: bool,
    /// The table couldn't be read: no claiming before.
    paused: Option<(Instant, Duration)>,
    /// When the timer will go off.
    armed: Option<Timestamp>,
    /// Who waits for the timer to go round.
    rounds: Vec<oneshot::Sender<()>>,
    /// An empty inbox, whose memory is used again.
    spare_inbox: Inbox,
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
            unrecorded_bytes: 0,
            leases: HashMap::new(),
            returned: Vec::new(),
            looked_at: Instant::now(),
            holds: Holds::default(),
            holding: HashMap::new(),
            unrecordable: false,
            paused: None,
            armed: None,
            rounds: Vec::new(),
            spare_inbox: Inbox::default(),
        };
        Self {
            db,
            drivers,
            clock,
            health,
            max_tries,
            slots,
            state: Mutex::new(state),
            asking: AtomicBool::new(false),
            inbox: Mutex::default(),
            running: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            timer: Condvar::new(),
            idle: Condvar::new(),
            wake: OnceLock::new(),
        }
    }

    /// From now on, `wake` is called whenever there is something to attempt.
    pub(crate) fn on_due(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Ends an attempt, if one has `ended`, and begins the next, if there is one to begin
    /// now: in one critical section, since threads meet there.
    pub(crate) fn next(self: &Arc<Self>, ended: Option<Slot>) -> Found {
        let mut found = Found::default();
        let mut state = self.lock();
        if let Some(mut slot) = ended {
            slot.end_within(&mut state);
        }
        if self.db.is_shared() {
            state.revoke_stale();
        }
        // Asked under the lock: an earlier time than the lanes have seen would find
        // none of the rows that are due by theirs, for ever.
        let now = self.clock.now();
        while let Some(lane) = self.pick(&mut state, now) {
            let Some(item) = state.take_waiting(lane) else {
                self.asking.store(true, Ordering::SeqCst);
                let filled = self.fill(&mut state, lane, now, &mut found.owed);
                self.asking.store(false, Ordering::SeqCst);
                // Who left something there meanwhile counts on this section: another one, which
                // may not wake anybody, must not be the first to find it.
                self.empty_inbox(&mut state);
                match filled {
                    Ok(()) => self.resume(&mut state),
                    Err(error) => self.pause(&mut state, &error),
                }
                continue;
            };
            let Some(driver) = self.drivers.find(&item.r#type) else {
                state.give_back(&item.id, lane);
                continue;
            };
            if item.is_resent() {
                self.end_hold(&mut state, driver.as_ref(), &item, &mut found.owed, now);
            } else if let Some((destination, until)) = self.held_until(&state, &item) {
                state.holds.wait(&destination, lane);
                self.hold_back(&mut state, lane, vec![item.id], until, &mut found.owed);
                continue;
            }
            state.sending.insert(item.id.clone());
            state.lanes.begin(lane);
            let claim = Claim { claims: self.clone(), id: Some(item.id.clone()), lane };
            let slot = Slot::begin(self.clone(), lane);
            found.begun = Some(Begun { driver: driver.clone(), item, claim, slot });
            break;
        }
        self.unlock_at(state, now);
        found
    }

    /// Nothing for the destination of this notification, itself included, is
    /// attempted before then.
    pub(crate) fn hold(&self, driver: &dyn Driver, item: &Item, until: Timestamp) {
        if let Some(destination) = driver::destination(driver, &item.endpoint) {
            self.lock().holds.add(&destination, item.lane, until, self.clock.now());
        }
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
        let shared = self.db.is_shared();
        let (mut scanned, mut renewed) = (Instant::now(), Instant::now());
        let mut state = self.lock();
        while !self.is_stopping() {
            let scan_due = shared && scanned.elapsed() >= SCAN;
            if scan_due || self.pick(&mut state, self.clock.now()).is_some() {
                drop(state);
                if scan_due {
                    scanned = Instant::now();
                    // A table that doesn't answer is seen at the next claim.
                    let _ = self.look_around(&mut renewed);
                } else {
                    self.wake();
                }
                state = self.lock();
                if self.is_stopping() {
                    break;
                }
            }
            for round in state.rounds.drain(..) {
                let _ = round.send(());
            }
            state.armed = state.lanes.next_timer();
            let due = state.armed.map(|at| self.clock.until(at).min(LONGEST_SLEEP));
            let resumed = state.paused.map(|(until, _)| until.saturating_duration_since(Instant::now()));
            // While claiming is paused, whatever is due has to wait for that.
            let wait = resumed.filter(|left| !left.is_zero()).or(due);
            let scan = shared.then(|| SCAN.saturating_sub(scanned.elapsed()));
            state = match wait.into_iter().chain(scan).min() {
                // At least a moment, so that it ends after the time and not just before.
                Some(wait) => {
                    let wait = wait.max(Duration::from_millis(1));
                    self.timer.wait_timeout(state, wait).expect(POISONED).0
                }
                None => self.timer.wait(state).expect(POISONED),
            };
        }
        state.rounds.clear();
    }

    /// Has the timer go round once, whatever is due. Waits for the lock. What is returned fails
    /// when there is no timer any more.
    pub(crate) fn round(&self) -> oneshot::Receiver<()> {
        let (went, round) = oneshot::channel();
        let mut state = self.lock();
        if !self.is_stopping() {
            state.rounds.push(went);
            self.timer.notify_one();
        }
        self.unlock(state);
        round
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

    /// Waits until no attempt runs, after a [`stop`](Self::stop); false if that takes
    /// longer than `deadline`.
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
        let mut state = self.state.lock().expect(POISONED);
        self.empty_inbox(&mut state);
        state
    }

    /// Ends a critical section that may have made something due.
    fn unlock(&self, state: MutexGuard<'_, Inner>) {
        self.unlock_at(state, self.clock.now());
    }

    /// The same, for one that has asked for the time.
    fn unlock_at(&self, mut state: MutexGuard<'_, Inner>, now: Timestamp) {
        let due = self.pick(&mut state, now).is_some();
        let earliest = state.lanes.next_timer();
        if earliest.is_some_and(|at| state.armed.is_none_or(|armed| at < armed)) {
            state.armed = earliest;
            self.timer.notify_one();
        }
        drop(state);
        // Who left something there while the table was asked counts on this.
        if !self.inbox().is_empty() {
            self.unlock(self.lock());
        }
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
            || state.unrecorded_bytes >= MAX_UNRECORDED_BYTES
            || state.paused.is_some_and(|(until, _)| Instant::now() < until)
        {
            return None;
        }
        state.lanes.pick(now)
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
        self.waiting_bytes -= item.weight();
        Some(item)
    }

    fn push_waiting(&mut self, item: Item) {
        self.claimed.insert(item.id.clone());
        self.waiting.insert(item.id.clone(), item.lane);
        self.waiting_bytes += item.weight();
        self.lanes.push_waiting(item);
    }

    /// The row isn't claimed any more.
    fn give_back(&mut self, id: &Id, lane: Lane) {
        self.unlease(id.as_str(), lane);
        self.forget(id);
    }

    /// The same for a row whose lease has ended.
    fn forget(&mut self, id: &Id) {
        // What is empty, as it mostly is, isn't worth a hash.
        if !self.leases.is_empty() {
            self.leases.remove(id);
        }
        if !self.holding.is_empty() {
            self.holding.remove(id.as_str());
        }
        self.claimed.remove(id.as_str());
        self.sending.remove(id.as_str());
    }

    /// If it is merely next in line, or about to be held back, it isn't any more.
    fn revoke(&mut self, id: &Id) {
        if let Some(holds) = self.holding.get_mut(id) {
            *holds = false;
        }
        if let Some(lane) = self.waiting.remove(id) {
            let dropped = self.lanes.drop_waiting(lane, id.as_str());
            self.waiting_bytes -= dropped.map_or(0, |item| item.weight());
            self.give_back(id, lane);
        }
    }

    /// Nothing is next in line any more.
    fn revoke_all(&mut self) {
        self.lanes.drop_all_waiting();
        for (id, lane) in std::mem::take(&mut self.waiting) {
            self.give_back(&id, lane);
        }
        self.waiting_bytes = 0;
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// Drivers run outside of the lock, and a database that panics is beyond repair.
const POISONED: &str = "no critical section panics";
