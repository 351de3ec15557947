//! Logs on standard error: one line each, whatever it says, and never a wait for the reader.
//!
//! ```text
//!   event ─▶ Lines (a layer: fields of the spans around it, then its own; escaped)
//!              └─▶ Sink: a bounded queue ─▶ a thread that writes ─▶ standard error
//! ```
//!
//! A reader that stops reading fills the pipe, then the queue; from then on lines are dropped and
//! counted, and the next line that gets through is preceded by one that says how many.

mod line;
mod sink;

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use self::line::{Lines, Style};
pub use self::sink::{Flush, Sink, dropped};
use super::settings::{LogFormat, LoggingArgs};
use crate::ports::{Clock, SystemClock};

/// Logs this process to standard error from now on. What is left in the queue when the guard is
/// dropped gets a moment to be written.
pub fn init(args: &LoggingArgs) -> Result<Flush, TryInitError> {
    let is_terminal = io::stderr().is_terminal();
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let style = match (args.format, is_terminal) {
        (LogFormat::Auto, true) | (LogFormat::Pretty, _) => Style::Pretty { colours },
        (LogFormat::Auto, false) | (LogFormat::Json, _) => Style::Json,
    };
    let (sink, flush) = Sink::new(io::stderr());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The settings were checked when they were read.
    let filter = EnvFilter::new(&args.filter);
    let lines = Lines::new(style, sink, clock);
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(flush)
}

/// A panic is a line like any other. What it says is told only where it is part of the program: a
/// text put together at run time may hold anything.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let said = panic.payload().downcast_ref::<&'static str>().copied();
    let said = said.unwrap_or("(not told: put together at run time)");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    tracing::error!(location, said, thread, "panicked");
}
