//! Connections: opened over the [`Net`] seam, with the time-outs of a session set from its start.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use net::{BoxedStream, Net};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

use super::feed::Letterbox;
use super::{OpenError, PostgresSettings};

/// The port of a server where the URL names none.
const DEFAULT_PORT: u16 = 5432;

/// Run before a connection is used again: it ends a transaction that should not be there, and finds
/// out whether the connection lives. SUBTLE: `ROLLBACK` alone would put a warning into the server's
/// log each time that there is none, which is every time.
const RECYCLE: &str = "BEGIN; ROLLBACK";

pub(super) fn pool(settings: &PostgresSettings, net: Arc<dyn Net>) -> Result<Pool, OpenError> {
    let mut config = config(&settings.url, settings.connect_timeout)?;
    config.options(session(&config, settings));
    let recycling_method = RecyclingMethod::Custom(RECYCLE.into());
    let dialler = Dialler { net };
    let manager = Manager::from_connect(config, dialler, ManagerConfig { recycling_method });
    Pool::builder(manager)
        .max_size(settings.pool_size)
        .wait_timeout(Some(settings.wait_timeout))
        .create_timeout(Some(settings.connect_timeout))
        .recycle_timeout(Some(settings.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|e| OpenError::Pool(e.to_string()))
}

/// Reads a URL, and refuses what would be ignored.
pub(super) fn config(url: &SecretString, connect: Duration) -> Result<Config, OpenError> {
    let mut config: Config = url.expose_secret().parse().map_err(|_| OpenError::BadUrl)?;
    if config.get_hosts().is_empty() {
        return Err(OpenError::BadUrl);
    }
    if !config.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_))) {
        return Err(OpenError::Unsupported("a Unix socket; name a host"));
    }
    // Whatever else the mode may be asks for more than these.
    if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
        return Err(OpenError::Unsupported("TLS, which this program does not speak yet"));
    }
    if config.get_application_name().is_none() {
        config.application_name("gamemaster");
    }
    config.connect_timeout(connect);
    Ok(config)
}

/// The session's settings, those of the URL last.
pub(super) fn session(config: &Config, settings: &PostgresSettings) -> String {
    let ms = |duration: Duration| duration.as_millis();
    let own = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} \
         -c default_transaction_isolation=read\\ committed -c TimeZone=UTC",
        ms(settings.statement_timeout),
        ms(settings.lock_timeout),
        ms(settings.statement_timeout),
    );
    match config.get_options() {
        Some(given) => format!("{own} {given}"),
        None => own,
    }
}

struct Dialler {
    net: Arc<dyn Net>,
}

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for Dialler {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move { dial(&*self.net, &config).await })
    }
}

/// Connects to the first of the URL's hosts that answers; of several, to one that writes.
pub(super) async fn dial(net: &dyn Net, config: &Config) -> Connected {
    dial_for(net, config, None).await
}

/// The same for somebody who listens.
pub(super) async fn dial_for(
    net: &dyn Net,
    config: &Config,
    letterbox: Option<Letterbox>,
) -> Connected {
    let ports = config.get_ports();
    let hosts = config.get_hosts();
    let mut last = fail(config, io::Error::other("the URL names no host")).await;
    for (n, host) in hosts.iter().enumerate() {
        let Host::Tcp(host) = host else { continue };
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        let patience = config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(5));
        let opened =
            tokio::time::timeout(patience, open(net, config, (host, port), &letterbox)).await;
        last = match opened {
            Ok(Ok((client, task))) if hosts.len() > 1 && !writes(&client, patience).await => {
                task.abort();
                fail(config, io::Error::other("the server does not write")).await
            }
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Err(error),
            Err(_) => fail(config, io::ErrorKind::TimedOut.into()).await,
        };
    }
    last
}

async fn open(
    net: &dyn Net,
    config: &Config,
    (host, port): (&str, u16),
    letterbox: &Option<Letterbox>,
) -> Connected {
    let stream = match reach(net, host, port).await {
        Ok(stream) => stream,
        Err(error) => return fail(config, error).await,
    };
    let (client, mut connection) = config.connect_raw(stream, NoTls).await?;
    let letterbox = letterbox.clone();
    let task = tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match (message, &letterbox) {
                (Ok(AsyncMessage::Notification(letter)), Some(letterbox)) => letterbox.put(letter),
                // Notices, and whatever else a server comes to say unasked.
                (Ok(_), _) => {}
                (Err(error), _) => {
                    tracing::debug!(error = super::error::told(&error), "a connection ended");
                    return;
                }
            }
        }
    });
    Ok((client, task))
}

async fn reach(net: &dyn Net, host: &str, port: u16) -> io::Result<BoxedStream> {
    let mut last = io::Error::other("the host has no address");
    for address in net.resolve(host, port).await? {
        match net.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn writes(client: &Client, patience: Duration) -> bool {
    let asked = client.simple_query("SHOW transaction_read_only");
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(messages)) => messages.iter().any(
            |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("off")),
        ),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// The driver's error cannot be made, only met: it is given a stream that fails.
async fn fail(config: &Config, error: io::Error) -> Connected {
    let stream: BoxedStream = Box::new(Broken(error.kind(), error.to_string()));
    let (client, _) = config.connect_raw(stream, NoTls).await?;
    Ok((client, tokio::spawn(std::future::ready(()))))
}

/// A stream that cannot be used, and why.
struct Broken(io::ErrorKind, String);

impl Broken {
    fn error<T>(&self) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::Error::new(self.0, self.1.clone())))
    }
}

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.error()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.error()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
