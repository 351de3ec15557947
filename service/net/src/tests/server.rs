use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::{LONG, Raw, SHORT, any_port, bounded};
use crate::{
    AmbiguousFraming, BodyError, BoxedStream, Listener, Net as _, PeerAddr, ServerLimits, TokioNet,
    read_body, serve,
};

const MAX_BODY_BYTES: usize = 16;

fn limits() -> ServerLimits {
    ServerLimits {
        max_connections: 16,
        max_header_bytes: 1024,
        max_headers: 8,
        max_requests_per_connection: None,
        header_timeout: LONG,
        idle_timeout: LONG,
        write_timeout: LONG,
        linger_timeout: LONG,
        drain: LONG,
        auto_date_header: false,
        peer_address: true,
    }
}

struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
    gates: Arc<Gates>,
}

/// What the test and the service tell each other.
#[derive(Default)]
struct Gates {
    entered: Notify,
    release: Notify,
    body_dropped: std::sync::Mutex<Option<oneshot::Sender<()>>>,
}

impl Server {
    async fn start(limits: ServerLimits) -> Self {
        let listener = TokioNet.bind(any_port()).await.expect("bind");
        Self::over(listener, limits)
    }

    fn over(listener: Box<dyn Listener>, limits: ServerLimits) -> Self {
        let addr = listener.local_addr().expect("address");
        let stop = CancellationToken::new();
        let gates = Arc::new(Gates::default());
        let service = {
            let gates = Arc::clone(&gates);
            service_fn(move |request| answer(request, Arc::clone(&gates)))
        };
        let running = tokio::spawn(serve(listener, service, limits, stop.clone()));
        Self { addr, stop, running, gates }
    }

    async fn client(&self) -> Raw {
        Raw::connect(self.addr).await
    }

    async fn stopped(self) {
        self.stop.cancel();
        bounded(self.running).await.expect("serve ends without a panic");
    }
}

type Answer = Response<Either<Full<Bytes>, Endless>>;

async fn answer(request: Request<Incoming>, gates: Arc<Gates>) -> Result<Answer, Infallible> {
    let peer = request.extensions().get::<PeerAddr>().copied().expect("a peer address");
    let is_ambiguous = request.extensions().get::<AmbiguousFraming>().is_some();
    let (status, body) = match request.uri().path() {
        _ if is_ambiguous => (StatusCode::BAD_REQUEST, "ambiguous".to_owned()),
        "/peer" => (StatusCode::OK, peer.0.to_string()),
        "/panic" => panic!("as asked"),
        "/wait" => {
            gates.entered.notify_one();
            gates.release.notified().await;
            (StatusCode::OK, "waited".to_owned())
        }
        "/endless" => {
            let dropped = gates.body_dropped.lock().expect("not poisoned").take();
            return Ok(Response::new(Either::Right(Endless { _dropped: dropped })));
        }
        path @ ("/body" | "/hasty-body") => {
            let limit = if path == "/body" { LONG } else { SHORT };
            match read_body(request.into_body(), MAX_BODY_BYTES, limit).await {
                Ok(body) => (StatusCode::OK, String::from_utf8_lossy(&body).into_owned()),
                Err(error @ BodyError::TooLarge { .. }) => {
                    (StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
                }
                Err(error @ BodyError::TimedOut) => {
                    (StatusCode::REQUEST_TIMEOUT, error.to_string())
                }
                Err(error @ BodyError::Broken(_)) => (StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        "/slow-body" => {
            gates.entered.notify_one();
            let read = read_body(request.into_body(), MAX_BODY_BYTES, LONG).await;
            (StatusCode::OK, format!("{read:?}"))
        }
        _ => (StatusCode::OK, "ok".to_owned()),
    };
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    Ok(response)
}

/// A body without end, which tells when it is dropped.
struct Endless {
    _dropped: Option<oneshot::Sender<()>>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 * 1024])))))
    }
}

#[tokio::test]
async fn requests_share_a_connection_and_know_their_client() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    let first = client.get("/peer").await;
    let second = client.get("/peer").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.body, second.body);
    assert!(first.body.starts_with("127.0.0.1:"), "{first:?}");
    assert!(!first.head.contains("date:"), "{first:?}");
    server.stopped().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    let request = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    client.send(&request.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(client.read_response().await.body, "ok");
    }
}

#[tokio::test]
async fn a_connection_ends_after_its_number_of_requests() {
    let limits = ServerLimits { max_requests_per_connection: Some(2), ..limits() };
    let server = Server::start(limits).await;
    let mut client = server.client().await;
    assert!(!client.get("/").await.head.contains("connection: close"));
    assert!(client.get("/").await.head.contains("connection: close"));
    assert!(client.closed_without_a_word().await);
}

