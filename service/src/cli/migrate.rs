//! `gamemaster migrate`: the schema of the database.

use clap::Args;
use secrecy::SecretString;
use serde_json::json;
use service::config::secret;
use service::postgres::{self, MigrateError, PostgresSettings, Report};

use super::output::{self, Format, OutputArgs, plain};
use super::{EXIT_FAILURE, EXIT_UNREACHABLE, EXIT_USAGE, Failure};

/// See the command.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// The database, as `postgresql://user:password@host:port/database`. Set it in the environment:
    /// arguments can be read by every user of the machine.
    #[arg(long, env = "GAMEMASTER_POSTGRES_URL", value_name = "URL", hide_env_values = true,
          value_parser = secret)]
    postgres_url: SecretString,
    #[command(flatten)]
    output: OutputArgs,
}

/// `gamemaster migrate`.
pub(crate) async fn run(args: MigrateArgs) -> Result<String, Failure> {
    let MigrateArgs { postgres_url, output } = args;
    PostgresSettings::new(postgres_url.clone()).check().map_err(|error| {
        Failure::new(EXIT_USAGE, plain(&format!("GAMEMASTER_POSTGRES_URL: {error}")))
    })?;
    let report = postgres::migrate(&postgres_url).await.map_err(|error| failure(&error))?;
    match output.output {
        Format::Json => {
            output::json(&json!({ "version": report.version, "applied": report.applied }))
        }
        Format::Table => Ok(told(&report)),
    }
}

/// What a migration came to, for people.
pub(super) fn told(report: &Report) -> String {
    let Report { applied, version } = report;
    if applied.is_empty() {
        return format!("the schema is at version {version}; there was nothing to do\n");
    }
    format!("the schema is at version {version} now; applied: {}\n", applied.join(", "))
}

pub(super) fn failure(error: &MigrateError) -> Failure {
    let code = match error {
        MigrateError::Url(_) => EXIT_USAGE,
        MigrateError::Unreachable(_) => EXIT_UNREACHABLE,
        MigrateError::Denied(_)
        | MigrateError::Busy(_)
        | MigrateError::Newer { .. }
        | MigrateError::Divergent(_)
        | MigrateError::ReadOnly
        | MigrateError::Failed(_) => EXIT_FAILURE,
    };
    Failure::new(code, plain(&error.to_string()))
}
