//! The program itself: what it writes to standard error, and what it does when nobody reads it.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::world::{Client, PATIENCE};

const CANARY: &str = "canary-7c1e5b";

struct Program {
    child: Child,
    addr: SocketAddr,
    log: BufReader<ChildStderr>,
    /// What was read so far.
    lines: Vec<String>,
}

impl Program {
    async fn start(format: &str, filter: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gamemaster"))
            .arg("serve")
            .env_clear()
            .env("GAMEMASTER_LISTEN", "127.0.0.1:0")
            .env("GAMEMASTER_LOBBY_URL", "http://127.0.0.1:1")
            .env("GAMEMASTER_RTM_URL", "http://127.0.0.1:1")
            .env("GAMEMASTER_ENGINE_NETWORKS", "127.0.0.0/8")
            .env("GAMEMASTER_LOGGING_FORMAT", format)
            .env("GAMEMASTER_LOGGING_FILTER", filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = vec![];
        let listening = async {
            loop {
                let mut line = String::new();
                let read = log.read_line(&mut line).await.expect("UTF-8");
                assert!(read > 0, "ended: {lines:?}");
                let address =
                    line.split("127.0.0.1:").nth(1).filter(|_| line.contains("listening"));
                lines.push(line.trim_end().to_owned());
                if let Some(rest) = address {
                    let digits = rest.chars().take_while(char::is_ascii_digit);
                    return digits.collect::<String>().parse::<u16>().expect("a port");
                }
            }
        };
        let port = timeout(PATIENCE, listening).await.expect("listens in time");
        Self { child, addr: SocketAddr::from(([127, 0, 0, 1], port)), log, lines }
    }

    /// Ends it with SIGTERM; all it wrote.
    async fn end(mut self) -> Vec<String> {
        self.terminate().await;
        let mut rest = String::new();
        timeout(PATIENCE, self.log.read_to_string(&mut rest)).await.expect("ends").expect("UTF-8");
        self.lines.extend(rest.split_terminator('\n').map(str::to_owned));
        let status = timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("waited");
        assert!(status.success(), "{status}");
        self.lines
    }

    async fn terminate(&self) {
        let id = self.child.id().expect("runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
        assert!(sent.success());
    }
}

async fn misbehave(addr: SocketAddr) {
    let mut client = Client::connect(addr).await;
    let game = "/api/v1/internal/games/aurora";
    let headers = format!(
        "Authorization: Bearer {CANARY}\r\nX-User-Id: alice\r\nX-Request-Id: req-1\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         Cookie: {CANARY}\r\nX-Galaxy-Caller: {CANARY}\r\n"
    );
    let body = format!("{{\"commands\":[\"{CANARY}\"],\"{CANARY}\":\"{CANARY}\"}}");
    client.post(&format!("{game}/commands"), &headers, &body).await;
    client.post(&format!("{game}/register-runtime"), &headers, &body).await;
    let secretless = headers.replace(&format!("X-Galaxy-Caller: {CANARY}\r\n"), "");
    client.post(&format!("{game}/register-runtime"), &secretless, &body).await;
    client.post(&format!("{game}/commands"), &secretless, &body).await;
    client.get(&format!("/api/v1/internal/runtimes?cursor={CANARY}")).await;
    client.get("/api/v1/internal/runtimes/%1B%5B31m%0D%0Aforged").await;
}

#[tokio::test]
async fn every_line_of_a_request_says_which_and_none_says_what_was_secret() {
    let program = Program::start("json", "trace").await;
    misbehave(program.addr).await;
    let lines = program.end().await;
    let mut of_request = 0;
    for line in &lines {
        assert!(!line.contains(CANARY), "{line}");
        assert!(!line.contains('\x1b'), "{line}");
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"));
        for name in ["timestamp", "level", "target", "message"] {
            assert!(object.get(name).is_some_and(Value::is_string), "{name} in {line}");
        }
        if object.get("request_id") == Some(&"req-1".into()) {
            assert_eq!(object["trace_id"], "0af7651916cd43dd8448eb211c80319c", "{line}");
            if object["message"] == "answered" {
                of_request += 1;
                assert_eq!(object["game_id"], "aurora", "{line}");
            }
        }
    }
    assert_eq!(of_request, 4, "{lines:#?}");
}

#[tokio::test]
async fn pretty_lines_cannot_be_forged() {
    let program = Program::start("pretty", "trace").await;
    misbehave(program.addr).await;
    let lines = program.end().await;
    assert!(
        lines.iter().any(|line| line.contains("answered") && line.contains("request_id=req-1"))
    );
    for line in &lines {
        assert!(!line.contains(CANARY), "{line}");
        let is_line = line.as_bytes().first().is_some_and(u8::is_ascii_digit);
        assert!(is_line && !line.contains(['\x1b', '\r']), "{line:?}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_and_nothing_else() {
    let mut program = Program::start("json", "trace").await;
    let mut client = Client::connect(program.addr).await;
    // Each says several lines; together they are more than the pipe and the queue hold.
    let dropped = async {
        loop {
            for _ in 0..50 {
                client.get("/api/v1/internal/runtimes/unknown").await;
            }
            let metrics = client.get("/metrics").await.body;
            let name = "gamemaster_log_lines_dropped_total ";
            let count = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("there");
            if count != "0" {
                return;
            }
        }
    };
    timeout(PATIENCE * 2, dropped).await.expect("answers go on, lines are dropped");
    assert_eq!(client.get("/healthz").await.status, 200);
    // Somebody who reads again is told, with the next line that finds room.
    let mut line = String::new();
    let told = async {
        while !line.contains("log lines were dropped") {
            client.get("/healthz").await;
            for _ in 0..100 {
                line.clear();
                program.log.read_line(&mut line).await.expect("UTF-8");
                if line.contains("log lines were dropped") {
                    return;
                }
            }
        }
    };
    timeout(PATIENCE, told).await.expect("told");
    program.end().await;
}
