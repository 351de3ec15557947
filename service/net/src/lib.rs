//! The network seam: everything the service does on the wire goes through the traits in here.
//!
//! ```text
//!   service, peers' clients                    HTTP API
//!           |                                      |
//!      HttpClient  (deadlines, size caps,       serve  (time-outs, connection cap,
//!           |       guard, pool)                   |    graceful drain)
//!           |                                      |
//!           +---- Net::resolve, connect      Listener::accept ----+
//!                            \                /                   |
//!                             BoxedStream (bytes both ways)       |
//!                            /                \                   |
//!                  TokioNet: real sockets    simulated network ---+
//! ```
//!
//! * [`Net`], [`Listener`], [`Stream`]: the seam; [`TokioNet`] is production.
//! * [`HttpClient`]: plain HTTP/1.1 with bounds on time and size. Its [`CallError`] says whether
//!   the request can have reached the peer, which is what callers decide by.
//! * [`serve`]: an HTTP/1.1 accept loop in which every wait is bounded.
//! * [`read_body`]: a request body, bounded in size and time.
//! * [`RedisLink`]: Redis, every wait bounded, connected anew by itself.
//!
//! Deliberately absent: TLS, HTTP/2, redirects, proxies, decompression and retries.

mod body;
mod client;
mod redis_link;
mod seam;
mod server;
#[cfg(test)]
mod tests;

pub use body::{BodyError, read_body};
pub use client::{AddressGuard, CallError, ClientLimits, HttpClient, NotSent, Unknown};
pub use redis_link::{
    BadRedisUrl, RedisEntry, RedisFailure, RedisLimits, RedisLink, RedisUrl, redis_entries,
};
pub use seam::{BoxedStream, Listener, Net, Stream, TokioNet};
pub use server::{AmbiguousFraming, PeerAddr, ServerLimits, serve};
