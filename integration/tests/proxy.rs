//! The fault proxy itself, over real sockets: each fault does what its name says, to those it is
//! meant for, and to nobody once it is healed.
#![expect(clippy::expect_used, reason = "failed expectations of tests")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use integration::harness::until;
use integration::proxy::{Close, FaultProxy, Flow, Side, Trap, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

/// What must come is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What must not come is waited for so long.
const SILENCE: Duration = Duration::from_millis(150);

/// Repeats whatever it is sent.
struct Echo {
    address: SocketAddr,
    /// What it was sent, by all.
    heard: Arc<Mutex<Vec<u8>>>,
    /// How its connections ended.
    ended: Arc<Mutex<Vec<Result<(), ErrorKind>>>>,
    _task: AbortOnDropHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heard, ended) = <(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<_>>>)>::default();
        let (hears, ends) = (Arc::clone(&heard), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (hears, ends) = (Arc::clone(&hears), Arc::clone(&ends));
                all.spawn(async move {
                    let end = echo(stream, &hears).await;
                    ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                });
            }
        });
        Self { address, heard, ended, _task: AbortOnDropHandle::new(task) }
    }

    fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn until_ended(&self, wanted: &[Result<(), ErrorKind>]) {
        until("the server to see the end", || {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            std::future::ready((ended.len() >= wanted.len()).then(|| assert_eq!(*ended, wanted)))
        })
        .await;
    }
}

async fn echo(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) -> Result<(), ErrorKind> {
    let mut buffer = vec![0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.map_err(|error| error.kind())?;
        if read == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        stream.write_all(bytes).await.map_err(|error| error.kind())?;
    }
}

async fn start() -> (Echo, FaultProxy) {
    let echo = Echo::start().await;
    let proxy = FaultProxy::start(echo.address);
    (echo, proxy)
}

async fn client(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// A connection that has carried something.
async fn used(proxy: &FaultProxy) -> TcpStream {
    let mut stream = client(proxy).await;
    assert_eq!(ask(&mut stream, b"hello").await, b"hello");
    stream
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.expect("sent");
    answer(stream, bytes.len()).await
}

async fn answer(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut answer = vec![0; length];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    answer
}

/// How the connection ends for the client, and what came before.
async fn end(stream: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut rest = vec![];
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end");
    (rest, read.map(drop).map_err(|error| error.kind()))
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read(&mut [0])).await.is_err()
}

#[tokio::test]
async fn everything_passes_in_order_and_ends_pass_too() {
    let (echo, proxy) = start().await;
    let mut stream = client(&proxy).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = stream.split();
    let mut heard = vec![0; bytes.len()];
    let (sent, got) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut heard));
    sent.expect("sent");
    got.expect("heard");
    assert!(heard == bytes, "something changed on the way");
    stream.shutdown().await.expect("the end");
    assert_eq!(end(&mut stream).await, (vec![], Ok(())));
    echo.until_ended(&[Ok(())]).await;
    until("the proxy to forget it", || std::future::ready((proxy.open() == 0).then_some(()))).await;
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn connections_are_cut_both_ways_at_both_ends() {
    for (close, seen) in [(Close::Reset, Err(ErrorKind::ConnectionReset)), (Close::Finish, Ok(()))]
    {
        let (echo, proxy) = start().await;
        let (mut one, mut two) = (used(&proxy).await, used(&proxy).await);
        assert_eq!(proxy.cut(close).await, 2);
        assert_eq!(end(&mut one).await, (vec![], seen));
        assert_eq!(end(&mut two).await, (vec![], seen));
        drop((one, two));
        echo.until_ended(&[seen, seen]).await;
        // And nobody else.
        used(&proxy).await;
    }
}

