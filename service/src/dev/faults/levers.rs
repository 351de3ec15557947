//! How each trouble is made and ended: by the levers that the reference neighbours have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use machine::{GameId, Runtime, Status};
use net::HttpClient;
use peers::engine::Plan as EnginePlan;
use peers::front::FrontPlan;
use peers::lobby::LobbyHandle;
use peers::rtm::RtmHandle;
use peers::rtm::launcher::ExitKind;
use serde_json::json;

use super::fuse::Fuse;
use super::trouble::{Trouble, engine_plan};
use crate::dev::games::{NEWER_VERSION, VERSION, image_of};
use crate::embedded::Embedded;
use crate::ports::Store as _;
use crate::unreliable::{UnreliableStore, UnreliableStreams};

/// How long an engine may take to be up.
const UP: Duration = Duration::from_secs(30);
/// After which an order to end that changed nothing is given again: it may have come in the moment
/// between an engine's start and the watch over it.
const HEED: Duration = Duration::from_secs(4);
/// How often it is given, and how often a patch is asked for.
const TRIES: usize = 12;
/// Between two tries of a patch, and two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Failing starts, more than there is time for.
const EVERY_START: u32 = 10_000;

/// The store and the streams, as Game Master and its neighbours have them: at the mercy of fuses.
pub(in crate::dev) struct Lossy {
    pub(in crate::dev) store: Arc<UnreliableStore>,
    pub(in crate::dev) streams: Arc<UnreliableStreams>,
    pub(super) of_store: Fuse,
    pub(super) of_streams: Fuse,
}

impl Lossy {
    pub(in crate::dev) fn over(embedded: &Arc<Embedded>) -> Self {
        let (of_store, of_streams) = (Fuse::default(), Fuse::default());
        let store = Arc::new(UnreliableStore::new(embedded.clone(), of_store.clone()));
        let streams = Arc::new(UnreliableStreams::new(embedded.clone(), of_streams.clone()));
        Self { store, streams, of_store, of_streams }
    }
}

/// Whatever can be told to misbehave.
pub(in crate::dev) struct Levers {
    pub(in crate::dev) client: HttpClient,
    pub(in crate::dev) gm: SocketAddr,
    pub(in crate::dev) rtm: RtmHandle,
    pub(in crate::dev) lobby: LobbyHandle,
    pub(in crate::dev) lossy: Lossy,
    /// The truth, which loses nothing.
    pub(in crate::dev) embedded: Arc<Embedded>,
}

impl Levers {
    /// Begins a trouble; `false` where there was nothing to strike. `seed` is what the losses of
    /// answers are drawn from.
    pub(super) async fn begin(&self, trouble: Trouble, game: &str, seed: u64) -> bool {
        match trouble {
            Trouble::Engine { of, how, .. } => self.tell_engine(game, &engine_plan(of, how)).await,
            Trouble::Ends { how, .. } => self.end_engine(game, how).await,
            Trouble::Restarts { times, .. } => {
                for _ in 0..times {
                    if !self.end_engine(game, ExitKind::Exited).await {
                        return false;
                    }
                }
                true
            }
            Trouble::StartsFail { .. } | Trouble::EndsUnseen { .. } => {
                let unseen = matches!(trouble, Trouble::EndsUnseen { .. });
                self.rtm.set_faults(|faults| {
                    faults.failing_starts = EVERY_START;
                    faults.is_mute = unseen;
                });
                self.end_for_now(game).await
            }
            Trouble::LobbyAway => {
                self.lobby.front().set(FrontPlan { is_unavailable: true, ..FrontPlan::default() });
                true
            }
            Trouble::LobbySlow { millis } => {
                let plan = FrontPlan { latency_ms: millis, ..FrontPlan::default() };
                self.lobby.front().set(plan);
                true
            }
            Trouble::RtmAway { .. } => {
                self.rtm.set_faults(|faults| faults.is_unavailable = true);
                self.is_refused_a_patch(game).await
            }
            Trouble::NoImage { .. } => {
                let Some(wanted) = self.other_version(game).await else { return false };
                self.rtm.set_faults(|faults| {
                    faults.missing_images.insert(image_of(wanted));
                });
                self.is_refused_a_patch(game).await
            }
            Trouble::Streams { percent } => {
                self.lossy.of_streams.blow(seed, percent);
                true
            }
            Trouble::Store { percent } => {
                self.lossy.of_store.blow(seed, percent);
                true
            }
        }
    }

    /// Ends it, and makes up for what an operator was refused meanwhile, which is told.
    pub(super) async fn end(&self, trouble: Trouble, game: &str) -> Option<String> {
        match trouble {
            Trouble::Engine { .. } => {
                // One that was started again meanwhile behaves anyway.
                self.tell_engine(game, &EnginePlan::default()).await;
            }
            Trouble::Ends { .. } | Trouble::Restarts { .. } => {}
            Trouble::StartsFail { .. } | Trouble::EndsUnseen { .. } => {
                self.rtm.set_faults(|faults| (faults.failing_starts, faults.is_mute) = (0, false));
                self.is_up(game, None).await;
            }
            Trouble::LobbyAway | Trouble::LobbySlow { .. } => {
                self.lobby.front().set(FrontPlan::default());
            }
            Trouble::RtmAway { .. } | Trouble::NoImage { .. } => {
                self.rtm.set_faults(|faults| {
                    faults.is_unavailable = false;
                    faults.missing_images.clear();
                });
                let wanted = self.other_version(game).await?;
                let done = self.patch(game, |status| status == StatusCode::OK).await;
                let done = done.is_some_and(|status| status == StatusCode::OK);
                return done.then(|| format!("the patch was refused, now it is {wanted}"));
            }
            Trouble::Streams { .. } => {
                self.lossy.of_streams.mend();
                self.lossy.streams.deliver_late().await;
            }
            Trouble::Store { .. } => {
                self.lossy.of_store.mend();
                self.lossy.store.deliver_late().await;
            }
        }
        None
    }

