//! The last answer arrives, also at a client that is still sending.

use super::*;

const LARGE: usize = 5_000_000;

#[tokio::test]
async fn an_answer_to_a_body_that_nobody_wants_arrives() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    client.send(format!("POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: {LARGE}\r\n\r\n")).await;
    client.send(vec![b'x'; LARGE]).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too much"), "{answer}");

    let mut client = server.connect().await;
    client.send("POST /refuse HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..LARGE / 0x10000 {
        client.send("10000\r\n").await;
        client.send([b'x'; 0x10000]).await;
        client.send("\r\n").await;
    }
    assert!(client.rest().await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_costs_no_connection() {
    let server = Server::start(wide()).await;
    let mut client = server.connect().await;
    client.send("POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody").await;
    assert!(client.answer().await.0.starts_with("http/1.1 413 "));
    client.is_served().await;
}

#[tokio::test]
async fn a_long_last_answer_arrives_whole() {
    let server = Server::start(wide()).await;
    for request in
        ["GET /big HTTP/1.0\r\n\r\n", "GET /big HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"]
    {
        let mut client = server.connect().await;
        client.send(request).await;
        let answer = client.rest().await;
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), BIG);
    }
}

#[tokio::test]
async fn a_client_that_sends_for_ever_is_cut_off() {
    let limits = Limits { linger_bytes: 100_000, linger: SOON, linger_quiet: SOON, ..wide() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send(format!("POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", u32::MAX)).await;
    let flood = async { while client.0.write_all(&[b'x'; 0x10000]).await.is_ok() {} };
    soon(flood).await;
}

#[tokio::test]
async fn a_client_that_trickles_for_ever_is_cut_off() {
    let linger = Duration::from_millis(300);
    let server = Server::start(Limits { linger, linger_quiet: SOON, ..wide() }).await;
    let mut client = server.connect().await;
    client.send(format!("POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", u32::MAX)).await;
    let begun = Instant::now();
    assert!(client.answer().await.0.starts_with("http/1.1 413 "));
    let trickle = async {
        while client.0.write_all(b"x").await.is_ok() {
            tokio::time::sleep(linger / 20).await;
        }
    };
    soon(trickle).await;
    assert!(begun.elapsed() >= linger / 2);
}

#[tokio::test]
async fn a_client_that_just_stays_loses_its_place() {
    let limits = Limits { connections: 1, settle: SOON, linger_quiet: Duration::from_millis(200), ..wide() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send("GET /hello HTTP/1.0\r\n\r\n").await;
    assert!(client.rest().await.ends_with("hello"));
    // It was told that there is no more, hasn't closed its own side, and holds the only place.
    server.connect().await.is_served().await;
    drop(client);
}

/// Runs curl and gives back the status it saw, or what it complained about.
async fn curl(server: &Server, args: &[&str]) -> Result<String, String> {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--max-time", "15", "-o", "/dev/null", "-w", "%{http_code}"]).args(args);
    curl.arg(format!("http://{}/refuse", server.address));
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn curl_gets_to_see_the_refusal() {
    let server = Server::start(wide()).await;
    let body = std::env::temp_dir().join(format!("notify-api-body-{}", std::process::id()));
    std::fs::write(&body, vec![b'x'; LARGE]).unwrap();
    let data = format!("@{}", body.display());
    let chunked = ["--data-binary", &data, "-H", "Transfer-Encoding: chunked"];
    let seen = [
        // With this much, curl waits for a `100 Continue` first.
        curl(&server, &["--data-binary", &data]).await,
        curl(&server, &["--data-binary", &data, "-H", "Expect:"]).await,
        curl(&server, &chunked).await,
        curl(&server, &["--data-binary", &data, "-H", "Expect:", "--http1.0"]).await,
    ];
    std::fs::remove_file(&body).unwrap();
    assert_eq!(seen, ["413"; 4].map(|code| Ok(code.to_string())));
}
