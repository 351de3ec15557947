//! `--faults`: neighbours that misbehave while the games are played, and whether what is promised
//! was kept all the same.
//!
//! ```text
//!   seed ─▶ plan ─▶ begin ─▶ it lasts ─▶ end ─▶ until all is well again ─▶ what came of it
//!                                  └── an operator helps where Game Master waits for one
//! ```

mod fuse;
mod levers;
mod plan;
mod report;
mod trouble;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use machine::{Life, Status};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::levers::{Levers, Lossy};
use self::plan::{AT_ONCE, Plan, Planned};
use self::report::{Came, seconds};
use self::trouble::{Kind, Place, Trouble};
use super::games::DemoGame;
use super::narrator::Narrator;
use super::tally::Tally;
use super::{DevError, MOST_GAMES};
use crate::config::Settings;
use crate::ports::Store as _;

/// What an engine may take for a turn beyond the time that turns take in the demo.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// What it may take for anything else.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long Game Master believes who is a member: so short that an absent Lobby is felt.
const MEMBERSHIP_TTL: Duration = Duration::from_secs(2);
/// How long all games may take to begin; then the troubles begin with those that have.
const BEGIN_PATIENCE: Duration = Duration::from_secs(120);
/// How long after a trouble all may take to be well again. What Game Master does by itself it does
/// within half a minute; the rest is for a loaded machine.
const WELL_PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks of the operator.
const OPERATOR_PERIOD: Duration = Duration::from_secs(1);
/// How long Lobby may take to read what was told last.
const LOBBY_PATIENCE: Duration = Duration::from_secs(30);

/// Production's settings are for engines that take a minute; whoever watches has less patience.
pub(super) fn hurry(settings: &mut Settings, turn_latency: Duration) {
    let turn = turn_latency + TURN_TIMEOUT;
    settings.engine_limits.turn = turn;
    settings.engine_limits.admin = CALL_TIMEOUT;
    settings.engine_limits.player = CALL_TIMEOUT;
    // A lease exceeds the call's own deadline.
    let lease = TimeDelta::from_std(turn + TURN_TIMEOUT);
    settings.policy.turn_lease = lease.unwrap_or(settings.policy.turn_lease);
    settings.membership_ttl = MEMBERSHIP_TTL;
}

/// Makes the troubles, watches what comes of them, and judges.
pub(super) struct Faults {
    levers: Levers,
    narrator: Narrator,
    seed: u64,
    games: Vec<String>,
    /// The games an operator leaves alone for now.
    troubled: Mutex<BTreeSet<String>>,
    log: Mutex<Log>,
}

/// What has been so far.
#[derive(Default)]
struct Log {
    kinds: BTreeMap<Kind, u64>,
    /// What did not become well again.
    unwell: Vec<String>,
    /// The longest that anything took to be well again.
    slowest: Duration,
}

impl Faults {
    pub(super) fn new(
        levers: Levers,
        narrator: Narrator,
        seed: u64,
        games: &[DemoGame],
    ) -> Arc<Self> {
        let games = games.iter().map(|game| game.id.clone()).collect();
        let (troubled, log) = (Mutex::default(), Mutex::default());
        Arc::new(Self { levers, narrator, seed, games, troubled, log })
    }

    /// Makes one trouble after the other until `stop`; has ended them all when it returns.
    pub(super) async fn conduct(
        self: Arc<Self>,
        periods: Vec<Duration>,
        every: Duration,
        stop: CancellationToken,
    ) {
        if stop.run_until_cancelled(self.until_begun()).await.is_none() {
            return;
        }
        let operator = tokio::spawn(Arc::clone(&self).operate(stop.clone()));
        let begin = Instant::now();
        let mut busy: BTreeSet<Place> = BTreeSet::new();
        let mut under_way: JoinSet<Vec<Place>> = JoinSet::new();
        for planned in Plan::new(self.seed, periods, every) {
            let due = tokio::time::sleep_until(begin + planned.at);
            if stop.run_until_cancelled(due).await.is_none() {
                break;
            }
            let places = planned.trouble.places();
            // Getting well takes longer than planned now and then.
            while under_way.len() >= AT_ONCE || places.iter().any(|place| busy.contains(place)) {
                match stop.run_until_cancelled(under_way.join_next()).await {
                    Some(Some(Ok(freed))) => busy.retain(|place| !freed.contains(place)),
                    Some(Some(Err(_)) | None) | None => break,
                }
            }
            if stop.is_cancelled() {
                break;
            }
            if self.is_moot(planned.trouble).await {
                continue;
            }
            busy.extend(places.iter().copied());
            let (faults, stop) = (Arc::clone(&self), stop.clone());
            under_way.spawn(async move {
                faults.make(planned, &stop).await;
                places
            });
        }
        while under_way.join_next().await.is_some() {}
        let _ = operator.await;
    }

