//! `gamemaster versions`: the engine versions that games may run on.

use clap::{Args, Subcommand};
use http::Method;
use machine::{EngineVersion, ImageRef, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service::ports::{Clock, SystemClock};

use super::Failure;
use super::client::{ChangeArgs, Client, Remote, with_client};
use super::confirm::ConfirmArgs;
use super::output::{Format, Grid, OutputArgs, pretty, when};
use super::pages::{self, MAX_ITEMS};

/// See the command.
#[derive(Args)]
pub(crate) struct VersionsArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: VersionsCommand,
}

#[derive(Subcommand)]
enum VersionsCommand {
    /// List the versions in ascending order, deprecated ones included.
    List {
        /// At most so many versions.
        #[arg(long, default_value_t = MAX_ITEMS,
              value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_ITEMS)))]
        limit: u32,
    },
    /// Show one version.
    Get {
        /// The version.
        version: EngineVersion,
    },
    /// Add a version.
    Add {
        /// The version.
        version: EngineVersion,
        /// The container image to start, with a tag or a digest.
        image: ImageRef,
        /// The engine ignores which turn is expected of it: Game Master recovers more carefully,
        /// and leaves a turn that was cut off to an operator.
        #[arg(long)]
        no_turn_guard: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Correct a version. Games already registered keep what they were registered with.
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Update {
        /// The version.
        version: EngineVersion,
        /// Another container image.
        #[arg(long, group = "what")]
        image: Option<ImageRef>,
        /// Whether the engine refuses to generate another turn than the expected one.
        #[arg(long, group = "what", value_name = "BOOL")]
        turn_guard: Option<bool>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Keep new games off a version. Games that run on it go on.
    Deprecate {
        /// The version.
        version: EngineVersion,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Remove a version that no game was ever registered with.
    Delete {
        /// The version.
        version: EngineVersion,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

/// What is shown of a version.
#[derive(Deserialize)]
struct Version {
    version: String,
    image_ref: String,
    options: Options,
    status: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct Options {
    turn_guard: bool,
}

const PATH: &str = "engine-versions";

/// `gamemaster versions`.
pub(crate) async fn run(args: VersionsArgs) -> Result<String, Failure> {
    let VersionsArgs { remote, output, command } = args;
    if let VersionsCommand::Delete { version, change: _, confirm } = &command {
        confirm.ask(&format!("remove engine version {version}"))?;
    }
    with_client(remote, async |client| carry_out(client, &command, output.output).await).await
}

async fn carry_out(
    client: &Client,
    command: &VersionsCommand,
    format: Format,
) -> Result<String, Failure> {
    let answer = match command {
        VersionsCommand::List { limit } => {
            let items = pages::read_all(client, &[PATH], &[], *limit as usize).await?;
            return items.show(format, |versions| list(&versions, SystemClock.now()));
        }
        VersionsCommand::Delete { version, change, confirm: _ } => {
            client.change(Method::DELETE, &[PATH, &version.to_string()], None, change).await?;
            return Ok(match format {
                Format::Json => String::new(),
                Format::Table => format!("{version} is removed\n"),
            });
        }
        VersionsCommand::Get { version } => client.read(&[PATH, &version.to_string()], &[]).await?,
        VersionsCommand::Add { version, image, no_turn_guard, change } => {
            let body = json!({
                "version": version.to_string(),
                "image_ref": image.as_str(),
                "options": { "turn_guard": !no_turn_guard },
            });
            client.change(Method::POST, &[PATH], Some(&body), change).await?
        }
        VersionsCommand::Update { version, image, turn_guard, change } => {
            let mut body = Map::new();
            if let Some(image) = image {
                body.insert("image_ref".into(), json!(image.as_str()));
            }
            if let Some(turn_guard) = turn_guard {
                body.insert("options".into(), json!({ "turn_guard": turn_guard }));
            }
            let (path, body) = ([PATH, &version.to_string()], Value::Object(body));
            client.change(Method::PATCH, &path, Some(&body), change).await?
        }
        VersionsCommand::Deprecate { version, change } => {
            let path = [PATH, &version.to_string(), "deprecate"];
            client.change(Method::POST, &path, None, change).await?
        }
    };
    match format {
        Format::Json => Ok(pretty(&answer.body)),
        Format::Table => Ok(one(answer.parse()?, SystemClock.now())),
    }
}

fn list(versions: &[Version], now: Timestamp) -> String {
    let mut grid = Grid::new(["VERSION", "STATUS", "TURN GUARD", "IMAGE", "UPDATED"]);
    for version in versions {
        grid.row([
            version.version.clone(),
            version.status.clone(),
            yes_no(version.options.turn_guard).into(),
            version.image_ref.clone(),
            when(version.updated_at, now),
        ]);
    }
    grid.to_string()
}

fn one(version: Version, now: Timestamp) -> String {
    let pairs = [
        ("Version", version.version),
        ("Status", version.status),
        ("Image", version.image_ref),
        ("Turn guard", yes_no(version.options.turn_guard).into()),
        ("Created", when(version.created_at, now)),
        ("Updated", when(version.updated_at, now)),
    ];
    Grid::of_pairs(pairs).to_string()
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
