//! Tests of the probe against servers in this process.

use super::*;
use clap::Parser as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    probe: ProbeArgs,
}

fn args(line: &str) -> ProbeArgs {
    Program::try_parse_from(std::iter::once("probe").chain(line.split(' '))).unwrap().probe
}

fn quick(line: &str) -> ProbeArgs {
    args(&format!("{line} --interval 10ms --timeout 2s --deadline 300ms"))
}

async fn asked(args: ProbeArgs) -> Result<(), ProbeError> {
    run(args, &mut io::sink()).await
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Reads one request and answers it with the given status.
async fn answer_http(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), status: u16) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let answer =
        format!("HTTP/1.1 {status} x\r\nLocation: http://[::1]:1/\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

/// Answers the first connections with the given statuses, and all later ones
/// with the last.
async fn http_server(statuses: &'static [u16]) -> SocketAddr {
    let (listener, addr) = listener().await;
    tokio::spawn(async move {
        for status in statuses.iter().chain(std::iter::repeat(statuses.last().unwrap())) {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = answer_http(&mut stream, *status).await;
            assert!(request.starts_with("GET /healthz?x=1 HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("host: app.example\r\n"), "{request}");
        }
    });
    addr
}

#[test]
fn arguments_are_humane() {
    let probe = args(
        "http 127.0.0.1:80 /healthz --tls --host a.example --status 204 --interval 500ms --deadline 1m",
    );
    assert_eq!(
        (probe.interval, probe.deadline),
        (Duration::from_millis(500), Duration::from_secs(60))
    );
    assert_eq!(probe.target.to_string(), "https://127.0.0.1:80/healthz");
    assert_eq!(args("grpc [::1]:1 --service a.B").target.to_string(), "grpc://[::1]:1/a.B");
    assert_eq!(args("tcp 127.0.0.1:1").timeout, Duration::from_secs(2));
    assert_eq!(duration("2"), Err(ArgumentError::Unit));
    assert_eq!(duration("0s"), Err(ArgumentError::Range));
    assert_eq!(duration("99999999999999999h"), Err(ArgumentError::Range));
    assert!(matches!(duration("s"), Err(ArgumentError::Number(_))));
    assert!(matches!(duration("é"), Err(ArgumentError::Number(_))));
    for bad in ["", "200-", "300-200", "99", "200-600", "a"] {
        assert!(bad.parse::<StatusRange>().is_err(), "{bad}");
    }
}

fn failures(error: &ProbeError) -> &[Failure] {
    match error {
        ProbeError::Deadline { failures, .. } => failures,
        ProbeError::Ended { .. } => &[],
    }
}

fn attempts(error: &ProbeError) -> u32 {
    match error {
        ProbeError::Deadline { attempts, .. } => *attempts,
        ProbeError::Ended { .. } => 0,
    }
}

#[tokio::test]
async fn a_connection_that_is_dropped_at_once_is_not_ready() {
    let (listener, addr) = listener().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let error =
        asked(args(&format!("tcp {addr} --interval 10ms --deadline 60ms"))).await.unwrap_err();
    assert!(matches!(failures(&error), [Failure::Closed]), "{error}");
}

#[tokio::test]
async fn a_probe_ends_with_the_main_process() {
    let mut child = tokio::process::Command::new("true").spawn().unwrap();
    let pid = child.id().unwrap();
    let line = format!("tcp 127.0.0.1:1 --interval 10ms --deadline 60s --main-pid {pid}");
    let error = asked(args(&line)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Ended { .. }), "{error}");
    child.wait().await.unwrap();
}

#[tokio::test]
async fn a_reason_is_told_once_while_there_still_is_time() {
    let addr = http_server(&[503, 404]).await;
    let line = format!("http {addr} /healthz?x=1 --host app.example --interval 10ms");
    let mut told = Vec::new();
    let error = run(args(&format!("{line} --deadline 1200ms")), &mut told).await.unwrap_err();
    assert!(attempts(&error) > 2);
    let told = String::from_utf8(told).unwrap();
    let wanted = ["503 Service Unavailable", "404 Not Found"].map(|status| {
        format!("waiting for http://{addr}/healthz?x=1: HTTP status {status}, not 200-399\n")
    });
    assert_eq!(told, wanted.concat());
}

#[tokio::test]
async fn tcp_is_ready_when_the_port_is_taken() {
    let (listener, addr) = listener().await;
    asked(quick(&format!("tcp {addr}"))).await.unwrap();
    drop(listener);
    let error = asked(quick(&format!("tcp {addr}"))).await.unwrap_err();
    assert!(attempts(&error) > 1);
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "each reason once: {text}");
    assert!(lines[1].starts_with("  cannot connect: Connection refused"), "{text}");
}

#[tokio::test]
async fn http_is_ready_with_the_first_good_status() {
    let addr = http_server(&[503, 500, 204]).await;
    let line = format!("http {addr} /healthz?x=1 --host app.example");
    asked(args(&format!("{line} --interval 1ms"))).await.unwrap();
}

#[tokio::test]
async fn http_reports_each_bad_status_once_and_follows_no_redirect() {
    let addr = http_server(&[503, 404]).await;
    let line = format!("http {addr} /healthz?x=1 --host app.example");
    let text = asked(quick(&line)).await.unwrap_err().to_string();
    assert_eq!(text.matches("HTTP status 503").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP status 404").count(), 1, "{text}");

    let addr = http_server(&[302]).await;
    let line = format!("http {addr} /healthz?x=1 --host app.example");
    asked(quick(&line)).await.unwrap();
    let error = asked(quick(&format!("{line} --status 200-299"))).await.unwrap_err();
    assert!(matches!(failures(&error)[0], Failure::Status { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out() {
    let (listener, addr) = listener().await;
    let line = format!("http {addr} --interval 10ms --timeout 20ms --deadline 60ms");
    let error = asked(args(&line)).await.unwrap_err();
    assert!(matches!(failures(&error)[..], [Failure::Timeout { .. }]), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_otherwise_is_not_ready() {
    for answer in [&b""[..], b"SSH-2.0-x\r\n"] {
        let (listener, addr) = listener().await;
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        let error = asked(quick(&format!("http {addr}"))).await.unwrap_err();
        assert!(!failures(&error).is_empty(), "{error}");
        let error = asked(quick(&format!("http {addr} --tls"))).await.unwrap_err();
        assert!(matches!(failures(&error)[0], Failure::Handshake(_)), "{error}");
    }
}

fn acceptor(alpn: &str) -> tokio_rustls::TlsAcceptor {
    let issued = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![issued.cert.der().clone()], key)
    .unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn https_trusts_any_certificate() {
    let (listener, addr) = listener().await;
    let acceptor = acceptor("http/1.1");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            answer_http(&mut stream, 200).await;
        }
    });
    asked(quick(&format!("http {addr} --tls"))).await.unwrap();
    asked(quick(&format!("http {addr} --tls --host app.example:8443"))).await.unwrap();
}

#[tokio::test]
async fn grpc_is_ready_when_it_says_serving() {
    let (listener, addr) = listener().await;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("down", tonic_health::ServingStatus::NotServing).await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming),
    );
    asked(quick(&format!("grpc {addr}"))).await.unwrap();
    let error = asked(quick(&format!("grpc {addr} --service down"))).await.unwrap_err();
    assert!(matches!(failures(&error)[0], Failure::NotServing { .. }), "{error}");
    let error = asked(quick(&format!("grpc {addr} --service none"))).await.unwrap_err();
    assert!(
        matches!(failures(&error)[0], Failure::Grpc { code: tonic::Code::NotFound, .. }),
        "{error}"
    );
    let error = asked(quick(&format!("grpc {addr} --tls"))).await.unwrap_err();
    assert!(matches!(failures(&error)[0], Failure::Handshake(_)), "{error}");
}

#[tokio::test]
async fn grpc_over_tls_trusts_any_certificate() {
    let (plain, inner) = listener().await;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(plain);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming),
    );
    let (listener, addr) = listener().await;
    let acceptor = acceptor("h2");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut outside = acceptor.accept(stream).await.unwrap();
        assert_eq!(outside.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut inside = TcpStream::connect(inner).await.unwrap();
        tokio::io::copy_bidirectional(&mut outside, &mut inside).await.unwrap();
    });
    asked(quick(&format!("grpc {addr} --tls"))).await.unwrap();
}