    /// One trouble from its beginning to what came of it.
    async fn make(&self, planned: Planned, stop: &CancellationToken) {
        let Planned { number, at: _, lasts, trouble } = planned;
        let game = trouble.game().and_then(|index| self.games.get(index)).cloned();
        let name = game.as_deref().unwrap_or("");
        let tell = |text: String| self.narrator.line(name, &text);
        tell(format!(">> trouble {number}: {}", trouble.story()));
        *self.log().kinds.entry(trouble.kind()).or_default() += 1;
        self.troubled().extend(game.clone());
        let (before, lost) = (self.tally().of(game.as_deref()), self.lost(trouble));
        let turn = self.turn(name).await;
        let began = Instant::now();
        let work = async {
            let struck = self.levers.begin(trouble, name, self.seed ^ u64::from(number)).await;
            if struck {
                tokio::time::sleep(lasts).await;
            }
            struck
        };
        let struck = stop.run_until_cancelled(work).await;
        let made_up = self.levers.end(trouble, name).await;
        let lasted = began.elapsed();
        if game.is_some() {
            self.troubled().remove(name);
        }
        let ended = Instant::now();
        let well = tokio::time::timeout(WELL_PATIENCE, self.until_well(trouble, name));
        let well = stop.run_until_cancelled(well).await;
        let took = ended.elapsed();
        let came = Came {
            counts: self.tally().of(game.as_deref()) - before,
            lost: self.lost(trouble).saturating_sub(lost),
            turns: turn.zip(self.turn(name).await),
            made_up,
        };
        let mut text = match struck {
            Some(true) => format!("<< trouble {number} over after {}", seconds(lasted)),
            Some(false) => format!("<< trouble {number} found nothing to strike"),
            None => format!("<< trouble {number} cut short"),
        };
        match well {
            Some(Ok(())) => {
                let mut log = self.log();
                log.slowest = log.slowest.max(took);
                drop(log);
                let at_once = took < 2 * LOOK;
                let when =
                    if at_once { "at once".into() } else { format!("{} later", seconds(took)) };
                text.push_str(&format!(", all well {when}"));
            }
            Some(Err(_)) => {
                text.push_str(&format!(", NOT well after {}", seconds(took)));
                let what = if name.is_empty() { trouble.kind().name() } else { name };
                let after = WELL_PATIENCE.as_secs();
                let told = format!("{what}: not well {after} s after trouble {number} was over");
                self.log().unwell.push(told);
            }
            None => {}
        }
        tell(format!("{text}: {came}"));
    }

