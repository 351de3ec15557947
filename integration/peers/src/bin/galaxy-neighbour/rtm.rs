//! `galaxy-neighbour rtm`.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use net::TokioNet;
use peers::{
    engine::EngineOptions,
    env::Observer,
    rtm::{Event, ProcessLauncher, Rtm, RtmConfig, TaskLauncher, launcher::EngineLauncher},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    common::{self, Place, Streams, milliseconds},
};

#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct RtmArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    streams: Streams,
    /// What an engine runs in.
    #[arg(long, value_enum, default_value_t = Engines::Processes)]
    engines: Engines,
    /// The program of an engine process, given `engine` and its flags: `gamemaster` or this one.
    /// This one where not set.
    #[arg(long, value_name = "PROGRAM")]
    engine_program: Option<PathBuf>,
    /// Directory of the engines' games.
    #[arg(long, value_name = "DIR")]
    engine_state_dir: Option<PathBuf>,
    /// The address that engines listen on.
    #[arg(long, default_value = "127.0.0.1")]
    engine_bind_ip: IpAddr,
    /// The host under which Game Master is told to reach them; where they listen if not set.
    #[arg(long, value_name = "HOST")]
    engine_host: Option<String>,
    /// The ports to choose from; any free one where not set.
    #[arg(long, value_name = "FIRST..LAST", value_parser = peers::engine::ports)]
    engine_ports: Option<RangeInclusive<u16>>,
    /// Engines that may run at once.
    #[arg(long, default_value_t = 256, value_name = "COUNT")]
    max_engines: usize,
    /// Whether the state of an engine outlives its game.
    #[arg(long)]
    keep_finished_state: bool,
    /// Source of everything random in the games; each its own where not set.
    #[arg(long)]
    seed: Option<u64>,
    /// Planets on the maps.
    #[arg(long)]
    planets: Option<u32>,
    /// Games are finished at this turn at the latest.
    #[arg(long)]
    turn_limit: Option<u32>,
    /// How long generating a turn takes, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    turn_latency_ms: u64,
    /// Engines ignore `expected_turn`.
    #[arg(long)]
    no_turn_guard: bool,
    /// Between two probes of an engine, in milliseconds.
    #[arg(long, default_value_t = 2_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..))]
    probe_ms: u64,
    /// For one probe, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    probe_timeout_ms: u64,
    /// Between two reports that an engine is healthy while nothing changes, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_name = "MS")]
    healthy_repeat_ms: u64,
    /// Between the end of an engine that nobody asked for, or a failed start, and the next start,
    /// in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    restart_delay_ms: u64,
}

/// What an engine runs in.
#[derive(Clone, Copy, ValueEnum)]
enum Engines {
    /// A process of its own for each game.
    Processes,
    /// This process, for many games: they end when it ends.
    Here,
}

pub(crate) async fn run(args: RtmArgs, stop: CancellationToken) -> Result<(), Failure> {
    let bus = args.streams.bus()?;
    let launcher: Arc<dyn EngineLauncher> = match args.engines {
        Engines::Processes => {
            let own = || std::env::current_exe().map_err(|error| error.to_string());
            let program = args.engine_program.map_or_else(own, Ok)?;
            Arc::new(ProcessLauncher::new(program, vec!["engine".into()]))
        }
        Engines::Here => Arc::new(TaskLauncher::new(Arc::new(TokioNet), EngineOptions::default())),
    };
    let mut config = RtmConfig::new(args.place.listen);
    config.state_file = args.place.state_file;
    config.follow = args.streams.follow();
    config.engine_state_dir = args.engine_state_dir;
    config.engine_bind_ip = args.engine_bind_ip;
    config.engine_host = args.engine_host.unwrap_or_else(|| match args.engine_bind_ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    config.engine_ports = args.engine_ports;
    config.max_engines = args.max_engines;
    config.keeps_finished_state = args.keep_finished_state;
    config.engine.seed = args.seed;
    config.engine.planets = args.planets;
    config.engine.turn_limit = args.turn_limit;
    config.engine.turn_latency = milliseconds(args.turn_latency_ms);
    config.engine.turn_guard = !args.no_turn_guard;
    config.timing.probe_period = milliseconds(args.probe_ms);
    config.timing.probe_timeout = milliseconds(args.probe_timeout_ms);
    config.timing.healthy_repeat = milliseconds(args.healthy_repeat_ms);
    config.timing.restart_delay = milliseconds(args.restart_delay_ms);
    let observer: Observer<Event> = Arc::new(|event| tracing::info!(?event));
    let net = Arc::new(TokioNet);
    let rtm = Rtm::bind(config, net, bus, common::env(), launcher, observer).await;
    let rtm = rtm.map_err(|error| error.to_string())?;
    common::listening(rtm.local_addr());
    rtm.run(stop).await;
    Ok(())
}
