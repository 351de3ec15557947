//! Redis as a host: as much of it as Game Master and its neighbours ask for, in its own protocol, so
//! that the production adapters run as they are. Any other command is refused, and fails the run.

mod keys;
mod resp;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machine::StreamId;
use net::{BoxedStream, Net};
use service::redis_streams::APPEND_ALL;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

pub use self::keys::{Entry, Keys};
use self::resp::Reply;
use crate::board::{Board, lock, take_one};
use crate::oracle::Oracle;
use crate::plan::{Loss, Refusal};
use crate::seams::{SimClock, elapsed_ms};

const NOT_ABOVE: &str =
    "ERR The ID specified in XADD is equal or smaller than the target stream top item";

/// What Redis keeps beyond a crash, and who looks on.
#[derive(Clone)]
pub struct RedisHost {
    /// Where it listens.
    pub net: Arc<dyn Net>,
    /// What it holds.
    pub keys: Arc<Mutex<Keys>>,
    /// What it is told to do wrong.
    pub board: Arc<Board>,
    /// Who looks on.
    pub oracle: Arc<Oracle>,
}

impl RedisHost {
    /// Serves until it crashes; begins with what the last crash left.
    pub async fn run(self) -> io::Result<()> {
        if let Some(loss) = lock(&self.board.redis.loss).take() {
            self.lose(loss);
        }
        let mut listener = self.net.bind(crate::world::any(crate::world::REDIS_PORT)).await?;
        let appended = Arc::new(Notify::new());
        loop {
            let (stream, _) = listener.accept().await?;
            let (host, appended) = (self.clone(), Arc::clone(&appended));
            tokio::spawn(async move { host.serve(stream, &appended).await });
        }
    }

