//! What people do: administrators, and whoever starts games in Lobby.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use machine::Timestamp;
use net::HttpClient;
use serde::Deserialize;
use service::ports::VersionStatus;
use tokio::time::sleep;

use crate::board::lock;
use crate::books::Books;
use crate::oracle::{Oracle, While};
use crate::pace::{Pace, whole_ms};
use crate::plan::{Action, Deed, GamePlan, Plan};
use crate::world::{LOBBY, PORT, TOLD_BY_LOBBY, gm_host};

/// The versions that games are played on; the later ones of a line are for patches.
pub const VERSIONS: [&str; 4] = ["1.0.0", "1.0.1", "2.0.0", "2.0.1"];

/// A version that is registered under the key of another request, which must be refused.
const NEVER_MEANT: &str = "9.0.0";

/// The body of a stop.
const STOP: &str = r#"{"reason":"told to"}"#;

/// What Lobby says of a game whose last member was barred before it ran.
const NOBODY: &[u8] = b"nobody plays";

/// What people do, and what came of it.
pub struct Deeds {
    pub(crate) plan: Plan,
    pub(crate) pace: Pace,
    pub(crate) oracle: Arc<Oracle>,
    books: Books,
    /// How old a record may be that is shown in place of one that cannot be read.
    board_ms: i64,
    /// How often each deed was answered how.
    counted: Mutex<BTreeMap<String, u64>>,
    /// Games somebody wanted stopped who was not told whether they are: their engines may be gone.
    stops_in_doubt: Mutex<BTreeSet<String>>,
    /// Versions that were registered, and whether they were deprecated, as acknowledged.
    versions: Mutex<BTreeMap<String, bool>>,
}

/// What is looked at in a record that was answered.
#[derive(Deserialize)]
struct Shown {
    game_id: String,
    revision: u64,
    runtime_status: String,
    current_turn: u32,
}

/// A page of a list of them.
#[derive(Deserialize)]
struct Listed {
    items: Vec<Shown>,
}

/// The answer to one request.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// A request of an administrator.
struct Wanted {
    method: Method,
    path: String,
    body: String,
    game: Option<String>,
}

impl Deeds {
    pub(crate) fn new(plan: Plan, oracle: Arc<Oracle>, books: Books, board_ms: i64) -> Arc<Self> {
        let pace = Pace::of(plan.profile);
        let (counted, versions) = (Mutex::default(), Mutex::default());
        let stops_in_doubt = Mutex::default();
        Arc::new(Self { plan, pace, oracle, books, board_ms, counted, stops_in_doubt, versions })
    }

    /// How often each deed was answered how.
    pub fn counted(&self) -> BTreeMap<String, u64> {
        lock(&self.counted).clone()
    }

    pub(crate) fn count(&self, what: &str, answer: &str) {
        *lock(&self.counted).entry(format!("{what} {answer}")).or_default() += 1;
    }

    pub(crate) fn game(&self, game: usize) -> Option<&GamePlan> {
        self.plan.games.get(game)
    }

    /// What was acknowledged about versions must be there at the end.
    pub async fn check_versions(&self) {
        let acknowledged = lock(&self.versions).clone();
        for (version, is_deprecated) in acknowledged {
            let status = self.books.version(&version).await;
            let holds = status.is_some_and(|s| !is_deprecated || s == VersionStatus::Deprecated);
            if !holds {
                let how = format!("version {version} is not as acknowledged");
                self.oracle.violated("acknowledged_changes_stay", None, &how);
            }
        }
    }

    /// Operations that were opened before an instant must have been closed.
    pub async fn open_operations(&self, before: Timestamp, open: &mut Vec<String>) {
        open.extend(self.books.open_operations(before).await.iter().map(|row| {
            let (game, name) = (row.game_id.as_str(), row.kind.as_str());
            format!("{game} has {name} open since {}", row.started_at)
        }));
    }

