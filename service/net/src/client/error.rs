//! What can go wrong with a call, split by what the caller may conclude from it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why a call has no usable response.
///
/// The text never holds the address called, a header or a body, so it can be logged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Determinate: not one byte of the request reached the peer.
    #[error(transparent)]
    NotSent(NotSent),
    /// Indeterminate: the peer may have acted on the request.
    #[error(transparent)]
    Unknown(Unknown),
    /// The peer answered, but with more than we are willing to read. What it did is not known.
    #[error("outcome unknown: the response is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit the response exceeds.
        limit_bytes: usize,
    },
}

impl CallError {
    /// Whether the request certainly did not reach the peer, so that nothing can have happened.
    pub fn is_determinate(&self) -> bool {
        match self {
            Self::NotSent(_) => true,
            Self::Unknown(_) | Self::TooLarge { .. } => false,
        }
    }
}

/// Why a request was not sent.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The request is not one this client sends.
    #[error("not sent: {0}")]
    Invalid(&'static str),
    /// The host name has no known address.
    #[error("not sent: the host was not resolved: {0}")]
    Unresolved(#[source] Arc<io::Error>),
    /// The host name resolved to nothing.
    #[error("not sent: the host has no address")]
    NoAddress,
    /// The guard refuses an address of the host.
    #[error("not sent: the address {0} is forbidden")]
    Forbidden(SocketAddr),
    /// No address of the host accepted a connection; this is what the last one said.
    #[error("not sent: no connection: {0}")]
    ConnectFailed(#[source] Arc<io::Error>),
    /// No connection was made in time.
    #[error("not sent: no connection in time")]
    ConnectTimedOut,
    /// A connection failed before the request was given to it.
    #[error("not sent: no usable connection: {0}")]
    NoConnection(#[source] Arc<hyper::Error>),
}

/// Why the outcome of a request is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The response was not complete in time.
    #[error("outcome unknown: no complete response within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The connection failed, or its bytes made no sense, before the head of the response was read.
    #[error("outcome unknown: no response: {}", Chain(.0))]
    NoResponse(#[source] hyper::Error),
    /// The response broke off or made no sense after its head.
    #[error("outcome unknown: incomplete response: {}", Chain(.0))]
    Incomplete(#[source] hyper::Error),
}

/// An error with its causes, on one line: the outer texts alone ("client error") say little.
struct Chain<'a>(&'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
