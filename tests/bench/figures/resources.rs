//! What a server takes that has nothing to do.

use std::{fs, thread, time::Duration};

use crate::{
    Result,
    bench::Bench,
    load::{Client, Ids, Load},
    prepared::{self, Rows},
    proc,
    report::{Limit, Row, Sample, Unit},
    server::{PRODUCT, Program, Server},
};

/// Threads that made an attempt wait ten seconds for another one, and the pool
/// they came from keeps them ten seconds more.
const SETTLED: Duration = Duration::from_secs(24);

const MIB: f64 = 1024.0 * 1024.0;

static IDLE: Row =
    Row { name: "RSS, idle", unit: Unit::Bytes, against: None, limit: Limit::AtMost(8.0 * MIB) };
static PENDING: Row = Row {
    name: "RSS, idle, table full of pending rows",
    unit: Unit::Bytes,
    against: None,
    limit: Limit::AtMost(12.0 * MIB),
};
static SWITCHES: Row = Row {
    name: "voluntary context switches while idle, one waits for its retry",
    unit: Unit::Times,
    against: None,
    limit: Limit::AtMost(0.0),
};
static BINARY: Row = Row {
    name: "release binary, stripped",
    unit: Unit::Bytes,
    against: None,
    limit: Limit::AtMost(7.0 * MIB),
};

/// Memory after one notification was accepted.
pub(crate) fn memory(bench: &mut Bench) -> Result<Vec<Sample>> {
    let hook = bench.sink.hook(0);
    let empty = bench.fresh()?;
    let idle = resident(bench, &Program::Product { db: &empty }, &hook)?;
    let rows = [Rows::not_due(bench.scale.table, &hook)];
    let full = bench.copy("pending", None, &rows)?;
    let pending = resident(bench, &Program::Product { db: &full }, &hook)?;
    Ok(vec![IDLE.is(idle), PENDING.is(pending)])
}

fn resident(bench: &Bench, program: &Program<'_>, hook: &str) -> Result<f64> {
    let server = Server::start(program)?;
    deliver_one(bench, &server, hook)?;
    thread::sleep(Duration::from_millis(500));
    let resident = proc::resident(server.pid())?;
    server.stop()?;
    Ok(resident as f64)
}

fn deliver_one(bench: &Bench, server: &Server, hook: &str) -> Result<()> {
    bench.sink.reset();
    let load = Load {
        server: server.address(),
        connections: 1,
        ids: Ids::Sequential,
        kind: "HTTPPOST",
        endpoint: hook,
    };
    Client::new(&load)?.post(Ids::Sequential)?;
    bench.sink.wait_for(1)?;
    Ok(())
}

/// How often an idle server wakes up. All runs at once: they don't disturb each
/// other, as long as the figure is what it must be.
pub(crate) fn idle(bench: &mut Bench) -> Result<Vec<Sample>> {
    if bench.run > 0 {
        return Ok(Vec::new());
    }
    let hook = bench.sink.hook(0);
    let retry = Rows { due_in: 3600, ..Rows::due(1, std::slice::from_ref(&hook)) };
    let original = bench.original("retry", None, &[retry])?;
    let mut servers = Vec::new();
    for run in 0..bench.scale.runs {
        let db = prepared::copy(&original, original.with_file_name(format!("retry-{run}.db")))?;
        let server = Server::start(&Program::Product { db: &db })?;
        // It has been at work, and all its threads have been started.
        deliver_one(bench, &server, &hook)?;
        servers.push(server);
    }
    thread::sleep(SETTLED);
    let switches = |servers: &[Server]| -> Result<Vec<u64>> {
        servers.iter().map(|server| proc::voluntary_switches(server.pid())).collect()
    };
    let before = switches(&servers)?;
    thread::sleep(bench.scale.idle);
    let after = switches(&servers)?;
    for server in servers {
        server.stop()?;
    }
    Ok(before.iter().zip(after).map(|(before, after)| SWITCHES.is(after.abs_diff(*before) as f64)).collect())
}

/// How large the program is.
pub(crate) fn binary(bench: &mut Bench) -> Result<Vec<Sample>> {
    if bench.run > 0 {
        return Ok(Vec::new());
    }
    Ok(vec![BINARY.is(fs::metadata(PRODUCT)?.len() as f64)])
}