    /// How long a player may find a game as it was: for as long as boards believe, after the longest
    /// way of an answer of the store.
    pub(crate) fn old_ms(&self) -> i64 {
        self.board_ms + whole_ms(self.pace.connect + self.pace.answer)
    }

    fn wanted(&self, deed: &Deed) -> Option<Wanted> {
        let runtime = |game: usize, verb: &str, body: &str| {
            let id = self.game(game)?.id.clone();
            let path = format!("runtimes/{id}/{verb}");
            Some(Wanted { method: Method::POST, path, body: body.to_owned(), game: Some(id) })
        };
        let version = |method, path: String, body: String| {
            Some(Wanted { method, path: format!("engine-versions{path}"), body, game: None })
        };
        match deed {
            Deed::Force { game } => runtime(*game, "force-next-turn", ""),
            Deed::Stop { game } => runtime(*game, "stop", STOP),
            Deed::Patch { game, version } => {
                runtime(*game, "patch", &format!(r#"{{"version":"{version}"}}"#))
            }
            Deed::Reconcile { game } => runtime(*game, "reconcile", ""),
            Deed::Banish { game, player } => {
                let id = self.game(*game)?.id.clone();
                let path = format!("games/{id}/races/{}/banish", race(*player));
                Some(Wanted { method: Method::POST, path, body: String::new(), game: Some(id) })
            }
            Deed::CreateVersion { version: number } => {
                version(Method::POST, String::new(), version_body(number))
            }
            Deed::UpdateVersion { version: number } => {
                let body = format!(r#"{{"image_ref":"galaxy/engine:{number}-rebuilt"}}"#);
                version(Method::PATCH, format!("/{number}"), body)
            }
            Deed::DeprecateVersion { version: number } => {
                version(Method::POST, format!("/{number}/deprecate"), String::new())
            }
            Deed::Get { game } => {
                let id = self.game(*game)?.id.clone();
                let path = format!("runtimes/{id}");
                Some(Wanted { method: Method::GET, path, body: String::new(), game: Some(id) })
            }
            Deed::List => {
                let path = "runtimes?limit=200".to_owned();
                Some(Wanted { method: Method::GET, path, body: String::new(), game: None })
            }
            // Lobby's.
            Deed::Block { .. } => None,
        }
    }

    /// One action of the plan, with its repeats.
    pub(crate) async fn perform(&self, client: &HttpClient, number: usize, action: &Action) {
        if let Deed::Block { game, player } = &action.what {
            return self.block(client, *game, *player).await;
        }
        let Some(wanted) = self.wanted(&action.what) else { return };
        let key = format!("action-{number}");
        let patience = Duration::from_millis(action.patience_ms);
        let mut first: Option<Answer> = None;
        // A repeat may be given the answer to the first request of its name.
        let asked_ms = self.oracle.chronicle.now_ms();
        for _ in 0..=action.repeats {
            let url =
                format!("http://{}:{PORT}/api/v1/internal/{}", gm_host(action.gm), wanted.path);
            let is_look = wanted.method == Method::GET;
            let asked_ms = if is_look { self.oracle.chronicle.now_ms() } else { asked_ms };
            let answer = send(client, &wanted, &url, "admin", &key, patience).await;
            let answered_ms = self.oracle.chronicle.now_ms();
            let shown = answer.as_ref().map_or("no answer", |a| a.status.as_str()).to_owned();
            self.count(action.what.name(), &shown);
            let told = format!("admin: {} {} {shown}", action.what.name(), wanted.path);
            self.oracle.chronicle.note(wanted.game.as_deref(), &told);
            if let (Deed::Stop { .. }, Some(game)) = (&action.what, &wanted.game) {
                self.stop_asked(game, answer.as_ref());
            }
            if let Some(answer) = &answer {
                self.judge(&action.what, answer, While { asked_ms, answered_ms });
            }
            // An answer that says that nothing can be said now is none.
            if let Some(answer) = answer.filter(|answer| !answer.status.is_server_error()) {
                let keeps_key = match &wanted.game {
                    Some(game) => self.books.has_operation_of(game, &key).await,
                    None => wanted.method != Method::GET,
                };
                match &first {
                    None if answer.status.is_success() && keeps_key => first = Some(answer),
                    // What is refused keeps no key.
                    None => {}
                    Some(first) if first.same(&answer) || self.plan.clocks_outlive_keys() => {}
                    Some(first) => {
                        let how = format!(
                            "{} under {key}: {} {:?}, then {} {:?}",
                            action.what.name(),
                            first.status,
                            first.body,
                            answer.status,
                            answer.body,
                        );
                        let game = wanted.game.as_deref();
                        self.oracle.violated("a_repeat_gets_the_first_answer", game, &how);
                    }
                }
            }
            sleep(self.pace.latency * 20).await;
        }
        if action.reuses_key && first.is_some() && !self.plan.clocks_outlive_keys() {
            self.reuse(client, action, &wanted, &key).await;
        }
    }

    /// The key of a request that was answered comes again with another request.
    async fn reuse(&self, client: &HttpClient, action: &Action, wanted: &Wanted, key: &str) {
        let other = match (&action.what, &wanted.game) {
            (Deed::Force { game }, _) => self.wanted(&Deed::Reconcile { game: *game }),
            (what, Some(_)) => what.game().and_then(|game| self.wanted(&Deed::Force { game })),
            (_, None) => self.wanted(&Deed::CreateVersion { version: NEVER_MEANT.to_owned() }),
        };
        let Some(other) = other else { return };
        let url = format!("http://{}:{PORT}/api/v1/internal/{}", gm_host(action.gm), other.path);
        let answer = send(client, &other, &url, "admin", key, self.pace.call * 3).await;
        let shown = answer.as_ref().map_or("no answer", |a| a.status.as_str());
        self.count("reuse of a key", shown);
        let told = format!("admin: {} under the key of {}: {shown}", other.path, wanted.path);
        self.oracle.chronicle.note(wanted.game.as_deref(), &told);
        // A refusal for another reason does not tell whether it was compared.
        if answer.as_ref().is_some_and(|a| a.status == StatusCode::CONFLICT) {
            self.oracle.key_was_reused();
        }
        if answer.is_some_and(|answer| answer.status.is_success()) {
            let how = format!("{key} was {}, and is {} now", wanted.path, other.path);
            self.oracle.violated("a_key_is_for_one_request", wanted.game.as_deref(), &how);
        }
    }

    /// What was acknowledged must be durable, and what was shown must have been so.
    fn judge(&self, deed: &Deed, answer: &Answer, during: While) {
        if !answer.status.is_success() {
            if let (StatusCode::NOT_FOUND, Deed::Get { game }) = (answer.status, deed)
                && let Some(game) = self.game(*game)
            {
                self.oracle.answered_absent(&game.id, during);
            }
            return;
        }
        if let Ok(shown) = serde_json::from_slice::<Shown>(&answer.body) {
            // Where the record cannot be read again after a change, the board's is shown.
            let is_look = matches!(deed, Deed::Get { .. });
            let old_ms = if is_look { 0 } else { self.board_ms };
            let during = While { asked_ms: during.asked_ms.saturating_sub(old_ms), ..during };
            self.shown(&shown, during);
            let Shown { game_id, runtime_status, .. } = shown;
            if matches!(deed, Deed::Stop { .. }) && runtime_status != "stopped" {
                let how = format!("a stop is answered with {runtime_status}");
                self.oracle.violated("acknowledged_changes_stay", Some(&game_id), &how);
            }
        }
        match deed {
            Deed::List => match serde_json::from_slice::<Listed>(&answer.body) {
                Ok(list) => {
                    list.items.iter().for_each(|shown| self.shown(shown, during));
                    let is_listed = |game: &str| list.items.iter().any(|it| it.game_id == game);
                    let missing = self.plan.games.iter().filter(|game| !is_listed(&game.id));
                    missing.for_each(|game| self.oracle.answered_absent(&game.id, during));
                }
                Err(error) => {
                    let how = format!("a list cannot be read: {error}");
                    self.oracle.violated("answers_are_of_their_time", None, &how);
                }
            },
            Deed::CreateVersion { version } => {
                lock(&self.versions).entry(version.clone()).or_insert(false);
            }
            Deed::DeprecateVersion { version } => {
                lock(&self.versions).insert(version.clone(), true);
            }
            Deed::Force { .. }
            | Deed::Stop { .. }
            | Deed::Patch { .. }
            | Deed::Reconcile { .. }
            | Deed::Banish { .. }
            | Deed::Block { .. }
            | Deed::UpdateVersion { .. }
            | Deed::Get { .. } => {}
        }
    }

    fn shown(&self, shown: &Shown, during: While) {
        let Shown { game_id, revision, runtime_status, current_turn } = shown;
        self.oracle.answered(game_id, (*revision, runtime_status, *current_turn), during);
    }

    async fn block(&self, client: &HttpClient, game: usize, player: usize) {
        let Some(game) = self.game(game) else { return };
        let path = format!("games/{}/members/{}/block", game.id, user(player));
        let untold = self.oracle.untold(&game.id);
        let status = self.ask_lobby(client, Method::POST, &path, String::new()).await;
        if status.as_ref().is_some_and(|answer| answer.status.is_success()) {
            let told = (self.oracle.untold(&game.id) == untold).then_some(TOLD_BY_LOBBY);
            self.oracle.barred(&game.id, &user(player), told);
        }
        let status = status.as_ref().map_or("no answer", |answer| answer.status.as_str());
        self.count("block", status);
        self.oracle.chronicle.note(Some(&game.id), &format!("lobby: block {status}"));
    }

    async fn ask_lobby(
        &self,
        client: &HttpClient,
        method: Method,
        path: &str,
        body: String,
    ) -> Option<Answer> {
        let wanted = Wanted { method, path: String::new(), body, game: None };
        let url = format!("http://{LOBBY}:{PORT}/api/v1/{path}");
        send(client, &wanted, &url, "admin", "-", self.pace.call * 3).await
    }

    /// Registers the versions that games are played on; insists.
    pub(crate) async fn prepare(&self, client: &HttpClient) {
        for version in VERSIONS {
            let wanted = self.wanted(&Deed::CreateVersion { version: version.to_owned() });
            let Some(wanted) = wanted else { continue };
            loop {
                let url = format!("http://{}:{PORT}/api/v1/internal/engine-versions", gm_host(0));
                let key = format!("version-{version}");
                let answer = send(client, &wanted, &url, "admin", &key, self.pace.call * 3).await;
                let is_there = |status| {
                    matches!(status, StatusCode::CREATED | StatusCode::OK | StatusCode::CONFLICT)
                };
                if answer.is_some_and(|answer| is_there(answer.status)) {
                    break;
                }
                sleep(self.pace.latency * 20).await;
            }
            lock(&self.versions).entry(version.to_owned()).or_insert(false);
        }
    }

    /// A game is started in Lobby; insists until it runs there, or did.
    pub(crate) async fn start_game(&self, client: &HttpClient, game: &GamePlan) {
        let members: Vec<String> = (0..game.players)
            .map(|p| format!(r#"{{"user_id":"{}","race_name":"{}"}}"#, user(p), race(p)))
            .collect();
        let create = format!(
            r#"{{"game_id":"{}","engine_version":"{}","turn_schedule":"{}","members":[{}]}}"#,
            game.id,
            game.version,
            game.schedule,
            members.join(",")
        );
        #[derive(Deserialize)]
        struct Summary {
            status: String,
        }
        let path = format!("games/{}", game.id);
        loop {
            let answer = self.ask_lobby(client, Method::GET, &path, String::new()).await;
            let status = match &answer {
                Some(answer) if answer.status == StatusCode::NOT_FOUND => "unknown".to_owned(),
                Some(answer) => serde_json::from_slice::<Summary>(&answer.body)
                    .map_or_else(|_| "unreadable".to_owned(), |summary| summary.status),
                None => "no answer".to_owned(),
            };
            match status.as_str() {
                "unknown" => {
                    self.ask_lobby(client, Method::POST, "games", create.clone()).await;
                    continue;
                }
                "draft" | "start_failed" => {
                    let path = format!("{path}/start");
                    let answer = self.ask_lobby(client, Method::POST, &path, String::new()).await;
                    let status = answer.as_ref().map_or("no answer", |a| a.status.as_str());
                    self.oracle.chronicle.note(Some(&game.id), &format!("lobby: start {status}"));
                    self.count("start", status);
                    let body = answer.map(|answer| answer.body).unwrap_or_default();
                    if body.windows(NOBODY.len()).any(|words| words == NOBODY) {
                        self.oracle.nobody_plays(&game.id);
                        return;
                    }
                }
                "running" | "finished" => return,
                _ => {}
            }
            sleep(self.pace.call / 5).await;
        }
    }

    fn stop_asked(&self, game: &str, answer: Option<&Answer>) {
        let mut in_doubt = lock(&self.stops_in_doubt);
        if answer.is_none_or(|answer| answer.status.is_server_error()) {
            in_doubt.insert(game.to_owned());
        } else {
            in_doubt.remove(game);
        }
    }

    /// Looks after a game that is unwell: asks once more for the stop that nobody knows the outcome of,
    /// or else has an instance look at the engine again.
    pub(crate) async fn look_after(&self, client: &HttpClient, game: &str, gm: usize, number: u64) {
        let is_stop = lock(&self.stops_in_doubt).contains(game);
        let verb = if is_stop { "stop" } else { "reconcile" };
        let body = if is_stop { STOP.to_owned() } else { String::new() };
        let path = format!("runtimes/{game}/{verb}");
        let url = format!("http://{}:{PORT}/api/v1/internal/{path}", gm_host(gm));
        let wanted = Wanted { method: Method::POST, path, body, game: None };
        let key = format!("heal-{number}");
        let answer = send(client, &wanted, &url, "admin", &key, self.pace.call * 3).await;
        if is_stop {
            self.stop_asked(game, answer.as_ref());
        }
        let status = answer.as_ref().map_or("no answer", |answer| answer.status.as_str());
        self.oracle.chronicle.note(Some(game), &format!("operator: {verb} {status}"));
    }
}

impl Answer {
    fn same(&self, other: &Self) -> bool {
        self.status == other.status && self.body == other.body
    }
}

/// Players are numbered alike in every game.
pub(crate) fn user(player: usize) -> String {
    format!("user-{player}")
}

fn race(player: usize) -> String {
    format!("Race{player}")
}

fn version_body(version: &str) -> String {
    let guard = !version.starts_with(crate::engines::FIRST_UNGUARDED_MAJOR);
    format!(
        r#"{{"version":"{version}","image_ref":"galaxy/engine:{version}","options":{{"turn_guard":{guard}}}}}"#
    )
}

async fn send(
    client: &HttpClient,
    wanted: &Wanted,
    url: &str,
    caller: &str,
    key: &str,
    patience: Duration,
) -> Option<Answer> {
    let request =
        Request::builder().method(wanted.method.clone()).uri(url).header("x-galaxy-caller", caller);
    let request = if wanted.method == Method::GET {
        request
    } else if key == "-" {
        request.header(header::CONTENT_TYPE, "application/json")
    } else {
        request
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .header("x-request-id", key)
    };
    let request = request.body(Bytes::from(wanted.body.clone())).ok()?;
    let answer = client.send_within(request, patience).await.ok()?;
    let (head, body) = answer.into_parts();
    Some(Answer { status: head.status, body })
}
