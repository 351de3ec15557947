//! A Redis for tests.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use net::{RedisLimits, RedisLink, TokioNet};
use redis::Cmd;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PortBlock, until};
use crate::servers::discovery::{Found, Kind};
use crate::servers::names;

/// The password of a private server that has one.
pub const PASSWORD: &str = "open%20sesame";
/// How long one of [`RedisServer::command`] may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// What a private server writes to its disk before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: a restart finds no data.
    No,
    /// Everything, synchronised once a second.
    EverySecond,
    /// Everything, synchronised each time.
    Always,
}

/// A private server on a port of loopback. Killed and its data removed when dropped.
pub struct RedisServer {
    child: Option<Child>,
    port: PortBlock,
    dir: TempDir,
    durability: Durability,
    password: bool,
}

/// What a server had on its disk at some time.
pub struct DataCopy(TempDir);

/// How far a server had written at some time.
pub struct Mark {
    file: PathBuf,
    bytes: u64,
}

/// The URL of a Redis that tests may use which do not trouble it and keep to keys that begin with
/// [`own_prefix`]; and the private server it belongs to, where it does not belong to others too.
///
/// # Panics
/// Where there is none.
#[expect(clippy::panic, reason = "a test cannot go on without it")]
pub async fn any() -> (String, Option<RedisServer>) {
    match Kind::Redis.find().await {
        Ok(Found::Shared(url)) => {
            sweep(&url).await;
            (url, None)
        }
        Ok(Found::Installed(_)) => {
            let server = RedisServer::start(Durability::No).await;
            (server.url(), Some(server))
        }
        Err(missing) => panic!("{missing}"),
    }
}

/// A prefix of keys that nobody else uses.
pub fn own_prefix() -> String {
    format!("{}:", names::fresh())
}

/// Removes the keys that processes which are gone have left on a server that outlives them.
///
/// # Panics
/// Where the server does not let us.
#[expect(clippy::expect_used, reason = "a test cannot go on without it")]
pub async fn sweep(url: &str) {
    let url = url.parse().expect("a URL of Redis");
    let link = RedisLink::new(Arc::new(TokioNet), url, RedisLimits::default());
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = Cmd::new();
        scan.arg("SCAN").arg(&cursor).arg("MATCH").arg(format!("{}*", names::prefix()));
        let answer = link.ask(scan.arg("COUNT").arg(1_000)).await.expect("the keys");
        let (next, keys): (String, Vec<String>) =
            redis::from_redis_value(answer).expect("a cursor and keys");
        for key in keys {
            if key.split(':').next().is_some_and(names::is_left_behind) {
                link.ask(Cmd::new().arg("UNLINK").arg(&key)).await.expect("an old key goes");
            }
        }
        if next == "0" {
            return;
        }
        cursor = next;
    }
}

impl RedisServer {
    /// Starts one.
    ///
    /// # Panics
    /// Where there is none to start.
    pub async fn start(durability: Durability) -> Self {
        Self::start_with(durability, false).await
    }

    /// Starts one that asks for [`PASSWORD`].
    ///
    /// # Panics
    /// Where there is none to start.
    pub async fn start_with_password() -> Self {
        Self::start_with(Durability::No, true).await
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    async fn start_with(durability: Durability, password: bool) -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut server = Self { child: None, port: PortBlock::take(), dir, durability, password };
        server.start_again().await;
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.first()
    }

    /// The same, with the password.
    pub fn url(&self) -> String {
        let password = if self.password { format!(":{PASSWORD}@") } else { String::new() };
        format!("redis://{password}{}", self.address())
    }

