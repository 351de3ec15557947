//! `gamemaster serve`: the settings become a store and streams, and those a running service.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use service::app::{self, App, Seams, StartError};
use service::config::{ServeArgs, Settings};
use service::embedded::Embedded;
use service::ports::{Clock, Feed, Store, Streams, SystemClock, SystemEntropy};
use service::postgres::{self, MigrateError, Postgres, PostgresFeed, PostgresSettings};
use service::redis_streams::RedisStreams;
use service::telemetry::{PoolStatus, logs};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{EXIT_FAILURE, EXIT_USAGE, Failure, fail, migrate, output::plain, until_signalled};

/// How long the database may be away at the start before the process gives up.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Files that are no connections of callers: those to engines, neighbours and the database.
const RESERVED_FILES: usize = 512;
/// Between two tries.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Where the state is kept.
struct Kept {
    store: Arc<dyn Store>,
    streams: Arc<dyn Streams>,
    feed: Arc<dyn Feed>,
    /// Where that is a database.
    postgres: Option<Postgres>,
}

/// `gamemaster serve`.
pub(crate) async fn run(args: ServeArgs) -> ExitCode {
    let _logs = match logs::init(&args.telemetry.logging) {
        Ok(flush) => flush,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    let stopping = CancellationToken::new();
    let mut code = ExitCode::SUCCESS;
    let serving = async {
        if let Err(Failure { code: failed, message }) = serve(&args, stopping.clone()).await {
            code = fail(failed, &message);
        }
    };
    let ended = until_signalled(stopping.clone(), serving).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

async fn serve(args: &ServeArgs, stopping: CancellationToken) -> Result<(), Failure> {
    let mut settings = args.settings().map_err(|e| Failure::new(EXIT_USAGE, e.to_string()))?;
    within_the_systems_limits(&mut settings);
    let kept = tokio::select! {
        biased;
        () = stopping.cancelled() => return Ok(()),
        kept = kept(args) => kept?,
    };
    let seams = Seams {
        net: Arc::new(net::TokioNet),
        store: kept.store,
        streams: kept.streams,
        feed: kept.feed,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let failed = |error: String| Failure::new(EXIT_FAILURE, plain(&error));
    let bound = match app::bind(settings, seams, stopping.clone()).await {
        Ok(bound) => bound,
        // Told to end while the store was waited for.
        Err(StartError::Store(_)) if stopping.is_cancelled() => return Ok(()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let address = bound.address().map_err(|e| failed(e.to_string()))?;
    if let Some(postgres) = kept.postgres {
        watch(&bound.app(), postgres);
    }
    tracing::info!(%address, "listening");
    bound.run().await.map_err(|e| failed(e.to_string()))
}

/// A connection is an open file, of which many systems allow a process 1,024 unless it asks for more.
fn within_the_systems_limits(settings: &mut Settings) {
    let Ok(files) = rlimit::increase_nofile_limit(u64::MAX) else { return };
    let left = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(RESERVED_FILES).max(1);
    let connections = &mut settings.http.server.max_connections;
    if *connections > left {
        tracing::warn!(wanted = *connections, served = left, "the system allows fewer connections");
        *connections = left;
    }
}

/// The pool's place among the metrics.
fn watch(app: &App, postgres: Postgres) {
    app.driver.telemetry().metrics().watch_pool(move || {
        let (open, idle) = postgres.connections();
        PoolStatus { in_use: open.saturating_sub(idle), waiting: postgres.waiting() }
    });
}

async fn kept(args: &ServeArgs) -> Result<Kept, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let redis = args.redis.settings().map_err(|e| Failure::new(EXIT_USAGE, e.to_string()))?;
    let redis = redis.map(|settings| {
        Arc::new(RedisStreams::new(Arc::new(net::TokioNet), settings)) as Arc<dyn Streams>
    });
    if let Some(settings) = args.postgres.settings() {
        let postgres = database(settings.clone()).await?;
        let feed = PostgresFeed::open(&settings, Arc::new(net::TokioNet), &SystemEntropy);
        let feed = feed.map_err(|e| Failure::new(EXIT_FAILURE, plain(&e.to_string())))?;
        let streams = redis.unwrap_or_else(|| Arc::new(Embedded::in_memory(clock)));
        let store = Arc::new(postgres.clone());
        return Ok(Kept { store, streams, feed: Arc::new(feed), postgres: Some(postgres) });
    }
    let embedded = match args.store_file.clone() {
        Some(path) => Embedded::open(path, clock)
            .map_err(|e| Failure::new(EXIT_FAILURE, plain(&e.to_string())))?,
        None => Embedded::in_memory(clock),
    };
    let embedded = Arc::new(embedded);
    let streams = redis.unwrap_or_else(|| embedded.clone());
    let feed = Arc::new(embedded.feed());
    Ok(Kept { store: embedded, streams, feed, postgres: None })
}

/// The database, migrated. One that is away is waited for, for a while: it may be starting too.
async fn database(settings: PostgresSettings) -> Result<Postgres, Failure> {
    let patience = Instant::now() + START_PATIENCE;
    let report = loop {
        match postgres::migrate(&settings.url).await {
            Ok(report) => break report,
            Err(error @ MigrateError::Unreachable(_)) if Instant::now() < patience => {
                tracing::warn!(%error, "waiting for the database");
                sleep(START_PAUSE).await;
            }
            Err(error) => {
                let Failure { code: _, message } = migrate::failure(&error);
                return Err(Failure::new(EXIT_FAILURE, message));
            }
        }
    };
    tracing::info!(migration = migrate::told(&report).trim_end(), "the database is ready");
    let opened = Postgres::open(settings, Arc::new(net::TokioNet), Arc::new(SystemEntropy));
    opened.map_err(|error| Failure::new(EXIT_FAILURE, plain(&error.to_string())))
}
