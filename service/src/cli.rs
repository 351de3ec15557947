//! The commands: from arguments to a running thing and an exit code.

use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use service::app::{self, Seams};
use service::config::ServeArgs;
use service::dev::{self, DevArgs};
use service::embedded::Embedded;
use service::ports::{Clock, SystemClock, SystemEntropy};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Something went wrong.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// What was asked for makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Ended by a second signal.
const EXIT_INTERRUPTED: u8 = 130;

/// Says why, and with which code the process ends.
pub(crate) fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("gamemaster: {error}");
    ExitCode::from(code)
}

/// `gamemaster serve`.
pub(crate) async fn serve(args: ServeArgs) -> ExitCode {
    log_to_stderr("info");
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let embedded = match &args.store_file {
        Some(path) => match Embedded::open(path, Arc::clone(&clock)) {
            Ok(embedded) => Arc::new(embedded),
            Err(error) => return fail(EXIT_FAILURE, &error),
        },
        None => Arc::new(Embedded::in_memory(Arc::clone(&clock))),
    };
    let seams = Seams {
        net: Arc::new(net::TokioNet),
        store: embedded.clone(),
        streams: embedded,
        clock,
        entropy: Arc::new(SystemEntropy),
    };
    let stopping = CancellationToken::new();
    let bound = match app::bind(settings, seams, stopping.clone()).await {
        Ok(bound) => bound,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    match bound.address() {
        Ok(address) => tracing::info!(%address, "listening"),
        Err(error) => return fail(EXIT_FAILURE, &error),
    }
    let mut code = ExitCode::SUCCESS;
    let run = async {
        if let Err(error) = bound.run().await {
            code = fail(EXIT_FAILURE, &error);
        }
    };
    let ended = until_signalled(stopping, run).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

/// `gamemaster dev`.
pub(crate) async fn dev(args: DevArgs) -> ExitCode {
    log_to_stderr("warn");
    let stopping = CancellationToken::new();
    let running = async {
        match dev::run(args, stopping.clone()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(EXIT_FAILURE, &error),
        }
    };
    let mut code = ExitCode::SUCCESS;
    let ended = until_signalled(stopping.clone(), async { code = running.await }).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

/// `gamemaster engine`.
pub(crate) async fn engine(args: peers::engine::EngineArgs) -> ExitCode {
    log_to_stderr("warn");
    let stopping = CancellationToken::new();
    let mut code = ExitCode::SUCCESS;
    let run = async {
        if let Err(error) = peers::engine::run_until(args, stopping.clone()).await {
            code = fail(EXIT_FAILURE, &error);
        }
    };
    let ended = until_signalled(stopping.clone(), run).await;
    if ended == ExitCode::SUCCESS { code } else { ended }
}

/// Runs something to its end. The first SIGTERM or Ctrl-C asks it to end, the second does not ask.
async fn until_signalled(stopping: CancellationToken, work: impl Future<Output = ()>) -> ExitCode {
    let signals = async {
        signal().await;
        stopping.cancel();
        signal().await;
    };
    tokio::select! {
        biased;
        () = work => ExitCode::SUCCESS,
        () = signals => ExitCode::from(EXIT_INTERRUPTED),
    }
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the system's own take effect, which end the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Logs go to standard error: JSON where a machine reads them, lines where a person does.
fn log_to_stderr(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
}
