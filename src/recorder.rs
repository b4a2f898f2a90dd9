//! Group commit: one thread owns all writes, and everything that waits is
//! written in one transaction with one fsync.
//!
//! Clients' writes are answered only after the commit. What attempts led to is
//! gathered for a moment, and rides along with the next client's write.

use std::{
    fmt,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
};

use crate::{
    claims::{Claims, Noted, Owed},
    db::{Clear, Cleared, DBDrv, DbError, Scope, Sending, Write, Written},
    health::Health,
    metrics::Metrics,
    notification::{Id, Item, Lane, Timestamp},
};

mod batch;
mod patience;
mod queue;

use batch::Batch;
use patience::Patience;
use queue::{Clearing, Client, GATHER, GATHER_FOR, Queue, Request, Shared};

/// How many writes go into one transaction.
const BATCH: usize = 512;

/// How many clients' writes may wait; the next one is refused.
const MAX_WAITING: usize = 2 * BATCH;

/// How long to wait after outcomes could not be stored, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long after a failure to find out by ourselves whether writing works again,
/// if nobody writes, at first and at most.
const PROBE: Duration = Duration::from_secs(1);
const LONGEST_PROBE: Duration = Duration::from_secs(8);

/// Takes writes, and has one thread that does them.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why a write is not even taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many are waiting.
    Full,
    /// The service is stopping.
    Closing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many writes are waiting for the database",
            Self::Closing => "the server is shutting down",
        })
    }
}

impl Recorder {
    /// Starts the writing thread; it drops `ended` when it ends.
    pub(crate) fn start(
        runtime: Handle,
        db: Arc<dyn DBDrv>,
        claims: Arc<Claims>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        ended: impl Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: shared.clone(),
            runtime,
            db,
            claims,
            health,
            metrics,
            failing: None,
            probe: None,
            full: false,
            patience: Patience::default(),
        };
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || {
            let _ended = ended;
            writer.run();
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Has a client's write done; what became of it is told after the commit.
    pub(crate) fn write(
        &self,
        write: Write,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<Result<Written, DbError>>, Refusal> {
        let (reply, receiver) = oneshot::channel();
        let client = Client { reply, _memory: memory };
        self.push(|queue| queue.requests.push_back(Request { write, client }))?;
        Ok(receiver)
    }

    /// Has rows deleted, a slice at a time between other writes. The last slice is the answer.
    pub(crate) fn clear(&self, clear: Clear) -> Result<oneshot::Receiver<Result<Cleared, DbError>>, Refusal> {
        self.push_clearing(clear, true)
    }

    /// Has one slice of that done, and is told what is left to do.
    pub(crate) fn clear_slice(
        &self,
        clear: Clear,
    ) -> Result<oneshot::Receiver<Result<Cleared, DbError>>, Refusal> {
        self.push_clearing(clear, false)
    }

    fn push_clearing(
        &self,
        clear: Clear,
        whole: bool,
    ) -> Result<oneshot::Receiver<Result<Cleared, DbError>>, Refusal> {
        let (reply, receiver) = oneshot::channel();
        self.push(|queue| queue.clears.push_back(Clearing { clear, whole, reply }))?;
        Ok(receiver)
    }

    /// Takes what the sender has to store. Never refused: there is at most one for
    /// each claim.
    pub(crate) fn owe(&self, owed: impl IntoIterator<Item = Owed>) {
        self.shared.owe(owed);
    }

    /// Has the writer go round once, whatever there is to write. What is returned fails when there
    /// is no writer any more.
    pub(crate) fn round(&self) -> oneshot::Receiver<()> {
        let (went, round) = oneshot::channel();
        let mut queue = self.shared.lock();
        if !queue.closing {
            queue.rounds.push(went);
            self.shared.wake_up(queue);
        }
        round
    }

    /// Writes what is there and ends the thread. Whatever comes later is refused.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().expect(POISONED).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the recorder has panicked");
        }
    }