#[tokio::test]
async fn new_connections_are_refused_or_reset_and_old_ones_go_on() {
    let (_echo, proxy) = start().await;
    let mut old = used(&proxy).await;
    proxy.refuse();
    until("a refusal", || async {
        let error = TcpStream::connect(proxy.address()).await.err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
    assert_eq!(ask(&mut old, b"still").await, b"still");
    proxy.heal();
    used(&proxy).await;

    let resets = proxy.reset_new();
    let mut new = client(&proxy).await;
    assert_eq!(end(&mut new).await.1, Err(ErrorKind::ConnectionReset));
    assert_eq!(resets.count(), 1);
    assert_eq!(ask(&mut old, b"still").await, b"still");
    proxy.heal();
    used(&proxy).await;
}

#[tokio::test]
async fn each_way_is_delayed_by_itself() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    let delay = Duration::from_millis(200);
    for way in [Way::ToServer, Way::ToClient] {
        let strikes = proxy.delay(way, delay);
        let (before, begun) = (echo.heard().len(), Instant::now());
        stream.write_all(b"late").await.expect("sent");
        if way == Way::ToClient {
            until("the server hears it", || {
                std::future::ready((echo.heard().len() > before).then_some(()))
            })
            .await;
            assert!(is_silent(&mut stream).await || begun.elapsed() >= delay, "it came too soon");
        } else {
            assert_eq!(echo.heard().len(), before, "the server heard it too soon");
        }
        assert_eq!(answer(&mut stream, 4).await, b"late");
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
        assert!(strikes.count() >= 1);
        proxy.heal();
    }
}

/// What is sent in a row arrives later, but not each thing later than the one before it.
#[tokio::test]
async fn a_delay_is_one_of_the_way_and_not_of_each_message() {
    let (_echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    proxy.delay(Way::ToServer, Duration::from_millis(300));
    let begun = Instant::now();
    for _ in 0..20 {
        stream.write_all(b"x").await.expect("sent");
        tokio::task::yield_now().await;
    }
    answer(&mut stream, 20).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_black_hole_is_one_way_and_what_it_held_comes_through_afterwards() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    let strikes = proxy.hole(Way::ToClient);
    stream.write_all(b"there").await.expect("sent");
    strikes.reach(1).await;
    assert_eq!(echo.heard(), b"hellothere");
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    assert_eq!(answer(&mut stream, 5).await, b"there");

    let strikes = proxy.hole(Way::ToServer);
    stream.write_all(b"back").await.expect("sent");
    strikes.reach(1).await;
    // Neither does a new connection get there.
    let mut new = client(&proxy).await;
    new.write_all(b"new").await.expect("sent");
    strikes.reach(2).await;
    assert!(is_silent(&mut stream).await && is_silent(&mut new).await);
    assert_eq!(echo.heard(), b"hellothere");
    proxy.heal();
    assert_eq!(answer(&mut stream, 4).await, b"back");
    assert_eq!(answer(&mut new, 3).await, b"new");
}

#[tokio::test]
async fn not_even_an_end_comes_through_a_black_hole() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    let strikes = proxy.hole(Way::ToServer);
    stream.shutdown().await.expect("the end");
    strikes.reach(1).await;
    assert!(echo.ended.lock().expect("not poisoned").is_empty());
    proxy.heal();
    echo.until_ended(&[Ok(())]).await;
}

#[tokio::test]
async fn of_a_half_open_connection_one_side_knows() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    assert_eq!(proxy.half_open(Side::Server).await, 1);
    echo.until_ended(&[Err(ErrorKind::ConnectionReset)]).await;
    stream.write_all(b"anybody?").await.expect("it does not know");
    assert!(is_silent(&mut stream).await);
    assert_eq!(proxy.cut(Close::Finish).await, 1);
    assert_eq!(end(&mut stream).await, (vec![], Ok(())));

    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    assert_eq!(proxy.half_open(Side::Client).await, 1);
    assert_eq!(end(&mut stream).await.1, Err(ErrorKind::ConnectionReset));
    assert!(echo.ended.lock().expect("not poisoned").is_empty());
    drop(proxy);
    until("the server is told at last", || {
        let ended = echo.ended.lock().expect("not poisoned");
        std::future::ready((ended.len() == 1).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn the_answer_to_a_request_is_lost_after_it_was_carried_out() {
    let (echo, proxy) = start().await;
    let mut bystander = used(&proxy).await;
    let mut stream = used(&proxy).await;
    let strikes = proxy.trap(Trap::answer_to(b"XADD"));
    assert_eq!(ask(&mut stream, b"GET").await, b"GET");
    // The word comes in two pieces.
    assert_eq!(ask(&mut stream, b"..XA").await, b"..XA");
    stream.write_all(b"DD..").await.expect("sent");
    assert_eq!(end(&mut stream).await, (vec![], Err(ErrorKind::ConnectionReset)));
    assert_eq!(strikes.count(), 1);
    assert!(echo.heard().ends_with(b"..XADD.."), "the server did not get it");
    // Once, as said.
    assert_eq!(ask(&mut bystander, b"XADD").await, b"XADD");
    proxy.heal();
}

#[tokio::test]
async fn a_trap_strikes_as_often_as_said() {
    let (_echo, proxy) = start().await;
    let strikes = proxy.trap(Trap::answer_with(b"applied").every(3).times(2));
    let mut lost = vec![];
    for n in 0..12 {
        let mut stream = client(&proxy).await;
        stream.write_all(b"applied").await.expect("sent");
        if end_or(&mut stream, 7).await.is_none() {
            lost.push(n);
        }
    }
    assert_eq!((lost, strikes.count()), (vec![0, 3], 2));
}

/// The answer; nothing where there is an end instead.
async fn end_or(stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
    let mut answer = vec![0; length];
    let read = timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("something");
    read.ok().map(|_| answer)
}

#[tokio::test]
async fn a_request_is_lost_before_the_server_has_it() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    proxy.trap(Trap::request_with(b"POST").close(Close::Finish));
    stream.write_all(b"POST /").await.expect("sent");
    assert_eq!(end(&mut stream).await, (vec![], Ok(())));
    drop(stream);
    echo.until_ended(&[Ok(())]).await;
    assert_eq!(echo.heard(), b"hello");
    proxy.heal();
}

#[tokio::test]
async fn so_many_bytes_pass_and_no_more() {
    for way in [Way::ToServer, Way::ToClient] {
        let (echo, proxy) = start().await;
        let mut stream = used(&proxy).await;
        proxy.trap(Trap::after(way, 5).close(Close::Finish));
        assert_eq!(ask(&mut stream, b"123").await, b"123");
        stream.write_all(b"456").await.expect("sent");
        let (came, _) = end(&mut stream).await;
        drop(stream);
        echo.until_ended(&[Ok(())]).await;
        if way == Way::ToServer {
            assert_eq!(echo.heard(), b"hello12345");
        } else {
            assert_eq!((came, echo.heard()), (b"45".to_vec(), b"hello123456".to_vec()));
        }
        proxy.heal();
    }
}

#[tokio::test]
async fn an_answer_may_be_lost_and_nobody_told() {
    let (echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    let strikes = proxy.trap(Trap::answer_to(b"ask").silent());
    stream.write_all(b"ask").await.expect("sent");
    strikes.reach(1).await;
    stream.write_all(b"anybody?").await.expect("it does not know");
    assert!(is_silent(&mut stream).await);
    assert_eq!(echo.heard(), b"helloask");
    assert_eq!(proxy.cut(Close::Reset).await, 1);
    assert_eq!(end(&mut stream).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn bytes_trickle_one_by_one() {
    let (_echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    let pause = Duration::from_millis(20);
    let strikes = proxy.trickle(Way::ToClient, 1, pause);
    let begun = Instant::now();
    stream.write_all(b"slowly").await.expect("sent");
    let mut first = [0; 6];
    let read = stream.read(&mut first).await.expect("a byte");
    assert_eq!(answer(&mut stream, 6 - read).await, b"slowly"[read..]);
    assert!(begun.elapsed() >= pause * 5, "{:?}", begun.elapsed());
    assert!(strikes.count() >= 5, "{strikes:?}");
    proxy.heal();
    let strikes = proxy.flow(Way::ToServer, Flow { piece: 1, ..Flow::default() });
    assert_eq!(ask(&mut stream, b"split").await, b"split");
    assert_eq!(strikes.count(), 4);
}

#[tokio::test]
#[should_panic(expected = "never struck")]
async fn a_fault_that_never_struck_fails_the_test() {
    let (_echo, proxy) = start().await;
    let mut stream = used(&proxy).await;
    proxy.trap(Trap::answer_to(b"what nobody asks"));
    ask(&mut stream, b"something else").await;
    proxy.heal();
}

#[tokio::test]
async fn a_server_that_is_not_there_and_a_proxy_that_is_gone_end_connections() {
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let proxy = FaultProxy::start(nobody);
    let mut stream = client(&proxy).await;
    assert_eq!(end(&mut stream).await.1, Err(ErrorKind::ConnectionReset));

    let (_echo, proxy) = start().await;
    let address = proxy.address();
    let mut stream = used(&proxy).await;
    drop(proxy);
    assert_eq!(end(&mut stream).await.0, b"");
    until("nobody to listen", || async { TcpStream::connect(address).await.err() }).await;
}
