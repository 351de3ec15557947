//! Engines and Runtime Manager, by script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use machine::{
    BanishCall, ContainerId, EngineEndpoint, EngineFailure, EngineFault, EnginePlayer, EngineState,
    GameId, ImageRef, RaceName, RtmFailure, StopReason,
};
use service::ports::{EngineApi, EngineReply, PlayerCall, PlayerCallError, RtmApi};

/// What becomes of the next call that changes an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Refused or failed before anything was done.
    Fails(EngineFault),
    /// Carried out; the answer does not arrive.
    ReplyLost,
    /// Whoever asks falls over a bug.
    Panics,
    /// Carried out, but the answer names another turn.
    Says(u32),
    /// Nothing is done, and no answer ever comes: the process that asked has died.
    NeverArrives,
    /// Carried out, and no answer ever comes: the process that asked has died.
    NeverAnswers,
}

/// One engine.
#[derive(Default)]
pub(crate) struct Engine {
    /// The last turn generated.
    pub(crate) turn: u32,
    /// Every turn generated, in order.
    pub(crate) generated: Vec<u32>,
    /// The calls that arrived, by name.
    pub(crate) calls: Vec<&'static str>,
    /// Who was taken out.
    pub(crate) banished: Vec<String>,
    races: Vec<String>,
    finishes_at: Option<u32>,
}

struct Script {
    engines: BTreeMap<String, Engine>,
    next: VecDeque<Next>,
    guard: bool,
    down: bool,
    takes: Duration,
}

/// All engines, told apart by the host in their address.
pub(crate) struct Engines {
    script: Mutex<Script>,
}

impl Engines {
    pub(crate) fn new(guard: bool) -> Self {
        let script = Script {
            engines: BTreeMap::new(),
            next: VecDeque::new(),
            guard,
            down: false,
            takes: Duration::from_millis(300),
        };
        Self { script: Mutex::new(script) }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.script.lock().expect("not poisoned"))
    }

    /// Scripts the calls to come that change an engine; the ones after them are carried out.
    pub(crate) fn script(&self, next: impl IntoIterator<Item = Next>) {
        self.with(|s| s.next.extend(next));
    }

    /// Whether no engine answers at all.
    pub(crate) fn set_down(&self, down: bool) {
        self.with(|s| s.down = down);
    }

    /// How long a call takes.
    pub(crate) fn set_takes(&self, takes: Duration) {
        self.with(|s| s.takes = takes);
    }

    /// The turn after which the game of every engine is over.
    pub(crate) fn finish_at(&self, game: &GameId, turn: u32) {
        self.with(|s| s.engines.entry(game.to_string()).or_default().finishes_at = Some(turn));
    }

    /// Looks at the engine of a game.
    pub(crate) fn see<T>(&self, game: &GameId, look: impl FnOnce(&Engine) -> T) -> T {
        self.with(|s| look(s.engines.entry(game.to_string()).or_default()))
    }

    /// Changes the engine of a game behind Game Master's back.
    pub(crate) fn change(&self, game: &GameId, change: impl FnOnce(&mut Engine)) {
        self.with(|s| change(s.engines.entry(game.to_string()).or_default()));
    }

    /// A call: the way there, the doing (not for a call that is lost on its way), the way back.
    async fn call(
        &self,
        endpoint: &EngineEndpoint,
        name: &'static str,
        scripted: bool,
        carry_out: impl FnOnce(&mut Engine, bool) -> Result<(), EngineFault>,
    ) -> Result<EngineState, EngineFailure> {
        let way = self.with(|s| s.takes) / 2;
        tokio::time::sleep(way).await;
        let next = self.with(|s| if scripted { s.next.pop_front() } else { None });
        assert_ne!(next, Some(Next::Panics), "by script");
        if next == Some(Next::NeverArrives) {
            return std::future::pending().await;
        }
        let answer = self.with(|s| {
            if s.down {
                return Err(EngineFault::Unreachable);
            }
            if let Some(Next::Fails(fault)) = next {
                return Err(fault);
            }
            let guard = s.guard;
            let engine = s.engines.entry(endpoint.host().to_owned()).or_default();
            engine.calls.push(name);
            carry_out(engine, guard)?;
            Ok(state(engine))
        });
        tokio::time::sleep(way).await;
        let answer = match (next, answer) {
            (Some(Next::NeverAnswers), _) => return std::future::pending().await,
            (Some(Next::ReplyLost), _) => Err(EngineFault::Unreachable),
            (Some(Next::Says(turn)), Ok(state)) => Ok(EngineState { turn, ..state }),
            (_, answer) => answer,
        };
        answer.map_err(|kind| EngineFailure { kind, message: "by script".into() })
    }
}

