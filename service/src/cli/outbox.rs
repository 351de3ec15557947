//! `gamemaster outbox`: the messages that are to be published, in the store itself.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use machine::{Channel, StreamId};
use secrecy::SecretString;
use serde_json::json;
use service::config::secret;
use service::embedded::{Embedded, OpenError};
use service::ports::{Clock, Store, StoreError, SystemClock, SystemEntropy};
use service::postgres::{Postgres, PostgresSettings};

use super::confirm::ConfirmArgs;
use super::output::{self, Format, Grid, OutputArgs, plain, when};
use super::{EXIT_FAILURE, Failure};

const POSTGRES_URL: &str = "GAMEMASTER_POSTGRES_URL";

/// See the command.
#[derive(Args)]
pub(crate) struct OutboxArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: OutboxCommand,
}

/// Which store. Another kind is another option of this group and another arm of `chosen`.
#[derive(Args)]
#[group(id = "which_store", multiple = false)]
struct StoreArgs {
    /// The file of the embedded store. No other process may have it open.
    #[arg(long, env = "GAMEMASTER_STORE_FILE", value_name = "FILE", global = true)]
    store_file: Option<PathBuf>,

    /// The database, as `postgresql://user:password@host:port/database`. Set it in the environment:
    /// arguments can be read by every user of the machine.
    #[arg(long, env = "GAMEMASTER_POSTGRES_URL", value_name = "URL", hide_env_values = true,
          value_parser = secret, global = true)]
    postgres_url: Option<SecretString>,
}

enum Chosen {
    File(PathBuf),
    Database(SecretString),
}

#[derive(Subcommand)]
enum OutboxCommand {
    /// Show how many messages wait, and where each channel stands.
    Status,
    /// Publish messages once more that were published already, under new ids: for a stream that has
    /// lost them. They are taken up when Game Master runs.
    #[command(group = clap::ArgGroup::new("from").required(true))]
    Replay {
        /// Of which channel.
        #[arg(long)]
        channel: ChannelArg,
        /// Those published under ids above this one.
        #[arg(long, value_name = "STREAM_ID", group = "from")]
        after: Option<StreamId>,
        /// All that are kept still.
        #[arg(long, group = "from")]
        all: bool,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ChannelArg {
    LobbyEvents,
    NotificationIntents,
}

impl From<ChannelArg> for Channel {
    fn from(channel: ChannelArg) -> Self {
        match channel {
            ChannelArg::LobbyEvents => Self::LobbyEvents,
            ChannelArg::NotificationIntents => Self::NotificationIntents,
        }
    }
}

/// `gamemaster outbox`.
pub(crate) async fn run(args: OutboxArgs) -> Result<String, Failure> {
    let OutboxArgs { store, output, command } = args;
    let format = output.output;
    let chosen = store.chosen()?;
    match command {
        OutboxCommand::Status => status(chosen.open().await?.as_ref(), format).await,
        OutboxCommand::Replay { channel, after, all: _, confirm } => {
            let (channel, after) = (Channel::from(channel), after.unwrap_or(StreamId::ZERO));
            let store = chosen.open().await?;
            let which = if after == StreamId::ZERO {
                "all that is kept of it".to_owned()
            } else {
                format!("what came after {after}")
            };
            let name = channel.as_str();
            confirm.ask(&format!("publish to {name} once more, under new ids, {which}"))?;
            replay(store.as_ref(), channel, after, format).await
        }
    }
}

impl StoreArgs {
    fn chosen(self) -> Result<Chosen, Failure> {
        let none = "which store? --store-file, GAMEMASTER_STORE_FILE, GAMEMASTER_POSTGRES_URL";
        let file = self.store_file.map(Chosen::File);
        file.or_else(|| self.postgres_url.map(Chosen::Database))
            .ok_or_else(|| Failure::new(super::EXIT_USAGE, none.into()))
    }
}

impl Chosen {
    async fn open(self) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Database(url) => {
                let settings = PostgresSettings::new(url);
                let opened =
                    Postgres::open(settings, Arc::new(net::TokioNet), Arc::new(SystemEntropy));
                let store = opened.map_err(|error| {
                    Failure::new(super::EXIT_USAGE, plain(&format!("{POSTGRES_URL}: {error}")))
                })?;
                store.ready().await.map_err(unread)?;
                Ok(Arc::new(store))
            }
            Self::File(path) => {
                // Opening one that is not there would make it.
                if !path.is_file() {
                    let why = format!("there is no file {}", plain(&path.to_string_lossy()));
                    return Err(Failure::new(EXIT_FAILURE, why));
                }
                let open = move || Embedded::open(path, Arc::new(SystemClock) as Arc<dyn Clock>);
                let opened = tokio::task::spawn_blocking(open).await;
                let opened =
                    opened.map_err(|e| Failure::new(EXIT_FAILURE, format!("cannot open: {e}")))?;
                Ok(Arc::new(opened.map_err(|error| cannot_open(&error))?))
            }
        }
    }
}

fn cannot_open(error: &OpenError) -> Failure {
    let hint = match error {
        OpenError::Locked { path: _ } => {
            "; stop it first, or ask its /readyz for the number of messages that wait"
        }
        OpenError::NotAStore { .. }
        | OpenError::OtherFormat { .. }
        | OpenError::Unreadable { .. }
        | OpenError::Io { .. } => "",
    };
    Failure::new(EXIT_FAILURE, format!("{}{hint}", plain(&error.to_string())))
}

fn unread(error: StoreError) -> Failure {
    Failure::new(EXIT_FAILURE, plain(&error.to_string()))
}

async fn status(store: &dyn Store, format: Format) -> Result<String, Failure> {
    let backlog = store.outbox_backlog().await.map_err(unread)?;
    let mut newest = vec![];
    for channel in Channel::ALL {
        newest.push((channel, store.outbox_newest(channel).await.map_err(unread)?));
    }
    match format {
        Format::Json => {
            let channels = newest.iter().map(|(channel, id)| {
                let newest = (*id != StreamId::ZERO).then_some(id);
                json!({ "channel": channel.as_str(), "newest_published": newest })
            });
            output::json(&json!({
                "waiting": backlog.waiting,
                "oldest_waiting": backlog.oldest,
                "channels": channels.collect::<Vec<_>>(),
            }))
        }
        Format::Table => {
            let now = SystemClock.now();
            let oldest = backlog.oldest.map_or_else(|| "-".into(), |at| when(at, now));
            let pairs = [("Waiting", backlog.waiting.to_string()), ("Oldest of them", oldest)];
            let mut grid = Grid::new(["CHANNEL", "NEWEST PUBLISHED"]);
            for (channel, id) in newest {
                let id = if id == StreamId::ZERO { "-".into() } else { id.to_string() };
                grid.row([channel.as_str().to_owned(), id]);
            }
            Ok(format!("{}\n{grid}", Grid::of_pairs(pairs)))
        }
    }
}

async fn replay(
    store: &dyn Store,
    channel: Channel,
    after: StreamId,
    format: Format,
) -> Result<String, Failure> {
    let replayed = store.outbox_replay(channel, after).await.map_err(unread)?;
    match format {
        Format::Json => output::json(&json!({
            "channel": channel.as_str(), "after": after, "replayed": replayed,
        })),
        Format::Table => Ok(format!("{replayed} messages of {} wait again\n", channel.as_str())),
    }
}
