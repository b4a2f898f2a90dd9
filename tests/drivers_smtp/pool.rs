//! Connections: used again, never too many, closed in the end, and no failure
//! when the server closed one first.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use notify_api::drivers::smtp::Smtp;

use crate::{account, driver, driver_with, minimal, real::RealServer, scripted::Scripted, send};

#[test]
fn one_connection_for_both_drivers() {
    let server = RealServer::start();
    let account = account(server.port, |_| {});
    let drivers = [Smtp::text(Arc::clone(&account)), Smtp::html(account)];
    let connections: Vec<_> = drivers
        .iter()
        .cycle()
        .take(6)
        .map(|driver| {
            send(driver, &minimal()).unwrap();
            server.next()["connection"].clone()
        })
        .collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
}

#[test]
fn a_stale_connection_is_no_failure() {
    let server = Scripted::start(|number, peer| {
        let mut mails = 0;
        peer.serve(|stage, _| {
            mails += usize::from(stage == "mail");
            (number == 0 && mails == 1 && stage == "mail").then(|| "250 first\r\n421 Bye".into())
        });
    });
    let driver = driver(server.port);
    assert_eq!(send(&driver, &minimal()).unwrap(), "250 first");
    assert_eq!(send(&driver, &minimal()).unwrap(), "250 2.0.0 Ok");
}

#[test]
fn a_closed_connection_is_no_failure() {
    let server = Scripted::start(|number, peer| {
        peer.serve(|stage, _| (number == 0 && stage == "mail").then(String::new));
        if number == 0 {
            peer.say("250 first");
        }
    });
    let driver = driver(server.port);
    assert_eq!(send(&driver, &minimal()).unwrap(), "250 first");
    server.wait_for("(closed)");
    assert_eq!(send(&driver, &minimal()).unwrap(), "250 2.0.0 Ok");
}

#[test]
fn a_connection_that_has_had_enough_is_no_failure() {
    for reply in ["421 4.7.0 Enough", "451 4.3.0 Enough", "550 5.7.0 Enough", ""] {
        let server = Scripted::start(move |number, peer| {
            let mut mails = 0;
            peer.serve(|stage, _| {
                mails += usize::from(stage == "mail");
                (number == 0 && mails == 1 && stage == "MAIL").then(|| reply.into())
            });
        });
        let driver = driver(server.port);
        for _ in 0..3 {
            assert_eq!(send(&driver, &minimal()).unwrap(), "250 2.0.0 Ok", "{reply}");
        }
    }
}

#[test]
fn a_dead_connection_leaves_time_for_a_new_one() {
    let server = Scripted::start(|number, peer| {
        let mut mails = 0;
        peer.serve(|stage, _| {
            mails += usize::from(stage == "mail");
            if number == 0 && mails == 1 && stage == "MAIL" {
                thread::park_timeout(Duration::from_secs(10));
            }
            None
        });
    });
    let driver = driver_with(server.port, |config| config.deadline = Duration::from_secs(4));
    send(&driver, &minimal()).unwrap();
    send(&driver, &minimal()).unwrap();
}

#[test]
fn never_more_than_there_may_be() {
    const MAX: usize = 2;
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let server = {
        let most = Arc::clone(&most);
        Scripted::start(move |_, peer| {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let mut mails = 0;
            peer.serve(|stage, _| {
                if stage == "QUIT" {
                    open.fetch_sub(1, Ordering::SeqCst);
                }
                // Some are refused: their connections are given up.
                mails += usize::from(stage == "RCPT");
                (stage == "RCPT" && mails == 5).then(|| "450 Later".into())
            });
        })
    };
    let driver = Arc::new(driver_with(server.port, |config| config.max_connections = MAX));
    let together = Arc::new(Barrier::new(8));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (driver, together) = (Arc::clone(&driver), Arc::clone(&together));
            thread::spawn(move || {
                together.wait();
                (0..10).filter(|_| send(&driver, &minimal()).is_ok()).count()
            })
        })
        .collect();
    let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert!((60..80).contains(&sent), "one in five is refused, {sent} were sent");
    assert_eq!(most.load(Ordering::SeqCst), MAX);
}

#[test]
fn a_place_is_waited_for_no_longer_than_an_attempt_may_take() {
    let (reached, waits) = channel();
    let server = Scripted::start(move |_, peer| {
        peer.serve(|stage, _| {
            if stage == "MAIL" {
                reached.send(()).unwrap();
                thread::park_timeout(Duration::from_secs(3));
            }
            None
        });
    });
    let driver = Arc::new(driver_with(server.port, |config| {
        config.max_connections = 1;
        config.deadline = Duration::from_secs(20);
    }));
    let first = {
        let driver = Arc::clone(&driver);
        thread::spawn(move || send(&driver, &minimal()))
    };
    waits.recv().unwrap();
    // It gets the first one's connection as soon as that is free.
    send(&driver, &minimal()).unwrap();
    first.join().unwrap().unwrap();
}

#[test]
fn what_is_left_is_closed_in_the_end() {
    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let driver = driver_with(server.port, |config| config.idle = Duration::from_millis(200));
    for _ in 0..2 {
        let begun = Instant::now();
        send(&driver, &minimal()).unwrap();
        server.wait_for("QUIT");
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }
}

#[test]
fn what_is_left_is_closed_with_its_driver() {
    let server = Scripted::start(|_, peer| peer.serve(|_, _| None));
    let driver = driver(server.port);
    send(&driver, &minimal()).unwrap();
    drop(driver);
    server.wait_for("QUIT");
}
