//! How soon a server is there.

use std::{thread, time::Duration};

use crate::{
    Result,
    bench::Bench,
    load::{Ids, Load, Until},
    prepared::Rows,
    report::{Limit, Row, Sample, Unit},
    server::{self, Program, Server},
};

const fn row(name: &'static str, limit: Limit) -> Row {
    Row { name, unit: Unit::Seconds, against: None, limit }
}

static EMPTY: Row = row("start to the first 200, empty table", Limit::None);
static PENDING: Row = row("start to the first 200, table full of pending rows", Limit::AtMost(0.025));
static KILLED: Row = row("start to the first 200, after kill -9 under load", Limit::AtMost(0.1));

/// From the start of the process to the answer of a `/send`, which is on the disk.
pub(crate) fn start(bench: &mut Bench) -> Result<Vec<Sample>> {
    let hook = bench.sink.hook(0);
    let first = |db: &std::path::Path| server::time_to_first_200(db, &Ids::Sequential.make(), &hook);
    let empty = first(&bench.fresh()?)?;
    let db = bench.copy("pending", None, &[Rows::not_due(bench.scale.table, &hook)])?;
    Ok(vec![EMPTY.is(empty), PENDING.is(first(&db)?)])
}

/// The same after the server was killed while it accepted and delivered.
pub(crate) fn crash(bench: &mut Bench) -> Result<Vec<Sample>> {
    let db = bench.fresh()?;
    let hook = bench.sink.hook(0);
    let server = Server::start(&Program::Product { db: &db })?;
    let load = Load {
        server: server.address(),
        connections: 64,
        ids: Ids::Sequential,
        kind: "HTTPPOST",
        endpoint: &hook,
    };
    thread::scope(|scope| {
        // It ends with an error: its server is gone.
        let posting = scope.spawn(|| load.run(Until::Time(Duration::from_secs(60))).map_err(drop));
        thread::sleep(bench.scale.window);
        let killed = server.kill();
        let _ = posting.join();
        killed
    })?;
    Ok(vec![KILLED.is(server::time_to_first_200(&db, &Ids::Sequential.make(), &hook)?)])
}
