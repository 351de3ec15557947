//! A neighbour that answers what it is told to, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) struct Stub {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
}

impl Stub {
    /// Answers 200 with what `answer` says of the first line of a request.
    pub(crate) async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (counted, count) = watch::channel(0);
        let (answer, known) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, known) = (Arc::clone(&answer), Arc::clone(&known));
                let counted = counted.clone();
                tokio::spawn(async move {
                    let Some((asked, mut stream)) = read(stream).await else { return };
                    let body = answer(asked.head.lines().next().unwrap_or_default());
                    known.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                    counted.send_modify(|n| *n += 1);
                    let text = format!(
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { addr, asked, count }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All requests so far, once there is one that `wanted` holds of.
    pub(crate) async fn until(&self, wanted: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let mut count = self.count.clone();
        let there = async {
            loop {
                count.mark_unchanged();
                let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if wanted(&asked) {
                    return asked;
                }
                count.changed().await.expect("the stub lives");
            }
        };
        tokio::time::timeout(crate::world::PATIENCE, there).await.expect("asked in time")
    }
}

async fn read(mut stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut bytes = vec![];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut asked = Asked { head, body: vec![] };
    let length = asked.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = bytes.split_off(head_end);
    Some((asked, stream))
}
