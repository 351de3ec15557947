//! The engine as a process.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    thread,
    time::Duration,
};

use net::TokioNet;
use tokio_util::sync::CancellationToken;

use super::{
    game::{DEFAULT_KEPT_TURNS, GameOptions},
    many::{ManyArgs, run_many},
    server::{EngineError, EngineOptions, EngineServer},
};

/// Command line of an engine process.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Instead, one engine on each of these ports of loopback, for many games in one process.
    #[arg(long, value_name = "FIRST..LAST", conflicts_with_all = ["listen", "state"],
          value_parser = ports)]
    pub ports: Option<RangeInclusive<u16>>,
    /// Directory that keeps their games, in a file for each port.
    #[arg(long, value_name = "DIR", requires = "ports")]
    pub state_dir: Option<PathBuf>,
    /// File that keeps the game across restarts of the process.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Everything random about the game comes from here.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Planets on the map (at least three for each race).
    #[arg(long, default_value_t = 12)]
    pub planets: u32,
    /// The game is finished at this turn at the latest.
    #[arg(long, default_value_t = 200)]
    pub turn_limit: u32,
    /// Turns whose reports are kept.
    #[arg(long, default_value_t = DEFAULT_KEPT_TURNS)]
    pub kept_turns: u32,
    /// How long generating a turn takes.
    #[arg(long, default_value_t = 0)]
    pub turn_latency_ms: u64,
    /// Ignore `expected_turn`, like an engine that does not know it.
    #[arg(long)]
    pub no_turn_guard: bool,
    /// End when standard input is closed, that is, when the parent process is gone.
    #[arg(long)]
    pub exit_on_stdin_close: bool,
}

/// Runs an engine until its standard input is closed (where that was asked for), else for ever.
pub async fn main(args: EngineArgs) -> Result<(), EngineError> {
    run_until(args, CancellationToken::new()).await
}

/// Both ends included.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let ends = text.split_once("..").and_then(|(first, last)| {
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (first > 0 && first <= last).then_some(first..=last)
    });
    ends.ok_or_else(|| "must be two ports, as 9000..9199".to_owned())
}

/// Runs an engine until `shutdown` too. Says `listening on ADDRESS` on standard output when ready.
pub async fn run_until(args: EngineArgs, shutdown: CancellationToken) -> Result<(), EngineError> {
    let EngineArgs {
        listen,
        ports,
        state_dir,
        state,
        seed,
        planets,
        turn_limit,
        kept_turns,
        turn_latency_ms,
        no_turn_guard,
        exit_on_stdin_close,
    } = args;
    let options = EngineOptions {
        game: GameOptions { seed, planets, turn_limit, kept_turns },
        honours_expected_turn: !no_turn_guard,
        turn_latency: Duration::from_millis(turn_latency_ms),
        state_file: state,
        ..EngineOptions::default()
    };
    if exit_on_stdin_close {
        cancel_on_stdin_close(shutdown.clone());
    }
    if let Some(ports) = ports {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let first = SocketAddr::new(ip, *ports.start());
        let many = ManyArgs { ip, ports, state_dir };
        // Who does not hear it can ask.
        let ready = || drop(announce(Ok(first)));
        return run_many(&TokioNet, many, &options, ready, shutdown).await;
    }
    let server = EngineServer::bind(&TokioNet, listen, options).await?;
    announce(server.local_addr()).map_err(EngineError::Announce)?;
    server.serve(shutdown).await;
    Ok(())
}

fn announce(addr: io::Result<SocketAddr>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {}", addr?)?;
    stdout.flush()
}

/// SUBTLE: a plain thread. The runtime waits for its own blocking reads when it shuts down, and
/// this one may never return; a detached thread ends with the process.
fn cancel_on_stdin_close(shutdown: CancellationToken) {
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut ignored = [0; 256];
        loop {
            match stdin.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        shutdown.cancel();
    });
}
