use notify_api::*; use notify_api::db::*; use std::time::Instant;
fn item(n: usize, lane: Lane) -> Item { let now = Timestamp::from_secs(1_700_000_000 + n as i64 % 1000); Item{ id: Id::new(format!("{}", uuid::Uuid::now_v7())).unwrap(), r#type:"HTTPPOST".into(), endpoint:"http://127.0.0.1:9/hook".into(), content: br#"{"body":{"a":"some text that is here","b":12345}}"#.to_vec(), create_at: now, next_at: now, tried:0, once:false, epoch:0, lease:0, lane } }
fn main_for(db: &dyn DBDrv, label: &str) {
    let none = Sending::default();
    for batch in [1usize, 32, 64, 128, 512] {
        let begun = Instant::now(); let mut n = 0;
        while begun.elapsed().as_secs_f32() < 2.0 {
            let b: Vec<Write> = (0..batch).map(|i| Write::Create(item(i, Lane::named(&format!("l{}", i%20))))).collect();
            let t = db.write(&b, &none).unwrap(); assert!(t.iter().all(|x| matches!(x, Ok(Written::Done)))); n += batch;
        }
        println!("{label}: write batch {batch}: {:.0}/s", n as f32 / begun.elapsed().as_secs_f32());
    }
    // claims + outcomes
    let (mut claims, mut t_claim, mut t_out, mut rows) = (0, 0.0, 0.0, 0);
    let begun = Instant::now();
    while begun.elapsed().as_secs_f32() < 3.0 {
        let lane = Lane::named(&format!("l{}", claims % 20));
        let t = Instant::now();
        let c = db.claim(&Wanted{ lane, now: Timestamp::from_secs(1_800_000_000), drivers:&["HTTPPOST"], skip:&none, max_tries:32, limit:20, max_bytes:1<<20}).unwrap();
        t_claim += t.elapsed().as_secs_f64(); claims += 1; rows += c.items.len();
        let t = Instant::now();
        let outs: Vec<Write> = c.items.iter().map(|i| Write::Outcome(Outcome{ id:i.id.clone(), epoch:i.epoch, lease:i.lease, tried:1, next_at:i.next_at, state:State::Success, response:b"ok".to_vec(), keep_response:false})).collect();
        let r = db.write(&outs, &none).unwrap(); assert!(r.iter().all(|x| matches!(x, Ok(Written::Done))), "{r:?}");
        t_out += t.elapsed().as_secs_f64();
    }
    println!("{label}: claim of {:.1}: {:.0} us, outcomes {:.0} us; drain {:.0}/s", rows as f64/claims as f64, t_claim*1e6/claims as f64, t_out*1e6/claims as f64, rows as f32/begun.elapsed().as_secs_f32());
    let mixed = 64; let begun = Instant::now(); let mut n = 0;
    while begun.elapsed().as_secs_f32() < 2.0 {
        let c = db.claim(&Wanted{ lane: Lane::named(&format!("l{}", n % 20)), now: Timestamp::from_secs(1_800_000_000), drivers:&["HTTPPOST"], skip:&none, max_tries:32, limit:20, max_bytes:1<<20}).unwrap();
        let mut b: Vec<Write> = (0..mixed).map(|i| Write::Create(item(i, Lane::named(&format!("l{}", i%20))))).collect();
        b.extend(c.items.iter().map(|i| Write::Outcome(Outcome{ id:i.id.clone(), epoch:i.epoch, lease:i.lease, tried:1, next_at:i.next_at, state:State::Success, response:b"ok".to_vec(), keep_response:false})));
        db.write(&b, &none).unwrap(); n += mixed;
    }
    println!("{label}: mixed 64 creates + 20 outcomes: {:.0} creates/s", n as f32/begun.elapsed().as_secs_f32());
    let t = Instant::now(); let h = db.heads().unwrap(); println!("{label}: heads of {}: {:?}", h.len(), t.elapsed());
    let t = Instant::now(); let mut k = 0; while t.elapsed().as_secs_f32() < 0.5 { let _ = db.status("x"); k += 1; } println!("{label}: status {:.0} us", 5e5 / k as f32);
}
#[test] #[ignore] fn bench_mysql() { let db = db::mysql::MySql::connect(&std::env::var("M").unwrap_or("mysql://root@127.0.0.1/bench".into())).unwrap(); main_for(&db, "mysql"); }
#[test] #[ignore] fn bench_pg() { let db = db::postgres::Postgres::connect(&std::env::var("P").unwrap_or("postgres://postgres@127.0.0.1/bench".into())).unwrap(); main_for(&db, "pg"); }