    fn push(&self, push: impl FnOnce(&mut Queue)) -> Result<(), Refusal> {
        let mut queue = self.shared.lock();
        if queue.closing {
            return Err(Refusal::Closing);
        }
        if queue.requests.len() + queue.clears.len() >= MAX_WAITING {
            return Err(Refusal::Full);
        }
        push(&mut queue);
        if queue.has(queue.wanted) {
            self.shared.wake_up(queue);
        }
        Ok(())
    }
}

struct Writer {
    shared: Arc<Shared>,
    /// Where clients wait for answers.
    runtime: Handle,
    db: Arc<dyn DBDrv>,
    claims: Arc<Claims>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    /// Outcomes couldn't be stored: when to try again, after which pause.
    failing: Option<(Instant, Duration)>,
    /// The latest write failed, or nothing new is taken: when to probe, after which pause.
    probe: Option<(Instant, Duration)>,
    /// The latest create was refused for want of room.
    full: bool,
    patience: Patience,
}

impl Writer {
    fn run(mut self) {
        // Its memory is used again: what is as large as a batch is dear to allocate.
        let mut batch = Batch::default();
        while self.collect(&mut batch) {
            let clearing = batch.clearing.take();
            if batch.writes.is_empty() && clearing.is_none() {
                self.probe();
            }
            // Together, for one fsync; but what is owed must not fail for the sake
            // of a client's write that doesn't fit any more.
            if self.failing.is_some() {
                self.commit(&mut batch.split_off_owed());
                self.commit(&mut batch);
            } else {
                let answers = !batch.clients.is_empty();
                self.commit(&mut batch);
                if answers {
                    // Clients that were answered may have the next request ready: whoever wants
                    // to run goes first, and the next commit takes more for the same pages.
                    thread::yield_now();
                }
            }
            if let Some(clearing) = clearing {
                self.clear_slice(clearing);
            }
        }
        // Nobody may come for it any more, and claims that lie there would keep alive what holds them.
        self.claims.catch_up(Noted::Changes);
    }

    /// Waits for something to write; false when closing and all is written.
    fn collect(&self, batch: &mut Batch) -> bool {
        // What was written last is likely to be followed by outcomes, none of which
        // has to wake this thread if it looks by itself once more.
        let look = Instant::now() + GATHER_FOR;
        let enough = self.patience.enough();
        let mut patient_until = None;
        let mut queue = self.shared.lock();
        loop {
            for round in queue.rounds.drain(..) {
                let _ = round.send(());
            }
            if queue.closing {
                // A long clearing doesn't hold up the stop; its client is told.
                queue.clears.clear();
            }
            let now = Instant::now();
            let paused = self.failing.map(|(until, _)| until).filter(|until| *until > now);
            let gathered = queue.owed_since.map(|since| since + GATHER_FOR);
            let owed_ready =
                queue.closing || queue.owed.len() >= GATHER || gathered.is_some_and(|at| at <= now);
            let owed_ready = owed_ready && !queue.owed.is_empty() && paused.is_none();
            if !queue.requests.is_empty() && !queue.has(enough) {
                let until = *patient_until.get_or_insert(now + self.patience.time());
                if now < until {
                    queue.wanted = enough;
                    queue = self.shared.sleep(queue, Some(until));
                    queue.wanted = 0;
                    continue;
                }
            }
            if owed_ready || !queue.requests.is_empty() || !queue.clears.is_empty() {
                // Others wait for the lock: what there is changes places with nothing.
                if queue.requests.len() <= BATCH {
                    std::mem::swap(&mut queue.requests, &mut batch.requests);
                } else {
                    batch.requests.extend(queue.requests.drain(..BATCH));
                }
                if paused.is_none() {
                    std::mem::swap(&mut queue.owed, &mut batch.owed);
                    queue.owed_since = None;
                }
                batch.clearing = queue.clears.pop_front();
                drop(queue);
                batch.arrange();
                return true;
            }
            if queue.closing {
                return false;
            }
            let probe = self.probe.map(|(at, _)| at);
            if queue.owed.is_empty() && probe.is_some_and(|at| at <= now) {
                return true;
            }
            let until = match queue.owed.is_empty() {
                true => probe.into_iter().chain((look > now).then_some(look)).min(),
                false => paused.or(gathered),
            };
            queue = self.shared.sleep(queue, until);
        }
    }