    /// Starts it on the same port and data as before, and waits until it answers.
    ///
    /// # Panics
    /// Where there is no `redis-server`, or it runs already.
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        // So that it ends with the test, however that ends. Without setpriv it ends on drop.
        let spawned = match self.spawn(&["setpriv", "--pdeathsig", "KILL", "redis-server"]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.spawn(&["redis-server"]),
            other => other,
        };
        let child = spawned.unwrap_or_else(|error| match Kind::Redis.installed() {
            Err(missing) => panic!("{missing}; to be troubled, it must be installed"),
            Ok(program) => panic!("{}: {error}", program.display()),
        });
        let child = self.child.insert(child);
        let (address, password) = (self.port.first(), self.password);
        until("redis-server to answer", || {
            if let Some(status) = child.try_wait().ok().flatten() {
                panic!("redis-server ended ({status}): install the package redis-server");
            }
            async move {
                let answer = exchange(address, password, &["PING"]).await;
                answer.is_ok_and(|answer| answer == "+PONG").then_some(())
            }
        })
        .await;
    }

    fn spawn(&self, program: &[&str]) -> io::Result<Child> {
        let port = self.address().port().to_string();
        let (append_only, synchronised) = match self.durability {
            Durability::No => ("no", "no"),
            Durability::EverySecond => ("yes", "everysec"),
            Durability::Always => ("yes", "always"),
        };
        let Some((program, first)) = program.split_first() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut command = Command::new(program);
        command.args(first);
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--databases", "16"]);
        command.args(["--appendonly", append_only, "--appendfsync", synchronised]);
        command.arg("--dir").arg(self.dir.path());
        if self.password {
            command.args(["--requirepass", &PASSWORD.replace("%20", " ")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        if let Some(mut child) = self.child.take() {
            let mut ended = || child.try_wait().ok().flatten().map(|_| ());
            until("redis-server to end", || std::future::ready(ended())).await;
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Makes it hang: connections are accepted by the system, and nobody answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("a running server");
        let pid = child.id().to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status();
        assert!(status.is_ok_and(|status| status.success()), "no signal {name}");
    }

    /// What is on its disk now.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub fn copy_data(&self) -> DataCopy {
        let copy = TempDir::new().expect("a directory");
        copy_files(self.dir.path(), copy.path()).expect("a copy");
        DataCopy(copy)
    }

    /// Kills it and starts it with what it had on its disk when the copy was made.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn lose_tail(&mut self, copy: &DataCopy) {
        self.kill();
        for file in fs::read_dir(self.dir.path()).expect("a directory") {
            let path = file.expect("a file").path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                .expect("removed");
        }
        copy_files(copy.0.path(), self.dir.path()).expect("a copy");
        self.start_again().await;
    }

    /// How far it has written now; `None` where it writes nothing, or begins a file at this moment.
    pub fn mark(&self) -> Option<Mark> {
        let files = fs::read_dir(self.dir.path().join("appendonlydir")).ok()?.flatten();
        let increments = files.filter(|file| file.file_name().to_string_lossy().contains(".incr."));
        let file = increments.max_by_key(|file| file.metadata().and_then(|m| m.modified()).ok())?;
        Some(Mark { file: file.path(), bytes: file.metadata().ok()?.len() })
    }

    /// Kills it and starts it with what it had written by then; answers how many bytes that cost.
    /// None, where it has begun another file since.
    pub async fn lose_since(&mut self, mark: &Mark) -> io::Result<u64> {
        self.kill();
        let written = fs::metadata(&mark.file).map_or(0, |file| file.len());
        if written > mark.bytes {
            fs::File::options().write(true).open(&mark.file)?.set_len(mark.bytes)?;
        }
        self.start_again().await;
        Ok(written.saturating_sub(mark.bytes))
    }

    /// Removes everything it holds.
    #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
    pub async fn flush_all(&self) {
        assert_eq!(self.command(&["FLUSHALL"]).await.expect("an answer"), "+OK");
    }

    /// A command over a connection of its own, as a stranger would give it. The answer as Redis
    /// writes it, `+OK`, `:3`, `-ERR …`; of a text the text itself, and of a list the first line.
    pub async fn command(&self, words: &[&str]) -> io::Result<String> {
        let exchange = exchange(self.address(), self.password, words);
        timeout(COMMAND_TIMEOUT, exchange).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn exchange(address: SocketAddr, password: bool, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    if password {
        stream.write_all(&encoded(&["AUTH", &PASSWORD.replace("%20", " ")])).await?;
    }
    stream.write_all(&encoded(words)).await?;
    let mut reader = BufReader::new(stream);
    if password {
        answer(&mut reader).await?;
    }
    answer(&mut reader).await
}

fn encoded(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    request.into_bytes()
}

async fn answer(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let Some(length) = line.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) else {
        return Ok(line.to_owned());
    };
    let mut text = vec![0; length + 2];
    reader.read_exact(&mut text).await?;
    text.truncate(length);
    String::from_utf8(text).map_err(io::Error::other)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_files(&file.path(), &target)?;
        } else {
            fs::copy(file.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tests leave it that are killed.
    #[tokio::test]
    async fn what_dead_processes_left_on_a_named_server_goes_and_nothing_else() {
        let server = RedisServer::start(Durability::No).await;
        let dead = format!("{}4294967295_0_0:stream", names::prefix());
        let ours = format!("{}stream", own_prefix());
        for key in [&dead, &ours, "precious"] {
            assert_eq!(server.command(&["SET", key, "x"]).await.expect("an answer"), "+OK");
        }
        sweep(&server.url()).await;
        for (key, left) in [(dead.as_str(), ":0"), (&ours, ":1"), ("precious", ":1")] {
            assert_eq!(server.command(&["EXISTS", key]).await.expect("an answer"), left, "{key}");
        }
    }
}
