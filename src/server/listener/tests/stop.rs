//! Stopping.

use super::*;

#[tokio::test]
async fn open_requests_are_answered_and_all_else_is_closed() {
    let server = Server::start(wide()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.is_served().await;
    let mut partial = server.connect().await;
    partial.is_served().await;
    partial.send("GET /hel").await;
    let mut busy = server.connect().await;
    busy.get("/wait").await;
    server.gate.arrival().await;
    let mut sending = server.connect().await;
    sending.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbo").await;
    sending.is_left_alone().await;

    server.stop.send(Instant::now() + SOON).unwrap();
    silent.is_closed().await;
    idle.is_closed().await;
    partial.is_closed().await;
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.serving.is_finished());

    sending.send("dy").await;
    let (head, body) = sending.answer().await;
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(body, "body");
    sending.is_closed().await;
    drop(sending);

    server.gate.let_one_pass();
    let (head, body) = busy.answer().await;
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(body, "waited");
    busy.is_closed().await;
    drop(busy);
    soon(server.serving).await.unwrap();
}

#[tokio::test]
async fn a_long_answer_is_finished() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    client.get("/big").await;
    client.0.readable().await.unwrap();
    server.stop.send(Instant::now() + SOON).unwrap();
    assert_eq!(client.answer().await.1.len(), BIG);
    client.is_closed().await;
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline() {
    let server = Server::start(wide()).await;
    let mut busy = server.connect().await;
    busy.get("/wait").await;
    server.gate.arrival().await;
    server.stop.send(Instant::now() + A_WHILE).unwrap();
    busy.is_left_alone().await;
    soon(server.serving).await.unwrap();
    busy.is_closed().await;
}

#[tokio::test]
async fn with_nobody_there_it_is_immediate() {
    let server = Server::start(wide()).await;
    server.stop.send(Instant::now() + SOON).unwrap();
    timeout(SOON / 2, server.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn also_while_all_places_are_taken_and_one_waits() {
    let server = Server::start(Limits { connections: 1, ..wide() }).await;
    let mut busy = server.connect().await;
    busy.get("/wait").await;
    server.gate.arrival().await;
    let mut waiting = server.connect().await;
    waiting.get("/hello").await;
    waiting.is_left_alone().await;
    server.stop.send(Instant::now() + SOON).unwrap();
    // It was accepted: nobody else would answer it.
    assert_eq!(waiting.answer().await.1, "hello");
    server.gate.let_one_pass();
    assert_eq!(busy.answer().await.1, "waited");
}

#[tokio::test]
async fn a_new_client_may_still_bring_its_request() {
    let server = Server::start(Limits { settle: SOON, ..wide() }).await;
    let mut client = server.connect().await;
    let (silent, mut idle) = (server.connect().await, server.connect().await);
    idle.is_served().await;
    server.stop.send(Instant::now() + 2 * SOON).unwrap();
    idle.is_closed().await;
    client.get("/hello").await;
    assert_eq!(client.answer().await.1, "hello");
    client.is_closed().await;
    drop(client);
    assert!(!server.serving.is_finished());
    drop(silent);
    soon(server.serving).await.unwrap();
}