    /// Writes all this in one transaction, then tells everybody; leaves it empty.
    fn commit(&mut self, batch: &mut Batch) {
        if batch.writes.is_empty() {
            return;
        }
        let begun = Instant::now();
        let written = self.write(&mut batch.writes);
        let took = begun.elapsed();
        let Batch { writes, clients, dues, .. } = batch;
        match written {
            Ok(mut results) => {
                self.works();
                let owed_results = results.split_off(clients.len());
                let asked = &writes[..clients.len()];
                self.metrics.committed(took, asked, &results, owed_results.len());
                self.look_at_creates(asked, &results);
                if !clients.is_empty() {
                    self.patience.committed(clients.len(), took);
                }
                // A row that was created may have been deleted by the same batch.
                let only_new = asked.iter().all(|write| matches!(write, Write::Create(_)));
                let releases = writes.iter().any(|write| matches!(write, Write::Release { .. }));
                let stored = !dues.is_empty();
                let mut writes = writes.drain(..);
                let asked = writes.by_ref().take(clients.len()).zip(&results);
                let noted = self.claims.committed(asked, only_new);
                let owed = writes.zip(dues.drain(..)).map(|(write, due)| Owed { write, due });
                let mut settled = owed.zip(owed_results);
                // What is released goes on, and isn't left to others.
                let released: Vec<_> = if releases { settled.by_ref().collect() } else { Vec::new() };
                let noted = noted.max(self.claims.settled(settled));
                self.answer(clients.drain(..).zip(results));
                self.claims.catch_up(noted);
                if stored && self.failing.take().is_some() {
                    self.claims.set_recordable(true);
                }
                if !released.is_empty() {
                    let again = self.claims.settle(released);
                    self.shared.lock().owe(again);
                }
            }
            Err(error) => {
                self.failed(&error);
                self.note_doubtful(&writes[..clients.len()]);
                let reason = match &error {
                    DbError::Unavailable(reason) => reason.to_string(),
                    refusal => refusal.to_string(),
                };
                let asked = clients.len();
                // Before anything that may have to wait for a query of the sender's.
                for client in clients.drain(..) {
                    let _ = client.reply.send(Err(DbError::unavailable(reason.clone())));
                }
                let owed = writes.drain(asked..).zip(dues.drain(..));
                self.keep(owed.map(|(write, due)| Owed { write, due }));
                writes.clear();
            }
        }
    }

