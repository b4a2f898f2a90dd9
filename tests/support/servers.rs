//! What the tests of both database servers are made of.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use notify_api::{
    DBDrv, DbError, Id, Item, Lane, State, Timestamp,
    db::{Claimed, Outcome, Sending, Wanted, Write, Written},
};

/// The rows that an original table is filled with: id, attempts, state, response.
pub(crate) type OriginalRow = (&'static str, u32, u8, Option<&'static str>);

pub(crate) const ORIGINAL_ROWS: &[OriginalRow] = &[
    ("new", 0, 0, None),
    ("retried", 3, 0, Some("no route to host")),
    ("sent once", 5, 0, None),
    ("delivered", 1, 1, Some("0000 ok")),
    ("failed", 6, 2, Some("")),
    ("caf\u{e9}", 0, 0, None),
];

/// What `ORIGINAL_ROWS` have become.
pub(crate) fn check_taken_over(db: &dyn DBDrv) {
    for (id, tried, state, response) in ORIGINAL_ROWS {
        let detail = db.detail(id).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!((detail.status.tried, detail.status.state as u8), (*tried, *state), "{id}");
        assert_eq!(detail.response.as_deref(), response.map(str::as_bytes), "{id}");
        assert_eq!((&*detail.r#type, &*detail.endpoint), ("HTTPPOST", "http://127.0.0.1:9/hook"), "{id}");
        assert_eq!(detail.content, b"{\"body\":\"\"}");
        assert_eq!(detail.status.create_at, Timestamp::from_secs(1_600_000_000));
    }
    let mut waiting: Vec<Id> = db.unassigned(10).unwrap().into_iter().map(|row| row.id).collect();
    waiting.sort();
    let waiting: Vec<&str> = waiting.iter().map(Id::as_str).collect();
    assert_eq!(waiting, ["caf\u{e9}", "new", "retried", "sent once"]);
    // By the limit that made it wait for one attempt, and by a lower one.
    let once = |id: &str| {
        let others: Sending =
            ORIGINAL_ROWS.iter().filter(|row| row.0 != id).map(|row| self::id(row.0)).collect();
        let found = db.pending(Timestamp::MAX, 1_000, &["HTTPPOST"], &others).unwrap();
        found.unwrap_or_else(|| panic!("{id} is pending")).once
    };
    assert!(once("sent once"), "it has one attempt, whatever the limit");
    assert!(!once("retried") && !once("new"));
}

/// The table holds what is new: long ids and types, large numbers and contents.
pub(crate) fn check_is_wide_enough(db: &dyn DBDrv) {
    let made = Item {
        r#type: "t".repeat(255),
        endpoint: "\u{1f600}".repeat(2_048),
        content: vec![0xff; 5 << 20],
        tried: u32::MAX,
        ..item(&"\u{1f600}".repeat(128))
    };
    db.create(&made).unwrap();
    let detail = db.detail(made.id.as_str()).unwrap();
    assert!(detail.r#type == made.r#type && detail.endpoint == made.endpoint);
    assert!(detail.content == made.content && detail.status.tried == u32::MAX);
    for id in ["NEW", "new ", "cafe\u{301}", "cafe"] {
        db.create(&item(id)).unwrap_or_else(|error| panic!("{id:?} is another one: {error}"));
    }
}

/// A row that another program has just inserted is found and sent.
pub(crate) fn check_foreign_row(db: &dyn DBDrv, id: &str) {
    let lane = Lane::named("foreign");
    let found = db.unassigned(1_000).unwrap();
    assert!(found.iter().any(|row| row.id.as_str() == id), "{id} is not among {found:?}");
    write(db, Write::Assign(vec![(self::id(id), lane)])).unwrap();
    let claimed = claim(db, lane);
    let [item] = &claimed.items[..] else { panic!("{claimed:?}") };
    assert_eq!((item.id.as_str(), item.tried, item.once), (id, 0, false));
    assert_eq!(write(db, Write::Outcome(delivered(item))).unwrap(), Written::Done);
}

/// Two nodes and one row. `expire` lets the row's lease end.
pub(crate) fn check_two_nodes(a: &dyn DBDrv, b: &dyn DBDrv, expire: impl Fn(&str)) {
    let lane = Lane::named("two nodes");
    a.create(&Item { lane, ..item("one") }).unwrap();
    let by_a = claim(a, lane);
    assert_eq!(by_a.items.len(), 1);
    assert_eq!(claim(b, lane), Claimed::default());
    let none = Sending::default();
    assert!(matches!(b.delete("one", &none), Err(DbError::Sending)));
    b.force_clear(Timestamp::MAX, &none).unwrap();
    assert!(b.status("one").is_ok());

    expire("one");
    a.renew(&[(id("one"), by_a.items[0].lease)]).unwrap();
    assert_eq!(claim(b, lane), Claimed::default(), "nobody had it in the meantime, so it was prolonged");

    expire("one");
    let by_b = claim(b, lane);
    assert_eq!(by_b.items.len(), 1);
    a.renew(&[(id("one"), by_a.items[0].lease)]).unwrap();
    a.give_back(&[(id("one"), by_a.items[0].lease)]).unwrap();
    let late = Outcome { state: State::Failed, ..delivered(&by_a.items[0]) };
    assert_eq!(write(a, Write::Outcome(late.clone())).unwrap(), Written::Lost);
    assert!(matches!(a.delete("one", &none), Err(DbError::Sending)));
    assert_eq!(write(b, Write::Outcome(delivered(&by_b.items[0]))).unwrap(), Written::Done);
    assert_eq!(write(a, Write::Outcome(late)).unwrap(), Written::Lost);
    assert_eq!(a.status("one").unwrap().state, State::Success);
    a.delete("one", &none).unwrap();
}

/// A claim whose answer is lost: the rows are there at the next one. `slow` makes updates last
/// longer than anybody waits, `quick` ends that, when they have been done.
#[allow(dead_code)] // There is a kind of server where it can't be arranged.
pub(crate) fn check_lost_claim(db: &dyn DBDrv, slow: impl FnOnce(), quick: impl FnOnce()) {
    db.create(&item("one")).unwrap();
    slow();
    let lane = item("").lane;
    assert!(matches!(db.claim(&wanted(lane)), Err(DbError::Unavailable(_))));
    quick();
    let claimed = claim(db, lane);
    assert_eq!(claimed.items.len(), 1, "nobody else could send it for a minute");
    assert_eq!(write(db, Write::Outcome(delivered(&claimed.items[0]))).unwrap(), Written::Done);
}

/// One that doesn't fit harms no other.
pub(crate) fn check_bad_neighbours(db: &dyn DBDrv, bad: &[Item]) {
    let good = (0..20).map(|n| item(&format!("good {n}")));
    let mut batch: Vec<Write> = good.map(Write::Create).collect();
    for (number, bad) in bad.iter().enumerate() {
        batch.insert(5 * number, Write::Create(bad.clone()));
    }
    let answers = db.write(&batch, &Sending::default()).unwrap();
    for (write, answer) in batch.iter().zip(answers) {
        let Write::Create(item) = write else { unreachable!() };
        match answer {
            Ok(Written::Done) if item.id.as_str().starts_with("good") => {}
            Err(DbError::Refused(_)) if item.id.as_str().starts_with("bad") => {}
            other => panic!("{other:?} for {:?}", item.id),
        }
    }
    assert!((0..20).all(|n| db.status(&format!("good {n}")).is_ok()));
    assert!(bad.iter().all(|bad| matches!(db.status(bad.id.as_str()), Err(DbError::NotFound))));
}

/// All connections are cut off between the calls: nobody notices.
pub(crate) fn check_lost_connections(db: &impl DBDrv, cut: impl Fn()) {
    let barrier = &Barrier::new(6);
    // So that the pool holds several.
    thread::scope(|scope| {
        for n in 0..6 {
            scope.spawn(move || {
                barrier.wait();
                db.create(&item(&format!("before {n}"))).unwrap();
            });
        }
    });
    cut();
    assert!(db.status("before 0").is_ok());
    cut();
    let batch: Vec<Write> = (0..5).map(|n| Write::Create(item(&format!("after {n}")))).collect();
    let answers = db.write(&batch, &Sending::default()).unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Written::Done))), "{answers:?}");
    cut();
    db.resend("after 0", 32, Timestamp::from_secs(7)).unwrap();
    cut();
    assert_eq!(claim(db, item("").lane).items.len(), 11);
    cut();
    db.ping().unwrap();
}

