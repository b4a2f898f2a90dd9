//! What all figures share: scale, sink, databases, and what was measured already in this run.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use notify_api::Lane;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::{
    Result,
    load::{Ids, Load, Until, payload, percentile},
    prepared::{self, Rows},
    proc::{self, Disk},
    program::NOTHING,
    server::{Program, Server},
    sink::Sink,
};

/// Where notifications go that nobody delivers.
const NOWHERE: &str = "nowhere";

/// Servers that the sink looks like.
const RECEIVERS: u8 = 4;

/// How much of everything.
pub(crate) struct Scale {
    /// Runs of each figure; the median counts.
    pub(crate) runs: usize,
    /// How long a rate is measured.
    pub(crate) window: Duration,
    /// Rows that are drained.
    pub(crate) due: usize,
    /// Rows of each kind in a table that is full.
    pub(crate) table: usize,
    /// Notifications whose way is measured one by one.
    pub(crate) latencies: usize,
    /// Notifications over which written bytes are counted, at 64 connections and at 1.
    pub(crate) written: [usize; 2],
    /// How long posting and delivering compete.
    pub(crate) mixed: Duration,
    /// How long an idle server is watched.
    pub(crate) idle: Duration,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        runs: 5,
        window: Duration::from_secs(3),
        due: 100_000,
        table: 1_000_000,
        latencies: 300,
        written: [50_000, 5_000],
        mixed: Duration::from_secs(10),
        idle: Duration::from_secs(10),
    };

    /// Enough to see that everything works; the figures mean little.
    pub(crate) const QUICK: Self = Self {
        runs: 1,
        window: Duration::from_millis(500),
        due: 10_000,
        table: 20_000,
        latencies: 30,
        written: [5_000, 500],
        mixed: Duration::from_secs(1),
        idle: Duration::from_secs(2),
    };
}

/// How accepting went.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// What the load generator cost, in cores.
    pub(crate) generator: f64,
    /// CPU time of the server for each request, with its delivery, in seconds.
    pub(crate) cpu: f64,
}

/// How a drain went.
#[derive(Clone, Copy)]
pub(crate) struct Drained {
    pub(crate) rate: f64,
    /// The most memory that the server had, in bytes.
    pub(crate) high_water: u64,
    /// CPU time of the server for each delivery, in seconds.
    pub(crate) cpu: f64,
}

pub(crate) struct Bench {
    pub(crate) scale: Scale,
    pub(crate) disk: Disk,
    pub(crate) sink: Sink,
    /// Which run this is, from 0.
    pub(crate) run: usize,
    directory: PathBuf,
    accepted: HashMap<String, Accepted>,
    drained: HashMap<String, Drained>,
    rates: HashMap<String, f64>,
}

