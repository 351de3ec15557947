//! A TCP proxy that can do to a connection what networks do: between any two parts of a test, in
//! front of anything that speaks TCP.
//!
//! ```text
//!            ToServer: delay, hole, pieces, trap ──▶
//!   client ══════════════════ link ═══════════════════ server
//!            ◀── ToClient: delay, hole, pieces, trap
//! ```
//!
//! Bytes are never invented, lost or reordered on a link that goes on living: what a black hole
//! holds comes through once it is healed, as TCP's repetition has it. What is lost is lost together
//! with its connection.
//!
//! A fault that never struck tests nothing: [`FaultProxy::heal`] panics where one did not, and each
//! setter answers with [`Strikes`], to wait for.

mod fault;
mod link;

pub use fault::{Close, Flow, Side, Strikes, Trap, Way};

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use fault::{Faults, Mark};
use link::Order;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Before the next try where the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(5);
/// Orders that a link has not carried out yet.
const MAX_ORDERS: usize = 8;

/// A proxy in front of one server. It and all its connections end when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Keeps the port while nobody listens there: who connects then is refused by the system.
    _port: TcpSocket,
    _end: DropGuard,
}

/// What the links share with the handle.
struct Shared {
    upstream: SocketAddr,
    faults: watch::Sender<Faults>,
    links: Mutex<BTreeMap<u64, mpsc::Sender<(Order, Done)>>>,
    accepted: AtomicU64,
    end: CancellationToken,
}

/// Dropped by a link when an order is carried out.
type Done = mpsc::Sender<()>;

impl FaultProxy {
    /// A proxy on a port of its own on loopback, which lets everything pass. Must be called within a
    /// runtime, where it then runs.
    ///
    /// # Panics
    /// Where there is no port.
    pub fn start(upstream: SocketAddr) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// The same, on a port that was chosen for it.
    ///
    /// # Panics
    /// Where it is taken.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn start_at(listen: SocketAddr, upstream: SocketAddr) -> Self {
        let port = bound(listen).expect("a port");
        let address = port.local_addr().expect("an address");
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            upstream,
            faults: watch::Sender::new(Faults::default()),
            links: Mutex::default(),
            accepted: AtomicU64::new(0),
            end: end.clone(),
        });
        let proxy = Self {
            address,
            shared,
            listening: Mutex::default(),
            _port: port,
            _end: end.drop_guard(),
        };
        proxy.listen();
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made to it so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.shared.links().len()
    }

    /// Sets how bytes travel one way, on all connections, those to come too.
    pub fn flow(&self, way: Way, flow: Flow) -> Strikes {
        let what = format!("{flow:?} {way:?}");
        self.change(&what, |faults, mark| faults.set_flow(way, flow, mark))
    }

    /// Lets everything that is sent one way arrive later by so much.
    pub fn delay(&self, way: Way, delay: Duration) -> Strikes {
        self.flow(way, Flow { delay, ..Flow::default() })
    }

    /// Lets nothing come through one way, not even the end of a connection, until healed. New
    /// connections are still made, by the system at either end, and stay as silent.
    pub fn hole(&self, way: Way) -> Strikes {
        self.flow(way, Flow { hole: true, ..Flow::default() })
    }

    /// Lets nothing come through either way: one fault, that is, since what does not get there is
    /// not answered.
    pub fn hole_both(&self) -> Strikes {
        let hole = Flow { hole: true, ..Flow::default() };
        self.change("a hole both ways", |faults, mark| {
            faults.set_flow(Way::ToServer, hole.clone(), Arc::clone(&mark));
            faults.set_flow(Way::ToClient, hole, mark);
        })
    }

    /// Sends so many bytes at a time, with a pause after each.
    pub fn trickle(&self, way: Way, piece: usize, pause: Duration) -> Strikes {
        self.flow(way, Flow { piece, pause, ..Flow::default() })
    }

    /// Waits for certain bytes, then strikes. There is one trap at a time.
    pub fn trap(&self, trap: Trap) -> Strikes {
        let what = format!("{trap:?}");
        self.change(&what, |faults, mark| faults.set_trap(trap, mark))
    }

    /// Accepts connections and resets them at once.
    pub fn reset_new(&self) -> Strikes {
        self.change("reset of new connections", |faults, mark| faults.reset_new = Some(mark))
    }

    /// Has new connections refused by the system, as where nobody listens. Nobody can count those;
    /// that it struck is to be seen at the client.
    pub fn refuse(&self) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Cuts all connections, both ends of each; answers how many there were.
    pub async fn cut(&self, close: Close) -> usize {
        self.order(Order::Cut(close)).await
    }

    /// Ends all connections for one side, which is told by a reset; the other one is never told:
    /// what it sends is swallowed. Answers how many there were.
    pub async fn half_open(&self, told: Side) -> usize {
        self.order(Order::HalfOpen(told)).await
    }

    /// Ends every fault. Connections that are half open stay so.
    ///
    /// # Panics
    /// Where one never struck.
    #[track_caller]
    pub fn heal(&self) {
        let before = self.end_faults();
        let idle: Vec<_> = before.marks().filter(|mark| mark.struck() == 0).collect();
        assert!(idle.is_empty(), "never struck: {idle:?}");
    }

    /// Ends every fault, struck or not: for whom it is enough that many of many did.
    pub fn calm(&self) {
        self.end_faults();
    }

    fn end_faults(&self) -> Faults {
        let before = self.shared.faults.send_replace(Faults::default());
        self.listen();
        before
    }

    /// Makes a change that is counted under a name.
    fn change(&self, what: &str, change: impl FnOnce(&mut Faults, Arc<Mark>)) -> Strikes {
        let mark = Arc::new(Mark::new(what));
        self.shared.faults.send_modify(|faults| change(faults, Arc::clone(&mark)));
        Strikes(mark)
    }

    async fn order(&self, order: Order) -> usize {
        let links: Vec<_> = self.shared.links().values().cloned().collect();
        let (done, mut all_done) = mpsc::channel(1);
        let mut reached = 0;
        for link in links {
            reached += usize::from(link.send((order, done.clone())).await.is_ok());
        }
        drop(done);
        while all_done.recv().await.is_some() {}
        reached
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    fn listen(&self) {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.is_none() {
            let listener = bound(self.address).and_then(|socket| socket.listen(BACKLOG));
            let accepting = accept(listener.expect("our own port"), Arc::clone(&self.shared));
            *listening = Some(AbortOnDropHandle::new(tokio::spawn(accepting)));
        }
    }
}

impl Shared {
    fn links(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, mpsc::Sender<(Order, Done)>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that shares its port with others of ours: with the one that keeps it.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // What fails here is the connection that came, or the system for a moment.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let id = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let reset = shared.faults.borrow().reset_new.clone();
        if let Some(mark) = reset {
            mark.strike();
            link::reset(client);
            continue;
        }
        // Known before it can be ordered anything.
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        shared.links().insert(id, orders);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { serve(id, client, ordered, &shared).await });
    }
}

async fn serve(
    id: u64,
    client: TcpStream,
    ordered: mpsc::Receiver<(Order, Done)>,
    shared: &Shared,
) {
    tokio::select! {
        biased;
        () = shared.end.cancelled() => {}
        () = link::run(client, ordered, shared) => {}
    }
    shared.links().remove(&id);
}
