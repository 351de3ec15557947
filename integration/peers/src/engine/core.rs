//! The game behind a lock, saved before anybody hears of a change.

use std::{io, path::Path};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    game::{Command, Game, GameError, GameOptions, Outcome, StateResponse},
    routes::{CommandsBody, ContractCall, InitBody},
    store::Storage,
};
use crate::http::{Problem, Reply, json, no_content};

/// Version of the layout of the saved state.
const FORMAT: u32 = 1;

/// A turn that was generated, and by which of the turn requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedTurn {
    /// Its number.
    pub turn: u32,
    /// Counts every request for a turn, the refused ones too, since the game was made.
    pub request_number: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    format: u32,
    game: Option<Game>,
    /// As long as the game has turns, so [`super::game::MAX_TURN_LIMIT`] bounds it.
    log: Vec<GeneratedTurn>,
    turn_requests: u64,
}

/// The turns that an engine has generated, in their order, from the file it keeps its state in; none
/// where there is no file.
pub fn generated_turns(state_file: &Path) -> io::Result<Vec<GeneratedTurn>> {
    match Storage::File(state_file.to_owned()).load()? {
        Some(bytes) => Ok(serde_json::from_slice::<State>(&bytes)?.log),
        None => Ok(Vec::new()),
    }
}

pub(super) struct Core {
    options: GameOptions,
    honours_expected_turn: bool,
    storage: Storage,
    state: Mutex<State>,
}

