//! Requests that were written before the clock starts, on connections that are kept: what is
//! measured is the server, not the client.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 16 * 1024;

/// A request, as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Vec<u8>);

impl Wire {
    pub(crate) fn new(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += "content-type: application/json\r\n";
            text += &format!("content-length: {}\r\n", body.len());
        }
        Self(format!("{text}\r\n{body}").into_bytes())
    }
}

/// A connection that is made when it is needed, and again where the server ended it.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(READ_BYTES) }
    }

    /// Sends a request and reads the answer to its end; its status and body.
    pub(crate) async fn send(&mut self, request: &Wire) -> io::Result<(u16, &[u8])> {
        let exchanged = timeout(PATIENCE, self.exchange(request)).await;
        match exchanged.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
            Ok((status, head)) => Ok((status, self.buffer.get(head..).unwrap_or_default())),
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    /// The same, by its status alone; none where the connection broke.
    pub(crate) async fn status(&mut self, request: &Wire) -> Option<u16> {
        self.send(request).await.ok().map(|(status, _)| status)
    }

    async fn exchange(&mut self, request: &Wire) -> io::Result<(u16, usize)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(&request.0).await?;
        self.buffer.clear();
        let head = loop {
            let read = stream.read_buf(&mut self.buffer).await?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(self.buffer.get(..head).unwrap_or_default());
        let text = text.to_ascii_lowercase();
        let status = text.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        let closes = text.contains("connection: close");
        while self.buffer.len() < head + length {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        if closes {
            self.stream = None;
        }
        Ok((status, head))
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Moments at a fixed distance, whatever happens between them.
pub(crate) struct Beat {
    next: Instant,
    every: Duration,
    until: Instant,
}

impl Beat {
    pub(crate) fn new(first: Instant, every: Duration, until: Instant) -> Self {
        Self { next: first, every, until }
    }

    /// Waits for the next moment and answers when the latency of what is done then begins; none
    /// once it is over.
    ///
    /// SUBTLE: who was still busy at the moment counts from the moment, or a server that stalls
    /// would be asked less and look better; who woke up late because the timer ticks in
    /// milliseconds counts from when it woke up.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        let moment = self.next;
        if moment >= self.until {
            return None;
        }
        self.next += self.every;
        let busy = Instant::now() > moment;
        sleep_until(moment).await;
        Some(if busy { moment } else { Instant::now() })
    }
}