fn state(engine: &Engine) -> EngineState {
    let player = |(n, race): (usize, &String)| EnginePlayer {
        id: format!("p{n}").parse().expect("a player id"),
        race_name: race.clone(),
        planets: engine.turn + 1,
        population: 1_000,
    };
    EngineState {
        turn: engine.turn,
        finished: engine.finishes_at.is_some_and(|turn| turn <= engine.turn),
        players: engine.races.iter().enumerate().map(player).collect(),
    }
}

#[async_trait]
impl EngineApi for Engines {
    async fn init(
        &self,
        engine: &EngineEndpoint,
        races: &[RaceName],
    ) -> Result<EngineState, EngineFailure> {
        let races = races.iter().map(ToString::to_string).collect();
        self.call(engine, "init", true, |engine, _| {
            if !engine.races.is_empty() {
                return Err(EngineFault::AlreadyInitialised);
            }
            engine.races = races;
            Ok(())
        })
        .await
    }

    async fn turn(
        &self,
        engine: &EngineEndpoint,
        expected_turn: u32,
    ) -> Result<EngineState, EngineFailure> {
        self.call(engine, "turn", true, |engine, guard| {
            if guard && engine.turn != expected_turn {
                return Err(EngineFault::TurnConflict);
            }
            engine.turn += 1;
            engine.generated.push(engine.turn);
            Ok(())
        })
        .await
    }

    async fn status(&self, engine: &EngineEndpoint) -> Result<EngineState, EngineFailure> {
        self.call(engine, "status", false, |_, _| Ok(())).await
    }

    async fn banish(&self, call: &BanishCall) -> Result<(), EngineFailure> {
        let race = call.race.to_string();
        self.call(&call.endpoint, "banish", true, |engine, _| {
            if !engine.banished.contains(&race) {
                engine.banished.push(race);
            }
            Ok(())
        })
        .await
        .map(drop)
    }

    async fn player(
        &self,
        engine: &EngineEndpoint,
        _: PlayerCall,
    ) -> Result<EngineReply, PlayerCallError> {
        self.call(engine, "player", false, |_, _| Ok(())).await.map_err(PlayerCallError::Failed)?;
        Ok(EngineReply("{}".into()))
    }
}

/// Runtime Manager, which does what it is asked after a moment.
#[derive(Default)]
pub(crate) struct Rtm {
    refuses: Mutex<bool>,
    absent: Mutex<bool>,
    calls: Mutex<Vec<String>>,
}

impl Rtm {
    pub(crate) fn set_refuses(&self, refuses: bool) {
        *self.refuses.lock().expect("not poisoned") = refuses;
    }

    /// Whether nobody answers.
    pub(crate) fn set_absent(&self, absent: bool) {
        *self.absent.lock().expect("not poisoned") = absent;
    }

    /// What it was asked for, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("not poisoned").clone()
    }

    fn note(&self, call: String) {
        self.calls.lock().expect("not poisoned").push(call);
    }

    async fn answer<T>(&self, good: T) -> Result<T, RtmFailure> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if *self.absent.lock().expect("not poisoned") {
            return Err(RtmFailure { refused: false, message: "nobody there".into() });
        }
        if *self.refuses.lock().expect("not poisoned") {
            return Err(RtmFailure { refused: true, message: "by script".into() });
        }
        Ok(good)
    }
}

#[async_trait]
impl RtmApi for Rtm {
    async fn stop(&self, game: &GameId, reason: &StopReason) -> Result<(), RtmFailure> {
        self.note(format!("stop {game} {reason}"));
        self.answer(()).await
    }

    async fn patch(&self, game: &GameId, image_ref: &ImageRef) -> Result<ContainerId, RtmFailure> {
        self.note(format!("patch {game} {image_ref}"));
        self.answer("container-2".parse().expect("a container id")).await
    }
}