impl Core {
    /// The game that was saved, or none yet.
    pub(super) fn load(
        options: GameOptions,
        honours_expected_turn: bool,
        storage: Storage,
    ) -> io::Result<Self> {
        let state = match storage.load()? {
            Some(bytes) => serde_json::from_slice::<State>(&bytes)?,
            None => State { format: FORMAT, game: None, log: Vec::new(), turn_requests: 0 },
        };
        if state.format != FORMAT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the saved state has format {}, not {FORMAT}", state.format),
            ));
        }
        Ok(Self { options, honours_expected_turn, storage, state: Mutex::new(state) })
    }

    pub(super) async fn log(&self) -> Vec<GeneratedTurn> {
        self.state.lock().await.log.clone()
    }

    /// Carries out one call of the contract. Replies about the state say a turn that is wrong by
    /// `lie`.
    pub(super) async fn perform(&self, call: ContractCall, lie: i32) -> Result<Reply, Problem> {
        let state_reply = |mut state: StateResponse| {
            state.turn = state.turn.saturating_add_signed(lie);
            json(StatusCode::OK, &state)
        };
        match call {
            ContractCall::Healthz => {
                Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
            }
            ContractCall::Status => {
                let state = self.state.lock().await;
                Ok(state_reply(initialised(&state.game)?.state()))
            }
            ContractCall::Report { player, turn } => {
                let state = self.state.lock().await;
                Ok(json(StatusCode::OK, &initialised(&state.game)?.report(&player, turn)?))
            }
            ContractCall::Init(body) => self.init(body).await.map(state_reply),
            ContractCall::Turn { expected_turn } => {
                self.generate_turn(expected_turn).await.map(state_reply)
            }
            ContractCall::Banish(body) => {
                self.change_game(|game| game.banish(&body.race_name)).await?;
                Ok(no_content())
            }
            ContractCall::Command(body) => {
                let commands = decode_commands(&body)?;
                let (turn, outcomes) = self
                    .change_game(|game| {
                        game.execute(&body.actor, &commands).map(|outcomes| (game.turn(), outcomes))
                    })
                    .await?;
                Ok(json(StatusCode::OK, &CommandsReply { turn, outcomes }))
            }
            ContractCall::Order(body) => {
                let commands = decode_commands(&body)?;
                let stored = commands.len();
                let turn = self
                    .change_game(|game| {
                        game.put_orders(&body.actor, commands).map(|()| game.turn())
                    })
                    .await?;
                Ok(json(StatusCode::OK, &OrdersReply { turn, stored }))
            }
        }
    }

    async fn init(&self, body: InitBody) -> Result<StateResponse, Problem> {
        let names: Vec<String> = body.races.into_iter().map(|race| race.race_name).collect();
        let mut state = self.state.lock().await;
        if state.game.is_some() {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "already_initialized",
                "the game is initialised already",
            ));
        }
        let game = Game::new(self.options, &names)?;
        let answer = game.state();
        self.replace(&mut state, |next| next.game = Some(game)).await?;
        Ok(answer)
    }

    async fn generate_turn(&self, expected_turn: u32) -> Result<StateResponse, Problem> {
        // INVARIANT: held from the look at the turn to the end of the save, so that of any number
        // of requests which expect the same turn one alone generates.
        let mut state = self.state.lock().await;
        state.turn_requests += 1;
        let mut game = initialised(&state.game)?.clone();
        // The guard goes first: the repeated request for the last turn must learn that it was
        // carried out, not that there are no more.
        if self.honours_expected_turn && expected_turn != game.turn() {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "turn_conflict",
                format!("the game is at turn {}, not at {expected_turn}", game.turn()),
            ));
        }
        game.generate_turn()?;
        let answer = game.state();
        self.replace(&mut state, |next| {
            let request_number = next.turn_requests;
            next.log.push(GeneratedTurn { turn: game.turn(), request_number });
            next.game = Some(game);
        })
        .await?;
        Ok(answer)
    }

    async fn change_game<T>(
        &self,
        change: impl FnOnce(&mut Game) -> Result<T, GameError>,
    ) -> Result<T, Problem> {
        let mut state = self.state.lock().await;
        let mut game = initialised(&state.game)?.clone();
        let answer = change(&mut game)?;
        self.replace(&mut state, |next| next.game = Some(game)).await?;
        Ok(answer)
    }

    /// INVARIANT: saved first, visible afterwards. Nobody is told of, or can see, a change that a
    /// restart would take back.
    async fn replace(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut State),
    ) -> Result<(), Problem> {
        let mut next = state.clone();
        change(&mut next);
        if self.storage.keeps() {
            let bytes = serde_json::to_vec(&next).map_err(io::Error::from);
            let saved = match bytes {
                Ok(bytes) => self.storage.save(bytes).await,
                Err(error) => Err(error),
            };
            saved.map_err(|error| {
                tracing::warn!(%error, "the state could not be saved");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "the state could not be saved; nothing was done",
                )
            })?;
        }
        *state = next;
        Ok(())
    }
}

#[derive(Serialize)]
struct CommandsReply {
    turn: u32,
    /// One for each command, in order.
    outcomes: Vec<Outcome>,
}

#[derive(Serialize)]
struct OrdersReply {
    /// The turn the orders were given in; they are carried out when the next one is generated.
    turn: u32,
    stored: usize,
}

fn initialised(game: &Option<Game>) -> Result<&Game, Problem> {
    game.as_ref().ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "not_initialized", "the game is not initialised yet")
    })
}

fn decode_commands(body: &CommandsBody) -> Result<Vec<Command>, GameError> {
    body.cmd.iter().enumerate().map(|(index, raw)| Command::decode(index, raw.get())).collect()
}

impl From<GameError> for Problem {
    fn from(error: GameError) -> Self {
        let (status, code) = match &error {
            GameError::InvalidRaces(_)
            | GameError::InvalidCommand { .. }
            | GameError::CommandCount => (StatusCode::BAD_REQUEST, "invalid_request"),
            GameError::UnknownRace(_) => (StatusCode::NOT_FOUND, "race_not_found"),
            GameError::ExtinctRace(_) => (StatusCode::CONFLICT, "race_extinct"),
            GameError::UnknownTurn { .. } => (StatusCode::NOT_FOUND, "report_not_found"),
            GameError::Finished => (StatusCode::CONFLICT, "game_finished"),
        };
        Self::new(status, code, error.to_string())
    }
}
