//! The engine as a process.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::Duration,
};

use net::TokioNet;
use tokio_util::sync::CancellationToken;

use super::{
    game::{DEFAULT_KEPT_TURNS, GameOptions},
    server::{EngineError, EngineOptions, EngineServer},
};

/// Command line of an engine process.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
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

/// Runs an engine until `shutdown` too. Says `listening on ADDRESS` on standard output when ready.
pub async fn run_until(args: EngineArgs, shutdown: CancellationToken) -> Result<(), EngineError> {
    let EngineArgs {
        listen,
        state,
        seed,
        planets,
        turn_limit,
        turn_latency_ms,
        no_turn_guard,
        exit_on_stdin_close,
    } = args;
    let options = EngineOptions {
        game: GameOptions { seed, planets, turn_limit, kept_turns: DEFAULT_KEPT_TURNS },
        honours_expected_turn: !no_turn_guard,
        turn_latency: Duration::from_millis(turn_latency_ms),
        state_file: state,
        ..EngineOptions::default()
    };
    let server = EngineServer::bind(&TokioNet, listen, options).await?;
    if exit_on_stdin_close {
        cancel_on_stdin_close(shutdown.clone());
    }
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