    /// A game's record, as it truly is.
    pub(super) async fn record(&self, game: &str) -> Option<Arc<Runtime>> {
        let game: GameId = game.parse().ok()?;
        self.embedded.load(&game).await.ok().flatten()
    }

    /// Whether a game goes on.
    pub(super) async fn is_playing(&self, game: &str) -> bool {
        let record = self.record(game).await;
        record.is_some_and(|rt| rt.status() != Status::Starting && !rt.status().is_final())
    }

    /// Has Game Master look where an engine stands, as an operator would.
    pub(super) async fn reconcile(&self, game: &str) -> Option<StatusCode> {
        self.operate(game, "reconcile", Bytes::new()).await
    }

    /// Whether Game Master answers.
    pub(super) async fn is_ready(&self) -> bool {
        let request = Request::get(format!("http://{}/readyz", self.gm)).body(Bytes::new());
        let Ok(request) = request else { return false };
        self.client.send(request).await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn tell_engine(&self, game: &str, plan: &EnginePlan) -> bool {
        let Some(engine) = self.rtm.engine(game).filter(|engine| engine.is_up) else {
            return false;
        };
        let Ok(body) = serde_json::to_vec(plan) else { return false };
        let uri = format!("{}/_misbehave", engine.endpoint);
        self.post(uri, body.into()).await.is_some_and(|status| status.is_success())
    }

    /// Ends an engine and waits until it is up again.
    async fn end_engine(&self, game: &str, how: ExitKind) -> bool {
        if !self.is_up(game, None).await {
            return false;
        }
        let pid = self.rtm.engine(game).and_then(|engine| engine.pid);
        for _ in 0..TRIES {
            self.rtm.end_engine(game, how);
            let changed = |engine: Option<&peers::rtm::Engine>| {
                engine.is_none_or(|engine| !engine.is_up || engine.pid != pid)
            };
            if self.rtm.wait_for_engine(game, HEED, changed).await {
                return self.is_up(game, pid).await;
            }
        }
        false
    }

    /// Ends an engine that will not be started again for now.
    async fn end_for_now(&self, game: &str) -> bool {
        if !self.is_up(game, None).await {
            return false;
        }
        for _ in 0..TRIES {
            self.rtm.end_engine(game, ExitKind::Exited);
            let down = |engine: Option<&peers::rtm::Engine>| engine.is_none_or(|e| !e.is_up);
            if self.rtm.wait_for_engine(game, HEED, down).await {
                return true;
            }
        }
        false
    }

    /// Waits until an engine is up, another than this one where one is named.
    async fn is_up(&self, game: &str, other_than: Option<u32>) -> bool {
        let up = |engine: Option<&peers::rtm::Engine>| {
            engine.is_some_and(|e| e.is_up && (other_than.is_none() || e.pid != other_than))
        };
        self.rtm.wait_for_engine(game, UP, up).await
    }

    async fn is_refused_a_patch(&self, game: &str) -> bool {
        let refused = |status: StatusCode| status == StatusCode::SERVICE_UNAVAILABLE;
        self.patch(game, refused).await.is_some_and(refused)
    }

    /// The version that a game can be patched to.
    async fn other_version(&self, game: &str) -> Option<&'static str> {
        let runtime = self.record(game).await?;
        let newer = runtime.engine.version.to_string() == VERSION;
        Some(if newer { NEWER_VERSION } else { VERSION })
    }

    /// Asks for the other version until the answer is as wanted, as far as there is patience: in the
    /// middle of a turn a patch is refused.
    async fn patch(&self, game: &str, wanted: impl Fn(StatusCode) -> bool) -> Option<StatusCode> {
        let version = self.other_version(game).await?;
        let body = Bytes::from(json!({ "version": version }).to_string());
        let mut answered = None;
        for _ in 0..TRIES {
            if !self.is_playing(game).await {
                break;
            }
            answered = self.operate(game, "patch", body.clone()).await;
            if answered.is_some_and(&wanted) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        answered
    }

    async fn operate(&self, game: &str, what: &str, body: Bytes) -> Option<StatusCode> {
        let uri = format!("http://{}/api/v1/internal/runtimes/{game}/{what}", self.gm);
        self.post(uri, body).await
    }

    async fn post(&self, uri: String, body: Bytes) -> Option<StatusCode> {
        let mut request = Request::builder().method(Method::POST).uri(uri);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let answer = self.client.send(request.body(body).ok()?).await.ok()?;
        Some(answer.status())
    }
}
