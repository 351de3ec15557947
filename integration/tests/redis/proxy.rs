//! Between a client and Redis: lets a request through and loses the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A proxy in front of one server.
pub(crate) struct Proxy {
    address: SocketAddr,
    lose: Arc<AtomicU32>,
    lost: Arc<AtomicU32>,
    accepted: Arc<AtomicU32>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (lose, lost, accepted) = <(Arc<AtomicU32>, Arc<AtomicU32>, Arc<AtomicU32>)>::default();
        let counters = (Arc::clone(&lose), Arc::clone(&lost), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counters.2.fetch_add(1, Ordering::SeqCst);
                let (lose, lost) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
                connections.spawn(forward(client, server, lose, lost));
            }
        });
        Self { address, lose, lost, accepted, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The answers to the next so many appends are lost, together with their connections.
    pub(crate) fn lose_answers(&self, count: u32) {
        self.lose.store(count, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> u32 {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Requests are told apart by what is forwarded at once, which for one as small as those of the
/// tests is all of it.
async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    lose: Arc<AtomicU32>,
    lost: Arc<AtomicU32>,
) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut losing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let request = asked.get(..read.ok().filter(|n| *n > 0)?)?;
                if request.windows(4).any(|word| word == b"XADD") {
                    let left = lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                    losing = left.is_ok();
                }
                server.write_all(request).await.ok()?;
            }
            read = server.read(&mut answered) => {
                let answer = answered.get(..read.ok().filter(|n| *n > 0)?)?;
                if losing {
                    // The answer is here, so that it is certain that the request was carried out.
                    lost.fetch_add(1, Ordering::SeqCst);
                    return None;
                }
                client.write_all(answer).await.ok()?;
            }
        }
    }
}
