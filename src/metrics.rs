//! What is counted and measured, for `/metrics`, in the text format of OpenMetrics.
//!
//! Whatever is counted while something is written or sent is an atomic, or a lock that nobody
//! else holds for long; what a number of rows takes time to find out is asked for by each scrape.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::text::{encode, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    db::{DbError, Figures, Write, Written},
    driver::SendError,
    notification::{State, Timestamp},
};

/// Upper bounds, in seconds. An attempt takes a network and a receiver, a commit a disk.
const ATTEMPTS: [f64; 11] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const COMMITS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Upper bounds of writes in one commit.
const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

/// How attempts end, and the states that end a notification, by the names of their labels.
const OUTCOMES: [&str; 5] = ["delivered", "temporary", "unreachable", "permanent", "not_before"];
const FINAL: [(State, &str); 2] = [(State::Success, "delivered"), (State::Failed, "failed")];

type Labels = Vec<(&'static str, String)>;

/// The counters. There is a bounded number of them: types are those of the drivers.
pub(crate) struct Metrics {
    registry: Registry,
    types: BTreeMap<String, OfType>,
    refused: Counter,
    commits: Histogram,
    batches: Histogram,
}

/// What is counted for each type.
struct OfType {
    accepted: Counter,
    attempts: [Counter; OUTCOMES.len()],
    finished: [Counter; FINAL.len()],
    durations: Histogram,
}

/// What is found out for one scrape.
pub(crate) struct Now {
    pub(crate) time: Timestamp,
    pub(crate) is_healthy: bool,
    pub(crate) sending: usize,
    /// `None` if the database can't tell.
    pub(crate) figures: Option<Figures>,
}

impl Metrics {
    /// Nothing has happened yet with drivers of these types.
    pub(crate) fn new<'a>(types: impl IntoIterator<Item = &'a str>) -> Self {
        let accepted = Family::<Labels, Counter>::default();
        let attempts = Family::<Labels, Counter>::default();
        let finished = Family::<Labels, Counter>::default();
        let durations =
            Family::<Labels, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(ATTEMPTS));
        let of_type = |kind: &str| {
            let of = || vec![("type", kind.to_owned())];
            let with = |name, value: &str| vec![("type", kind.to_owned()), (name, value.to_owned())];
            OfType {
                accepted: accepted.get_or_create_owned(&of()),
                attempts: OUTCOMES.map(|outcome| attempts.get_or_create_owned(&with("outcome", outcome))),
                finished: FINAL.map(|(_, state)| finished.get_or_create_owned(&with("state", state))),
                durations: durations.get_or_create_owned(&of()),
            }
        };
        let types = types.into_iter().map(|kind| (kind.to_owned(), of_type(kind))).collect();
        let (refused, commits, batches) =
            (Counter::default(), Histogram::new(COMMITS), Histogram::new(BATCHES));
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Gauge::<f64, AtomicU64>::default();
        start.set(started.as_secs_f64());

        let mut registry = Registry::default();
        // Not the type "info", which older readers of this format don't know.
        let build = Family::<Vec<(&str, &str)>, Gauge>::default();
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("notify_build_info", "What is running", build);
        // Under the name that all programs give it.
        registry.register_with_unit("process_start_time", "When it started, Unix time", Unit::Seconds, start);
        registry.register("notify_accepted", "Notifications that were stored", accepted);
        registry.register("notify_attempts", "Attempts that have ended, and how", attempts);
        let meaning = "How long attempts took";
        registry.register_with_unit("notify_attempt_duration", meaning, Unit::Seconds, durations);
        registry.register("notify_finished", "Notifications that an attempt has ended, and how", finished);
        let meaning = "Requests that were answered with 503, to be made again";
        registry.register("notify_refused_requests", meaning, refused.clone());
        let meaning = "How long commits of writes took";
        registry.register_with_unit("notify_commit_duration", meaning, Unit::Seconds, commits.clone());
        registry.register("notify_commit_writes", "How many writes were in one commit", batches.clone());
        Self { registry, types, refused, commits, batches }
    }

    /// These writes of clients were committed, and so many others with them.
    pub(crate) fn committed(
        &self,
        took: Duration,
        writes: &[Write],
        results: &[Result<Written, DbError>],
        others: usize,
    ) {
        self.commits.observe(took.as_secs_f64());
        self.batches.observe((writes.len() + others) as f64);
        for pair in writes.iter().zip(results) {
            if let (Write::Create(item), Ok(Written::Done)) = pair
                && let Some(of_type) = self.types.get(&item.r#type)
            {
                of_type.accepted.inc();
            }
        }
    }

    /// An attempt has ended.
    pub(crate) fn attempted(&self, kind: &str, took: Duration, sent: &Result<Vec<u8>, SendError>) {
        let Some(of_type) = self.types.get(kind) else { return };
        let outcome = match sent {
            Ok(_) => 0,
            Err(error) if error.is_unreachable() => 2,
            Err(error) if error.is_permanent() => 3,
            Err(error) if error.wait().is_some() => 4,
            Err(_) => 1,
        };
        of_type.attempts[outcome].inc();
        of_type.durations.observe(took.as_secs_f64());
    }

    /// An attempt has brought its notification to this state.
    pub(crate) fn finished(&self, kind: &str, state: State) {
        let place = FINAL.iter().position(|(is, _)| *is == state);
        if let (Some(place), Some(of_type)) = (place, self.types.get(kind)) {
            of_type.finished[place].inc();
        }
    }

    /// A request was answered with 503.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// All of it as text.
    ///
    /// # Errors
    /// Never: a string takes everything.
    pub(crate) fn text(&self, now: &Now) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        let mut gauge = |name, help, unit: Option<Unit>, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, gauge),
                None => registry.register(name, help, gauge),
            }
        };
        gauge("notify_healthy", "Whether /health says ok", None, now.is_healthy.into());
        gauge("notify_sending", "Attempts that are running", None, now.sending as u64);
        if let Some(Figures { pending, earliest, bytes }) = now.figures {
            gauge("notify_pending", "Notifications that wait or are being sent", None, pending);
            let age = earliest.map_or(Duration::ZERO, |earliest| now.time.since(earliest)).as_secs();
            let meaning =
                "How long ago the earliest pending notification fell due, whatever its type; 0 if none has";
            gauge("notify_oldest_due", meaning, Some(Unit::Seconds), age);
            if let Some(bytes) = bytes {
                gauge("notify_database_size", "The size of the database file", Some(Unit::Bytes), bytes);
            }
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
