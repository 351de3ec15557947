//! Reading a body to its end, bounded in size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use thiserror::Error;
use tokio::time::timeout;

/// Why a request body could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is, or declares itself to be, longer than allowed.
    #[error("the body is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit it exceeds.
        limit_bytes: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// It is malformed, or the connection ended before it did.
    #[error("the body is incomplete or malformed: {0}")]
    Broken(#[source] hyper::Error),
}

/// Reads `body` to its end. `limit` bounds the whole read, so a body that drips is cut as well as
/// one that stalls. A `Content-Length` above `max_bytes` is refused before anything is read.
pub async fn read_body(
    body: Incoming,
    max_bytes: usize,
    limit: Duration,
) -> Result<Bytes, BodyError> {
    match timeout(limit, collect(body, max_bytes)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(BodyError::TimedOut),
    }
}

/// Reads `body` to its end, bounded in size only.
pub(crate) async fn collect(mut body: Incoming, max_bytes: usize) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { limit_bytes: max_bytes };
    // The lower bound is the Content-Length where there is one, and 0 for a chunked body or the
    // answer to a HEAD request.
    let declared_bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared_bytes > max_bytes {
        return Err(too_large);
    }

    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > max_bytes {
        return Err(too_large);
    }
    let Some(second) = next_data(&mut body).await? else {
        // Nearly every body of ours arrives in one piece: no copy.
        return Ok(first);
    };

    let mut whole = BytesMut::with_capacity(declared_bytes.max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(data) = next {
        if data.len() > max_bytes - whole.len() {
            return Err(too_large);
        }
        whole.extend_from_slice(&data);
        next = next_data(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece of data; trailers are skipped.
async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
