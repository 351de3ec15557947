//! The store in PostgreSQL: the only truth of a deployment of more than one process, or of one that
//! must outlive its machine.
//!
//! ```text
//!   commit ──▶ check (machine) ──▶ queue ──▶ lane ──▶ SELECT commit_all($1) ──▶ one answer each
//!                                            lane        one statement, one transaction, one fsync
//!   read ────▶ pool ──▶ one statement
//! ```
//!
//! Everything this adapter sends is one statement in autocommit mode: there is no `BEGIN` here, and
//! so nothing that a dropped future, a panic or a time-out could leave open. What must happen
//! together is one function of the schema (`migrations/V1__init.sql`). A commit is not even sent by
//! its caller: a lane sends it, together with whatever else waits, and goes on when the caller is
//! gone.
//!
//! The rules stay in Rust. [`machine::check_commit`] needs the record that was decided on; the store
//! remembers the records it has lately loaded or committed ([`seen`](self)), and a commit whose
//! predecessor is not among them costs one read more.
//!
//! Where to read on: `queue` (lanes, batches, what becomes of a failure), `error` (which failures
//! leave a doubt), `record` and `document` (what a record and a commit look like on the wire),
//! `store` (the trait), `feed` (what processes tell each other), `connect` (connections and the pool), `migrate`, `settings`.

mod connect;
mod document;
mod error;
mod feed;
mod migrate;
mod queue;
mod record;
mod rows;
mod seen;
mod semver;
mod settings;
mod store;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use net::Net;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use self::error::Fault;
pub use self::error::OpenError;
pub use self::feed::{PUBLISH_TIMEOUT, PostgresFeed};
pub use self::migrate::{
    MIGRATION_PATIENCE, MigrateError, Report, SCHEMA_VERSION, migrate, migrate_over,
};
use self::queue::Queue;
pub use self::record::{BadRow, decode as decode_record};
use self::seen::Seen;
pub use self::settings::{PostgresArgs, PostgresSettings};
use crate::ports::{Entropy, StoreError};

/// The longest payload of a message.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// The most rows that one answer holds, whatever the limit asked for.
pub const MAX_ROWS: usize = 1 << 20;
/// How much longer than the server allows a statement its answer is waited for: the server's word
/// that a statement was cancelled is worth more than our own impatience.
pub const GRACE: Duration = Duration::from_secs(1);

/// The store in PostgreSQL. A clone is another handle to the same pool and the same lanes.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    queue: Queue,
    seen: Seen,
    settings: PostgresSettings,
}

impl Postgres {
    /// A store over a database. Connects when it is first asked: whether the database can be
    /// reached and has the right schema is what [`Store::ready`](crate::ports::Store::ready) says.
    /// Must be called within a tokio runtime, where the lanes then run.
    pub fn open(
        settings: PostgresSettings,
        net: Arc<dyn Net>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let pool = connect::pool(&settings, net)?;
        let queue = Queue::start(pool.clone(), &settings, entropy);
        let seen = Seen::default();
        Ok(Self { inner: Arc::new(Inner { pool, queue, seen, settings }) })
    }

    /// How many connections there are, and how many of them nobody uses.
    pub fn connections(&self) -> (usize, usize) {
        let status = self.inner.pool.status();
        (status.size, status.available)
    }

    /// How many requests wait for a connection.
    pub fn waiting(&self) -> usize {
        self.inner.pool.status().waiting
    }

    /// One statement, its rows, and no doubt left that matters: for reads, and for writes that may
    /// be repeated.
    async fn ask(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params).await.map_err(|fault| StoreError(fault.into_text()))
    }

    /// The same, where it matters.
    async fn run(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        let client = self.inner.pool.get().await.map_err(|e| Fault::no_connection(&e))?;
        execute(client, sql, params, self.inner.settings.statement_timeout)
            .await
            .map(|(rows, _)| rows)
    }
}

/// Runs one statement. A connection that came to harm is not given back to the pool.
async fn execute(
    client: Object,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
    statement_timeout: Duration,
) -> Result<(Vec<Row>, Object), Fault> {
    let patience = statement_timeout + GRACE;
    let prepared = tokio::time::timeout(patience, client.prepare_cached(sql)).await;
    let statement = match prepared {
        Ok(Ok(statement)) => statement,
        Ok(Err(error)) => {
            drop(Object::take(client));
            return Err(Fault::before_sending(&error));
        }
        Err(_) => {
            drop(Object::take(client));
            return Err(Fault::Refused("the server does not answer".into()));
        }
    };
    match tokio::time::timeout(patience, client.query(&statement, params)).await {
        Ok(Ok(rows)) => Ok((rows, client)),
        Ok(Err(error)) => {
            let fault = Fault::after_sending(&error);
            if error::spoils(&error) {
                drop(Object::take(client));
            }
            Err(fault)
        }
        Err(_) => {
            drop(Object::take(client));
            Err(Fault::Unknown("the server does not answer".into()))
        }
    }
}
