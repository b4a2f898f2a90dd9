//! What a stop waits for.

use super::*;

#[test]
fn after_a_stop_the_database_is_free_at_once() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").deliver("ok");
    server.api.await_state("n", SUCCESS);
    server.stop(PATIENCE);
    let stopped = Instant::now();
    Table::open(directory.path());
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
}

#[test]
fn a_stop_waits_for_what_is_being_sent_and_stores_its_outcome() {
    let directory = tempdir().unwrap();
    let (server, audience) = stage_in(directory.path(), Setup::default().threads(1));
    let api: Api = server.api;
    api.send("running", "STAGE", "a");
    let running = audience.expect("running");
    api.send("waiting", "STAGE", "a");
    let stopping = thread::spawn(move || server.stop(PATIENCE));
    // It has begun to stop when it doesn't let anybody in any more.
    while api.call("GET", "/health", "").is_ok() {
        thread::yield_now();
    }
    running.deliver("in time");
    stopping.join().unwrap();
    assert!(audience.0.try_recv().is_err(), "no new attempts");
    let table = Table::open(directory.path());
    assert_eq!(table.count("cur_state = 1 and tried = 1 and response = cast('in time' as blob)"), 1);
    assert_eq!(table.count("cur_state = 0 and tried = 0"), 1);
}
