//! The traits between the service and the network, and their production implementation.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A [`Stream`] whose transport is not known to the code that uses it.
pub type BoxedStream = Box<dyn Stream>;

/// A bound address that accepts connections.
#[async_trait]
pub trait Listener: Send {
    /// Waits for the next connection. Must be safe to cancel: a dropped call loses no connection.
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)>;

    /// The address listened on, with the port the system chose if 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Access to a network: the real one, or a simulated one.
#[async_trait]
pub trait Net: Send + Sync + 'static {
    /// Listens on `addr`.
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// The addresses of `host` (a name or an address without brackets), each with `port`.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// Opens a connection. The caller bounds the wait.
    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream>;
}

/// The operating system's TCP, with Nagle's algorithm off: our messages are written whole, and
/// delaying the last segment of one only adds latency.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

#[async_trait]
impl Net for TokioNet {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TokioListener(TcpListener::bind(addr).await?)))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream> {
        Ok(without_nagle(TcpStream::connect(addr).await?))
    }
}

struct TokioListener(TcpListener);

#[async_trait]
impl Listener for TokioListener {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((without_nagle(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn without_nagle(stream: TcpStream) -> BoxedStream {
    // A failure means that the peer is gone already; the first read or write reports that better.
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}
