//! What Lobby's parts share, and the operations they are made of. Every change is committed before
//! anybody is told of it.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::json;

use super::{
    Event,
    flow::{self, Action, FlowTiming, Outcome, Settled},
    game::{
        Game, LobbyState, MAX_GAMES, MAX_MEMBERS_PER_GAME, Member, MemberAction, MemberStatus,
        PAUSED_INTENT, Phase,
    },
    gm::{GameMaster, ResolveError},
};
use crate::{
    bus::{Bus, append_json, streams},
    call::Caller,
    env::{Env, Observer},
    front::Front,
    http::Problem,
    messages::{NotificationIntent, StartJob},
    state_file::{StateError, StateFile},
};

pub(super) struct Core {
    pub(super) state: StateFile<LobbyState>,
    pub(super) gm: GameMaster,
    pub(super) rtm: Option<Caller>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) env: Env,
    pub(super) observer: Observer<Event>,
    pub(super) flow: FlowTiming,
    pub(super) invalidation_budget: Duration,
    pub(super) front: Front,
}

impl Core {
    /// One game, as it is now.
    pub(super) async fn game(&self, game_id: &str) -> Result<Game, Problem> {
        let found = self.state.read(|state| state.games.get(game_id).cloned()).await;
        found.ok_or_else(game_not_found)
    }

    /// Adds a game in draft.
    pub(super) async fn create(&self, mut game: Game) -> Result<Game, Problem> {
        game.created_at_ms = self.env.now_ms();
        let create = |state: &mut LobbyState| {
            if state.games.contains_key(&game.game_id) {
                return Err(conflict("a game of that id exists"));
            }
            if state.games.len() >= MAX_GAMES {
                return Err(conflict("no more games can be kept"));
            }
            state.games.insert(game.game_id.clone(), game.clone());
            Ok(game)
        };
        self.commit(create).await
    }

