//! Faults under load, counted: real processes play hundreds of games while they are killed, stopped,
//! cut off and started again, all the time; then everything is healed, comes to rest, and is audited
//! from outside.
//!
//! [`plan`] says what strikes when, [`stage`] holds the processes, [`strikes`] carries the plan out,
//! [`players`] and [`guests`] use the system meanwhile, [`tracker`] looks on, [`audit`] judges,
//! [`report`] tells.

mod audit;
mod front;
mod guests;
mod part;
mod plan;
mod players;
mod report;
mod stage;
mod strikes;
mod tracker;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::audit::{Findings, Wrong};
pub use self::plan::{Kind, Lane, Victim};
pub use self::report::Report;

use self::guests::Visits;
use self::players::Players;
use self::stage::Stage;
use self::tracker::Tracker;
use crate::harness::{Client, program};

/// What is done, to how many, for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long strikes go on.
    pub duration: Duration,
    /// Games that are played all the time.
    pub games: usize,
    /// Each of them has a turn every so many seconds.
    pub turn_every: usize,
    /// Games that come and go, at a time.
    pub guests: usize,
    /// Game Masters.
    pub instances: usize,
    /// Everything random comes from here.
    pub seed: u64,
    /// Between two kills of one kind of process.
    pub every: Duration,
    /// What strikes at all.
    pub lanes: BTreeSet<Lane>,
    /// How long an engine takes for a turn.
    pub turn_latency: Duration,
    /// In what time everything must have come to rest in the end.
    pub patience: Duration,
    /// More memory no Game Master may have, in bytes.
    pub memory: u64,
    /// Where logs and states are.
    pub directory: PathBuf,
}

/// Why it could not be done at all.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says it in its message")]
pub enum SoakError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("{0}")]
    Streams(#[from] service::ports::StreamError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot be set up: {0}")]
    Setup(String),
}

/// How far it is, for whoever waits.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress {
    pub elapsed: Duration,
    pub turns: u64,
    pub turns_per_second: f64,
    /// Game Masters whose process is there, and is not being struck.
    pub masters: usize,
    /// Games that are not playing at this moment.
    pub unwell: usize,
    pub strikes: usize,
    /// Strikes that not every game has recovered from.
    pub unrecovered: usize,
    /// Messages that are not published yet.
    pub waiting: usize,
    /// Of the ticks of the last five seconds, in milliseconds.
    pub lag_p50: u64,
    pub lag_p99: u64,
    pub lag_max: u64,
}

/// Between two tellings of how far it is.
const TELL: Duration = Duration::from_secs(1);
/// Between two looks at whether everything has come to rest.
const LOOK: Duration = Duration::from_millis(200);
/// Games of which it is explained how they stand.
const EXPLAINED: usize = 5;

/// Does all of it, and tells `tell` once a second how far it is.
pub async fn run(options: &Options, mut tell: impl FnMut(&Progress)) -> Result<Report, SoakError> {
    let stage = Arc::new(Stage::start(options).await?);
    let tracker = Arc::new(Tracker::new(options.games));
    let looking = CancellationToken::new();
    let mut lookers = JoinSet::new();
    lookers.spawn(Arc::clone(&tracker).follow(Arc::clone(&stage), looking.clone()));
    let arrived = Arc::new(Mutex::new(BTreeSet::new()));
    let noting = audit::witness(stage.redis_url.clone(), Arc::clone(&arrived), looking.clone());
    lookers.spawn(noting);

    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    let (players, visits) = (Players::default(), Visits::default());
    let mut users = JoinSet::new();
    users.spawn(players.clone().play(
        options.seed,
        Arc::clone(&stage),
        Arc::clone(&tracker),
        (stop.clone(), end.clone()),
    ));
    for seat in 0..options.guests {
        let tokens = (stop.clone(), end.clone());
        users.spawn(visits.clone().come(seat, stage.lobby_address, tokens));
    }
    let mut lanes = JoinSet::new();
    for lane in &options.lanes {
        let strikes = plan::plan(options.seed, *lane, options.every, options.duration);
        lanes.spawn(strikes::lane(
            strikes,
            options.every * 4 / 10,
            Arc::clone(&stage),
            Arc::clone(&tracker),
            stop.clone(),
        ));
    }

    let mut last = (Instant::now(), tracker.standing().turns);
    while tracker.started.elapsed() < options.duration {
        tokio::time::sleep(TELL).await;
        tell(&progress(&tracker, &mut last));
    }
    stop.cancel();
    while let Some(lane) = lanes.join_next().await {
        lane.map_err(io::Error::other)??;
    }
    let mut findings = Findings::default();
    heal(&stage).await?;
    let explained =
        come_to_rest(options, &stage, &tracker, (&mut users, &end), &mut findings, || {
            tell(&progress(&tracker, &mut last));
        })
        .await;
    let struck_for = tracker.started.elapsed();

    watch_words(&stage, &mut findings).await;
    let postgres = stage.postgres.admin(&stage.database).await?;
    audit::idle(&postgres, &mut findings).await?;
    looking.cancel();
    while lookers.join_next().await.is_some() {}
    end_in_order(&stage, &mut findings).await?;
    let arrived = arrived.lock().map(|arrived| arrived.clone()).unwrap_or_default();
    let guests = visits.guests();
    let counts = audit::audit(&stage, &guests, arrived, &mut findings).await?;

    let tally = players.tally();
    for words in &tally.findings {
        let game = words.split(':').next().unwrap_or_default();
        findings.add(Wrong::AcknowledgedLost, game, words);
    }
    for words in tracker.ended() {
        findings.add(Wrong::EndedByItself, "", words);
    }
    let memory = tracker.memory();
    for (name, samples) in &memory {
        if let Some(most) = samples.iter().map(|sample| sample.resident).max()
            && most > options.memory
        {
            findings.add(Wrong::MemoryGrew, "", format!("{name} had {most} bytes"));
        }
    }
    let mut report = Report {
        seed: options.seed,
        directory: options.directory.clone(),
        games: options.games,
        instances: options.instances,
        took: struck_for,
        struck: tracker.strikes(),
        counts,
        tally,
        guests,
        memory,
        findings,
        explained,
    };
    if !report.findings.is_empty() {
        report.explained.extend(explain_afterwards(&stage, &report.findings).await);
        // What the servers wrote is of the same interest as what the processes did.
        std::fs::write(options.directory.join("postgres.log"), stage.postgres.log())?;
    }
    Ok(report)
}

