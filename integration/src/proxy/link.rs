//! One connection.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fault::{Close, Faults, Scan, Side, Then, Way};
use super::{Done, Shared};

/// The most bytes read at a time.
const CHUNK: usize = 16 * 1024;
/// Chunks on their way, each way.
const QUEUE: usize = 64;
/// How long a side that was told the end may take to close its own: a socket that is closed with
/// bytes unread sends a reset in place of the end.
const LINGER: Duration = Duration::from_secs(1);

/// What the handle wants of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Cut(Close),
    HalfOpen(Side),
}

/// Why bytes no longer pass.
enum End {
    /// Both sides have ended.
    Over,
    /// One of them is gone, or the trap wants it so.
    Close(Close),
    Silence,
}

struct Link<'a> {
    faults: watch::Receiver<Faults>,
    scan: &'a Mutex<Scan>,
}

/// What travels.
enum Item {
    Bytes(Vec<u8>),
    Finish,
    Reset,
}

/// Serves a client until both sides have ended, or as ordered.
pub(super) async fn run(
    mut client: TcpStream,
    mut ordered: mpsc::Receiver<(Order, Done)>,
    shared: &Shared,
) {
    let scan = Mutex::default();
    let link = Link { faults: shared.faults.subscribe(), scan: &scan };
    let connected = async {
        link.passage(Way::ToServer).await;
        TcpStream::connect(shared.upstream).await
    };
    let server = tokio::select! {
        biased;
        order = ordered.recv() => Err(order),
        connected = connected => connected.map_err(|_| None),
    };
    let mut server = match server {
        Ok(server) => server,
        // Nobody is there, or it is too late: there is but one side to tell.
        Err(order) => return told_alone(client, order).await,
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = tokio::select! {
        biased;
        order = ordered.recv() => Err(order),
        end = carry(&mut client, &mut server, &link) => Ok(end),
    };
    let mut next = match end {
        Ok(End::Over) => return,
        Ok(End::Close(close)) => return cut(client, server, close, None).await,
        Ok(End::Silence) => {
            let deaf = async { tokio::join!(swallow(&mut client), swallow(&mut server)) };
            tokio::select! {
                biased;
                order = ordered.recv() => order,
                _ = deaf => return,
            }
        }
        Err(order) => order,
    };
    match next.take() {
        Some((Order::Cut(close), done)) => cut(client, server, close, Some(done)).await,
        Some((Order::HalfOpen(told), done)) => {
            let (told, untold) = match told {
                Side::Client => (client, server),
                Side::Server => (server, client),
            };
            reset(told);
            drop(done);
            half_open(untold, ordered).await;
        }
        // The proxy is gone.
        None => {}
    }
}

/// Ends a connection with a reset.
pub(super) fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn told_alone(client: TcpStream, order: Option<(Order, Done)>) {
    match order {
        Some((Order::Cut(Close::Finish), done)) => finish(client, Some(done)).await,
        Some((Order::Cut(Close::Reset) | Order::HalfOpen(_), _)) | None => reset(client),
    }
}

/// The side that was not told goes on alone.
async fn half_open(mut untold: TcpStream, mut ordered: mpsc::Receiver<(Order, Done)>) {
    loop {
        let order = tokio::select! {
            biased;
            order = ordered.recv() => order,
            () = swallow(&mut untold) => return,
        };
        match order {
            Some((Order::HalfOpen(_), _)) => {}
            other => return told_alone(untold, other).await,
        }
    }
}

async fn cut(client: TcpStream, server: TcpStream, close: Close, done: Option<Done>) {
    match close {
        Close::Reset => {
            reset(client);
            reset(server);
        }
        Close::Finish => {
            tokio::join!(finish(client, done.clone()), finish(server, done));
        }
    }
}

async fn finish(mut stream: TcpStream, done: Option<Done>) {
    let _ = stream.shutdown().await;
    drop(done);
    let _ = timeout(LINGER, swallow(&mut stream)).await;
}

/// Reads until there is no more, and forgets it.
async fn swallow(stream: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn carry(client: &mut TcpStream, server: &mut TcpStream, link: &Link<'_>) -> End {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = link.carry(Way::ToServer, from_client, to_server);
    let back = link.carry(Way::ToClient, from_server, to_client);
    match tokio::try_join!(there, back) {
        Ok(((), ())) => End::Over,
        Err(end) => end,
    }
}

impl Link<'_> {
    /// Waits until something may pass.
    async fn passage(&self, way: Way) {
        let is_hole = |faults: &Faults| {
            let (flow, mark) = faults.flow(way);
            if flow.hole
                && let Some(mark) = mark
            {
                mark.strike();
            }
            flow.hole
        };
        let mut faults = self.faults.clone();
        if is_hole(&faults.borrow_and_update()) {
            // The proxy outlives its links.
            let _ = faults.wait_for(|faults| !faults.flow(way).0.hole).await;
        }
    }

    async fn carry(
        &self,
        way: Way,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), End> {
        let (queue, mut queued) = mpsc::channel(QUEUE);
        let reading = async move {
            let mut buffer = vec![0; CHUNK];
            loop {
                let item = match from.read(&mut buffer).await {
                    Ok(0) => Item::Finish,
                    Ok(read) => Item::Bytes(buffer.iter().take(read).copied().collect()),
                    Err(_) => Item::Reset,
                };
                let is_last = !matches!(item, Item::Bytes(_));
                if queue.send((self.due(way), item)).await.is_err() || is_last {
                    return Ok(());
                }
            }
        };
        let writing = async move {
            while let Some((due, item)) = queued.recv().await {
                if let Some(due) = due {
                    sleep_until(due).await;
                }
                self.passage(way).await;
                match item {
                    Item::Bytes(bytes) => self.send(way, &bytes, &mut to).await?,
                    Item::Reset => return Err(End::Close(Close::Reset)),
                    Item::Finish => {
                        let _ = to.shutdown().await;
                    }
                }
            }
            Ok(())
        };
        tokio::try_join!(reading, writing).map(|((), ())| ())
    }

    /// When what has just been read may go on.
    fn due(&self, way: Way) -> Option<Instant> {
        let faults = self.faults.borrow();
        let (flow, mark) = faults.flow(way);
        if flow.delay.is_zero() {
            return None;
        }
        if let Some(mark) = mark {
            mark.strike();
        }
        Some(Instant::now() + flow.delay)
    }

    async fn send(&self, way: Way, bytes: &[u8], to: &mut WriteHalf<'_>) -> Result<(), End> {
        let struck = {
            let trap = self.faults.borrow().trap.clone();
            let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
            scan.look(trap.as_ref(), way, bytes)
        };
        let (mut left, then) = match struck {
            Some((pass, then)) => (bytes.get(..pass).unwrap_or(bytes), Some(then)),
            None => (bytes, None),
        };
        while !left.is_empty() {
            self.passage(way).await;
            let (piece, pause) = self.piece(way, left.len());
            let (now, later) = left.split_at(piece);
            if to.write_all(now).await.is_err() {
                // The other side learns of it on its own way.
                self.passage(way.back()).await;
                return Err(End::Close(Close::Reset));
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
            left = later;
        }
        match then {
            None => Ok(()),
            Some(Then::Close(close)) => Err(End::Close(close)),
            Some(Then::Silence) => Err(End::Silence),
        }
    }

    /// How many bytes are sent next, and the pause after them.
    fn piece(&self, way: Way, left: usize) -> (usize, Duration) {
        let faults = self.faults.borrow();
        let (flow, mark) = faults.flow(way);
        let piece = flow.piece.clamp(1, left);
        if let Some(mark) = mark
            && piece < left
        {
            mark.strike();
        }
        (piece, flow.pause)
    }
}
