//! How long clients may take.

use super::*;

const SHORT: Duration = Duration::from_millis(400);

#[tokio::test]
async fn the_first_head_has_to_come_in_time() {
    let server = Server::start(Limits { head: SHORT, ..wide() }).await;
    let begun = Instant::now();
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send("GET /hello HTTP/1.1\r\n").await;
    let mut trickling = server.connect().await;
    let trickle = async {
        for byte in b"GET /hello HTTP/1.1\r\nx: ".iter().chain([&b'x'; 1000]) {
            if trickling.0.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
        panic!("a trickle of bytes keeps the connection open");
    };
    tokio::join!(silent.is_closed(), slow.is_closed(), soon(trickle));
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn later_heads_count_from_their_first_byte() {
    let server = Server::start(Limits { head: SHORT, ..wide() }).await;
    let mut client = server.connect().await;
    client.is_served().await;
    // Idle for longer than a head may take.
    assert!(timeout(2 * SHORT, client.0.read_u8()).await.is_err());
    client.is_served().await;
    assert!(timeout(2 * SHORT, client.0.read_u8()).await.is_err());

    let begun = Instant::now();
    client.send("GET").await;
    client.is_closed().await;
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Server::start(Limits { idle: SHORT, ..wide() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.is_served().await;
        assert!(timeout(SHORT / 3, client.0.read_u8()).await.is_err());
    }
    client.is_served().await;
    let begun = Instant::now();
    client.is_closed().await;
    assert!(begun.elapsed() >= SHORT / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_being_served_has_no_deadline_here() {
    let server = Server::start(Limits { head: SHORT, idle: SHORT, ..wide() }).await;
    let mut client = server.connect().await;
    client.get("/wait").await;
    server.gate.arrival().await;
    assert!(timeout(3 * SHORT, client.0.read_u8()).await.is_err());
    server.gate.let_one_pass();
    assert_eq!(client.answer().await.1, "waited");

    // Nor has one whose body takes its time.
    client.is_served().await;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\n").await;
    for byte in ["s", "l", "o", "w"] {
        assert!(timeout(SHORT, client.0.read_u8()).await.is_err());
        client.send(byte).await;
    }
    assert_eq!(client.answer().await.1, "slow");
}

#[tokio::test]
async fn a_client_has_to_read_its_answer() {
    let server =
        Server::start(Limits { idle: SHORT, connections: 1, settle: Duration::ZERO, ..wide() }).await;
    let mut client = server.connect().await;
    client.get("/big").await;
    // It holds the only place, and is no idle one: this waits until it is closed.
    server.connect().await.is_served().await;
    let mut got = Vec::new();
    let _ = soon(client.0.read_to_end(&mut got)).await;
    assert!(got.len() < BIG, "{}", got.len());
}

#[tokio::test]
async fn a_client_may_read_slowly() {
    let server = Server::start(Limits { idle: SHORT, ..wide() }).await;
    let mut client = server.connect().await;
    client.send("GET /big HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    let (mut got, mut part) = (0, vec![0; BIG / 16]);
    let begun = Instant::now();
    loop {
        match soon(client.0.read(&mut part)).await.unwrap() {
            0 => break,
            read => got += read,
        }
        if begun.elapsed() < 3 * SHORT {
            tokio::time::sleep(SHORT / 4).await;
        }
    }
    assert!(got > BIG, "{got}");
}
