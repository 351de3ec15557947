//! One address for several Game Masters: a connection goes to the next one that takes it, as a load
//! balancer would have it. It knows nothing of what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// The most connections at a time; others wait in the system's own queue.
const MOST: usize = 512;
/// The time in which one of them must take a connection.
const CONNECT: Duration = Duration::from_millis(300);
/// Before the next try where the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(5);

/// See the module. Ends when it is dropped.
pub(super) struct Front {
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Front {
    /// One before these, on any free port.
    pub(super) async fn start(behind: Vec<SocketAddr>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, behind.into()));
        Ok(Self { address, _accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, behind: Arc<[SocketAddr]>) {
    let places = Arc::new(Semaphore::new(MOST));
    let mut first = 0_usize;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((mut client, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        first = first.wrapping_add(1);
        let (behind, first) = (Arc::clone(&behind), first);
        tokio::spawn(async move {
            let _place = place;
            for turn in 0..behind.len() {
                let at = behind.get(first.wrapping_add(turn) % behind.len());
                let Some(address) = at else { return };
                let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
                if let Ok(Ok(mut server)) = connected {
                    // Either side may be killed at any time: that is what this is for.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