    fn lose(&self, loss: Loss) {
        let mut keys = lock(&self.keys);
        let lost = match loss {
            Loss::Nothing => 0,
            Loss::Tail(ms) => {
                keys.lose_since(elapsed_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
            }
            Loss::Everything => keys.lose_everything(),
        };
        self.oracle.streams_lost(&keys, lost);
    }

    async fn serve(self, stream: BoxedStream, appended: &Notify) -> io::Result<()> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        while let Some(request) = resp::read_request(&mut reader).await? {
            let delay = self.board.redis.delay_ms.load(Ordering::Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            let is_append = request.first().is_some_and(|name| name == b"XADD" || name == b"EVAL");
            let reply = match self.refusal(&request) {
                Some(refused) => refused,
                None => self.answer(&request, appended).await,
            };
            if is_append && take_one(&self.board.redis.answers_lost) {
                self.oracle.chronicle.note(None, "redis: appended, answer lost");
                return Ok(());
            }
            writer.write_all(&reply.encoded()).await?;
            writer.flush().await?;
        }
        Ok(())
    }

    async fn answer(&self, request: &[Vec<u8>], appended: &Notify) -> Reply {
        let words: Vec<&str> =
            request.iter().map(|word| std::str::from_utf8(word).unwrap_or("\u{fffd}")).collect();
        match words.as_slice() {
            ["PING"] => Reply::Simple("PONG"),
            ["SELECT", "0"] => Reply::Simple("OK"),
            ["XADD", key, "MAXLEN", "~", keep, id, "payload", payload] => {
                let keep = keep.parse().ok();
                self.append(key, keep, id, payload.as_bytes(), appended)
            }
            ["XADD", key, id, "payload", payload] => {
                self.append(key, None, id, payload.as_bytes(), appended)
            }
            ["EVAL", script, "1", key, onto, entries @ ..] if *script == APPEND_ALL => {
                self.append_all(key, onto, entries, appended)
            }
            ["XREAD", "COUNT", max, "STREAMS", key, after] => {
                self.read(key, after, max, "0", appended).await
            }
            ["XREAD", "COUNT", max, "BLOCK", ms, "STREAMS", key, after] => {
                self.read(key, after, max, ms, appended).await
            }
            ["XRANGE", key, from, to] => match (from.parse(), to.parse()) {
                (Ok(from), Ok(to)) => entries(&lock(&self.keys).range(key, from, to)),
                (Err(_), _) | (_, Err(_)) => self.unknown(&words),
            },
            ["XINFO", "STREAM", key] => match lock(&self.keys).newest(key) {
                Some((newest, length)) => Reply::List(vec![
                    Reply::bulk("length"),
                    Reply::Int(i64::try_from(length).unwrap_or(i64::MAX)),
                    Reply::bulk("last-generated-id"),
                    Reply::bulk(&newest.to_string()),
                ]),
                None => Reply::Error("ERR no such key".into()),
            },
            ["XTRIM", key, "MINID", "~", below] => match below.parse() {
                Ok(below) => Reply::Int(lock(&self.keys).trim(key, below)),
                Err(_) => self.unknown(&words),
            },
            ["GET", key] => lock(&self.keys).get(key).map_or(Reply::Nil, Reply::bulk),
            ["SET", key, value] => {
                lock(&self.keys).set(key, value, elapsed_ms());
                Reply::Simple("OK")
            }
            _ => self.unknown(&words),
        }
    }

    /// What it says where it is told to refuse.
    fn refusal(&self, request: &[Vec<u8>]) -> Option<Reply> {
        let how = (*lock(&self.board.redis.refuses))?;
        let name = request.first()?.as_slice();
        let writes = matches!(name, b"XADD" | b"EVAL" | b"SET" | b"XTRIM");
        let why = match how {
            Refusal::Loading => "LOADING Redis is loading the dataset in memory",
            Refusal::ReadOnly if writes => "READONLY You can't write against a read only replica.",
            Refusal::Full if writes && name != b"XTRIM" => {
                "OOM command not allowed when used memory > 'maxmemory'."
            }
            Refusal::ReadOnly | Refusal::Full => return None,
        };
        // The script begins, and is refused its first entry.
        if name == b"EVAL" && how != Refusal::Loading {
            let refused = vec![Reply::bulk("refused"), Reply::bulk(why)];
            return Some(Reply::List(vec![Reply::List(refused)]));
        }
        Some(Reply::Error(why.into()))
    }

    fn unknown(&self, words: &[&str]) -> Reply {
        let command = words.join(" ");
        self.oracle.violated("the simulated Redis knows every command", None, &command);
        Reply::Error(format!("ERR unknown command {command}"))
    }

    fn append(
        &self,
        key: &str,
        keep: Option<usize>,
        id: &str,
        payload: &[u8],
        appended: &Notify,
    ) -> Reply {
        let now_ms = elapsed_ms();
        let unix_ms = u64::try_from(SimClock::default().unix_ms()).unwrap_or_default();
        let explicit: Option<StreamId> = id.parse().ok();
        if explicit.is_none() && id != "*" {
            return self.unknown(&["XADD", key, id]);
        }
        let mut keys = lock(&self.keys);
        let added = keys.append(key, explicit, payload, unix_ms, now_ms);
        match added {
            Some(id) => {
                if let Some(keep) = keep {
                    keys.keep_newest(key, keep);
                }
                self.oracle.appended(&keys, key, id, payload);
                appended.notify_waiters();
                Reply::bulk(&id.to_string())
            }
            None => Reply::Error(NOT_ABOVE.into()),
        }
    }

    /// What [`APPEND_ALL`] does.
    fn append_all(&self, key: &str, onto: &str, entries: &[&str], appended: &Notify) -> Reply {
        let Ok(onto) = onto.parse::<StreamId>() else {
            return self.unknown(&["EVAL", key, onto]);
        };
        let newest = lock(&self.keys).newest(key).map_or(StreamId::ZERO, |(newest, _)| newest);
        if newest < onto {
            let short = vec![Reply::bulk("short"), Reply::bulk(&newest.to_string())];
            return Reply::List(vec![Reply::List(short)]);
        }
        let (pairs, rest) = entries.as_chunks();
        if !rest.is_empty() {
            return self.unknown(&["EVAL", key, "with an id and no message"]);
        }
        let mut added = vec![];
        for [id, payload] in pairs {
            let reply = self.append(key, None, id, payload.as_bytes(), appended);
            if let Reply::Error(why) = reply {
                let refused = vec![Reply::bulk("refused"), Reply::bulk(&why)];
                added.push(Reply::List(refused));
                break;
            }
            added.push(reply);
        }
        Reply::List(added)
    }

    async fn read(
        &self,
        key: &str,
        after: &str,
        max: &str,
        block_ms: &str,
        appended: &Notify,
    ) -> Reply {
        let (Ok(after), Ok(max), Ok(wait)) = (after.parse(), max.parse(), block_ms.parse()) else {
            return self.unknown(&["XREAD", key, after]);
        };
        let deadline = Instant::now() + Duration::from_millis(wait);
        loop {
            // Registered before looking, so that an append in between is not missed.
            let notified = appended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let found = lock(&self.keys).above(key, after, max);
            if !found.is_empty() {
                return Reply::List(vec![Reply::List(vec![Reply::bulk(key), entries(&found)])]);
            }
            if timeout_at(deadline, notified).await.is_err() {
                return Reply::NilList;
            }
        }
    }
}

fn entries(found: &[(StreamId, Entry)]) -> Reply {
    let entry = |(id, entry): &(StreamId, Entry)| {
        let fields = vec![Reply::bulk("payload"), Reply::Bulk(entry.payload.to_vec())];
        Reply::List(vec![Reply::bulk(&id.to_string()), Reply::List(fields)])
    };
    Reply::List(found.iter().map(entry).collect())
}
