//! Delivers what is due: attempts, what they lead to, and the threads that make them.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};

use crate::{
    claims::{Answer, Begun, Claims, Owed, Slot},
    clock::Clock,
    db::{DBDrv, DbError, Outcome},
    driver::{Delivery, Drivers, SendError},
    health::Health,
    metrics::Metrics,
    notification::{Item, Lane, MAX_RESPONSE_BYTES, State, Timestamp},
    recorder::Recorder,
    retention::Retention,
    scheduler::{Attempt, DefaultScheduler, Next, Scheduler},
};

mod failure_log;
mod workers;

use failure_log::FailureLog;
use workers::Workers;

/// A receiver's "not before" is honoured up to this.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that is less behind than this at a start keeps what it promised.
const CLOCK_ERROR: Duration = Duration::from_secs(60 * 60);

/// How notifications are stored and sent.
#[derive(Clone)]
pub struct SenderOptions {
    /// Attempts before a notification is given up: 1 means no retry, 0 means
    /// [`u32::MAX`]. 32 by default.
    pub max_tries: u32,
    /// When a failed one is tried again; [`DefaultScheduler`] by default.
    pub scheduler: Arc<dyn Scheduler>,
    /// How many attempts may run at once, each on a thread of its own; 0 means 1.
    /// 10 by default.
    pub max_threads: usize,
    /// Where notifications live.
    pub db: Arc<dyn DBDrv>,
    /// How long finished ones stay there; for ever by default.
    pub retention: Retention,
}

impl SenderOptions {
    /// The defaults, with this database.
    pub fn new(db: impl DBDrv) -> Self {
        Self {
            max_tries: 32,
            scheduler: Arc::new(DefaultScheduler),
            max_threads: 10,
            db: Arc::new(db),
            retention: Retention::default(),
        }
    }
}

impl std::fmt::Debug for SenderOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SenderOptions")
            .field("max_tries", &self.max_tries)
            .field("max_threads", &self.max_threads)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// A running sender, and the recorder it shares with the server.
pub(crate) struct Sender {
    pub(crate) db: Arc<dyn DBDrv>,
    pub(crate) drivers: Drivers,
    pub(crate) clock: Arc<Clock>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) max_tries: u32,
    has_lanes: bool,
    claims: Arc<Claims>,
    /// Whom the claims call; they don't own it, since it owns them.
    workers: Arc<Workers>,
    /// Removes what was kept long enough.
    retention: Option<JoinHandle<()>>,
    /// Told when a thread has panicked.
    ended: Arc<Notify>,
}

impl Sender {
    /// Reads from the table what is due when, and starts sending. Blocks while it reads.
    pub(crate) fn start(
        options: SenderOptions,
        drivers: Drivers,
        runtime: Handle,
    ) -> Result<Self, SenderError> {
        let SenderOptions { max_tries, scheduler, max_threads, db, retention } = options;
        let max_tries = if max_tries == 0 { u32::MAX } else { max_tries };
        let slots = max_threads.max(1);
        let newest = db.newest()?;
        let clock = Arc::new(Clock::not_before(newest.unwrap_or(Timestamp::MIN)));
        let health = Arc::new(Health::default());
        let metrics = Arc::new(Metrics::new(drivers.types()));
        let claims = Arc::new(Claims::new(
            db.clone(),
            drivers.clone(),
            clock.clone(),
            health.clone(),
            max_tries,
            slots,
        ));
        hasten(db.as_ref(), scheduler.as_ref(), clock.now())?;
        claims.note(db.heads()?);
        let ended = Arc::new(Notify::new());
        let watch = Ended { notify: ended.clone(), health: health.clone() };
        let recorder = Recorder::start(
            runtime.clone(),
            db.clone(),
            claims.clone(),
            health.clone(),
            metrics.clone(),
            watch.clone(),
        )?;
        let recorder = Arc::new(recorder);
        let attempts = Attempts {
            claims: claims.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
            scheduler,
            max_tries,
            metrics: metrics.clone(),
            failures: FailureLog::new(runtime.clone()),
            health: health.clone(),
        };
        let handle = runtime.clone();
        let workers = Workers::new(slots, runtime, move || attempts.make());
        let called = Arc::downgrade(&workers);
        claims.on_due(move || {
            if let Some(workers) = called.upgrade() {
                workers.wake();
            }
        });
        thread::Builder::new().name("timer".into()).spawn({
            let claims = claims.clone();
            move || {
                let _watch = watch;
                claims.run_timer();
            }
        })?;
        let retention = retention.start(recorder.clone(), newest, &handle);
        let has_lanes = db.has_lanes();
        Ok(Self {
            db,
            drivers,
            clock,
            health,
            metrics,
            recorder,
            max_tries,
            has_lanes,
            claims,
            workers,
            retention,
            ended,
        })
    }

