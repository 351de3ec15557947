//! A stand-in for Game Master that answers what it was told to, one connection for each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use integration::contracts::{self, Contract, Operation, Pointer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Write these bytes and hang up.
    Bytes(Vec<u8>),
    /// Say nothing, and do not hang up.
    Silence,
}

impl Act {
    /// A whole answer.
    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
        if status != 204 {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        Self::Bytes(format!("{head}\r\n{body}").into_bytes())
    }

    /// A value, as JSON.
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::answer(status, &[("Content-Type", "application/json")], &value.to_string())
    }

    /// A refusal in the envelope.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "error": { "code": code, "message": message } }).to_string();
        let retry = (status == 503).then_some(("Retry-After", "1"));
        let headers = [("Content-Type", "application/json")].into_iter().chain(retry);
        Self::answer(status, &headers.collect::<Vec<_>>(), &body)
    }

    /// An example that the contract gives of an answer.
    pub(crate) fn example(operation: &str, status: u16, name: &str) -> Self {
        if status == 204 {
            return Self::answer(204, &[], "");
        }
        Self::json(status, &example(operation, status, name))
    }
}

/// The value of an example in the contract.
pub(crate) fn example(operation: &str, status: u16, name: &str) -> Value {
    let contract = contracts::openapi().expect("the contract");
    let found = contract.operation(operation).expect("an operation");
    let method = found.method.to_lowercase();
    let mut place = Pointer::root().child("paths").child(&found.path).child(&method);
    place = place.child("responses").child(status.to_string());
    let place = contract.follow(&place).expect("an answer");
    let place = place.child("content").child("application/json").child("examples").child(name);
    let place = contract.follow(&place).expect("an example").child("value");
    contract.at(&place).expect("its value").clone()
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Holds the request against what the contract says of an operation.
    pub(crate) fn must_be(&self, operation: &str, path: &str) {
        let contract = contracts::openapi().expect("the contract");
        let found = contract.operation(operation).expect("an operation");
        assert_eq!((&*self.method, &*self.path), (&*found.method, path));
        assert!(found.callers.iter().any(|caller| caller == "admin"), "{operation} is for us");
        assert_eq!(self.header("x-galaxy-caller"), Some("admin"));
        self.query_is_known(&found);
        let knows_key = found.parameters.iter().any(|p| p.name == "Idempotency-Key");
        assert_eq!(self.header("idempotency-key").is_some(), knows_key, "{operation}");
        for name in ["X-Request-Id", "Idempotency-Key"] {
            let Some(value) = self.header(&name.to_lowercase()) else { continue };
            let parameter = found.parameters.iter().find(|p| p.name == name).expect("known");
            let schema = contract.validator_at(&parameter.schema).expect("a schema");
            assert!(schema.is_valid(&json!(value)), "{name}: {value}");
        }
        assert!(self.header("x-request-id").is_some());
        self.body_is_valid(&contract, operation);
    }

    fn query_is_known(&self, operation: &Operation) {
        let query = self.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map(|(name, _)| name).expect("a pair");
            let known = operation.parameters.iter().any(|p| p.place == "query" && p.name == name);
            assert!(known, "{name} of {}", self.path);
        }
    }

    fn body_is_valid(&self, contract: &Contract, operation: &str) {
        if self.body.is_empty() {
            assert!(self.header("content-type").is_none(), "{operation}: a type of nothing");
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/json"));
        let schema = contract.request_validator(operation).expect("a schema").expect("a body");
        let body: Value = serde_json::from_str(&self.body).expect("JSON");
        let wrong: Vec<_> = schema.iter_errors(&body).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{operation}: {wrong:?} in {body}");
    }
}

/// Answers requests with what it was given, in order.
pub(crate) struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts: Vec<Act> = acts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it binds");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            let mut silent = vec![];
            for act in acts {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read(&mut stream).await;
                noted.lock().expect("not poisoned").push(request);
                match act {
                    // A client that has hung up has read enough.
                    Act::Bytes(bytes) => drop(stream.write_all(&bytes).await),
                    Act::Silence => silent.push(stream),
                }
            }
            // Nobody listens any more; who waits goes on waiting.
            drop(listener);
            std::future::pending::<()>().await;
        });
        Self { address, seen, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// The one request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        let [only] = seen.as_slice() else { panic!("{seen:?}") };
        only.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn read(stream: &mut TcpStream) -> Seen {
    let mut bytes = vec![];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let read = stream.read_buf(&mut bytes).await.expect("a request");
        assert!(read > 0 && bytes.len() < 65_536, "a head");
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut word = || first.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut headers = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let before = headers.insert(name.to_lowercase(), value.to_owned());
        assert!(before.is_none(), "{name} is given twice");
    }
    let length = headers.get("content-length").map_or(0, |n| n.parse().expect("a number"));
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        assert!(stream.read_buf(&mut body).await.expect("a body") > 0, "a whole body");
    }
    Seen { method, path, headers, body: String::from_utf8(body).expect("text") }
}
