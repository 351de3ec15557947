//! What happens, in lines that a person can follow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machine::record::{PendingState, Trigger};
use machine::{GameId, Life, Runtime, Status, Timestamp};
use peers::env::Observer;
use peers::gateway::{PlayerEvent, PlayerOutcome, PlayerRequest};
use peers::notification::Sent;
use tokio::sync::{broadcast, watch};

use super::tally::Tally;
use crate::driver::Change;
use crate::ports::Clock;

/// Writes the lines; clones write to the same place.
#[derive(Clone)]
pub(super) struct Narrator {
    clock: Arc<dyn Clock>,
    finished: watch::Sender<BTreeSet<GameId>>,
    /// What each player of each game was last refused with: said once, not every few seconds.
    refused: Arc<Mutex<BTreeMap<(String, String), String>>>,
    /// What happened, counted.
    pub(super) tally: Tally,
}

impl Narrator {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let finished = watch::Sender::new(BTreeSet::new());
        Self { clock, finished, refused: Arc::default(), tally: Tally::default() }
    }

    /// Says something of the whole.
    pub(super) fn say(&self, text: &str) {
        self.line("", text);
    }

    /// Says something of a game.
    pub(super) fn line(&self, game: &str, text: &str) {
        println!("{}  {game:<10} {text}", clock_face(self.clock.now(), true));
    }

    /// Says where everything listens.
    pub(super) fn say_where(&self, gm: SocketAddr, lobby: SocketAddr, rtm: SocketAddr) {
        println!("Game Master      http://{gm}/api/v1/internal/runtimes");
        println!("Lobby            http://{lobby}/api/v1/games");
        println!("Runtime Manager  http://{rtm}/");
        println!(
            "Force a turn     curl -X POST http://{gm}/api/v1/internal/runtimes/aurora/force-next-turn"
        );
        println!(
            "Remove a player  curl -X POST http://{lobby}/api/v1/games/aurora/members/bob/remove"
        );
        println!("Ctrl-C ends it.");
        println!();
    }

    /// Tells of every change of a record, as long as there are any.
    pub(super) async fn watch(self, mut changes: broadcast::Receiver<Change>) {
        loop {
            match changes.recv().await {
                Ok(change) => self.change(&change),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.say(&format!("({missed} changes went by too fast to tell)"));
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Returns once so many games have finished or been stopped.
    pub(super) async fn until_finished(&self, count: usize) {
        // The sender lives in `self`.
        let _ = self.finished.subscribe().wait_for(|games| games.len() >= count).await;
    }

    /// Returns once a game has finished or been stopped.
    pub(super) async fn until_over(&self, game: &str) {
        let over = |games: &BTreeSet<GameId>| games.iter().any(|id| id.as_str() == game);
        let _ = self.finished.subscribe().wait_for(over).await;
    }

    /// Takes in a game that was over before this process began.
    pub(super) fn was_over(&self, game: GameId) {
        self.finished.send_modify(|games| {
            games.insert(game);
        });
    }

    fn change(&self, change: &Change) {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let Some(game) = after.or(before).map(|rt| rt.game_id.clone()) else { return };
        if let Some(after) = after {
            self.tally.change(before, after, change.event);
        }
        if let Some(text) = story(before, after, change) {
            self.line(game.as_str(), &text);
        }
        if after.is_some_and(|rt| rt.status().is_final()) {
            self.was_over(game);
        }
    }

    /// Tells of a player's request: what was accepted, and what was refused for another reason than
    /// that a turn is being generated or the game is not there yet.
    pub(super) fn player(&self, event: &PlayerEvent) {
        let what = match event.request {
            PlayerRequest::Report { .. } => "report".to_owned(),
            PlayerRequest::Commands { turn, count } => format!("{count} command(s) at turn {turn}"),
            PlayerRequest::Orders { turn, count } => format!("{count} order(s) at turn {turn}"),
        };
        let came = match &event.outcome {
            PlayerOutcome::Accepted => "accepted".to_owned(),
            PlayerOutcome::Refused { status, code } => {
                format!("refused with {} {code}", status.as_u16())
            }
            PlayerOutcome::Unreachable { .. } => "not answered".to_owned(),
            PlayerOutcome::Unreadable => "answered with what is no report".to_owned(),
        };
        let seat = (event.game_id.clone(), event.user_id.clone());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let news = if event.outcome == PlayerOutcome::Accepted {
            refused.remove(&seat);
            !matches!(event.request, PlayerRequest::Report { .. })
        } else {
            refused.insert(seat, came.clone()).as_ref() != Some(&came)
        };
        drop(refused);
        let between_turns = matches!(&event.outcome, PlayerOutcome::Refused { code, .. }
            if code == "runtime_not_running" || code == "runtime_not_found");
        if event.outcome != PlayerOutcome::Accepted && !between_turns {
            self.tally.count(&event.game_id, |counts| counts.calls += 1);
        }
        if news && !between_turns {
            self.line(&event.game_id, &format!("{}: {what} {came}", event.user_id));
        }
    }

    /// What Lobby tells.
    pub(super) fn of_lobby(self) -> Observer<peers::lobby::Event> {
        use peers::lobby::Event;
        Arc::new(move |event| match event {
            Event::StartRequested { game_id } => self.line(game_id, "Lobby starts the game"),
            Event::Started { .. } => {}
            Event::Paused { game_id, reason } => {
                self.line(game_id, &format!("paused by Lobby: {reason}"));
            }
            Event::Resumed { game_id } => self.line(game_id, "resumed by Lobby"),
            Event::StartFailed { game_id, code, message } => {
                self.line(game_id, &format!("not started: {code}: {message}"));
            }
            Event::Finished { game_id, capable_user_ids } => {
                let who = capable_user_ids.join(", ");
                let who = if who.is_empty() { "nobody".to_owned() } else { who };
                self.line(game_id, &format!("Lobby: qualified by this game: {who}"));
            }
            Event::MemberChanged { game_id, user_id, status } => {
                self.line(game_id, &format!("Lobby: {user_id} is now {}", low(status)));
            }
            Event::InvalidationFailed { game_id, message } => {
                self.line(game_id, &format!("Lobby could not tell Game Master: {message}"));
            }
        })
    }

    /// What the notification service tells: the mails to administrators and the ends of games; a
    /// line for every player and turn would be too many.
    pub(super) fn of_notification(self) -> Observer<Sent> {
        Arc::new(move |sent| {
            let intent = &sent.intent;
            let game = intent.payload.get("game_id").and_then(|id| id.as_str()).unwrap_or("");
            match intent.notification_type.as_str() {
                "game.turn.ready" => {}
                "game.finished" => {
                    let who = intent.recipient_user_ids.join(", ");
                    self.line(game, &format!("notified of the end: {who}"));
                }
                other => self.line(game, &format!("notification sent: {other}")),
            }
        })
    }

    /// What Runtime Manager tells.
    pub(super) fn of_rtm(self) -> Observer<peers::rtm::Event> {
        use peers::rtm::Event;
        Arc::new(move |event| match event {
            Event::EngineStarted { game_id, pid, endpoint, .. } => {
                let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
                self.line(game_id, &format!("engine listens at {endpoint}{pid}"));
            }
            Event::EngineExited { game_id, .. } => {
                self.tally.count(game_id, |counts| counts.restarts += 1);
                self.line(game_id, "engine ended, unasked; Runtime Manager starts it again");
            }
            Event::EngineStopped { game_id, reason } => {
                self.line(game_id, &format!("engine stopped ({reason})"));
            }
            Event::StartFailed { game_id, message, .. } => {
                self.line(game_id, &format!("engine not started: {message}"));
            }
            Event::CleanedUp { game_id } => self.line(game_id, "engine cleaned up"),
        })
    }
}

/// A value's name in lower case.
fn low(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// `12:00:10`, with milliseconds where wanted.
fn clock_face(at: Timestamp, millis: bool) -> String {
    at.format(if millis { "%H:%M:%S%.3f" } else { "%H:%M:%S" }).to_string()
}

/// What a change means, where it means something to a person.
fn story(before: Option<&Runtime>, after: Option<&Runtime>, change: &Change) -> Option<String> {
    let Some(after) = after else {
        let why = change.closed.iter().find_map(|(_, outcome)| match outcome {
            machine::Outcome::Failed(failure) => Some(failure.message.as_str()),
            machine::Outcome::Succeeded | machine::Outcome::Superseded => None,
        });
        return Some(format!("registration rolled back: {}", why.unwrap_or("unknown")));
    };
    let took = change.took.map_or_else(String::new, |took| format!(" in {}", human(took)));
    let last_failure = || after.last_failure.as_ref().map_or("", |f| f.message.as_str());
    let was = before.map(Runtime::status);
    match &after.life {
        Life::Starting { .. } if was.is_none() => {
            let players = after.roster.members().len();
            Some(format!("engine of {players} players is being initialised"))
        }
        Life::Running { clock, .. } => {
            let next = clock_face(clock.next_generation_at, false);
            let turn = after.current_turn;
            let skipped = before.and_then(Runtime::clock).and_then(|clock| clock.skip);
            if was == Some(Status::Starting) {
                Some(format!("registered{took}: turns by \"{}\", first at {next}", after.schedule))
            } else if before.is_some_and(|b| b.current_turn < turn) {
                let how = if change.event == "turn_done" { "generated" } else { "adopted" };
                let skips = skipped
                    .map_or_else(String::new, |at| format!(", skips {}", clock_face(at, false)));
                Some(format!("turn {turn} {how}{took}{skips}; next at {next}"))
            } else if was != Some(Status::Running) {
                Some(format!("runs again at turn {turn}; next at {next}"))
            } else {
                pending_story(before, after)
            }
        }
        Life::Generating { trigger: Trigger::Force, .. }
            if was != Some(Status::GenerationInProgress) =>
        {
            Some(format!("turn {} forced", after.current_turn + 1))
        }
        Life::Generating { .. } if matches!(change.event, "work_lease_expired" | "abandoned") => {
            Some(format!("turn {} was abandoned; asking the engine", after.current_turn + 1))
        }
        Life::Failed { .. } if was != Some(Status::GenerationFailed) => {
            Some(format!("turn {} failed: {}", after.current_turn + 1, last_failure()))
        }
        Life::Unreachable { .. } if was != Some(Status::EngineUnreachable) => {
            Some(format!("engine unreachable: {}", last_failure()))
        }
        Life::Stopped { .. } if was != Some(Status::Stopped) => Some("stopped".into()),
        Life::Finished { .. } => Some(format!("turn {}{took}: finished", after.current_turn)),
        Life::Starting { .. }
        | Life::Generating { .. }
        | Life::Failed { .. }
        | Life::Unreachable { .. }
        | Life::Stopped { .. } => pending_story(before, after),
    }
}

fn pending_story(before: Option<&Runtime>, after: &Runtime) -> Option<String> {
    let had = before.and_then(Runtime::pending);
    let pending = after.pending().filter(|_| had.is_none())?;
    Some(match pending.state {
        PendingState::Draining { .. } => "to be stopped once the turn is generated".into(),
        PendingState::Asked { .. } => "Runtime Manager was asked to act".into(),
    })
}

fn human(took: Duration) -> String {
    if took < Duration::from_secs(10) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{} s", took.as_secs())
    }
}
