//! How much is delivered by the release binary to a sink on the same machine.

use std::{net::TcpListener, thread, time::Instant};

use crate::{
    Result,
    bench::Bench,
    load::{Ids, Load, Until},
    prepared::Rows,
    report::{Limit, Row, Sample, Unit},
    server::{Process, Program, Server},
};

const fn row(name: &'static str, against: &'static str, limit: Limit) -> Row {
    Row { name, unit: Unit::PerSecond, against: Some(against), limit }
}

static DRAIN: Row = row("draining, 10 threads", "the HTTP driver in a loop, no queue", Limit::AtLeast(0.65));
static CPU: Row = Row {
    name: "CPU time of the server for one delivery",
    unit: Unit::Seconds,
    against: None,
    limit: Limit::None,
};
static HIGH_WATER: Row = Row {
    name: "RSS, high-water of draining",
    unit: Unit::Bytes,
    against: None,
    limit: Limit::AtMost(20.0 * 1024.0 * 1024.0),
};
static MIXED_DELIVERED: Row =
    row("delivered while 64 connections post", "draining alone", Limit::AtLeast(0.5));
static MIXED_ACCEPTED: Row = row("accepted meanwhile", "accepting alone", Limit::AtLeast(0.3));
static MIXED_REST: Row = row("draining the backlog after that", "draining alone", Limit::AtLeast(0.95));
static BESIDE: Row = row(
    "draining beside as many not-due and as many finished rows as the table holds",
    "with no other rows",
    Limit::AtLeast(0.95),
);
static BESIDE_ACCEPTED: Row =
    row("`/send`, 64 connections, beside them", "with no other rows", Limit::AtLeast(0.95));
static DEAD: Row =
    row("draining 4 lanes behind a dead lane that is as long", "without it", Limit::AtLeast(0.9));

/// Many due notifications for one receiver.
pub(crate) fn drain(bench: &mut Bench) -> Result<Vec<Sample>> {
    let drained = bench.drained()?;
    let looped = looped(bench)?;
    Ok(vec![
        DRAIN.is_against(drained.rate, looped),
        CPU.is(drained.cpu),
        HIGH_WATER.is(drained.high_water as f64),
    ])
}

/// The product's HTTP driver in a loop.
fn looped(bench: &mut Bench) -> Result<f64> {
    bench.rate("loop".into(), |bench| {
        bench.sink.reset();
        let hook = bench.sink.hook(0);
        let mut process = Process::start(&Program::Loop { hook: &hook, count: bench.scale.due }, 0, 10)?;
        process.wait_for_end()?;
        bench.sink.rate_of(bench.scale.due)
    })
}

/// Posting and delivering at once, then delivering what has piled up.
pub(crate) fn mixed(bench: &mut Bench) -> Result<Vec<Sample>> {
    let alone = bench.drained()?.rate;
    let accepting = bench.accepted(64, Ids::Sequential)?.rate;
    let hook = bench.sink.hook(0);
    let db = bench.copy("due", None, &[Rows::due(bench.scale.due, std::slice::from_ref(&hook))])?;
    bench.sink.reset();
    let server = Server::start(&Program::Product { db: &db })?;
    bench.sink.wait_for(1)?;
    let load = Load {
        server: server.address(),
        connections: 64,
        ids: Ids::Sequential,
        kind: "HTTPPOST",
        endpoint: &hook,
    };
    let (from, begun) = (bench.sink.count(), Instant::now());
    let answered = load.run(Until::Time(bench.scale.mixed))?;
    let (to, ended) = (bench.sink.count(), Instant::now());
    let delivered = (to - from) as f64 / (ended - begun).as_secs_f64();
    let all = bench.scale.due + answered.posted;
    let rest = all.saturating_sub(usize::try_from(to)?);
    let done = bench.sink.wait_for(all)?;
    server.stop()?;
    let mut samples = vec![
        MIXED_DELIVERED.is_against(delivered, alone),
        MIXED_ACCEPTED.is_against(answered.rate(), accepting),
    ];
    // Where delivering keeps up, there is no backlog to tell anything by.
    if rest > bench.scale.due / 4 {
        samples.push(MIXED_REST.is_against(rest as f64 / (done - ended).as_secs_f64(), alone));
    }
    Ok(samples)
}

/// A table that holds much more than what is due.
pub(crate) fn beside(bench: &mut Bench) -> Result<Vec<Sample>> {
    let alone = bench.drained()?.rate;
    let accepting = bench.accepted(64, Ids::Sequential)?.rate;
    let (table, hook) = (bench.scale.table, bench.sink.hook(0));
    let rows = [Rows::not_due(table, &hook), Rows::finished(table, &hook)];
    let full = bench.original("full", None, &rows)?;
    let due = [Rows::due(bench.scale.due, &[hook])];
    let drained = bench.drain(&bench.copy("full-and-due", Some(&full), &due)?)?.rate;
    let db = bench.copy("full", None, &rows)?;
    let accepted = bench.accept(&Program::Nothing { db: &db }, 64, Ids::Sequential)?.rate;
    Ok(vec![BESIDE.is_against(drained, alone), BESIDE_ACCEPTED.is_against(accepted, accepting)])
}

/// A receiver that takes connections and never answers, and was due before all others.
pub(crate) fn dead(bench: &mut Bench) -> Result<Vec<Sample>> {
    let due = bench.scale.due;
    let live = Rows::due(due, &bench.sink.hooks());
    let without = bench.drain(&bench.copy("lanes", None, std::slice::from_ref(&live))?)?.rate;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let hook = format!("http://{}/hook", silent.local_addr()?);
    // Made again in each run: the receiver's port is another one.
    let db = bench.fresh()?;
    crate::prepared::fill(&db, &[Rows { due_in: -120, ..Rows::due(due, &[hook]) }, live])?;
    thread::sleep(std::time::Duration::from_millis(100));
    let with = bench.drain(&db)?.rate;
    Ok(vec![DEAD.is_against(with, without)])
}