    /// Writes a row that no client can address and no driver sends, and deletes it:
    /// nothing less tells whether the disk has room.
    fn probe(&mut self) {
        let item = Item {
            id: Id::from_store("\u{1}probe"),
            r#type: String::new(),
            endpoint: String::new(),
            content: Vec::new(),
            create_at: Timestamp::MIN,
            next_at: Timestamp::MAX,
            tried: 0,
            once: true,
            epoch: 0,
            lease: 0,
            lane: Lane::NONE,
        };
        let delete = Write::Delete { id: item.id.clone() };
        let batch = [Write::Create(item), delete];
        match self.db.write(&batch, &Sending::default()) {
            Ok(results) => {
                self.works();
                self.look_at_creates(&batch, &results);
                if self.full && self.probe.is_none_or(|(at, _)| at <= Instant::now()) {
                    // Refused for another reason.
                    self.probe_later();
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn works(&mut self) {
        if !self.full {
            self.probe = None;
        }
        self.health.works(Health::RECORDING);
    }

    fn failed(&mut self, error: &DbError) {
        self.probe_later();
        self.health.failed(Health::RECORDING, error);
    }

    /// Whether there is room for something new.
    fn look_at_creates(&mut self, batch: &[Write], results: &[Result<Written, DbError>]) {
        let refused = results.iter().find(|result| matches!(result, Err(DbError::Full(_))));
        if let Some(Err(reason)) = refused {
            self.full = true;
            self.probe_later();
            self.health.failed(Health::ROOM, reason);
        } else if self.full {
            let mut writes = batch.iter().zip(results);
            if writes.any(|write| matches!(write, (Write::Create(_), Ok(Written::Done)))) {
                self.full = false;
                self.probe = None;
                self.health.works(Health::ROOM);
            }
        }
    }

    fn probe_later(&mut self) {
        let wait = self.probe.map_or(PROBE, |(_, wait)| LONGEST_PROBE.min(wait * 2));
        self.probe = Some((Instant::now() + wait, wait));
    }

    /// Tells clients what became of their writes. Waking a task from another thread
    /// is a system call: one task that wakes all the others takes a single one.
    fn answer(&self, answers: impl ExactSizeIterator<Item = (Client, Result<Written, DbError>)>) {
        // Whoever asked may have gone; the write is done all the same.
        let tell = |(client, result): (Client, _)| drop(client.reply.send(result));
        if answers.len() <= 1 {
            return answers.for_each(tell);
        }
        let answers: Vec<_> = answers.collect();
        self.runtime.spawn(async move { answers.into_iter().for_each(tell) });
    }

    /// Deletes and resends must not meet an attempt that is about to begin, and
    /// what was decided before a resend must not be written after it.
    fn write(&self, batch: &mut [Write]) -> Result<Vec<Result<Written, DbError>>, DbError> {
        let touched = |write: &Write| match write {
            Write::Delete { id } | Write::Resend { id, .. } => Some(id.clone()),
            _ => None,
        };
        let touched: Vec<_> = batch.iter().filter_map(touched).collect();
        let holds = batch.iter().any(|write| matches!(write, Write::Hold { .. }));
        if touched.is_empty() && !holds {
            return self.db.write(batch, &Sending::default());
        }
        let mut claims = self.claims.exclusive();
        claims.revoke(&touched)?;
        for write in batch.iter_mut() {
            if let Write::Hold { ids, .. } = write {
                ids.retain(|id| claims.is_held(id));
            }
        }
        if touched.is_empty() {
            drop(claims);
            return self.db.write(batch, &Sending::default());
        }
        self.db.write(batch, claims.sending())
    }

    /// Tells the sender what may have been stored all the same: a look costs little.
    fn note_doubtful(&self, batch: &[Write]) {
        let creates = batch.iter().filter_map(|write| match write {
            Write::Create(item) => Some((item.lane, item.next_at)),
            _ => None,
        });
        self.claims.note(creates);
    }

    /// What couldn't be stored is tried again later; until then no attempt begins.
    fn keep(&mut self, owed: impl ExactSizeIterator<Item = Owed>) {
        if owed.len() == 0 {
            return;
        }
        let wait = self.failing.map_or(PAUSE, |(_, wait)| LONGEST_PAUSE.min(wait * 2));
        self.failing = Some((Instant::now() + wait, wait));
        self.claims.set_recordable(false);
        let mut queue = self.shared.lock();
        let newer = std::mem::take(&mut queue.owed);
        queue.owe(owed.chain(newer));
    }

    fn clear_slice(&mut self, clearing: Clearing) {
        let slice = || {
            let mut claims = self.claims.exclusive();
            if clearing.clear.scope == Scope::All {
                claims.revoke_all()?;
            }
            self.db.clear_slice(&clearing.clear, claims.sending())
        };
        match slice() {
            Ok(Cleared { rest: Some(clear), .. }) if clearing.whole => {
                self.shared.lock().clears.push_back(Clearing { clear, ..clearing });
            }
            answer => {
                // Whoever asked may have gone.
                let _ = clearing.reply.send(answer);
            }
        }
    }
}

const POISONED: &str = "no critical section panics";
