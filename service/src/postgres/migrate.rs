//! Bringing a database to the schema that this program knows.

use std::time::Duration;

use net::{Net, TokioNet};
use secrecy::SecretString;
use tokio_postgres::Client;

use super::connect;
use super::error::{OpenError, told};

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// The schema that this program works with.
pub const SCHEMA_VERSION: i32 = 1;
/// How long a migration waits for another one, and for the tables.
pub const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);
/// How long all of it may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(1_800);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where refinery notes what was applied.
const HISTORY: &str = "gamemaster.schema_history";
/// Who migrates holds this advisory lock: "gamemast" in ASCII.
const LOCK: i64 = 0x6761_6D65_6D61_7374;

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The migrations applied by this call, in order; none where all had been before.
    pub applied: Vec<String>,
    /// The version that the schema has now.
    pub version: i32,
}

/// Why a database was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] OpenError),
    /// No connection.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let us in: the name, the password, the rules of the server.
    #[error("the database does not let Game Master in: {0}")]
    Denied(String),
    /// It takes too long.
    #[error("another migration is under way, or the tables are in use: waited {0:?}")]
    Busy(Duration),
    /// The database belongs to a later program.
    #[error("the schema is at version {found}, this program knows {known} at most: update it")]
    Newer {
        /// What is there.
        found: i32,
        /// What is known.
        known: i32,
    },
    /// What was applied is not what this program would have applied.
    #[error("the schema does not come from this program's migrations: {0}")]
    Divergent(String),
    /// The database is a replica.
    #[error("the database cannot be written: it is a replica")]
    ReadOnly,
    /// The database refused.
    #[error("the migration failed, and changed nothing: {0}")]
    Failed(String),
}

/// Applies the migrations that are missing. Any number of programs may do so at once: one does it,
/// the others wait for it. Each migration happens as a whole or not at all.
pub async fn migrate(url: &SecretString) -> Result<Report, MigrateError> {
    migrate_over(&TokioNet, url, MIGRATION_PATIENCE).await
}

/// The same over any network, with any patience.
pub async fn migrate_over(
    net: &dyn Net,
    url: &SecretString,
    patience: Duration,
) -> Result<Report, MigrateError> {
    let mut config = connect::config(url, CONNECT_TIMEOUT)?;
    config.application_name("gamemaster migrate");
    config.options(format!("-c lock_timeout={} -c TimeZone=UTC", patience.as_millis()));
    let connected = connect::dial(net, &config).await;
    let (mut client, task) = connected.map_err(|e| unconnected(&e))?;
    let work = tokio::time::timeout(MIGRATION_TIMEOUT, locked(&mut client, patience)).await;
    // The lock is the session's, and goes with it.
    drop(client);
    let migrated = work.unwrap_or(Err(MigrateError::Busy(MIGRATION_TIMEOUT)));
    if tokio::time::timeout(CONNECT_TIMEOUT, task).await.is_err() {
        tracing::debug!("the connection of the migration did not end");
    }
    migrated
}

async fn locked(client: &mut Client, patience: Duration) -> Result<Report, MigrateError> {
    let refused = |error: tokio_postgres::Error| refused(&error, patience);
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.map_err(refused)?;
    if row.try_get::<_, bool>(0).map_err(refused)? {
        return Err(MigrateError::ReadOnly);
    }
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(refused)?;
    // Where the schema is there, the right to create one is not needed.
    let there = "SELECT to_regnamespace('gamemaster') IS NOT NULL";
    let row = client.query_one(there, &[]).await.map_err(refused)?;
    if !row.try_get::<_, bool>(0).map_err(refused)? {
        client.batch_execute("CREATE SCHEMA gamemaster").await.map_err(refused)?;
    }
    let failed = |error: refinery::Error| {
        use refinery::error::Kind::{DivergentVersion, MissingVersion};
        if matches!(error.kind(), DivergentVersion(..) | MissingVersion(_)) {
            return MigrateError::Divergent(error.to_string());
        }
        match driver(&error) {
            Some(driver) if is_away(driver) => MigrateError::Unreachable(cause(&error)),
            Some(_) | None => MigrateError::Failed(cause(&error)),
        }
    };
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(HISTORY);
    let found = applied(client).await.map_err(refused)?;
    let known = runner.get_migrations().iter().map(refinery::Migration::version).max();
    let known = known.unwrap_or(0);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    let report = runner.run_async(client).await.map_err(failed)?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    Ok(Report { applied, version: known })
}

/// The version that the schema has; 0 where there is none.
async fn applied(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let there = format!("SELECT to_regclass('{HISTORY}') IS NOT NULL");
    if !client.query_one(&there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let newest = format!("SELECT coalesce(max(version), 0) FROM {HISTORY}");
    client.query_one(&newest, &[]).await?.try_get(0)
}

/// Class 28: to try again would change nothing, but may lock the account.
fn unconnected(error: &tokio_postgres::Error) -> MigrateError {
    match error.as_db_error().map(|db| db.code().code()) {
        Some(code) if code.starts_with("28") => MigrateError::Denied(told(error)),
        Some(_) | None => MigrateError::Unreachable(told(error)),
    }
}

fn refused(error: &tokio_postgres::Error, patience: Duration) -> MigrateError {
    match error.as_db_error().map(|db| db.code().code()) {
        Some("55P03") => MigrateError::Busy(patience),
        Some(_) | None if is_away(error) => MigrateError::Unreachable(told(error)),
        Some(_) | None => MigrateError::Failed(told(error)),
    }
}

/// Whether the database went away: the connection is lost, or the server is going down or coming up.
/// A migration that was under way happened as a whole or not at all, and may be asked for again.
fn is_away(error: &tokio_postgres::Error) -> bool {
    let code = error.as_db_error().map(|db| db.code().code());
    code.is_none_or(|code| matches!(code, "57P01" | "57P02" | "57P03"))
}

/// What the driver said: the library wraps it, at times more than once.
fn driver(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    let mut causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
    causes.find_map(|cause| cause.downcast_ref())
}

/// The library says what it was doing; its cause says what was wrong.
fn cause(error: &refinery::Error) -> String {
    driver(error).map_or_else(|| error.to_string(), |driver| format!("{error}: {}", told(driver)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_known_is_that_of_the_last_migration() {
        let runner = embedded::migrations::runner();
        let last = runner.get_migrations().iter().map(refinery::Migration::version).max();
        assert_eq!(last, Some(SCHEMA_VERSION));
    }
}