impl Bench {
    pub(crate) fn new(scale: Scale) -> Result<Self> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let disk = Disk::of(&directory)?;
        let bench = Self {
            scale,
            disk,
            sink: Sink::start(RECEIVERS)?,
            run: 0,
            directory,
            accepted: HashMap::new(),
            drained: HashMap::new(),
            rates: HashMap::new(),
        };
        if bench.disk.is_memory() {
            return Err(format!("{} is in memory: a disk is measured here", bench.directory.display()).into());
        }
        Ok(bench)
    }

    /// What was measured in the run before counts no more.
    pub(crate) fn begin_run(&mut self, run: usize) {
        self.run = run;
        self.accepted.clear();
        self.drained.clear();
        self.rates.clear();
    }

    /// A new, empty database.
    pub(crate) fn fresh(&self) -> Result<PathBuf> {
        let path = self.directory.join("fresh.db");
        prepared::remove(&path);
        prepared::empty(&path)?;
        Ok(path)
    }

    /// A copy of a database with these rows added to those of another one; it is made once.
    pub(crate) fn copy(&self, name: &str, on: Option<&Path>, rows: &[Rows]) -> Result<PathBuf> {
        let original = self.original(name, on, rows)?;
        prepared::copy(&original, self.directory.join("copy.db"))
    }

    /// The one that is copied.
    pub(crate) fn original(&self, name: &str, on: Option<&Path>, rows: &[Rows]) -> Result<PathBuf> {
        let path = self.directory.join(format!("{name}.db"));
        if !path.exists() {
            let half = self.directory.join("half.db");
            prepared::remove(&half);
            match on {
                Some(other) => drop(prepared::copy(other, half.clone())?),
                None => prepared::empty(&half)?,
            }
            prepared::fill(&half, rows)?;
            File::open(&half)?.sync_all()?;
            fs::rename(&half, &path)?;
            prepared::remove(&half);
        }
        Ok(path)
    }

    /// `/send` with deliveries to a driver that does nothing.
    pub(crate) fn accepted(&mut self, connections: usize, ids: Ids) -> Result<Accepted> {
        let name = format!("{connections} {}", ids == Ids::Random);
        if let Some(known) = self.accepted.get(&name) {
            return Ok(*known);
        }
        let db = self.fresh()?;
        let accepted = self.accept(&Program::Nothing { db: &db }, connections, ids)?;
        self.accepted.insert(name, accepted);
        Ok(accepted)
    }

    pub(crate) fn accept(&self, program: &Program<'_>, connections: usize, ids: Ids) -> Result<Accepted> {
        let server = Server::start(program)?;
        let load = Load { server: server.address(), connections, ids, kind: NOTHING, endpoint: NOWHERE };
        let answered = load.run(Until::Time(self.scale.window))?;
        let cpu = proc::process_cpu(server.pid())? / answered.posted as f64;
        server.stop()?;
        Ok(Accepted {
            rate: answered.rate(),
            p50: answered.percentile(0.5),
            p99: answered.percentile(0.99),
            generator: answered.cores,
            cpu,
        })
    }

    /// Requests to a route that stores nothing.
    pub(crate) fn bare(&mut self, connections: usize) -> Result<f64> {
        self.rate(format!("bare {connections}"), |bench| {
            Ok(bench.accept(&Program::Bare, connections, Ids::Sequential)?.rate)
        })
    }

    /// The same rows in transactions of `batch`, without a server.
    pub(crate) fn sql(&mut self, batch: usize) -> Result<f64> {
        self.rate(format!("sql {batch}"), |bench| insert(&bench.fresh()?, batch, bench.scale.window))
    }

    /// 1 / (1/bare + 1/sql): what a server could accept whose every request is
    /// parsed and answered, and whose rows are inserted, one after the other.
    pub(crate) fn limit_of_accepting(&mut self, connections: usize) -> Result<f64> {
        let (bare, sql) = (self.bare(connections)?, self.sql((connections / 2).max(1))?);
        Ok(1.0 / (1.0 / bare + 1.0 / sql))
    }

    /// Notifications due for the first receiver, and no others.
    pub(crate) fn drained(&mut self) -> Result<Drained> {
        let rows = [Rows::due(self.scale.due, &[self.sink.hook(0)])];
        if let Some(known) = self.drained.get("due") {
            return Ok(*known);
        }
        let drained = self.drain(&self.copy("due", None, &rows)?)?;
        self.drained.insert("due".into(), drained);
        Ok(drained)
    }

    /// Starts the product on a database in which [`Scale::due`] rows are due for the sink.
    pub(crate) fn drain(&self, db: &Path) -> Result<Drained> {
        self.drain_of(db, self.scale.due)
    }

    /// The same with that many rows.
    pub(crate) fn drain_of(&self, db: &Path, due: usize) -> Result<Drained> {
        self.sink.reset();
        let server = Server::with_timeout(&Program::Product { db }, 1)?;
        let rate = self.sink.rate_of(due)?;
        let cpu = proc::process_cpu(server.pid())? / due as f64;
        let drained = Drained { rate, high_water: proc::resident_high_water(server.pid())?, cpu };
        server.stop()?;
        Ok(drained)
    }

    /// Measured once in each run.
    pub(crate) fn rate(
        &mut self,
        name: String,
        measure: impl FnOnce(&mut Self) -> Result<f64>,
    ) -> Result<f64> {
        if let Some(known) = self.rates.get(&name) {
            return Ok(*known);
        }
        let rate = measure(self)?;
        self.rates.insert(name, rate);
        Ok(rate)
    }

    /// The median time of one fsync of 4 KiB in a file that doesn't grow, in seconds.
    pub(crate) fn fsync(&self) -> Result<f64> {
        const BLOCK: usize = 4096;
        const BLOCKS: usize = 256;
        let path = self.directory.join("fsync");
        let mut file = File::create(&path)?;
        file.write_all(&vec![0; BLOCK * BLOCKS])?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let mut times = Vec::new();
        for number in 0..BLOCKS {
            file.write_all(&[number as u8; BLOCK])?;
            let begun = Instant::now();
            file.sync_all()?;
            times.push(begun.elapsed().as_secs_f32());
        }
        fs::remove_file(path)?;
        times.sort_unstable_by(f32::total_cmp);
        Ok(percentile(&times, 0.5))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Inserts rows as accepting does, as fast as it goes; returns rows a second.
fn insert(db: &Path, batch: usize, window: Duration) -> Result<f64> {
    let mut connection = Connection::open(db)?;
    connection.pragma_update(None, "synchronous", "full")?;
    let (lane, payload) = (Lane::named(NOWHERE).number(), payload());
    let warm_up = window / 5;
    let begun = Instant::now();
    let (mut rows, mut measured_from) = (0, None);
    loop {
        let now = Instant::now();
        if measured_from.is_none() && now - begun >= warm_up {
            (rows, measured_from) = (0, Some(now));
        }
        if let Some(from) = measured_from.filter(|from| now - *from >= window) {
            return Ok(rows as f64 / (now - from).as_secs_f64());
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..batch {
            let mut insert = transaction.prepare_cached(
                "insert into items(notify_id, driver, endpoint, content, create_at, next_at, tried, once, \
                 epoch, lane) values(?1, ?2, ?3, ?4, ?5, ?5, 0, 0, 0, ?6) on conflict(notify_id) do nothing",
            )?;
            let (id, now) = (Ids::Sequential.make(), begun.elapsed().as_secs() + 1_764_000_000);
            insert.execute(params![id, NOTHING, NOWHERE, payload.as_bytes(), now as i64, lane])?;
        }
        transaction.commit()?;
        rows += batch;
    }
}
