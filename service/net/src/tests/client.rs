use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use tokio::net::TcpListener;

use super::support::{FakeNet, LONG, Peer, Raw, SHORT, any_port, bounded};
use crate::{AddressGuard, CallError, ClientLimits, HttpClient, Net, NotSent, TokioNet, Unknown};

fn limits() -> ClientLimits {
    ClientLimits {
        connect_timeout: LONG,
        total_timeout: LONG,
        max_response_bytes: 64,
        max_idle_per_host: 4,
        idle_timeout: LONG,
    }
}

fn client() -> HttpClient {
    HttpClient::new(Arc::new(TokioNet), limits(), None)
}

fn client_over(net: &Arc<FakeNet>, limits: ClientLimits) -> HttpClient {
    HttpClient::new(Arc::clone(net) as Arc<dyn Net>, limits, None)
}

fn get(uri: &str) -> Request<Bytes> {
    Request::get(uri).body(Bytes::new()).expect("request")
}

async fn call(client: &HttpClient, uri: &str) -> Result<(StatusCode, Bytes), CallError> {
    let response = bounded(client.send(get(uri))).await?;
    Ok((response.status(), response.into_body()))
}

async fn fail(client: &HttpClient, uri: &str) -> CallError {
    call(client, uri).await.expect_err("a failure")
}

async fn fail_within(client: &HttpClient, uri: &str, total: Duration) -> CallError {
    bounded(client.send_within(get(uri), total)).await.expect_err("a failure")
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client();
    for _ in 0..3 {
        let (status, body) = call(&client.clone(), &peer.uri("/")).await.expect("a response");
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"ok"[..]));
    }
    assert_eq!(peer.accepted(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_determinate() {
    let unused = TcpListener::bind(any_port()).await.expect("bind");
    let addr = unused.local_addr().expect("address");
    drop(unused);
    let error = fail(&client(), &format!("http://{addr}/secret-path?token=secret")).await;
    assert!(matches!(error, CallError::NotSent(NotSent::ConnectFailed(_))), "{error:?}");
    assert!(error.is_determinate());
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_peer_that_closes_after_the_request_leaves_the_outcome_unknown() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
    })
    .await;
    let error = fail(&client(), &peer.uri("/")).await;
    assert!(matches!(error, CallError::Unknown(Unknown::NoResponse(_))), "{error:?}");
    assert!(!error.is_determinate());
}

#[tokio::test]
async fn a_pooled_connection_that_breaks_during_the_request_leaves_the_outcome_unknown() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        raw.read_head().await;
    })
    .await;
    let client = client();
    call(&client, &peer.uri("/")).await.expect("a response");
    let error = fail(&client, &peer.uri("/")).await;
    assert!(!error.is_determinate(), "{error:?}");
    assert_eq!(peer.accepted(), 1, "and the request is not sent again");
}

#[tokio::test]
async fn nonsense_leaves_the_outcome_unknown() {
    let peer = Peer::answering("SMTP ready\r\n\r\n").await;
    let error = fail(&client(), &peer.uri("/")).await;
    assert!(matches!(error, CallError::Unknown(Unknown::NoResponse(_))), "{error:?}");
}

#[tokio::test]
async fn a_response_head_has_a_bound() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\n").await;
        let line = format!("x: {}\r\n", "y".repeat(1000));
        while raw.try_send(&line).await.is_ok() {}
    })
    .await;
    let error = fail(&client(), &peer.uri("/")).await;
    assert!(matches!(error, CallError::Unknown(Unknown::NoResponse(_))), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_outcome_unknown() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf").await;
    })
    .await;
    let error = fail(&client(), &peer.uri("/")).await;
    assert!(matches!(error, CallError::Unknown(Unknown::Incomplete(_))), "{error:?}");
}

#[tokio::test]
async fn silence_is_cut_by_the_deadline_and_the_connection_not_used_again() {
    let peer = Peer::start(|mut raw| async move {
        // Reads every request that comes, and answers none.
        while raw.read_head().await.is_some() {}
    })
    .await;
    let client = client();
    for accepted in 1..=2 {
        let error = fail_within(&client, &peer.uri("/"), SHORT).await;
        assert!(matches!(error, CallError::Unknown(Unknown::TimedOut(SHORT))), "{error:?}");
        assert_eq!(peer.accepted(), accepted);
    }
}

