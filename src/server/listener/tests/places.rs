//! What happens when more clients come than there are places.

use super::*;

fn places(connections: usize) -> Limits {
    Limits { connections, settle: Duration::ZERO, ..wide() }
}

#[tokio::test]
async fn the_longest_idle_makes_place() {
    let server = Server::start(places(2)).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.is_served().await;
    second.is_served().await;
    first.is_served().await;

    server.connect().await.is_served().await;
    second.is_closed().await;
    first.is_served().await;
}

#[tokio::test]
async fn one_that_has_not_sent_a_whole_head_makes_place() {
    let server = Server::start(places(1)).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    silent.is_closed().await;
    slow.send("GET /hel").await;
    server.connect().await.is_served().await;
    slow.is_closed().await;
}

#[tokio::test]
async fn while_all_are_busy_a_new_one_waits() {
    let server = Server::start(places(2)).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for client in [&mut first, &mut second] {
        client.get("/wait").await;
        server.gate.arrival().await;
    }

    let mut third = server.connect().await;
    third.get("/hello").await;
    third.is_left_alone().await;
    server.gate.let_one_pass();
    assert_eq!(third.answer().await.1, "hello");

    assert_eq!(first.answer().await.1, "waited");
    first.is_closed().await;
    server.gate.let_one_pass();
    assert_eq!(second.answer().await.1, "waited");
}

#[tokio::test]
async fn one_that_leaves_makes_place() {
    let server = Server::start(Limits { settle: SOON, ..places(1) }).await;
    let mut first = server.connect().await;
    first.is_served().await;
    let mut second = server.connect().await;
    second.get("/hello").await;
    second.is_left_alone().await;
    drop(first);
    assert_eq!(second.answer().await.1, "hello");
}

#[tokio::test]
async fn one_that_has_just_come_is_given_a_moment() {
    let settle = Duration::from_millis(300);
    let server = Server::start(Limits { settle, ..places(1) }).await;
    let begun = Instant::now();
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    second.get("/hello").await;
    first.is_served().await;
    // The moment counts from the latest answer.
    assert_eq!(second.answer().await.1, "hello");
    assert!(begun.elapsed() >= settle);
    first.is_closed().await;
}

#[tokio::test]
async fn a_crowd_is_served_in_few_places() {
    let server = Server::start(Limits { settle: SOON, ..places(3) }).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect().await;
        crowd.push(tokio::spawn(async move {
            client.send("GET /hello HTTP/1.0\r\n\r\n").await;
            client.rest().await
        }));
    }
    for client in crowd {
        assert!(soon(client).await.unwrap().ends_with("hello"));
    }
    server.connect().await.is_served().await;
}

/// Whether this process, which has a limit of 40 files, gets by with it.
#[tokio::test]
#[ignore = "run by out_of_files_it_goes_on, with few files"]
async fn with_few_files() {
    let server = Server::start(wide()).await;
    let mut clients = Vec::new();
    // The files run out on either side, whoever is quicker; then the server closes what is idle.
    for _ in 0..60 {
        match timeout(SOON, TcpStream::connect(server.address)).await.unwrap() {
            Ok(client) => clients.push(Client(client)),
            Err(_) => break,
        }
        tokio::task::yield_now().await;
    }
    clients[0].is_closed().await;
    let mut last = clients.pop().unwrap();
    drop(clients);
    last.is_served().await;
}

#[test]
fn out_of_files_it_goes_on() {
    let test = std::env::current_exe().unwrap();
    let name = "server::listener::tests::places::with_few_files";
    let output = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 40 && exec "$0" --exact "$1" --ignored"#])
        .arg(test)
        .arg(name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
