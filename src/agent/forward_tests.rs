//! Connections through a forwarder, with real sockets.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Answers every connection with its name and what it was sent, once the
/// client has ended its side.
async fn server(name: &'static str) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, tokio::spawn(answer(listener, name)))
}

async fn answer(listener: TcpListener, name: &'static str) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut text = Vec::new();
            stream.read_to_end(&mut text).await.unwrap();
            stream.write_all(format!("{name}:").as_bytes()).await.unwrap();
            stream.write_all(&text).await.unwrap();
        });
    }
}

/// A forwarder to a port, as long as the token is not cancelled.
struct Forwarder {
    port: u16,
    control: PathBuf,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), ForwardError>>,
}

fn forwarder(behind: u16, switch: &Path, most: u32) -> Forwarder {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let args = ForwardArgs {
        switch: switch.to_owned(),
        control: switch.with_extension("sock"),
        drain: Duration::from_millis(300),
        max_connections: most,
        ports: vec![Pair { port, behind }],
    };
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(serve(vec![listener], args, shutdown.clone()));
    Forwarder { port, control: switch.with_extension("sock"), shutdown, ended }
}

impl Forwarder {
    async fn open(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap()
    }
}

/// Sends, ends the own side, and reads the answer.
async fn ask(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn new_connections_follow_the_switch_and_open_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let switch = dir.path().join("switch");
    let ((old, _), (new, _)) = (server("old").await, server("new").await);
    let forwarder = forwarder(old, &switch, 100);
    assert_eq!(ask(forwarder.open().await, "a").await, "old:a");
    let mut open = forwarder.open().await;
    open.write_all(b"b").await.unwrap();
    // Long enough for it to be connected: the next one is behind it.
    assert_eq!(ask(forwarder.open().await, "c").await, "old:c");
    switch_file::write(&switch, &switch_file::Targets::from([(forwarder.port, new)])).unwrap();
    assert_eq!(ask(forwarder.open().await, "d").await, "new:d");
    let large = "e".repeat(3 << 20);
    assert_eq!(ask(forwarder.open().await, &large).await.len(), large.len() + 4);
    let drained = drained::ask(&forwarder.control, old);
    tokio::pin!(drained);
    let soon = tokio::time::timeout(Duration::from_millis(50), &mut drained);
    assert!(soon.await.is_err(), "one is still connected to the old one");
    assert_eq!(ask(open, "b").await, "old:bb");
    drained.await.unwrap();
    switch_file::remove(&switch).unwrap();
    assert_eq!(ask(forwarder.open().await, "f").await, "old:f");
}

#[tokio::test]
async fn a_client_waits_for_a_target_that_starts_and_the_usual_one_steps_in() {
    let dir = tempfile::tempdir().unwrap();
    let switch = dir.path().join("switch");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let behind = free.local_addr().unwrap().port();
    drop(free);
    let forwarder = forwarder(behind, &switch, 100);
    let asked = tokio::spawn(ask(forwarder.open().await, "a"));
    tokio::task::yield_now().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, behind)).await.unwrap();
    tokio::spawn(answer(listener, "late"));
    assert_eq!(asked.await.unwrap(), "late:a");
    let (gone, task) = server("gone").await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    switch_file::write(&switch, &switch_file::Targets::from([(forwarder.port, gone)])).unwrap();
    assert_eq!(ask(forwarder.open().await, "b").await, "late:b");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_and_an_end_lets_open_ones_finish() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _) = server("s").await;
    let forwarder = forwarder(port, &dir.path().join("switch"), 1);
    let mut first = forwarder.open().await;
    first.write_all(b"1").await.unwrap();
    let second = tokio::spawn(ask(forwarder.open().await, "2"));
    let early = tokio::time::timeout(Duration::from_millis(100), async {
        while !second.is_finished() {
            tokio::task::yield_now().await;
        }
    });
    assert!(early.await.is_err(), "the second one was served beside the first");
    assert_eq!(ask(first, "1").await, "s:11");
    assert_eq!(second.await.unwrap(), "s:2");
    let mut last = forwarder.open().await;
    last.write_all(b"3").await.unwrap();
    let drained = drained::ask(&forwarder.control, port);
    // Served once it is taken: what waits longer is systemd's to keep.
    assert!(tokio::time::timeout(Duration::from_millis(100), drained).await.is_err());
    forwarder.shutdown.cancel();
    assert_eq!(ask(last, "3").await, "s:33");
    forwarder.ended.await.unwrap().unwrap();
}

#[test]
fn pairs_of_ports() {
    assert_eq!("80=40080".parse::<Pair>().unwrap(), Pair { port: 80, behind: 40_080 });
    assert_eq!("80".parse::<Pair>().unwrap_err(), PairError::Form);
    assert!(matches!("80=99999".parse::<Pair>(), Err(PairError::Number(_))));
}