#[tokio::test]
async fn a_hang_after_the_head_is_cut_and_the_connection_not_used_again() {
    let peer = Peer::start(|mut raw| async move {
        while raw.read_head().await.is_some() {
            raw.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
        }
    })
    .await;
    let client = client();
    for accepted in 1..=2 {
        let error = fail_within(&client, &peer.uri("/"), SHORT).await;
        assert!(matches!(error, CallError::Unknown(Unknown::TimedOut(_))), "{error:?}");
        assert_eq!(peer.accepted(), accepted);
    }
}

#[tokio::test]
async fn a_dripping_body_is_cut_by_the_total_deadline() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let mut drip = tokio::time::interval(SHORT / 10);
        while raw.try_send("1\r\nx\r\n").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
    let limits = ClientLimits { max_response_bytes: usize::MAX, ..limits() };
    let client = HttpClient::new(Arc::new(TokioNet), limits, None);
    let error = fail_within(&client, &peer.uri("/"), SHORT).await;
    assert!(matches!(error, CallError::Unknown(Unknown::TimedOut(SHORT))), "{error:?}");
}

#[tokio::test]
async fn a_response_is_read_up_to_the_limit_and_no_further() {
    let exact: &str = Box::leak(
        format!("HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n{:064}", 0).into_boxed_str(),
    );
    let peer = Peer::answering(exact).await;
    let (_, body) = call(&client(), &peer.uri("/")).await.expect("a response");
    assert_eq!(body.len(), 64);

    // The body never comes: the declared length alone is refused.
    let declared = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n").await;
    let error = fail(&client(), &declared.uri("/")).await;
    assert!(matches!(error, CallError::TooLarge { limit_bytes: 64 }), "{error:?}");
    assert!(!error.is_determinate());

    let endless = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while raw.try_send("8\r\n01234567\r\n").await.is_ok() {}
    })
    .await;
    let error = fail(&client(), &endless.uri("/")).await;
    assert!(matches!(error, CallError::TooLarge { limit_bytes: 64 }), "{error:?}");
}

#[tokio::test]
async fn a_chunked_response_is_put_together() {
    let peer = Peer::start(|mut raw| async move {
        raw.read_head().await.expect("a request");
        raw.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for chunk in ["2\r\nab\r\n", "3\r\ncde\r\n", "1\r\nf\r\n", "0\r\n\r\n"] {
            raw.send(chunk).await;
        }
        raw.read_head().await;
    })
    .await;
    let (_, body) = call(&client(), &peer.uri("/")).await.expect("a response");
    assert_eq!(&body[..], b"abcdef");
}

#[tokio::test]
async fn the_length_of_what_head_would_return_is_not_a_body() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n").await;
    let request = Request::head(peer.uri("/")).body(Bytes::new()).expect("request");
    let response = bounded(client().send(request)).await.expect("a response");
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "999");
    assert!(response.body().is_empty());
}

