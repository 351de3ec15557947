//! Several appends in one request.
//!
//! SUBTLE: why a script. Requests that are merely sent together are answered one by one, and others
//! come in between. Redis may refuse one (out of memory, a replica, a failover, an id that is not
//! above one from elsewhere) and take the next; then the refused one can only follow under a higher
//! id, behind what was to come after it, and the messages of a game have changed places. A
//! transaction (`MULTI`) ends as one, but of ids it refuses the low ones and takes the high ones.
//! The script stops where Redis first says no, and nothing comes in between:
//!
//! - *an id from the far future*: the first entry is refused and none is added, or, where somebody
//!   took an id among ours, those below it are there and none above; the others get new ids;
//! - *a lost tail*: the newest id is looked at in the same moment as the first entry is added, so
//!   that nothing is put above a tail that was lost a moment ago and so hides the loss. A tail lost
//!   later takes the end of the entries with it, never their middle: they are logged and given to
//!   replicas in order, and as one;
//! - *a connection that is cut*: Redis begins with the script when it has all of it. All was
//!   carried out or nothing; nobody knows which, and the same again under the same ids tells;
//! - *ids that Redis draws* (`*`): the same, but for the last: there the same again doubles all, for
//!   which the idempotency key in each message is.

use machine::StreamId;
use net::{RedisFailure, RedisLink};
use redis::{Cmd, Value};

use super::{NOT_ABOVE, parsed, place, says_one_of};
use crate::ports::{AppendAt, AppendedAll, NewEntry, Stopped, StreamError};

/// `KEYS`: the stream. `ARGV`: the id that its newest must not be below, and for each entry the id
/// or `*` and the message. Answers the ids of the entries added; at the end `{'refused', why}` where
/// Redis refused the next one, and instead of all `{'short', newest}`.
///
/// SUBTLE: ids have 64 bits for each part, and numbers in Lua 53: they are compared as texts.
pub const APPEND_ALL: &str = r"
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function below(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return less(a_ms, b_ms) end
  return less(a_seq, b_seq)
end
local newest = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if info.err then return {{'refused', info.err}} end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then newest = info[i + 1] end
  end
end
if below(newest, ARGV[1]) then return {{'short', newest}} end
local added = {}
for i = 2, #ARGV, 2 do
  local id = redis.pcall('XADD', KEYS[1], ARGV[i], 'payload', ARGV[i + 1])
  if type(id) == 'table' then
    added[#added + 1] = {'refused', id.err}
    break
  end
  added[#added + 1] = id
end
return added
";
/// The longest that the messages of one request may be together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

pub(super) async fn ask(
    link: &RedisLink,
    key: &str,
    onto: StreamId,
    entries: &[NewEntry<'_>],
) -> AppendedAll {
    let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
    if bytes > MAX_BYTES {
        let why = format!("messages of {bytes} bytes are too long together");
        return failed(RedisFailure::NotSent(why).into());
    }
    let mut request = Cmd::new();
    request.arg("EVAL").arg(APPEND_ALL).arg(1).arg(key).arg(onto.to_string());
    for entry in entries {
        request.arg(place(entry.at)).arg(entry.payload);
    }
    match link.ask(&request).await {
        Ok(answer) => read(answer, entries).unwrap_or_else(failed),
        Err(failure) => failed(failure.into()),
    }
}

fn failed(error: StreamError) -> AppendedAll {
    AppendedAll { added: vec![], stopped: Some(Stopped::Failed(error)) }
}

fn read(answer: Value, entries: &[NewEntry<'_>]) -> Result<AppendedAll, StreamError> {
    let senseless = || StreamError("the appends were answered with what makes no sense".into());
    let Value::Array(items) = answer else { return Err(senseless()) };
    let mut added = Vec::with_capacity(items.len());
    let mut stopped = None;
    for item in items {
        if stopped.is_some() {
            return Err(senseless());
        }
        if let Value::BulkString(id) = item {
            added.push(parsed(std::str::from_utf8(&id).map_err(|_| senseless())?)?);
        } else if let Value::Array(end) = item {
            let next = entries.get(added.len()).map(|entry| entry.at);
            stopped = Some(end_of(&end, next).ok_or_else(senseless)?);
        } else {
            return Err(senseless());
        }
    }
    if added.len() > entries.len() || (stopped.is_none() && added.len() < entries.len()) {
        return Err(senseless());
    }
    Ok(AppendedAll { added, stopped })
}

fn end_of(end: &[Value], next: Option<AppendAt>) -> Option<Stopped> {
    let [Value::BulkString(kind), Value::BulkString(text)] = end else { return None };
    let text = String::from_utf8_lossy(text);
    if kind == b"short" {
        return Some(Stopped::Short(text.parse().ok()?));
    }
    let failure = RedisFailure::refused(&text);
    Some(match next {
        Some(AppendAt::Exactly(_)) if says_one_of(&failure, &NOT_ABOVE) => Stopped::NotAbove,
        Some(AppendAt::Exactly(_) | AppendAt::Next) | None => Stopped::Failed(failure.into()),
    })
}
