//! What a notification costs the disk in its whole life.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    Result,
    bench::Bench,
    load::{Ids, Load, Until},
    prepared,
    program::NOTHING,
    report::{Limit, Row, Sample, Unit},
    server::{Program, Server},
};

const fn row(name: &'static str, kib: f64) -> Row {
    Row { name, unit: Unit::Bytes, against: None, limit: Limit::AtMost(kib * 1024.0) }
}

static AT_64: Row = row("written to the disk for each notification, 64 connections", 2.5);
static AT_1: Row = row("the same, 1 connection", 16.0);
static RANDOM: Row = row("the same, 64 connections, random ids", 9.0);

/// Bytes that reach the disk for each notification: accepted, delivered and checkpointed.
pub(crate) fn bytes(bench: &mut Bench) -> Result<Vec<Sample>> {
    let [many, few] = bench.scale.written;
    Ok(vec![
        AT_64.is(written(bench, 64, Ids::Sequential, many)?),
        AT_1.is(written(bench, 1, Ids::Sequential, few)?),
        RANDOM.is(written(bench, 64, Ids::Random, many)?),
    ])
}

fn written(bench: &Bench, connections: usize, ids: Ids, count: usize) -> Result<f64> {
    let db = bench.fresh()?;
    sync()?;
    // The device's own count: that of a process is too high with large pages in
    // the page cache. What others write meanwhile is in it.
    let before = bench.disk.bytes_written()?;
    let server = Server::start(&Program::Nothing { db: &db })?;
    let load = Load { server: server.address(), connections, ids, kind: NOTHING, endpoint: "nowhere" };
    load.run(Until::Count(count))?;
    wait_until_drained(&Connection::open_with_flags(&db, OpenFlags::SQLITE_OPEN_READ_ONLY)?)?;
    server.stop()?;
    sync()?;
    Ok((bench.disk.bytes_written()? - before) as f64 / count as f64)
}

fn wait_until_drained(connection: &Connection) -> Result<()> {
    let begun = Instant::now();
    while !prepared::is_drained(connection)? {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("deliveries don't come to an end".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Has all that is written reach the disks.
fn sync() -> Result<()> {
    if Command::new("sync").status()?.success() { Ok(()) } else { Err("sync failed".into()) }
}