#[tokio::test]
async fn a_redirect_is_a_response() {
    let target = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = target.uri("/");
    let peer = Peer::start(move |mut raw: Raw| {
        let location = location.clone();
        async move {
            raw.read_head().await.expect("a request");
            raw.send(&format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\n\
                 content-length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let (status, _) = call(&client(), &peer.uri("/")).await.expect("a response");
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(target.accepted(), 0);
}

struct Only(SocketAddr);

impl AddressGuard for Only {
    fn allows(&self, host: &str, addr: SocketAddr) -> bool {
        assert_eq!(host, "engine.test");
        addr == self.0
    }
}

#[tokio::test]
async fn one_forbidden_address_refuses_the_host_before_anything_is_dialled() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));

    let net = Arc::new(FakeNet { resolved: vec![peer.addr, metadata], ..FakeNet::default() });
    let guard: Arc<dyn AddressGuard> = Arc::new(Only(peer.addr));
    let over: Arc<dyn Net> = Arc::clone(&net) as _;
    let client = HttpClient::new(over, limits(), Some(Arc::clone(&guard)));
    let error = fail(&client, "http://engine.test/").await;
    let CallError::NotSent(NotSent::Forbidden(addr)) = error else { panic!("{error:?}") };
    assert_eq!(addr, metadata);
    assert_eq!(net.dialled.load(Ordering::SeqCst), 0);

    let net = Arc::new(FakeNet { resolved: vec![peer.addr], ..FakeNet::default() });
    let client = HttpClient::new(net, limits(), Some(guard));
    call(&client, "http://engine.test/").await.expect("a response");
}

#[tokio::test]
async fn the_next_address_is_dialled_when_one_does_not_answer() {
    let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let dead = SocketAddr::from(([192, 0, 2, 1], 80));
    let net = Arc::new(FakeNet {
        resolved: vec![dead, peer.addr],
        dead: vec![dead],
        ..FakeNet::default()
    });
    let limits = ClientLimits { connect_timeout: 4 * SHORT, ..limits() };
    call(&client_over(&net, limits), "http://engine.test/").await.expect("a response");
    assert_eq!(net.dialled.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn no_connection_in_time_is_determinate_whichever_deadline_strikes() {
    let dead = SocketAddr::from(([192, 0, 2, 1], 80));
    let net = Arc::new(FakeNet { resolved: vec![dead], dead: vec![dead], ..FakeNet::default() });
    for (connect_timeout, total_timeout) in [(SHORT, LONG), (LONG, SHORT)] {
        let limits = ClientLimits { connect_timeout, total_timeout, ..limits() };
        let error = fail(&client_over(&net, limits), "http://engine.test/").await;
        assert!(matches!(error, CallError::NotSent(NotSent::ConnectTimedOut)), "{error:?}");
    }
}

#[tokio::test]
async fn a_host_without_addresses_is_determinate() {
    let net = Arc::new(FakeNet::default());
    let error = fail(&client_over(&net, limits()), "http://engine.test/").await;
    assert!(matches!(error, CallError::NotSent(NotSent::NoAddress)), "{error:?}");
}

#[tokio::test]
async fn what_is_not_plain_http_is_refused() {
    let net = Arc::new(FakeNet::default());
    let client = client_over(&net, limits());
    for uri in ["https://engine.test/", "/relative", "http://user:pass@engine.test/", "ws://x/"] {
        let error = fail(&client, uri).await;
        assert!(matches!(error, CallError::NotSent(NotSent::Invalid(_))), "{uri}: {error:?}");
        assert!(!error.to_string().contains("pass"), "{error}");
    }
    let mut connect = get("http://engine.test/");
    *connect.method_mut() = Method::CONNECT;
    let error = bounded(client.send(connect)).await.expect_err("a failure");
    assert!(matches!(error, CallError::NotSent(NotSent::Invalid(_))), "{error:?}");
    assert_eq!(net.dialled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_framing_is_that_of_the_body_sent() {
    let (heads, mut seen) = tokio::sync::mpsc::channel(1);
    let peer = Peer::start(move |mut raw: Raw| {
        let heads = heads.clone();
        async move {
            heads.send(raw.read_head().await.expect("a request")).await.expect("a listener");
            raw.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let request = Request::post(peer.uri("/turn?n=1"))
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_LENGTH, "1")
        .header(header::TRANSFER_ENCODING, "chunked")
        .body(Bytes::from_static(b"{\"n\":1}"))
        .expect("request");
    bounded(client().send(request)).await.expect("a response");
    let head = bounded(seen.recv()).await.expect("a head");
    assert!(head.starts_with("post /turn?n=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("content-length: 7\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", peer.addr)), "{head}");
}

#[tokio::test]
async fn an_address_of_version_six_is_called_without_brackets() {
    let listener = match TokioNet.bind(SocketAddr::from(([0u16; 8], 0))).await {
        Ok(listener) => listener,
        // A host without version six has nothing to show here.
        Err(_) => return,
    };
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let error = fail(&client(), &format!("http://[::1]:{port}/")).await;
    assert!(matches!(error, CallError::NotSent(NotSent::ConnectFailed(_))), "{error:?}");
}