#[tokio::test]
async fn one_attempt_is_one_attempt() {
    let addr = http_server(&[503, 200]).await;
    let target = args(&format!("http {addr} /healthz?x=1 --host app.example")).target;
    let limit = Duration::from_secs(20);
    let failure = once(&target, limit).await.unwrap_err();
    assert!(matches!(failure, Failure::Status { .. }), "{failure}");
    once(&target, limit).await.unwrap();
    let (silent, addr) = listener().await;
    let target = args(&format!("http {addr}")).target;
    let failure = once(&target, Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(failure, Failure::Timeout { .. }), "{failure}");
    drop(silent);
}

/// Stands for a container whose process is this one: conmon's arguments name
/// a file with its number.
async fn conmon(dir: &std::path::Path) -> tokio::process::Child {
    let file = dir.join("pidfile");
    crate::atomic_file::write(&file, std::process::id().to_string().as_bytes(), 0o600).unwrap();
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "read line", "conmon", "-p"]).arg(file);
    let child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    // The arguments are there a moment after the process is.
    let arguments = format!("/proc/{}/cmdline", child.id().unwrap());
    while std::fs::read(&arguments).unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    child
}

#[tokio::test]
async fn tcp_is_ready_sooner_when_the_container_is_seen_to_listen() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let conmon = conmon(dir.path()).await;
    let pid = conmon.id().unwrap();
    let line = |port: u16, listens: u16| {
        format!("tcp 127.0.0.1:{port} --listens {listens} --main-pid {pid} --deadline 20s")
    };
    let took = async |line: String| {
        let began = Instant::now();
        asked(args(&line)).await.unwrap();
        began.elapsed()
    };
    assert!(took(line(port, port)).await < SETTLE);
    assert!(took(line(port, 1)).await >= SETTLE);
}
