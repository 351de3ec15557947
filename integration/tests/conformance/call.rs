//! Requests as bytes, so that nothing stands between a test and the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tokens of the callers.
pub(crate) const TOKENS: [(&str, &str); 3] = [
    ("gateway", "gateway-0123456789abcdef"),
    ("lobby", "lobby-0123456789abcdef"),
    ("admin", "admin-0123456789abcdef"),
];

/// One request of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Whose token it carries.
    pub(crate) caller: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(operation: &'static str, method: &'static str, path: &str) -> Self {
        Self {
            operation,
            method,
            path: format!("/api/v1/internal/{path}"),
            caller: Some("admin"),
            headers: vec![],
            body: None,
        }
    }

    pub(crate) fn by(self, caller: &'static str) -> Self {
        Self { caller: Some(caller), ..self }
    }

    pub(crate) fn body(self, body: serde_json::Value) -> Self {
        Self { body: Some(body.to_string()), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn named(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    pub(crate) async fn send(&self, to: SocketAddr) -> Answer {
        let body = self.body.clone().unwrap_or_default();
        let length = body.len();
        self.send_with_length(to, length).await
    }

    /// The same, with a `Content-Length` that may promise more than there is.
    pub(crate) async fn send_with_length(&self, to: SocketAddr, length: usize) -> Answer {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: gm\r\n", self.method, self.path);
        head += "Connection: close\r\n";
        if let Some(caller) = self.caller {
            let (_, token) = TOKENS.iter().find(|(name, _)| *name == caller).expect("a caller");
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let has_type = self.headers.iter().any(|(name, _)| *name == "Content-Type");
        if self.body.is_some() && !has_type {
            head += "Content-Type: application/json\r\n";
        }
        if self.body.is_some() || length > 0 {
            head += &format!("Content-Length: {length}\r\n");
        }
        head += "\r\n";
        let bytes = [head.as_bytes(), self.body.as_deref().unwrap_or_default().as_bytes()].concat();
        let mut stream = TcpStream::connect(to).await.expect("it listens");
        // A server that answers before it has read everything may close meanwhile.
        let _ = stream.write_all(&bytes).await;
        let mut answer = vec![];
        let read = async {
            loop {
                if let Some(whole) = parse(&answer) {
                    return Some(whole);
                }
                if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                    return None;
                }
            }
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.ok().flatten().unwrap_or_else(|| panic!("no answer to {self:?}"))
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let none_due = status == 204;
    let whole = length.map_or(none_due, |length: usize| length == body.len());
    whole.then(|| Answer { status, headers, body: body.to_vec() })
}
