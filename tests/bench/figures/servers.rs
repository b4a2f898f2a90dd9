//! The same with a database server, compared with the same SQL in a loop without HTTP.
//! Measured if `NOTIFY_BENCH_MYSQL` or `NOTIFY_BENCH_POSTGRES` holds the DSN of a
//! database for it, the notifications in which are deleted.

use std::{path::Path, time::Instant};

use notify_api::{
    DBDrv, Driver, Id, Item, Lane, State, Timestamp,
    db::{Outcome, Sending, Wanted, Write},
    drivers::{
        http::{HttpPost, Validator},
        web::{WebClient, WebOptions},
    },
};

use crate::{
    Result,
    bench::Bench,
    load::{Ids, payload},
    program,
    report::{Limit, Row, Sample, Unit},
    server::Program,
};

/// Rows that are drained.
const DUE: usize = 20_000;

/// What the recorder stores at once while draining, and the sender claims at once.
const OUTCOMES: usize = 32;
const CLAIMED: usize = 2 * program::THREADS;

const fn row(name: &'static str) -> Row {
    Row { name, unit: Unit::PerSecond, against: Some("its SQL in a loop"), limit: Limit::None }
}

static MYSQL: [Row; 3] = [
    row("MySQL: `/send`, 1 connection"),
    row("MySQL: `/send`, 64 connections"),
    row("MySQL: draining 20,000, 10 threads"),
];
static POSTGRES: [Row; 3] = [
    row("PostgreSQL: `/send`, 1 connection"),
    row("PostgreSQL: `/send`, 64 connections"),
    row("PostgreSQL: draining 20,000, 10 threads"),
];

pub(crate) fn mysql(bench: &mut Bench) -> Result<Vec<Sample>> {
    measure(bench, "NOTIFY_BENCH_MYSQL", &MYSQL)
}

pub(crate) fn postgres(bench: &mut Bench) -> Result<Vec<Sample>> {
    measure(bench, "NOTIFY_BENCH_POSTGRES", &POSTGRES)
}

fn measure(bench: &mut Bench, variable: &str, [one, many, drain]: &'static [Row; 3]) -> Result<Vec<Sample>> {
    let Ok(dsn) = std::env::var(variable) else { return Ok(Vec::new()) };
    let db = program::open(&dsn)?;
    let db = db.as_ref();
    let hook = bench.sink.hook(0);
    let mut samples = Vec::new();
    for (row, connections, batch) in [(one, 1, 1), (many, 64, 32)] {
        let sql = inserted(bench, db, batch)?;
        empty(db)?;
        let served = Program::Nothing { db: Path::new(&dsn) };
        let accepted = bench.accept(&served, connections, Ids::Sequential)?.rate;
        samples.push(row.is_against(accepted, sql));
    }
    empty(db)?;
    fill(db, &hook)?;
    let sql = drained(db, &hook)?;
    empty(db)?;
    fill(db, &hook)?;
    let delivered = bench.drain_of(Path::new(&dsn), DUE)?.rate;
    empty(db)?;
    samples.push(drain.is_against(delivered, sql));
    Ok(samples)
}

fn empty(db: &dyn DBDrv) -> Result<()> {
    Ok(db.force_clear(Timestamp::MAX, &Sending::default())?)
}

fn item(hook: &str) -> Item {
    let lane = HttpPost::new(&WebClient::new(WebOptions::default()), Validator::Status2xx).lane(hook);
    Item {
        id: Id::from_store(Ids::Sequential.make()),
        r#type: "HTTPPOST".into(),
        endpoint: hook.into(),
        content: payload().into_bytes(),
        create_at: Timestamp::from_secs(1_764_000_000),
        next_at: Timestamp::from_secs(1_764_000_000),
        tried: 0,
        once: false,
        epoch: 0,
        lane: Lane::named(&lane),
        lease: 0,
    }
}

fn creates(item: &Item, count: usize) -> Vec<Write> {
    let make = |_| Write::Create(Item { id: Id::from_store(Ids::Sequential.make()), ..item.clone() });
    (0..count).map(make).collect()
}

fn write(db: &dyn DBDrv, batch: &[Write]) -> Result<()> {
    for result in db.write(batch, &Sending::default())? {
        result?;
    }
    Ok(())
}

/// Rows a second that are inserted by batches of this size.
fn inserted(bench: &Bench, db: &dyn DBDrv, batch: usize) -> Result<f64> {
    empty(db)?;
    let (item, begun, mut rows) = (item("http://127.0.0.1/hook"), Instant::now(), 0);
    while begun.elapsed() < bench.scale.window {
        write(db, &creates(&item, batch))?;
        rows += batch;
    }
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

fn fill(db: &dyn DBDrv, hook: &str) -> Result<()> {
    let item = item(hook);
    for _ in 0..DUE / 500 {
        write(db, &creates(&item, 500))?;
    }
    Ok(())
}

/// Rows a second that are claimed, and whose outcomes are stored.
fn drained(db: &dyn DBDrv, hook: &str) -> Result<f64> {
    let (lane, skip, begun, mut rows) = (item(hook).lane, Sending::default(), Instant::now(), 0);
    let mut outcomes = Vec::new();
    while rows < DUE {
        let wanted = Wanted {
            lane,
            now: Timestamp::from_secs(1_764_000_001),
            drivers: &["HTTPPOST"],
            skip: &skip,
            max_tries: 32,
            limit: CLAIMED,
            max_bytes: usize::MAX,
        };
        let claimed = db.claim(&wanted)?.items;
        rows += claimed.len();
        let is_last = claimed.is_empty() || rows >= DUE;
        outcomes.extend(claimed.into_iter().map(|item| {
            Write::Outcome(Outcome {
                id: item.id,
                epoch: item.epoch,
                lease: item.lease,
                tried: 1,
                next_at: item.next_at,
                state: State::Success,
                response: b"ok".to_vec(),
                keep_response: false,
            })
        }));
        if outcomes.len() >= OUTCOMES || is_last {
            write(db, &std::mem::take(&mut outcomes))?;
        }
        if is_last && rows < DUE {
            return Err("some rows can't be claimed".into());
        }
    }
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}
