//! A player who plays by himself, round after round.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Gateway, GatewayError};
use crate::engine::{
    bot,
    game::{Command, DEFAULT_KEPT_TURNS, MAX_TURN_LIMIT, Report},
};

/// Reports asked for in one round before giving it up: the game can go on in between.
const MAX_REPORTS_PER_ROUND: u32 = 3;
/// Step of the search for a turn that the engine still keeps: no window can be stepped over.
const SEARCH_STEP: u32 = DEFAULT_KEPT_TURNS / 2;

/// A player: every [`Player::period`] he fetches his report, decides and sends what he decided,
/// one round at once and the next round as orders.
#[derive(Debug, Clone)]
pub struct Player {
    /// The way in.
    pub gateway: Arc<Gateway>,
    /// Who he is.
    pub token: String,
    /// The game he plays.
    pub game_id: String,
    /// From the end of one round to the next.
    pub period: Duration,
    /// How many rounds he plays at most.
    pub max_rounds: Option<u64>,
}

/// One request of a player and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerEvent {
    /// Who asked.
    pub user_id: String,
    /// About which game.
    pub game_id: String,
    /// What he asked.
    pub request: PlayerRequest,
    /// What became of it.
    pub outcome: PlayerOutcome,
    /// How long that took, from the question on.
    pub took: Duration,
}

/// What a player asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayerRequest {
    /// A report.
    Report {
        /// On this turn.
        turn: u32,
    },
    /// Commands.
    Commands {
        /// Decided on the report of this turn.
        turn: u32,
        /// How many.
        count: usize,
    },
    /// Orders.
    Orders {
        /// Decided on the report of this turn.
        turn: u32,
        /// How many.
        count: usize,
    },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerOutcome {
    /// The engine's answer came back.
    Accepted,
    /// Somebody said no.
    Refused {
        /// The status.
        status: StatusCode,
        /// The code.
        code: String,
    },
    /// No answer came back.
    Unreachable {
        /// Whether the request certainly reached nobody.
        determinate: bool,
    },
    /// An answer came back that is no report.
    Unreadable,
}

/// Why a player stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayerEnd {
    /// He was told to.
    Cancelled,
    /// The game is over.
    GameOver {
        /// Its last turn.
        turn: u32,
    },
    /// His race is.
    Extinct {
        /// The turn he learned of it.
        turn: u32,
    },
    /// He has played [`Player::max_rounds`].
    RoundsOver,
    /// His token is in no table.
    Unauthenticated,
}

impl Player {
    /// Plays to the end of the game, of the race, of the rounds, or until `shutdown`; tells
    /// `observe` of each request.
    pub async fn run<F>(self, observe: F, shutdown: CancellationToken) -> PlayerEnd
    where
        F: Fn(PlayerEvent) + Send + Sync,
    {
        let Ok(user_id) = self.gateway.authenticate(&self.token).map(str::to_owned) else {
            return PlayerEnd::Unauthenticated;
        };
        let mut seat = Seat { player: &self, user_id, observe, turn: 0 };
        let play = async {
            let mut round = 0;
            while self.max_rounds.is_none_or(|max| round < max) {
                if let Some(end) = seat.play_round(round % 2 == 1).await {
                    return end;
                }
                round += 1;
                tokio::time::sleep(self.period).await;
            }
            PlayerEnd::RoundsOver
        };
        tokio::select! {
            () = shutdown.cancelled() => PlayerEnd::Cancelled,
            end = play => end,
        }
    }
}

/// A player at the table.
struct Seat<'a, F> {
    player: &'a Player,
    user_id: String,
    observe: F,
    /// The turn he believes the game to be at.
    turn: u32,
}

impl<F: Fn(PlayerEvent) + Send + Sync> Seat<'_, F> {
    async fn play_round(&mut self, as_orders: bool) -> Option<PlayerEnd> {
        let report = self.current_report().await?;
        if report.finished {
            return Some(PlayerEnd::GameOver { turn: report.turn });
        }
        if report.extinct {
            return Some(PlayerEnd::Extinct { turn: report.turn });
        }
        let commands = bot::plan(&report);
        if !commands.is_empty() {
            self.send(&commands, report.turn, as_orders).await;
        }
        None
    }

    /// The report of the turn the game is at now; nothing where it is not to be had this round.
    async fn current_report(&mut self) -> Option<Report> {
        let Player { gateway, token, game_id, .. } = self.player;
        for _ in 0..MAX_REPORTS_PER_ROUND {
            let (turn, asked_at) = (self.turn, Instant::now());
            let answer = gateway.report(token, game_id, turn).await;
            let unkept = matches!(&answer, Err(GatewayError::Refused { code, .. })
                if code == "engine_validation_error");
            let report: Option<Report> =
                answer.as_ref().ok().and_then(|bytes| serde_json::from_slice(bytes).ok());
            let outcome = match (answer, &report) {
                (Ok(_), None) => PlayerOutcome::Unreadable,
                (answer, _) => outcome(answer),
            };
            self.tell(PlayerRequest::Report { turn }, outcome, asked_at);
            if unkept {
                // The player came late: the engine has forgotten the turn he asks for. There is
                // nobody to ask for the right one, so he tries his way up, and round again.
                self.turn = turn.saturating_add(SEARCH_STEP);
                if self.turn > MAX_TURN_LIMIT {
                    self.turn = 0;
                }
                continue;
            }
            let report = report?;
            if report.current_turn == turn {
                return Some(report);
            }
            self.turn = report.current_turn;
        }
        None
    }

    async fn send(&self, commands: &[Command], turn: u32, as_orders: bool) {
        let Player { gateway, token, game_id, .. } = self.player;
        let (count, asked_at) = (commands.len(), Instant::now());
        if as_orders {
            let answer = gateway.put_orders(token, game_id, commands).await;
            self.tell(PlayerRequest::Orders { turn, count }, outcome(answer), asked_at);
        } else {
            let answer = gateway.execute_commands(token, game_id, commands).await;
            self.tell(PlayerRequest::Commands { turn, count }, outcome(answer), asked_at);
        }
    }

    fn tell(&self, request: PlayerRequest, outcome: PlayerOutcome, asked_at: Instant) {
        (self.observe)(PlayerEvent {
            user_id: self.user_id.clone(),
            game_id: self.player.game_id.clone(),
            request,
            outcome,
            took: asked_at.elapsed(),
        });
    }
}

fn outcome(answer: Result<Bytes, GatewayError>) -> PlayerOutcome {
    match answer {
        Ok(_) => PlayerOutcome::Accepted,
        Err(GatewayError::Refused { status, code, message: _ }) => {
            PlayerOutcome::Refused { status, code }
        }
        Err(GatewayError::Unreachable(error)) => {
            PlayerOutcome::Unreachable { determinate: error.is_determinate() }
        }
        // Neither leaves the gateway.
        Err(GatewayError::Unauthenticated | GatewayError::Unwritable(_)) => {
            PlayerOutcome::Unreachable { determinate: true }
        }
    }
}