    /// The lane that a notification waits in.
    pub(crate) fn lane(&self, kind: &str, endpoint: &str) -> Lane {
        if self.has_lanes { self.drivers.lane(kind, endpoint) } else { Lane::NONE }
    }

    /// How many attempts are running.
    pub(crate) fn running(&self) -> usize {
        self.claims.running()
    }

    /// What keeps it from its work, `None` if nothing does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    /// Returns when each of its threads has gone round once and the database has answered, be
    /// it with an error; never, if something hangs. Blocks.
    pub(crate) fn go_round(&self) {
        let rounds = [self.recorder.round(), self.claims.round()];
        let _ = self.db.ping();
        for round in rounds {
            // One that has ended doesn't hang.
            let _ = round.blocking_recv();
        }
    }

    /// Waits until one of its threads has panicked.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Begins no more attempts, waits for the running ones until `deadline`, stores
    /// what they led to and closes the database. Those that are cut off are sent
    /// again after the next start. Returns how many these are. Blocks.
    pub(crate) fn stop(&self, deadline: Instant) -> usize {
        self.stop_removing();
        self.claims.stop();
        self.claims.wait_idle(deadline);
        let cut_off = self.claims.running();
        // What is leased and was never begun is for another process at once.
        let _ = self.claims.exclusive().revoke_all();
        self.workers.dismiss();
        self.recorder.close();
        self.db.close();
        cut_off
    }

    fn stop_removing(&self) {
        if let Some(retention) = &self.retention {
            retention.abort();
        }
    }

    /// From now on no attempt begins.
    pub(crate) fn begin_no_more(&self) {
        self.claims.begin_no_more();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop_removing();
        self.claims.stop();
        self.workers.dismiss();
        self.recorder.close();
    }
}

/// Held by a thread; tells when it is dropped, and whether that is a panic.
#[derive(Clone)]
struct Ended {
    notify: Arc<Notify>,
    health: Arc<Health>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            self.health.failed(Health::SENDER, &"restart the service");
            self.notify.notify_one();
        }
    }
}

/// Why sending can't start.
#[derive(Debug)]
pub(crate) enum SenderError {
    Db(DbError),
    Thread(std::io::Error),
}

impl From<DbError> for SenderError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<std::io::Error> for SenderError {
    fn from(error: std::io::Error) -> Self {
        Self::Thread(error)
    }
}

/// What a worker does.
struct Attempts {
    claims: Arc<Claims>,
    recorder: Arc<Recorder>,
    clock: Arc<Clock>,
    scheduler: Arc<dyn Scheduler>,
    max_tries: u32,
    metrics: Arc<Metrics>,
    failures: FailureLog,
    health: Arc<Health>,
}

impl Attempts {
    /// Makes one attempt after the other, until there is none to make now.
    fn make(&self) {
        let mut ended = None;
        loop {
            let found = self.claims.next(ended);
            if !found.owed.is_empty() {
                self.recorder.owe(found.owed);
            }
            let Some(begun) = found.begun else { return };
            ended = Some(self.make_one(begun));
        }
    }

