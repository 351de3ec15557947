//! The simulated network behind the network seam.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use net::{BoxedStream, Listener, Net};

/// Binds, resolves and connects within the simulation. To be used from within a turmoil host.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimNet;

struct SimListener(turmoil::net::TcpListener);

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[async_trait]
impl Net for SimNet {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(SimListener(turmoil::net::TcpListener::bind(addr).await?)))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ip = host.parse::<IpAddr>().unwrap_or_else(|_| turmoil::lookup(host));
        Ok(vec![SocketAddr::new(ip, port)])
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream> {
        Ok(Box::new(turmoil::net::TcpStream::connect(addr).await?))
    }
}
