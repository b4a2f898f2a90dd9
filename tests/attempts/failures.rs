//! What a failure means, what is kept of an answer, and drivers with bugs.

use super::*;

#[test]
fn a_permanent_failure_ends_at_once() {
    let (_directory, server, audience) = stage(Setup::default().tries(9).retry_at_once());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").fail();
    let second = audience.expect("n");
    let before = server.api.status("n");
    second.answer(Err(SendError::permanent("gone").with_response("410: gone")));
    let after = server.api.await_state("n", FAILED);
    assert_eq!((&after["tried"], &after["next_at"]), (&json!(2), &before["next_at"]));
    assert_eq!(server.api.response_text("n"), "410: gone");
    audience.none();
}

#[test]
fn an_unreachable_one_is_retried() {
    let (_directory, server, audience) = stage(Setup::default().tries(3).retry_at_once());
    server.api.send("n", "STAGE", "a");
    for _ in 0..3 {
        audience.expect("n").unreachable();
    }
    let status = server.api.await_state("n", FAILED);
    assert_eq!((status["tried"].as_i64(), server.api.response_text("n")), (Some(3), "nobody there".into()));
    audience.none();
}

#[test]
fn one_attempt_means_one_whatever_the_failure() {
    let endings: [fn(support::harness::Sending); 4] =
        [|it| it.fail(), |it| it.unreachable(), |it| it.refuse(), |it| it.not_before(Duration::from_secs(1))];
    let (_directory, server, audience) = stage(Setup::default().tries(4).retry_at_once());
    for (number, ending) in endings.into_iter().enumerate() {
        let id = format!("n{number}");
        server.api.send_once(&id, "STAGE", &id);
        ending(audience.expect(&id));
        assert_eq!(server.api.await_state(&id, FAILED)["tried"], 4);
    }
    assert_eq!(audience.next_within(Duration::from_millis(1500)).map(|sending| sending.id), None);
}

#[test]
fn a_long_response_is_cut_with_a_mark() {
    const LIMIT: usize = 1 << 20;
    let (_directory, server, audience) = stage(Setup::default());
    let whole: Vec<u8> = (0..LIMIT).map(|at| b'a' + (at % 26) as u8).collect();
    for (id, extra) in [("exact", 0), ("one more", 1), ("double", LIMIT)] {
        let mut response = whole.clone();
        response.extend(std::iter::repeat_n(b'x', extra));
        server.api.send(id, "STAGE", id);
        audience.expect(id).answer(Ok(response));
        server.api.await_state(id, SUCCESS);
        let stored = server.api.response(id).unwrap();
        assert!(stored.starts_with(&whole[..LIMIT - 256]));
        let mark = stored.len().saturating_sub(LIMIT);
        assert!(mark <= 256, "{mark}");
        assert_eq!(stored == whole, extra == 0, "a mark if it was cut");
        assert_eq!(server.api.post("/result", &json!({"id": id})).body, stored);
    }
    server.api.send("failed", "STAGE", "failed");
    audience.expect("failed").answer(Err(SendError::temporary("x".repeat(LIMIT + 1))));
    server.api.await_tried("failed", 1);
    let stored = server.api.response("failed").unwrap();
    assert!(stored.len() > LIMIT - 256 && stored.len() <= LIMIT + 256);
}

#[test]
fn a_long_answer_of_a_webhook_is_cut() {
    let (directory, receiver) =
        (tempdir().unwrap(), Receiver::start(|_| Reply::Status(200, vec![b'x'; 3 << 20])));
    let server = Server::start(directory.path(), &[]);
    server.api.send("n", "HTTPPOST", &receiver.url("/"));
    server.api.await_state("n", SUCCESS);
    let stored = server.api.response("n").unwrap();
    assert!(((1 << 20) - 256..=(1 << 20) + 256).contains(&stored.len()), "{}", stored.len());
    assert_ne!(stored.last(), Some(&b'x'), "a mark");
}

#[test]
fn what_the_driver_answers_beats_the_error_text() {
    let (_directory, server, audience) = stage(Setup::default());
    server.api.send("n", "STAGE", "a");
    audience.expect("n").answer(Err(SendError::temporary("status 500").with_response("<oops>")));
    server.api.await_tried("n", 1);
    assert_eq!(server.api.response_text("n"), "<oops>");
}

#[test]
fn a_panic_is_a_failed_attempt() {
    let directory = tempdir().unwrap();
    let (stage, audience) = Stage::new("STAGE");
    let server = Library::start(directory.path(), Setup::default().tries(2).retry_at_once(), |server| {
        server.register(Instantly).unwrap().register(stage).unwrap();
    });
    // More often than there are threads.
    for number in 0..6 {
        let id = format!("n{number}");
        server.api.send(&id, "INSTANTLY", if number % 2 == 0 { "panic" } else { "panic with a number" });
        assert_eq!(server.api.await_state(&id, FAILED)["tried"], 2);
        assert!(!server.api.response_text(&id).is_empty());
    }
    server.api.send("good", "INSTANTLY", "fine");
    server.api.await_state("good", SUCCESS);
    server.api.send("other", "STAGE", "a");
    audience.expect("other").deliver("ok");
    assert_eq!(server.api.health(), 200);
}

/// Asks for time, and can't say for which destination, nor always in which lane.
struct Lost(Mutex<mpsc::Sender<()>>);

impl Driver for Lost {
    fn r#type(&self) -> &str {
        "LOST"
    }

    fn send(&self, _delivery: &Delivery<'_>) -> Result<Vec<u8>, SendError> {
        let _ = self.0.lock().unwrap().send(());
        Err(SendError::not_before("slow down", Duration::from_secs(3000)))
    }

    fn verify(&self, _content: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn check_endpoint(&self, _endpoint: &str) -> Result<(), Rejected> {
        Ok(())
    }

    fn lane(&self, endpoint: &str) -> String {
        assert_ne!(endpoint, "nowhere", "the driver has a bug");
        endpoint.into()
    }

    fn destination(&self, _endpoint: &str) -> String {
        panic!("the driver has a bug")
    }
}

#[test]
fn a_driver_that_cannot_name_a_lane_or_a_destination_harms_nobody() {
    let directory = tempdir().unwrap();
    Table::open(directory.path()).insert("n0", "LOST", "nowhere", "null", 0);
    let (sent, sends) = mpsc::channel();
    let server = Library::start(directory.path(), Setup::default().threads(2), |server| {
        server.register(Lost(Mutex::new(sent))).unwrap().register(Instantly).unwrap();
    });
    for number in 0..4 {
        let id = format!("n{number}");
        if number > 0 {
            server.api.send(&id, "LOST", if number == 1 { "nowhere" } else { &id });
        }
        server.api.await_tried(&id, 1);
    }
    // Holds exist now, so that each begin asks for its destination.
    server.api.send("good", "INSTANTLY", "fine");
    server.api.await_state("good", SUCCESS);
    thread::sleep(MOMENT);
    assert_eq!(sends.try_iter().count(), 4, "one attempt each, no hot loop");
    assert_eq!(server.api.health(), 200);
}
