//! The answer to a connection for which there is no place.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tracing::debug;

use crate::seam::BoxedStream;

/// For the whole refusal: it takes one of few places.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

const READ_BYTES: usize = 8 * 1024;

const BODY: &str =
    r#"{"error":{"code":"service_unavailable","message":"too many connections, try again later"}}"#;

/// Answers 503 to whatever is asked, and closes.
pub(super) async fn run(stream: BoxedStream) {
    match timeout(REFUSAL_TIMEOUT, refuse(stream)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a refused connection failed"),
        Err(_elapsed) => debug!("a refused connection was not closed by its client"),
    }
}

async fn refuse(mut stream: BoxedStream) -> io::Result<()> {
    let mut discarded = vec![0; READ_BYTES];
    // A response that arrives before anything was asked is an error to careful clients, and a
    // client that asks nothing needs no answer.
    if stream.read(&mut discarded).await? == 0 {
        return Ok(());
    }
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\n\
         content-type: application/json\r\n\
         content-length: {}\r\n\
         retry-after: 1\r\n\
         connection: close\r\n\
         \r\n\
         {BODY}",
        BODY.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with input unread would reset the connection, and the response could be lost.
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}