    /// Decides the start of a game, once Game Master has named the image.
    pub(super) async fn start(&self, game_id: &str) -> Result<Game, Problem> {
        let game = self.game(game_id).await?;
        startable(&game)?;
        let image_ref = match self.gm.image_ref(&game.engine_version).await {
            Ok(image_ref) => image_ref,
            Err(ResolveError::Unavailable(message)) => return Err(unavailable(message)),
            Err(ResolveError::Refused { code, message }) => {
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message));
            }
        };
        let job = StartJob {
            job_id: self.env.new_id(),
            game_id: game_id.to_owned(),
            image_ref,
            requested_at_ms: self.env.now_ms(),
        };
        self.change(game_id, |game| {
            startable(game)?;
            game.view = Default::default();
            game.phase = Phase::Starting { job };
            Ok(())
        })
        .await
    }

    /// Looks at once whether Game Master is back, for a paused game.
    pub(super) async fn resume(&self, game_id: &str) -> Result<Game, Problem> {
        let game = self.game(game_id).await?;
        let Phase::Paused { container, .. } = &game.phase else {
            return match game.phase.name() {
                "registering" | "running" => Ok(game),
                other => Err(conflict(format!("the game is {other}, not paused"))),
            };
        };
        let outcome = self.gm.check_back(game_id, container).await;
        let refusal = match &outcome {
            Outcome::Unreachable { message, .. } | Outcome::Trouble { message, .. } => {
                Some(unavailable(message.clone()))
            }
            Outcome::NotYet(message) => Some(conflict(message.clone())),
            Outcome::Refused { code, message } => {
                Some(Problem::new(StatusCode::CONFLICT, code.clone(), message.clone()))
            }
            Outcome::Done | Outcome::Registered | Outcome::Unregistered | Outcome::KeySpent => None,
        };
        let action = Action::CheckBack(container.clone());
        self.settle(game_id, &action, outcome).await.map_err(unwritable)?;
        match refusal {
            Some(problem) => Err(problem),
            None => self.game(game_id).await,
        }
    }

    /// Somebody applies for a place.
    pub(super) async fn enrol(&self, game_id: &str, member: Member) -> Result<Game, Problem> {
        self.change(game_id, |game| {
            if game.members.iter().any(|m| m.user_id == member.user_id) {
                return Err(conflict("the user is a member, or was"));
            }
            if game.members.iter().any(|m| m.race_name == member.race_name) {
                return Err(conflict("the race is taken"));
            }
            if game.members.len() >= MAX_MEMBERS_PER_GAME {
                return Err(conflict("the game is full"));
            }
            game.members.push(member);
            Ok(())
        })
        .await
    }

    /// Changes a member's standing, then tells Game Master.
    ///
    /// The hook runs for a repeated action too: the first one may have died before it got there.
    pub(super) async fn act_on_member(
        &self,
        game_id: &str,
        user_id: &str,
        action: MemberAction,
    ) -> Result<Game, Problem> {
        let mut changed = None;
        let game = self
            .change(game_id, |game| {
                let member = game.member_mut(user_id).ok_or_else(member_not_found)?;
                let status = action.applied_to(member.status).ok_or_else(|| {
                    conflict(format!("not for a member who is {:?}", member.status))
                })?;
                changed = (status != member.status).then_some(status);
                member.status = status;
                Ok(())
            })
            .await?;
        if let Some(status) = changed {
            self.tell_member(game_id, user_id, status);
        }
        self.invalidate(&[game_id.to_owned()]).await;
        Ok(game)
    }

    /// Takes a user out of every game.
    pub(super) async fn delete_user(&self, user_id: &str) -> Result<(), Problem> {
        let (games, removed) = self
            .commit(|state| {
                let mut games = Vec::new();
                let mut removed = Vec::new();
                for game in state.games.values_mut() {
                    let game_id = game.game_id.clone();
                    let Some(member) = game.member_mut(user_id) else { continue };
                    if member.status != MemberStatus::Removed {
                        member.status = MemberStatus::Removed;
                        removed.push(game_id.clone());
                    }
                    games.push(game_id);
                }
                Ok((games, removed))
            })
            .await?;
        for game_id in &removed {
            self.tell_member(game_id, user_id, MemberStatus::Removed);
        }
        self.invalidate(&games).await;
        Ok(())
    }

    /// Carries out a step of the flow and writes down how it went.
    pub(super) async fn perform(&self, game_id: &str, action: &Action) -> Settled {
        let Ok(game) = self.game(game_id).await else { return Settled::Late };
        let outcome = match action {
            Action::AppendJob(job) => self.append(streams::START_JOBS, job).await,
            Action::TellPause(pause) => {
                let intent = NotificationIntent {
                    notification_type: PAUSED_INTENT.to_owned(),
                    producer: "lobby".to_owned(),
                    audience_kind: "admin_email".to_owned(),
                    recipient_user_ids: Vec::new(),
                    idempotency_key: pause.idempotency_key.clone(),
                    occurred_at_ms: pause.occurred_at_ms,
                    payload: json!({ "game_id": game_id }),
                };
                self.append(streams::NOTIFICATION_INTENTS, &intent).await
            }
            Action::Register { container, failures: _, key_number } => {
                self.gm.register(&game, container, *key_number).await
            }
            Action::CheckBack(container) => self.gm.check_back(game_id, container).await,
            Action::StopOrphan(_) => self.stop_engine(game_id).await,
        };
        match self.settle(game_id, action, outcome).await {
            Ok(settled) => settled,
            Err(error) => {
                tracing::warn!(game_id, %error, "a step is done but not noted: it comes again");
                Settled::Again
            }
        }
    }

    async fn settle(
        &self,
        game_id: &str,
        action: &Action,
        outcome: Outcome,
    ) -> Result<Settled, StateError> {
        if let Outcome::NotYet(why) = &outcome {
            tracing::debug!(game_id, why, "not yet");
        }
        let now_ms = self.env.now_ms();
        let settle = |state: &mut LobbyState| {
            let game = state.games.get_mut(game_id)?;
            let before = game.phase.clone();
            let tries = self.flow.register_tries;
            let settled = flow::settle(game, action, outcome, tries, self.rtm.is_some(), now_ms);
            Some((settled, Event::between(&before, game)))
        };
        let Some((settled, event)) = self.state.update(settle).await? else {
            return Ok(Settled::Late);
        };
        if let Some(event) = event {
            (self.observer)(&event);
        }
        Ok(settled)
    }

    async fn append<M: serde::Serialize + Sync>(&self, stream: &str, message: &M) -> Outcome {
        match append_json(&*self.bus, stream, message).await {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::NotYet(error.to_string()),
        }
    }

    async fn stop_engine(&self, game_id: &str) -> Outcome {
        let Some(rtm) = &self.rtm else { return Outcome::Done };
        let path = format!("/api/v1/internal/runtimes/{game_id}/stop");
        match rtm.post(&path, &json!({ "reason": "registration_failed" }), &[]).await {
            Ok(answer) if answer.status.is_success() => Outcome::Done,
            // Not there is as good as stopped.
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Outcome::Done,
            Ok(answer) => Outcome::NotYet(answer.refusal().1),
            Err(error) => Outcome::NotYet(error.message),
        }
    }

    /// The invalidation hook. It fails open: the change stands whether or not Game Master hears of
    /// it, because Game Master's own time-to-live catches what is missed.
    async fn invalidate(&self, games: &[String]) {
        let all = async {
            for game_id in games {
                if let Err(message) = self.gm.invalidate(game_id).await {
                    tracing::warn!(game_id, message, "invalidation not delivered");
                    let game_id = game_id.clone();
                    (self.observer)(&Event::InvalidationFailed { game_id, message });
                }
            }
        };
        if tokio::time::timeout(self.invalidation_budget, all).await.is_err() {
            let message = "no answer in time".to_owned();
            let game_id = games.first().cloned().unwrap_or_default();
            (self.observer)(&Event::InvalidationFailed { game_id, message });
        }
    }

    fn tell_member(&self, game_id: &str, user_id: &str, status: MemberStatus) {
        let (game_id, user_id) = (game_id.to_owned(), user_id.to_owned());
        (self.observer)(&Event::MemberChanged { game_id, user_id, status });
    }

    async fn change(
        &self,
        game_id: &str,
        change: impl FnOnce(&mut Game) -> Result<(), Problem>,
    ) -> Result<Game, Problem> {
        let change = |state: &mut LobbyState| {
            let game = state.games.get_mut(game_id).ok_or_else(game_not_found)?;
            let before = game.phase.clone();
            change(game)?;
            Ok((game.clone(), Event::between(&before, game)))
        };
        let (game, event) = self.commit(change).await?;
        if let Some(event) = event {
            (self.observer)(&event);
        }
        Ok(game)
    }

    async fn commit<R>(
        &self,
        change: impl FnOnce(&mut LobbyState) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        self.state.update(change).await.map_err(unwritable)?
    }
}

fn startable(game: &Game) -> Result<(), Problem> {
    match &game.phase {
        Phase::Draft | Phase::StartFailed { orphan: None, .. } => {}
        Phase::StartFailed { orphan: Some(_), .. } => {
            return Err(conflict("the engine of the failed start is still being stopped"));
        }
        phase @ (Phase::Starting { .. }
        | Phase::AwaitingContainer { .. }
        | Phase::Registering { .. }
        | Phase::Running { .. }
        | Phase::Paused { .. }
        | Phase::Finished) => {
            return Err(conflict(format!("the game is {}", phase.name())));
        }
    }
    if game.active_members().next().is_none() {
        return Err(conflict("nobody plays"));
    }
    Ok(())
}

fn unwritable(error: StateError) -> Problem {
    tracing::error!(%error, "state cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "state cannot be written")
}

fn unavailable(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message)
}

fn conflict(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, "conflict", message)
}

fn game_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "game_not_found", "no such game")
}

fn member_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "member_not_found", "no such member")
}
