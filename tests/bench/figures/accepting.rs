//! How much is accepted, with deliveries going to a driver that does nothing.

use crate::{
    Result,
    bench::{Accepted, Bench},
    load::Ids,
    report::{Limit, Row, Sample, Unit},
};

const fn row(name: &'static str, unit: Unit, against: &'static str, limit: Limit) -> Row {
    Row { name, unit, against: Some(against), limit }
}

const fn plain(name: &'static str, unit: Unit) -> Row {
    Row { name, unit, against: None, limit: Limit::None }
}

static BARE_1: Row = plain("bare: parsed and answered without storing, 1 connection", Unit::PerSecond);
static BARE_64: Row = plain("bare, 64 connections", Unit::PerSecond);
static SQL_1: Row = plain("sql: inserted without HTTP, one by one", Unit::PerSecond);
static SQL_32: Row = plain("sql, in batches of 32", Unit::PerSecond);
static AT_64: Row = row("`/send`, 64 connections", Unit::PerSecond, "H", Limit::AtLeast(0.95));
static AT_1: Row = row("`/send`, 1 connection", Unit::PerSecond, "H", Limit::AtLeast(0.9));
static AT_8: Row = row("`/send`, 8 connections", Unit::PerSecond, "H", Limit::None);
static AT_256: Row = row("`/send`, 256 connections", Unit::PerSecond, "64 connections", Limit::AtLeast(1.0));
static TAIL_1: Row = row("p99 at 1 connection", Unit::Seconds, "p50", Limit::None);
static TAIL_8: Row = row("p99 at 8 connections", Unit::Seconds, "p50", Limit::None);
static TAIL_64: Row = row("p99 at 64 connections", Unit::Seconds, "p50", Limit::AtMost(5.0));
static TAIL_256: Row = row("p99 at 256 connections", Unit::Seconds, "p50", Limit::AtMost(3.0));
static GENERATOR: Row = Row {
    name: "the load generator at 64 connections",
    unit: Unit::Cores,
    against: None,
    limit: Limit::AtMost(0.5),
};
static CPU: Row = plain("CPU time of the server for one `/send`, 64 connections", Unit::Seconds);
static RANDOM: Row =
    row("`/send`, 64 connections, random ids", Unit::PerSecond, "sequential ids", Limit::AtLeast(0.5));

fn tail(row: &'static Row, at: Accepted) -> Sample {
    row.is_against(at.p99, at.p50)
}

/// One client after the other: each waits for a commit of its own.
pub(crate) fn send_1(bench: &mut Bench) -> Result<Vec<Sample>> {
    let limit = bench.limit_of_accepting(1)?;
    let at_1 = bench.accepted(1, Ids::Sequential)?;
    Ok(vec![
        BARE_1.is(bench.bare(1)?),
        SQL_1.is(bench.sql(1)?),
        AT_1.is_against(at_1.rate, limit),
        tail(&TAIL_1, at_1),
    ])
}

/// A few clients.
pub(crate) fn send_8(bench: &mut Bench) -> Result<Vec<Sample>> {
    let limit = bench.limit_of_accepting(8)?;
    let at_8 = bench.accepted(8, Ids::Sequential)?;
    Ok(vec![AT_8.is_against(at_8.rate, limit), tail(&TAIL_8, at_8)])
}

/// Enough of them to keep disk and processor busy.
pub(crate) fn send_64(bench: &mut Bench) -> Result<Vec<Sample>> {
    let limit = bench.limit_of_accepting(64)?;
    let at_64 = bench.accepted(64, Ids::Sequential)?;
    Ok(vec![
        BARE_64.is(bench.bare(64)?),
        SQL_32.is(bench.sql(32)?),
        AT_64.is_against(at_64.rate, limit),
        tail(&TAIL_64, at_64),
        CPU.is(at_64.cpu),
        GENERATOR.is(at_64.generator),
    ])
}

/// More than there is any use for.
pub(crate) fn send_256(bench: &mut Bench) -> Result<Vec<Sample>> {
    let at_64 = bench.accepted(64, Ids::Sequential)?;
    let at_256 = bench.accepted(256, Ids::Sequential)?;
    Ok(vec![AT_256.is_against(at_256.rate, at_64.rate), tail(&TAIL_256, at_256)])
}

/// Ids that are spread over the whole index.
pub(crate) fn ids(bench: &mut Bench) -> Result<Vec<Sample>> {
    let sequential = bench.accepted(64, Ids::Sequential)?;
    let random = bench.accepted(64, Ids::Random)?;
    Ok(vec![RANDOM.is_against(random.rate, sequential.rate)])
}
