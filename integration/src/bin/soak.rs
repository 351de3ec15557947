//! `soak`: faults under load, counted. See `docs/soak.md`.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use integration::soak::{Lane, Options, Progress, run};
use service::ports::{Entropy as _, SystemEntropy};

/// Plays hundreds of games on real processes while these are killed, stopped, cut off and started
/// again all the time; then heals everything, and holds database, streams and engines against each
/// other. Ends with 0 where nothing was lost, doubled, reordered or stuck, else with 1.
#[derive(Parser)]
#[command(name = "soak", version, max_term_width = 100)]
struct Cli {
    /// How long it goes on; may be a fraction.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Games that are played all the time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    games: u16,
    /// A turn of each of them every so many seconds. What the machine cannot keep up with shows as
    /// tick lag.
    #[arg(long, default_value_t = 8, value_name = "SECONDS",
          value_parser = clap::value_parser!(u8).range(1..=30))]
    turn_every: u8,
    /// Games that come and go, at a time: from Lobby over Runtime Manager to their end.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=100))]
    guests: u16,
    /// Game Masters.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=20))]
    instances: u16,
    /// What strikes when is drawn from it; any where not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Between two kills of one kind of process, in seconds.
    #[arg(long, default_value_t = 4.0, value_name = "SECONDS")]
    every: f64,
    /// What strikes: everything where not given.
    #[arg(long, value_delimiter = ',', value_name = "WHAT,…")]
    strikes: Option<Vec<Strikes>>,
    /// How long an engine takes for a turn, in milliseconds.
    #[arg(long, default_value_t = 20, value_name = "MS")]
    turn_latency_ms: u64,
    /// In what time everything must have come to rest in the end, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
    /// More memory no Game Master may have, in MiB.
    #[arg(long, default_value_t = 128, value_name = "MIB")]
    memory: u64,
    /// Where logs and states are kept; a new temporary directory, removed if all is well, where not
    /// given.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Tell how it goes every so many seconds where nobody sees a bar, 0: never.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    tell: u64,
    /// The verdict as tables for people, or as JSON.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// See [`Lane`].
#[derive(Clone, Copy, ValueEnum)]
enum Strikes {
    /// `kill -9` of Game Masters.
    Gamemaster,
    /// Game Masters stopped for a while, and restarted in order.
    Absence,
    /// `kill -9` of PostgreSQL.
    Postgres,
    /// `kill -9` of Redis, now and then with the loss of the last second or of everything.
    Redis,
    /// `kill -9` of engines, Lobby, Runtime Manager, notification and gateway.
    Neighbours,
    /// Connections cut, silent and slow.
    Links,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl From<Strikes> for Lane {
    fn from(strikes: Strikes) -> Self {
        match strikes {
            Strikes::Gamemaster => Self::GameMaster,
            Strikes::Absence => Self::Absence,
            Strikes::Postgres => Self::Postgres,
            Strikes::Redis => Self::Redis,
            Strikes::Neighbours => Self::Neighbours,
            Strikes::Links => Self::Links,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match soak(&cli).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("soak: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(cli: &Cli) -> Result<bool, String> {
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    let (directory, passing) = match &cli.directory {
        Some(directory) => (directory.clone(), None),
        None => {
            let made = tempfile::Builder::new().prefix("soak-").tempdir();
            let made = made.map_err(|error| error.to_string())?;
            (made.path().to_owned(), Some(made))
        }
    };
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let lanes: BTreeSet<Lane> = match &cli.strikes {
        Some(strikes) => strikes.iter().map(|strikes| Lane::from(*strikes)).collect(),
        None => Lane::ALL.into_iter().collect(),
    };
    let options = Options {
        duration: seconds(cli.minutes * 60.0)?,
        games: usize::from(cli.games),
        turn_every: usize::from(cli.turn_every),
        guests: usize::from(cli.guests),
        instances: usize::from(cli.instances),
        seed: cli.seed.unwrap_or_else(any_seed),
        every: seconds(cli.every)?.max(Duration::from_millis(100)),
        lanes,
        turn_latency: Duration::from_millis(cli.turn_latency_ms),
        patience: Duration::from_secs(cli.patience),
        memory: cli.memory << 20,
        directory,
    };
    eprintln!("seed {}, logs in {}", options.seed, options.directory.display());
    let mut teller = Teller::new(&options, Duration::from_secs(cli.tell));
    let report = run(&options, |progress| teller.tell(progress)).await;
    teller.bar.finish_and_clear();
    match report {
        Ok(report) => {
            match cli.output {
                Output::Table => print!("{report}"),
                Output::Json => println!("{:#}", report.to_json()),
            }
            if !report.is_well() {
                keep(passing);
            }
            Ok(report.is_well())
        }
        Err(error) => {
            keep(passing);
            Err(format!("{error}; logs in {}", options.directory.display()))
        }
    }
}

/// What went wrong is in there.
fn keep(directory: Option<tempfile::TempDir>) {
    if let Some(directory) = directory {
        // Where it is was told at the start.
        let _ = directory.keep();
    }
}

/// Any: a run that fails says which.
fn any_seed() -> u64 {
    let any = SystemEntropy.uuid().as_u128();
    u64::try_from(any & 0xffff_ffff).unwrap_or(0)
}

/// Says how it goes.
struct Teller {
    bar: ProgressBar,
    every: Duration,
    told: Duration,
}

impl Teller {
    fn new(options: &Options, every: Duration) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(options.duration.as_secs())
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {msg}") {
            bar.set_style(style);
        }
        Self { bar, every, told: Duration::ZERO }
    }

    fn tell(&mut self, progress: &Progress) {
        let words = format!(
            "{} turns, {:.0}/s; {} strikes, {} under recovery; {} GM, {} games unwell; \
             tick lag p50 {} p99 {} max {} ms; {} messages wait",
            progress.turns,
            progress.turns_per_second,
            progress.strikes,
            progress.unrecovered,
            progress.masters,
            progress.unwell,
            progress.lag_p50,
            progress.lag_p99,
            progress.lag_max,
            progress.waiting,
        );
        if !self.bar.is_hidden() {
            self.bar.set_position(progress.elapsed.as_secs());
            self.bar.set_message(words);
        } else if !self.every.is_zero() && progress.elapsed >= self.told + self.every {
            self.told = progress.elapsed;
            eprintln!("{:>4} s  {words}", progress.elapsed.as_secs());
        }
    }
}
