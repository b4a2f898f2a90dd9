//! How long a notification takes from the answer to its receiver.

use std::{thread, time::Duration};

use crate::{
    Result,
    bench::Bench,
    load::{Client, Ids, Load, percentile},
    report::{Limit, Row, Sample, Unit},
    server::{Program, Server},
};

/// So long after an arrival the server has stored the outcome and is idle again.
const PAUSE: Duration = Duration::from_millis(25);

static MEDIAN: Row = Row {
    name: "`/send` answered → arrived, p50",
    unit: Unit::Seconds,
    against: Some("one fsync"),
    limit: Limit::AtMost(2.0),
};
static TAIL: Row = Row {
    name: "`/send` answered → arrived, p99",
    unit: Unit::Seconds,
    against: Some("one fsync"),
    limit: Limit::AtMost(4.0),
};

/// One notification at a time, on an idle server.
pub(crate) fn latency(bench: &mut Bench) -> Result<Vec<Sample>> {
    let db = bench.fresh()?;
    let server = Server::start(&Program::Product { db: &db })?;
    let hook = bench.sink.hook(0);
    let load = Load {
        server: server.address(),
        connections: 1,
        ids: Ids::Sequential,
        kind: "HTTPPOST",
        endpoint: &hook,
    };
    let fsync = bench.fsync()?;
    let arrivals = bench.sink.arrivals();
    let mut client = Client::new(&load)?;
    let mut times = Vec::new();
    // The first ones open connections and start threads.
    for number in 0..bench.scale.latencies + 5 {
        let answered = client.post(Ids::Sequential)?;
        let arrived = arrivals.recv_timeout(Duration::from_secs(10))?;
        if number >= 5 {
            // It may arrive before the answer does.
            times.push(arrived.saturating_duration_since(answered).as_secs_f32());
        }
        thread::sleep(PAUSE);
    }
    server.stop()?;
    times.sort_unstable_by(f32::total_cmp);
    let fsync = (fsync + bench.fsync()?) / 2.0;
    Ok(vec![
        MEDIAN.is_against(percentile(&times, 0.5), fsync),
        TAIL.is_against(percentile(&times, 0.99), fsync),
    ])
}