    /// Returns once a game goes on that was struck, or what was away is there for everybody.
    async fn until_well(&self, trouble: Trouble, name: &str) {
        let turn = self.turn(name).await;
        loop {
            let well = match trouble {
                Trouble::Engine { .. }
                | Trouble::Ends { .. }
                | Trouble::Restarts { .. }
                | Trouble::StartsFail { .. }
                | Trouble::EndsUnseen { .. }
                | Trouble::RtmAway { .. }
                | Trouble::NoImage { .. } => self.goes_on(name, turn).await,
                Trouble::LobbyAway | Trouble::LobbySlow { .. } | Trouble::Store { .. } => {
                    self.levers.is_ready().await
                }
                Trouble::Streams { .. } => {
                    let backlog = self.levers.embedded.outbox_backlog().await;
                    backlog.is_ok_and(|backlog| backlog.waiting == 0)
                }
            };
            if well {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn goes_on(&self, game: &str, turn: Option<u32>) -> bool {
        let Some(record) = self.levers.record(game).await else { return true };
        match record.status() {
            Status::Running => record.pending().is_none(),
            Status::Finished | Status::Stopped => true,
            // The turn that was under way at the end of the trouble has not come back yet.
            Status::GenerationInProgress => Some(record.current_turn) > turn,
            Status::Starting | Status::GenerationFailed | Status::EngineUnreachable => false,
        }
    }

    /// What Game Master leaves to people: an engine that answered a call with a refusal or with
    /// nonsense is not asked again unbidden.
    async fn operate(self: Arc<Self>, stop: CancellationToken) {
        let mut helped: BTreeSet<&str> = BTreeSet::new();
        let pause = || stop.run_until_cancelled(tokio::time::sleep(OPERATOR_PERIOD));
        while pause().await.is_some() {
            for game in &self.games {
                let record = self.levers.record(game).await;
                let waits = record.is_some_and(|record| {
                    matches!(record.life, Life::Failed { .. })
                        && record.work().is_none()
                        && record.retry_at().is_none()
                });
                if !waits {
                    helped.remove(game.as_str());
                    continue;
                }
                if self.troubled().contains(game) {
                    continue;
                }
                // Said once, however often it takes: the store may be away at the same time.
                if helped.insert(game) {
                    let text = format!("an operator: gamemaster runtimes reconcile {game}");
                    self.narrator.line(game, &text);
                    self.tally().count(game, |counts| counts.operator += 1);
                }
                self.levers.reconcile(game).await;
            }
        }
    }

    /// A start that is spoilt fails for good: the troubles begin once the games have.
    async fn until_begun(&self) {
        let begun = async {
            for game in &self.games {
                while self
                    .levers
                    .record(game)
                    .await
                    .is_none_or(|rt| rt.status() == Status::Starting)
                {
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        let _ = tokio::time::timeout(BEGIN_PATIENCE, begun).await;
    }

    /// Whether nobody would notice: the game is over, or all of them are.
    async fn is_moot(&self, trouble: Trouble) -> bool {
        if let Some(game) = trouble.game() {
            return match self.games.get(game) {
                Some(game) => !self.levers.is_playing(game).await,
                None => true,
            };
        }
        for game in &self.games {
            if self.levers.is_playing(game).await {
                return false;
            }
        }
        !self.games.is_empty()
    }

    /// Waits until Lobby has read what it was told; what it does not know by then.
    pub(super) async fn lobby_is_behind(&self) -> Result<Vec<String>, DevError> {
        let mut behind = vec![];
        if self.levers.embedded.outbox_backlog().await?.waiting > 0 {
            return Ok(behind);
        }
        for record in self.levers.embedded.list(None, None, MOST_GAMES).await? {
            let game = record.game_id.as_str();
            let (turn, finished) = (record.current_turn, record.status() == Status::Finished);
            let knows = |game: &peers::lobby::GameSummary| {
                let view = &game.runtime;
                view.current_turn == Some(turn) && view.finished_at_ms.is_some() == finished
            };
            let registered = record.status() != Status::Starting;
            let lobby = &self.levers.lobby;
            if registered && lobby.wait_for(game, LOBBY_PATIENCE, knows).await.is_none() {
                behind.push(format!("{game}: Lobby does not know of turn {turn}"));
            }
        }
        Ok(behind)
    }

    /// Says what there was and what came of it, once everything has ended.
    pub(super) async fn conclude(
        &self,
        engines: &Path,
        behind: Vec<String>,
    ) -> Result<(), DevError> {
        let mut verdict = verdict::judge(&self.levers.embedded, engines, MOST_GAMES).await?;
        verdict.wrong.extend(behind);
        let log = self.log();
        verdict.wrong.extend(log.unwell.iter().cloned());
        let lossy = &self.levers.lossy;
        report::print(&report::Summary {
            seed: self.seed,
            kinds: &log.kinds,
            counts: self.tally().of(None),
            lost: (lossy.of_store.lost(), lossy.of_streams.lost()),
            slowest: log.slowest,
            verdict: &verdict,
        });
        if verdict.wrong.is_empty() {
            return Ok(());
        }
        Err(DevError::Broken { wrong: verdict.wrong.len(), seed: self.seed })
    }

    async fn turn(&self, game: &str) -> Option<u32> {
        self.levers.record(game).await.map(|record| record.current_turn)
    }

    /// How much has been lost of what a trouble makes lossy.
    fn lost(&self, trouble: Trouble) -> u64 {
        match trouble {
            Trouble::Streams { .. } => self.levers.lossy.of_streams.lost(),
            Trouble::Store { .. } => self.levers.lossy.of_store.lost(),
            Trouble::Engine { .. }
            | Trouble::Ends { .. }
            | Trouble::Restarts { .. }
            | Trouble::StartsFail { .. }
            | Trouble::EndsUnseen { .. }
            | Trouble::LobbyAway
            | Trouble::LobbySlow { .. }
            | Trouble::RtmAway { .. }
            | Trouble::NoImage { .. } => 0,
        }
    }

    fn tally(&self) -> &Tally {
        &self.narrator.tally
    }

    fn troubled(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