fn progress(tracker: &Tracker, last: &mut (Instant, u64)) -> Progress {
    let standing = tracker.standing();
    let now = Instant::now();
    let took = now.duration_since(last.0).as_secs_f64().max(f64::EPSILON);
    let turns_per_second = standing.turns.saturating_sub(last.1) as f64 / took;
    *last = (now, standing.turns);
    Progress {
        elapsed: tracker.started.elapsed(),
        turns: standing.turns,
        turns_per_second,
        masters: standing.masters,
        unwell: standing.unwell,
        strikes: standing.strikes,
        unrecovered: standing.unrecovered,
        waiting: standing.waiting,
        lag_p50: standing.lag.p50,
        lag_p99: standing.lag.p99,
        lag_max: standing.lag.max,
    }
}

/// Everything is there again, and every connection whole.
async fn heal(stage: &Stage) -> Result<(), SoakError> {
    stage.calm();
    for part in stage.parts() {
        part.lock().await.start()?;
    }
    Ok(())
}

/// Waits until every game has had a turn again, every guest is over, and every player knows what
/// became of what he was promised. What is missing in the end is found, and explained.
async fn come_to_rest(
    options: &Options,
    stage: &Stage,
    tracker: &Tracker,
    (users, end): (&mut JoinSet<()>, &CancellationToken),
    findings: &mut Findings,
    mut tell: impl FnMut(),
) -> Vec<(String, String)> {
    let healed = Instant::now();
    let mut told = healed;
    while healed.elapsed() < options.patience {
        while users.try_join_next().is_some() {}
        let standing = tracker.standing();
        // Games go on, and so there is always something on its way; but not much.
        let is_well = standing.unrecovered == 0
            && standing.waiting <= options.games
            && tracker.behind(healed).is_empty();
        if is_well && users.is_empty() {
            return vec![];
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            tell();
        }
        tokio::time::sleep(LOOK).await;
    }
    end.cancel();
    while users.join_next().await.is_some() {}
    let behind = tracker.behind(healed);
    let mut explained = vec![];
    for game in behind.iter().filter_map(|n| stage.tables.get(*n)) {
        let words = format!("had no turn within {:?} of the last fault", options.patience);
        findings.add(Wrong::GamesStuck, &game.id, words);
        if explained.len() < EXPLAINED {
            explained.push((game.id.clone(), explain(stage, &game.id).await));
        }
    }
    explained
}

/// What Game Master says of a game.
async fn explain(stage: &Stage, game: &str) -> String {
    let mut command = tokio::process::Command::new(program());
    let url = format!("http://{}", stage.front());
    command.args(["explain", game, "--url", &url]).kill_on_drop(true);
    match tokio::time::timeout(Duration::from_secs(20), command.output()).await {
        Ok(Ok(output)) => {
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).into_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    }
}

/// The numbers of every Game Master that must be zero.
async fn watch_words(stage: &Stage, findings: &mut Findings) {
    const NEVER: [&str; 2] =
        ["gamemaster_invariant_violations_total", "gamemaster_panics_contained_total"];
    for master in &stage.masters {
        let Some(metrics) = Client::new(master.address).text("/metrics").await else { continue };
        for line in metrics.lines().filter(|line| NEVER.iter().any(|name| line.starts_with(name))) {
            if line.rsplit(' ').next().is_some_and(|value| value != "0") {
                findings.add(Wrong::EndedByItself, "", line);
            }
        }
    }
}

/// Every Game Master ends by SIGTERM, all at once; afterwards nothing moves.
async fn end_in_order(stage: &Stage, findings: &mut Findings) -> Result<(), SoakError> {
    let mut parts = vec![];
    for master in &stage.masters {
        let part = master.part.lock().await;
        part.signal("TERM")?;
        parts.push(part);
    }
    for part in &mut parts {
        if let Err(error) = strikes::ended_in_order(part).await {
            findings.add(Wrong::EndedByItself, "", error.to_string());
        }
    }
    Ok(())
}

/// The same once nothing moves: a Game Master is started again to be asked.
async fn explain_afterwards(stage: &Stage, findings: &Findings) -> Vec<(String, String)> {
    let games: BTreeSet<&str> =
        findings.words.iter().map(|(_, game, _)| game.as_str()).filter(|g| !g.is_empty()).collect();
    let Some(master) = stage.masters.first() else { return vec![] };
    if games.is_empty() || master.part.lock().await.start().is_err() {
        return vec![];
    }
    let client = Client::new(master.address);
    let started = Instant::now();
    while client.get("/readyz").await.is_none() && started.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(LOOK).await;
    }
    let mut explained = vec![];
    for game in games.into_iter().take(EXPLAINED) {
        explained.push((game.to_owned(), explain(stage, game).await));
    }
    explained
}
