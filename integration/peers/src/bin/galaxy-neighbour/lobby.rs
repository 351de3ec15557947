//! `galaxy-neighbour lobby`.

use std::{sync::Arc, time::Duration};

use clap::Args;
use net::TokioNet;
use peers::{
    backoff::Backoff,
    env::Observer,
    lobby::{Event, Lobby, LobbyConfig},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    common::{self, Place, Streams, milliseconds},
};

#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct LobbyArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    streams: Streams,
    /// Game Master: http://host:port.
    #[arg(long, value_name = "URL")]
    gm_url: String,
    /// Lobby's bearer token at Game Master.
    #[arg(long, env = "NEIGHBOUR_GM_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    gm_token: Option<String>,
    /// Runtime Manager, told to stop an engine whose registration failed for good; without it such
    /// an engine is left alone.
    #[arg(long, value_name = "URL")]
    rtm_url: Option<String>,
    /// For one call to Game Master or Runtime Manager, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    call_timeout_ms: u64,
    /// Between a failed step of a start and the next try, in milliseconds; doubled each time.
    #[arg(long, default_value_t = 200, value_name = "MS")]
    retry_ms: u64,
    /// Registrations that may fail in a row before the game is paused.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    register_tries: u32,
    /// Between looks whether Game Master is back, for a paused game, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    resume_ms: u64,
    /// How long the result of a job is waited for before the job is put on the stream again, in
    /// milliseconds.
    #[arg(long, default_value_t = 60_000, value_name = "MS")]
    job_result_timeout_ms: u64,
    /// For telling Game Master of a change of members, in milliseconds; then it is given up.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    invalidation_budget_ms: u64,
}

pub(crate) async fn run(args: LobbyArgs, stop: CancellationToken) -> Result<(), Failure> {
    let bus = args.streams.bus()?;
    let mut config = LobbyConfig::new(args.place.listen, args.gm_url);
    config.gm_token = args.gm_token;
    config.rtm_url = args.rtm_url;
    config.state_file = args.place.state_file;
    config.follow = args.streams.follow();
    config.call_timeout = milliseconds(args.call_timeout_ms);
    config.invalidation_budget = milliseconds(args.invalidation_budget_ms);
    let first = milliseconds(args.retry_ms);
    config.flow.backoff = Backoff { first, cap: Backoff::default().cap.max(first) };
    // Asked steadily: who looks on wants to see it soon.
    let resume = milliseconds(args.resume_ms).max(Duration::from_millis(1));
    config.flow.resume = Backoff { first: resume, cap: resume };
    config.flow.job_result_timeout = milliseconds(args.job_result_timeout_ms);
    config.flow.register_tries = args.register_tries;
    let observer: Observer<Event> = Arc::new(|event| tracing::info!(?event));
    let net = Arc::new(TokioNet);
    let lobby = Lobby::bind(config, net, bus, common::env(), observer).await;
    let lobby = lobby.map_err(|error| error.to_string())?;
    common::listening(lobby.local_addr());
    lobby.run(stop).await;
    Ok(())
}