#[tokio::test]
async fn a_request_with_two_ends_is_known_as_such_and_is_the_last_one() {
    let server = Server::start(limits()).await;
    let fine = "POST /body HTTP/1.1\r\nhost: test\r\n";
    let chunked = format!("{fine}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let sized = format!("{fine}content-length: 3\r\n\r\nabc");
    let smuggled = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    for both in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        for before in ["", &chunked, &sized, &chunked.repeat(2), &sized.repeat(3)] {
            let mut client = server.client().await;
            client.send(&format!("{before}{fine}{both}\r\n0\r\n\r\n{smuggled}")).await;
            for _ in 0..before.matches("POST").count() {
                assert_eq!(client.read_response().await.body, "abc");
            }
            let refused = client.read_response().await;
            assert_eq!((refused.status, &*refused.body), (400, "ambiguous"), "{both}{before}");
            assert!(refused.head.contains("connection: close"), "{refused:?}");
            assert!(client.closed_without_a_word().await, "what follows is not looked at");
        }
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Server::start(ServerLimits { header_timeout: SHORT, ..limits() }).await;
    assert!(server.client().await.closed_without_a_word().await);
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let server = Server::start(ServerLimits { header_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    // Also after a first request: the time for the head is not the idle time.
    assert_eq!(client.get("/").await.status, 200);
    client.send("GET / HTTP/1.1\r\nx: ").await;
    bounded(async {
        let mut drip = tokio::time::interval(SHORT / 10);
        while client.try_send("x").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
    assert!(client.closed_without_a_word().await);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(ServerLimits { idle_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    assert_eq!(client.get("/").await.status, 200);
    assert!(client.closed_without_a_word().await);
}

#[tokio::test]
async fn a_request_in_progress_is_neither_idle_nor_a_head() {
    let limits = ServerLimits { idle_timeout: SHORT, header_timeout: SHORT, ..limits() };
    let server = Server::start(limits).await;
    let mut client = server.client().await;
    client.send("GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(server.gates.entered.notified()).await;
    // Another connection's idle time passes meanwhile.
    let mut other = server.client().await;
    assert_eq!(other.get("/").await.status, 200);
    assert!(other.closed_without_a_word().await);
    server.gates.release.notify_one();
    assert_eq!(client.read_response().await.body, "waited");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let server = Server::start(ServerLimits { write_timeout: SHORT, ..limits() }).await;
    let (dropped, body_dropped) = oneshot::channel();
    *server.gates.body_dropped.lock().expect("not poisoned") = Some(dropped);
    let mut client = server.client().await;
    client.send("GET /endless HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(body_dropped).await.expect_err("dropped, not sent");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = Server::start(limits()).await;
    let long = format!("x: {}\r\n", "y".repeat(2000));
    let many = "x: y\r\n".repeat(9);
    for headers in [long, many] {
        let mut client = server.client().await;
        client.send(&format!("GET / HTTP/1.1\r\nhost: test\r\n{headers}\r\n")).await;
        assert_eq!(client.read_response().await.status, 431);
        assert!(client.closed_without_a_word().await);
    }
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let limits = ServerLimits { linger_timeout: SHORT, ..limits() };
    let server = Server::start(limits).await;
    for hello in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n"] {
        let mut client = server.client().await;
        client.send(hello).await;
        if let Some(head) = bounded(client.read_head()).await {
            assert!(head.starts_with("http/1.1 400 "), "{head}");
        }
        assert!(client.closed_without_a_word().await);
    }
}

#[tokio::test]
async fn bodies_are_capped_by_declared_and_by_real_length() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    client.send("POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: 16\r\n\r\n").await;
    client.send("0123456789abcdef").await;
    let fits = client.read_response().await;
    assert_eq!((fits.status, fits.body.as_str()), (200, "0123456789abcdef"));

    client.send("POST /body HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("8\r\n01234567\r\n").await;
    client.send("8\r\n89abcdef\r\n0\r\n\r\n").await;
    let fits = client.read_response().await;
    assert_eq!((fits.status, fits.body.as_str()), (200, "0123456789abcdef"));

    // Refused before any of it is read: none of it is ever sent.
    client.send("POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: 17\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 413);

    let mut client = server.client().await;
    client.send("POST /body HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("10\r\n0123456789abcdef\r\n").await;
    client.send("1\r\n!\r\n").await;
    assert_eq!(client.read_response().await.status, 413);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    let length = 8 * 1024 * 1024;
    client
        .send(&format!("POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"))
        .await;
    // Writes the whole body before it looks for an answer, as simple clients do.
    bounded(client.send(&"x".repeat(length))).await;
    assert_eq!(client.read_response().await.status, 413);
}

#[tokio::test]
async fn lingering_is_bounded() {
    let server = Server::start(ServerLimits { linger_timeout: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    client.send("POST /body HTTP/1.1\r\nhost: test\r\ncontent-length: 17\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 413);
    // Never closes its side; only the server's own limit ends the connection.
    bounded(async {
        let mut drip = tokio::time::interval(SHORT / 10);
        while client.try_send("x").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_stalls_is_timed_out() {
    let server = Server::start(limits()).await;
    for framing in ["content-length: 5\r\n\r\nab", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n"]
    {
        let mut client = server.client().await;
        client.send(&format!("POST /hasty-body HTTP/1.1\r\nhost: test\r\n{framing}")).await;
        assert_eq!(client.read_response().await.status, 408);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_where_all_are_busy() {
    let server = Server::start(ServerLimits { max_connections: 1, ..limits() }).await;
    let mut busy = server.client().await;
    busy.send("GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(server.gates.entered.notified()).await;

    let mut refused = server.client().await;
    let refusal = refused.get("/").await;
    assert_eq!(refusal.status, 503);
    assert!(refusal.head.contains("retry-after: 1\r\n"), "{refusal:?}");
    assert!(refusal.head.contains("content-type: application/json\r\n"), "{refusal:?}");
    assert!(refusal.body.starts_with(r#"{"error":{"code":"service_unavailable","message":""#));
    assert!(refused.closed_without_a_word().await);

    server.gates.release.notify_one();
    assert_eq!(busy.read_response().await.body, "waited");
    // The first goes, and its place with it.
    drop(busy);
    bounded(async {
        while server.client().await.get("/").await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_one_that_waited_longest_makes_room() {
    let server = Server::start(ServerLimits { max_connections: 3, ..limits() }).await;
    let mut dripping = server.client().await;
    dripping.send("GET / HT").await;
    let mut busy = server.client().await;
    busy.send("GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(server.gates.entered.notified()).await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.status, 200);

    let mut first = server.client().await;
    assert_eq!(first.get("/").await.status, 200);
    assert!(dripping.closed_without_a_word().await);
    let mut second = server.client().await;
    assert_eq!(second.get("/").await.status, 200);
    assert!(idle.closed_without_a_word().await);
    assert_eq!(first.get("/").await.status, 200, "the one that came last stays");

    // Nobody who asked for something goes.
    server.gates.release.notify_one();
    assert_eq!(busy.read_response().await.body, "waited");
    server.stopped().await;
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let server = Server::start(ServerLimits { max_connections: 2, ..limits() }).await;
    let mut other = server.client().await;
    assert_eq!(other.get("/").await.status, 200);
    for _ in 0..3 {
        bounded(async {
            let mut client = server.client().await;
            client.send("GET /panic HTTP/1.1\r\nhost: test\r\n\r\n").await;
            assert!(client.closed_without_a_word().await);
        })
        .await;
    }
    assert_eq!(other.get("/").await.status, 200);
    server.stopped().await;
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_finishes_requests() {
    let server = Server::start(limits()).await;
    let mut fresh = server.client().await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut busy = server.client().await;
    busy.send("GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").await;
    bounded(server.gates.entered.notified()).await;

    server.stop.cancel();
    assert!(idle.closed_without_a_word().await);
    assert!(fresh.closed_without_a_word().await);
    assert!(!server.running.is_finished());

    server.gates.release.notify_one();
    let response = busy.read_response().await;
    assert_eq!((response.status, response.body.as_str()), (200, "waited"));
    assert!(response.head.contains("connection: close"), "{response:?}");
    assert!(busy.closed_without_a_word().await);
    drop(busy);
    server.stopped().await;
}

#[tokio::test]
async fn idle_clients_that_never_close_do_not_hold_up_a_shutdown() {
    let server = Server::start(limits()).await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    server.stopped().await;
    drop(idle);
}

#[tokio::test]
async fn a_shutdown_refuses_new_connections() {
    let server = Server::start(limits()).await;
    let addr = server.addr;
    server.stopped().await;
    let refused = tokio::net::TcpStream::connect(addr).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_stalled_client_holds_up_a_shutdown_for_the_drain_time_only() {
    let server = Server::start(ServerLimits { drain: SHORT, ..limits() }).await;
    let mut client = server.client().await;
    client.send("POST /slow-body HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nab").await;
    bounded(server.gates.entered.notified()).await;
    server.stopped().await;
    assert!(client.closed_without_a_word().await);
}

/// Yields what the test sends: connections and errors.
struct Scripted(mpsc::Receiver<io::Result<DuplexStream>>);

#[async_trait]
impl Listener for Scripted {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        match self.0.recv().await {
            Some(next) => Ok((Box::new(next?), any_port())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(any_port())
    }
}

const EMFILE: i32 = 24;

#[tokio::test(start_paused = true)]
async fn errors_of_accept_are_survived_without_a_busy_loop() {
    let (sender, receiver) = mpsc::channel(16);
    let server = Server::over(Box::new(Scripted(receiver)), limits());
    let began = tokio::time::Instant::now();
    for _ in 0..6 {
        sender.send(Err(io::Error::from_raw_os_error(EMFILE))).await.expect("a server");
        sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await.expect("a server");
    }
    let (mut client, served) = tokio::io::duplex(1024);
    sender.send(Ok(served)).await.expect("a server");
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("write");
    let mut response = Vec::new();
    bounded(client.read_buf(&mut response)).await.expect("read");
    assert!(response.starts_with(b"HTTP/1.0 200 OK"), "{response:?}");
    // 50, 100, 200, 400, 800 and 1000 ms; an aborted connection is no reason to wait.
    assert_eq!(began.elapsed().as_millis() / 10, 255);
    drop(client);
    server.stopped().await;
}