/// A row that somebody else has locked: the call fails in time, and says why.
pub(crate) fn check_locked(db: &dyn DBDrv, id: &str) {
    let begun = Instant::now();
    match db.resend(id, 32, Timestamp::from_secs(7)) {
        Err(DbError::Unavailable(reason)) => {
            assert!(reason.to_string().contains("another transaction has locked a row"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
}

/// That many processes open the same table at once.
pub(crate) fn open_at_once<D: DBDrv>(open: impl Fn() -> D + Sync) -> Vec<D> {
    let barrier = &Barrier::new(4);
    let open = || {
        barrier.wait();
        open()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Whether the long tests are wanted.
pub(crate) fn wants_million() -> bool {
    let wanted = std::env::var_os("NOTIFY_TEST_MILLION").is_some();
    if !wanted {
        println!("set NOTIFY_TEST_MILLION to have this test done: it takes minutes");
    }
    wanted
}

/// Takes a table of a million rows over, and uses it.
pub(crate) fn check_million<D: DBDrv>(open: impl Fn() -> D) {
    let begun = Instant::now();
    let db = open();
    println!("taken over in {:.1} s", begun.elapsed().as_secs_f32());
    let begun = Instant::now();
    drop(open());
    println!("opened again in {:.3} s", begun.elapsed().as_secs_f32());
    let mut assigned = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let rows = db.unassigned(500).unwrap();
        let lanes = rows.into_iter().map(|row| (row.id, item("").lane)).collect();
        write(&db, Write::Assign(lanes)).unwrap();
        assigned += 500;
    }
    println!("{:.0} rows/s are given their lanes", assigned as f32 / begun.elapsed().as_secs_f32());
    let timed = |what: &str, work: &dyn Fn()| {
        let begun = Instant::now();
        (0..100).for_each(|_| work());
        println!("{what}: {:.0} us", begun.elapsed().as_secs_f32() * 1e4);
    };
    timed("heads", &|| assert_eq!(db.heads().unwrap().len(), 2));
    timed("newest", &|| assert!(db.newest().unwrap().is_some()));
    timed("status", &|| assert!(db.status("000012345").is_ok()));
    timed("a claim of 20", &|| {
        let wanted = Wanted { limit: 20, ..wanted(item("").lane) };
        assert_eq!(db.claim(&wanted).unwrap().items.len(), 20);
    });
    timed("a batch of 64", &|| {
        let batch: Vec<Write> =
            (0..64).map(|_| Write::Create(item(&uuid::Uuid::now_v7().to_string()))).collect();
        assert!(db.write(&batch, &Sending::default()).unwrap().iter().all(Result::is_ok));
    });
    timed("clearing 500", &|| {
        let clear = notify_api::db::Clear::new(notify_api::db::Scope::All, Timestamp::MAX);
        assert!(db.clear_slice(&clear, &Sending::default()).unwrap().rest.is_some());
    });
}

pub(crate) fn id(id: &str) -> Id {
    Id::from_store(id)
}

pub(crate) fn item(name: &str) -> Item {
    Item {
        id: id(name),
        r#type: "HTTPPOST".into(),
        endpoint: "http://127.0.0.1:9/hook".into(),
        content: b"{\"body\":\"\"}".to_vec(),
        create_at: Timestamp::from_secs(1_600_000_000),
        next_at: Timestamp::from_secs(1_600_000_000),
        tried: 0,
        once: false,
        epoch: 0,
        lease: 0,
        lane: Lane::named("http://127.0.0.1:9"),
    }
}

fn wanted(lane: Lane) -> Wanted<'static> {
    static NONE: std::sync::LazyLock<Sending> = std::sync::LazyLock::new(Sending::default);
    let now = Timestamp::from_secs(2_000_000_000);
    let drivers = &["HTTPPOST"];
    Wanted { lane, now, drivers, skip: &NONE, max_tries: 32, limit: 100, max_bytes: usize::MAX }
}

fn claim(db: &dyn DBDrv, lane: Lane) -> Claimed {
    db.claim(&wanted(lane)).unwrap()
}

fn delivered(item: &Item) -> Outcome {
    Outcome {
        id: item.id.clone(),
        epoch: item.epoch,
        lease: item.lease,
        tried: item.tried + 1,
        next_at: item.next_at,
        state: State::Success,
        response: b"delivered".to_vec(),
        keep_response: false,
    }
}

fn write(db: &dyn DBDrv, write: Write) -> Result<Written, DbError> {
    db.write(&[write], &Sending::default()).unwrap().remove(0)
}
