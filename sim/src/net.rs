//! The simulated network behind the network seam.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use net::{BoxedStream, Listener, Net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::board::{Board, Line, WirePoint};
use crate::plan::Moment;
use crate::record::Ends;

const READER: usize = 0;
const WRITER: usize = 1;

/// Binds, resolves and connects within the simulation, as one of its hosts. To be used from within
/// that host.
#[derive(Clone)]
pub struct SimNet {
    host: Arc<str>,
    board: Arc<Board>,
    gm: Option<usize>,
}

impl SimNet {
    /// The network as a host has it.
    pub fn new(host: &str, board: Arc<Board>) -> Self {
        Self { host: host.into(), board, gm: None }
    }

    /// The network of a host that no reset reaches.
    pub fn unreached() -> Arc<Self> {
        Arc::new(Self::new("", Arc::default()))
    }

    /// The network as an instance of Game Master has it, whose connects are points of contact.
    pub fn of_gm(host: &str, board: Arc<Board>, gm: usize) -> Self {
        Self { gm: Some(gm), ..Self::new(host, board) }
    }

    fn wrapped(
        &self,
        stream: turmoil::net::TcpStream,
        peer: SocketAddr,
        is_accepted: bool,
    ) -> BoxedStream {
        let line = self.board.line(&self.host, peer.ip());
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let wire = self.gm.and_then(|gm| Wire::to(gm, peer.ip(), is_accepted));
        Box::new(SimStream { stream, line, net: self.clone(), ends, wire })
    }

    async fn touch(&self, moment: Moment) {
        if let Some(gm) = self.gm {
            self.board.touch(gm, "net.connect", moment).await;
        }
    }
}

struct SimListener {
    listener: turmoil::net::TcpListener,
    net: SimNet,
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((self.net.wrapped(stream, peer, true), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[async_trait]
impl Net for SimNet {
    async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let listener = turmoil::net::TcpListener::bind(addr).await?;
        Ok(Box::new(SimListener { listener, net: self.clone() }))
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ip = host.parse::<IpAddr>().unwrap_or_else(|_| turmoil::lookup(host));
        Ok(vec![SocketAddr::new(ip, port)])
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<BoxedStream> {
        self.touch(Moment::Before).await;
        if let Some(peer) = turmoil::reverse_lookup(addr.ip()) {
            self.board.reach.way(&self.host, &peer).await?;
        }
        let stream = turmoil::net::TcpStream::connect(addr).await?;
        self.touch(Moment::After).await;
        Ok(self.wrapped(stream, addr, false))
    }
}

/// A connection of an instance: what it does with it is a point of contact.
struct Wire {
    gm: usize,
    read: WirePoint,
    write: WirePoint,
    /// Whether bytes are waited for, or were not taken yet: it is asked again and again.
    is_reading: bool,
    is_writing: bool,
    /// Whether the instance crashes here: nothing comes back any more.
    is_dead: bool,
}

impl Wire {
    fn to(gm: usize, peer: IpAddr, is_accepted: bool) -> Option<Self> {
        let peer = if is_accepted { "client".to_owned() } else { turmoil::reverse_lookup(peer)? };
        let [read, write] = WirePoint::of(&peer)?;
        Some(Self { gm, read, write, is_reading: false, is_writing: false, is_dead: false })
    }

    /// Bytes are asked for, or came; false where that is where the instance crashes.
    fn reads(&mut self, board: &Board, moment: Moment) -> bool {
        let is_new = moment == Moment::After || !self.is_reading;
        self.is_reading = moment == Moment::Before;
        self.is_dead |= is_new && board.touch_wire(self.gm, self.read, moment);
        !self.is_dead
    }

    /// Bytes are to be sent, or were; false where that is where the instance crashes.
    fn writes(&mut self, board: &Board, moment: Moment) -> bool {
        let is_new = moment == Moment::After || !self.is_writing;
        self.is_writing = moment == Moment::Before;
        self.is_dead |= is_new && board.touch_wire(self.gm, self.write, moment);
        !self.is_dead
    }
}

/// A connection that a fault can reset.
struct SimStream {
    stream: turmoil::net::TcpStream,
    line: Arc<Line>,
    net: SimNet,
    ends: Option<Ends>,
    wire: Option<Wire>,
}

impl SimStream {
    fn goes_on_reading(&mut self, moment: Moment) -> bool {
        self.wire.as_mut().is_none_or(|wire| wire.reads(&self.net.board, moment))
    }

    fn goes_on_writing(&mut self, moment: Moment) -> bool {
        self.wire.as_mut().is_none_or(|wire| wire.writes(&self.net.board, moment))
    }

    fn intact(&self, place: usize, cx: &Context<'_>) -> io::Result<()> {
        if self.line.is_broken(place, cx.waker()) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.intact(READER, cx)?;
        if !self.goes_on_reading(Moment::Before) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty());
        if let Some((ends, bytes)) = self.ends.zip(bytes) {
            self.net.board.recorder.reads(ends, bytes);
        }
        if read.is_ready() && !self.goes_on_reading(Moment::After) {
            buffer.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.intact(WRITER, cx)?;
        if !self.goes_on_writing(Moment::Before) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let (Poll::Ready(Ok(_)), Some(ends)) = (&written, self.ends) {
            self.net.board.recorder.writes(&self.net.host, ends, bytes);
        }
        if written.is_ready() && !self.goes_on_writing(Moment::After) {
            return Poll::Pending;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