    /// Makes an attempt; its slot is still taken then.
    fn make_one(&self, begun: Begun) -> Slot {
        let Begun { item, driver, claim, mut slot } = begun;
        let delivery = Delivery { id: item.id.as_str(), endpoint: &item.endpoint, content: &item.content };
        let begun = Instant::now();
        let sent = panic::catch_unwind(AssertUnwindSafe(|| driver.send(&delivery))).unwrap_or_else(|panic| {
            Err(SendError::temporary(format!("the driver panicked: {}", words(&*panic))))
        });
        self.metrics.attempted(&item.r#type, begun.elapsed(), &sent);
        let ended_at = self.clock.now();
        let mut not_before = None;
        if let Err(error) = &sent {
            if error.is_unreachable() {
                slot.answer = Answer::Unreachable;
            }
            if let Some(wait) = error.wait().filter(|wait| !wait.is_zero()) {
                let until = self.clock.after(wait.min(LONGEST_HOLD));
                self.claims.hold(driver.as_ref(), &item, until);
                not_before = Some(until);
            }
        }
        let outcome = self.outcome(&item, sent, ended_at, not_before);
        self.metrics.finished(&item.r#type, outcome.state);
        self.recorder.owe([Owed::outcome(outcome, claim, &mut slot)]);
        slot
    }

    /// What the attempt leads to.
    fn outcome(
        &self,
        item: &Item,
        sent: Result<Vec<u8>, SendError>,
        ended_at: Timestamp,
        not_before: Option<Timestamp>,
    ) -> Outcome {
        let attempt = Attempt { r#type: &item.r#type, id: item.id.as_str(), ended_at, tried: item.tried };
        let next = panic::catch_unwind(AssertUnwindSafe(|| self.scheduler.next(&attempt)))
            .unwrap_or_else(|_| DefaultScheduler.next(&attempt));
        let mut tried = item.tried.saturating_add(1);
        let mut next_at = item.next_at;
        let (state, response) = match sent {
            Ok(response) => {
                tracing::debug!(id = ?item.id.as_str(), r#type = item.r#type, tried, "delivered");
                (State::Success, response)
            }
            Err(error) => {
                let last = item.once || tried >= self.max_tries;
                let state = match next {
                    _ if error.is_permanent() => State::Failed,
                    Next::Stop => {
                        tried = tried.max(self.max_tries);
                        State::Failed
                    }
                    _ if last => State::Failed,
                    Next::At(at) => {
                        next_at = not_before.map_or(at, |until| at.max(until));
                        State::Pending
                    }
                };
                self.failures.failed(item, tried, state, &error);
                if state == State::Failed {
                    self.health.gave_up();
                }
                (state, error.into_response())
            }
        };
        Outcome {
            id: item.id.clone(),
            epoch: item.epoch,
            lease: item.lease,
            tried,
            next_at,
            state,
            response: cut(response),
            keep_response: false,
        }
    }
}

/// Whatever is due later than anything can have asked for got that time from a clock that stood
/// wrong: it is due now.
fn hasten(db: &dyn DBDrv, scheduler: &dyn Scheduler, now: Timestamp) -> Result<(), DbError> {
    let Some(longest) = scheduler.longest() else { return Ok(()) };
    let hastened = db.hasten(now + longest.max(LONGEST_HOLD) + CLOCK_ERROR, now)?;
    if hastened > 0 {
        tracing::warn!(
            "{hastened} notifications were to be retried far in the future, by a clock that was wrong: now"
        );
    }
    Ok(())
}

/// Bounds what is stored of a response.
fn cut(mut response: Vec<u8>) -> Vec<u8> {
    if response.len() > MAX_RESPONSE_BYTES {
        response.truncate(MAX_RESPONSE_BYTES);
        response.extend_from_slice(format!("\n[cut here: over {MAX_RESPONSE_BYTES} bytes]").as_bytes());
    }
    response
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it didn't say why")
}
