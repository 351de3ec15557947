//! Lobby over real loopback HTTP, with a fake Game Master and streams in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use net::TokioNet;
use peers::{
    backoff::Backoff,
    bus::{MemoryBus, streams},
    env::Env,
    lobby::{Event, GameSummary, Lobby, LobbyConfig, LobbyHandle, flow::FlowTiming},
};
use serde_json::{Value, json};
use support::{
    Client, FAST, LIMIT, Running, Scratch, Seen, Tail, any_port, append, env,
    fake_gm::{FakeGm, Script},
    follow_fast,
};

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Lobby and everything around it.
struct World {
    gm: FakeGm,
    bus: Arc<MemoryBus>,
    env: Env,
    state_file: Option<PathBuf>,
    flow: FlowTiming,
    lobby: Option<Running>,
    handle: Option<LobbyHandle>,
    client: Client,
    jobs: Tail,
    seen: Option<Seen<Event>>,
}

impl World {
    async fn new() -> Self {
        Self::with(None, FlowTiming { backoff: FAST, resume: FAST, ..FlowTiming::default() }).await
    }

    async fn with(state_file: Option<PathBuf>, flow: FlowTiming) -> Self {
        let (gm, env) = (FakeGm::start().await, env());
        let bus = MemoryBus::new(env.clone());
        let jobs = Tail::new(&bus, streams::START_JOBS);
        let client = Client::new(any_port());
        let (lobby, handle, seen) = (None, None, None);
        let mut world = Self { gm, bus, env, state_file, flow, lobby, handle, client, jobs, seen };
        world.start_lobby().await;
        world
    }

    async fn start_lobby(&mut self) {
        let mut config = LobbyConfig::new(any_port(), self.gm.url());
        config.gm_token = Some("secret".into());
        config.rtm_url = Some(self.gm.url());
        config.state_file.clone_from(&self.state_file);
        config.flow = self.flow;
        config.follow = follow_fast();
        let (seen, observer) = Seen::new();
        let bus = self.bus.clone();
        let lobby =
            Lobby::bind(config, Arc::new(TokioNet), bus, self.env.clone(), observer).await.unwrap();
        self.client = Client::new(lobby.local_addr());
        self.handle = Some(lobby.handle());
        self.seen = Some(seen);
        self.lobby = Some(Running::spawn(|stop| lobby.run(stop)));
    }

    async fn crash_lobby(&mut self) {
        self.lobby.take().unwrap().crash().await;
    }

    fn handle(&self) -> &LobbyHandle {
        self.handle.as_ref().unwrap()
    }

    fn seen(&self) -> Vec<Event> {
        self.seen.as_ref().unwrap().all()
    }

    async fn create(&self, game_id: &str) {
        let body = json!({
            "game_id": game_id,
            "engine_version": "1.0.0",
            "turn_schedule": "0 18 * * *",
            "members": [
                { "user_id": "u1", "race_name": "Zerg" },
                { "user_id": "u2", "race_name": "Old Ones" },
            ],
        });
        let (status, body) = self.client.post("/api/v1/games", body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        assert_eq!(body["status"], "draft");
    }

    async fn start(&self, game_id: &str) -> (StatusCode, Value) {
        self.client.send(Method::POST, &format!("/api/v1/games/{game_id}/start"), None).await
    }

    async fn resume(&self, game_id: &str) -> (StatusCode, Value) {
        self.client.send(Method::POST, &format!("/api/v1/games/{game_id}/resume"), None).await
    }

    /// Answers the next job as Runtime Manager would.
    async fn answer_job(&mut self, outcome: &str) -> Value {
        let job = self.jobs.next().await;
        self.answer(&job, outcome).await;
        job
    }

    async fn answer(&self, job: &Value, outcome: &str) {
        let success = outcome == "success";
        let result = json!({
            "job_id": job["job_id"],
            "game_id": job["game_id"],
            "outcome": outcome,
            "engine_endpoint": success.then_some("http://127.0.0.1:4000"),
            "container_id": success.then_some("c1"),
            "error_message": (!success).then_some("as it happens"),
        });
        append(&self.bus, streams::JOB_RESULTS, &result).await;
    }

    async fn until(&self, game_id: &str, status: &str) -> GameSummary {
        let reached = self.handle().wait_for(game_id, LIMIT, |game| game.status == status).await;
        match reached {
            Some(game) => game,
            None => panic!("not {status}: {:?}", self.handle().game(game_id).await),
        }
    }

    async fn run_game(&mut self, game_id: &str) {
        self.create(game_id).await;
        assert_eq!(self.start(game_id).await.0, StatusCode::ACCEPTED);
        self.answer_job("success").await;
        self.until(game_id, "running").await;
    }

    fn intents(&self) -> Vec<Value> {
        let entries = self.bus.entries(streams::NOTIFICATION_INTENTS);
        entries.iter().map(|entry| serde_json::from_slice(&entry.payload).unwrap()).collect()
    }
}

fn snapshot(game_id: &str, turn: u32, planets: [u64; 2], at: u64) -> Value {
    json!({
        "event_type": "runtime_snapshot_update",
        "game_id": game_id,
        "current_turn": turn,
        "runtime_status": "running",
        "engine_health_summary": "healthy",
        "player_turn_stats": [
            { "user_id": "u1", "planets": planets[0], "population": planets[0] * 100 },
            { "user_id": "u2", "planets": planets[1], "population": planets[1] * 100 },
        ],
        "occurred_at_ms": at,
    })
}

#[tokio::test]
async fn from_draft_to_finished() {
    let mut world = World::new().await;
    world.create("g").await;
    let (status, body) = world.start("g").await;
    assert_eq!((status, &body["game_id"]), (StatusCode::ACCEPTED, &json!("g")));
    let job = world.answer_job("success").await;
    assert_eq!(job["game_id"], "g");
    assert_eq!(job["image_ref"], "galaxy/game:1.0.0");
    assert!(job["job_id"].is_string() && job["requested_at_ms"].is_u64());

    let game = world.until("g", "running").await;
    assert_eq!(game.engine_endpoint.as_deref(), Some("http://127.0.0.1:4000"));
    let book = world.gm.book();
    let expected = json!({
        "engine_endpoint": "http://127.0.0.1:4000",
        "members": [
            { "user_id": "u1", "race_name": "Zerg" },
            { "user_id": "u2", "race_name": "Old Ones" },
        ],
        "target_engine_version": "1.0.0",
        "turn_schedule": "0 18 * * *",
    });
    assert_eq!(book.records["g"], expected);
    assert_eq!(book.headers["x-galaxy-caller"], "lobby");
    assert_eq!(book.headers["authorization"], "Bearer secret");
    assert_eq!(book.registrations.len(), 1);

    for (turn, planets) in [[1, 1], [3, 1], [2, 1]].into_iter().enumerate() {
        let turn = u32::try_from(turn).unwrap();
        append(&world.bus, streams::LOBBY_EVENTS, &snapshot("g", turn, planets, 5)).await;
    }
    let finish = json!({
        "event_type": "game_finished",
        "game_id": "g",
        "final_turn_number": 3,
        "runtime_status": "finished",
        "player_turn_stats": [{ "user_id": "u1", "planets": 2, "population": 250 }],
        "finished_at_ms": 77,
    });
    append(&world.bus, streams::LOBBY_EVENTS, &finish).await;
    world.until("g", "finished").await;
    let (status, game) = world.client.get("/api/v1/games/g").await;
    assert_eq!(status, StatusCode::OK);
    let runtime = &game["runtime"];
    assert_eq!(runtime["current_turn"], 3);
    assert_eq!(runtime["runtime_status"], "finished");
    assert_eq!(runtime["finished_at_ms"], 77);
    let first = &runtime["players"]["u1"];
    assert_eq!(first["current"], json!({ "planets": 2, "population": 250 }));
    assert_eq!(first["maximum"], json!({ "planets": 3, "population": 300 }));
    assert_eq!(
        (&first["capable"], &runtime["players"]["u2"]["capable"]),
        (&json!(true), &json!(false))
    );
    let finished = Event::Finished { game_id: "g".into(), capable_user_ids: vec!["u1".into()] };
    assert_eq!(world.seen().last(), Some(&finished));
    let (_, list) = world.client.get("/api/v1/games?limit=1").await;
    assert_eq!((list["games"].as_array().unwrap().len(), &list["next_cursor"]), (1, &json!("g")));
}

#[tokio::test]
async fn without_game_master_nothing_starts() {
    let mut world = World::new().await;
    world.create("g").await;
    world.gm.go_down().await;
    let (status, body) = world.start("g").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["error"]["code"], "service_unavailable");
    assert_eq!(world.handle().game("g").await.unwrap().status, "draft");
    assert!(world.bus.entries(streams::START_JOBS).is_empty());
    world.gm.go_up().await;
    assert_eq!(world.start("g").await.0, StatusCode::ACCEPTED);
    assert_eq!(world.start("g").await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_version_unknown_to_game_master_cannot_be_started() {
    let world = World::new().await;
    let body = json!({ "game_id": "g", "engine_version": "9.9.9", "turn_schedule": "0 1 * * *",
        "members": [{ "user_id": "u", "race_name": "R" }] });
    world.client.post("/api/v1/games", body).await;
    let (status, body) = world.start("g").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["error"]["code"], "engine_version_not_found");
}

#[tokio::test]
async fn a_failed_job_is_not_registered_and_can_be_started_again() {
    let mut world = World::new().await;
    world.create("g").await;
    world.start("g").await;
    let first = world.answer_job("start_config_invalid").await;
    let game = world.until("g", "start_failed").await;
    assert_eq!(game.reason.as_deref(), Some("start_config_invalid: as it happens"));
    assert!(world.gm.book().registrations.is_empty());

    assert_eq!(world.start("g").await.0, StatusCode::ACCEPTED);
    let second = world.jobs.next().await;
    assert_ne!(first["job_id"], second["job_id"]);
    // A late copy of the first answer does not count for the second job.
    world.answer(&first, "container_start_failed").await;
    world.answer(&second, "success").await;
    world.until("g", "running").await;
    assert_eq!(world.handle().counters().await.repeated, 1);
}

#[tokio::test]
async fn game_master_down_at_register_pauses_and_its_return_resumes() {
    let mut world = World::new().await;
    world.create("g").await;
    world.start("g").await;
    world.gm.go_down().await;
    world.answer_job("success").await;
    world.until("g", "paused").await;
    let mut intents = Tail::new(&world.bus, streams::NOTIFICATION_INTENTS);
    let intent = intents.next().await;
    assert_eq!(intent["notification_type"], "lobby.runtime_paused_after_start");
    assert_eq!(intent["idempotency_key"], "lobby.runtime_paused_after_start:g:1");
    assert_eq!(intent["payload"], json!({ "game_id": "g" }));
    world.gm.go_up().await;
    world.until("g", "running").await;
    assert_eq!(world.gm.book().records.len(), 1);
    assert_eq!(world.intents().len(), 1);
    let kinds: Vec<Event> = world.seen();
    assert!(
        matches!(
            kinds.as_slice(),
            [
                Event::StartRequested { .. },
                Event::Paused { .. },
                Event::Resumed { .. },
                Event::Started { .. }
            ]
        ),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn a_paused_game_is_resumed_on_request() {
    let resume = Backoff { first: AN_HOUR, cap: AN_HOUR };
    let flow = FlowTiming { backoff: FAST, resume, register_tries: 1, ..FlowTiming::default() };
    let mut world = World::with(None, flow).await;
    world.create("g").await;
    assert_eq!(world.resume("g").await.0, StatusCode::CONFLICT);
    world.start("g").await;
    world.gm.go_down().await;
    world.answer_job("success").await;
    world.until("g", "paused").await;
    let (status, body) = world.resume("g").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["error"]["code"], "service_unavailable");
    assert_eq!(world.handle().game("g").await.unwrap().status, "paused");
    world.gm.go_up().await;
    assert_eq!(world.resume("g").await.0, StatusCode::ACCEPTED);
    world.until("g", "running").await;
    assert_eq!(world.resume("g").await.0, StatusCode::ACCEPTED, "once more does no harm");
}

#[tokio::test]
async fn a_lost_answer_to_a_registration_is_found_out() {
    let mut world = World::new().await;
    world.gm.change(|book| book.script.push_back(Script::DoAndDrop));
    world.run_game("g").await;
    let keys: Vec<String> = world.gm.book().registrations.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1], "the same try, the same key");
}

#[tokio::test]
async fn game_master_is_given_time_to_initialise() {
    let mut world = World::new().await;
    world.gm.change(|book| {
        book.script.push_back(Script::DoAndDrop);
        book.status = Some("starting");
    });
    world.create("g").await;
    world.start("g").await;
    world.answer_job("success").await;
    world.gm.until(|book| book.registrations.len() >= 3).await;
    assert_eq!(world.handle().game("g").await.unwrap().status, "registering");
    world.gm.change(|book| book.status = None);
    world.until("g", "running").await;
}

#[tokio::test]
async fn a_busy_game_master_is_asked_again_under_a_new_key() {
    let mut world = World::new().await;
    let refusal = Script::Refuse(StatusCode::BAD_GATEWAY, "engine_unreachable");
    world.gm.change(|book| book.script.push_back(refusal));
    world.run_game("g").await;
    let keys = world.gm.book().registrations;
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_refused_registration_leaves_no_engine_behind() {
    let mut world = World::new().await;
    let refusal = Script::Refuse(StatusCode::UNPROCESSABLE_ENTITY, "engine_validation_error");
    world.gm.change(|book| book.script.push_back(refusal));
    world.create("g").await;
    world.start("g").await;
    world.answer_job("success").await;
    let game = world.until("g", "start_failed").await;
    assert!(game.reason.unwrap().starts_with("engine_validation_error"));
    world.gm.until(|book| book.stops == ["g"]).await;
    let gone = world.handle().wait_for("g", LIMIT, |game| game.container_id.is_none()).await;
    assert!(gone.is_some());
    assert_eq!(world.start("g").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_record_on_another_engine_is_not_ours() {
    let mut world = World::new().await;
    let foreign = json!({ "engine_endpoint": "http://127.0.0.1:1" });
    world.gm.change(|book| {
        book.records.insert("g".into(), foreign);
    });
    world.create("g").await;
    world.start("g").await;
    world.answer_job("success").await;
    let game = world.until("g", "start_failed").await;
    assert!(game.reason.unwrap().starts_with("conflict"));
}

#[tokio::test]
async fn members_change_and_game_master_is_told_after_the_commit() {
    let world = World::new().await;
    world.create("g").await;
    let member = |user: &str, action: &str| {
        let path = format!("/api/v1/games/g/members/{user}/{action}");
        let client = world.client.clone();
        async move { client.send(Method::POST, &path, None).await }
    };
    let memberships = || async {
        let path = "/api/v1/internal/games/g/memberships";
        let (status, body) = world.client.get(path).await;
        assert_eq!(status, StatusCode::OK);
        let members = body["members"].as_array().unwrap().clone();
        let pair = |m: &Value| format!("{}={}", m["user_id"], m["status"]).replace('"', "");
        members.iter().map(pair).collect::<Vec<_>>()
    };
    let enrol = json!({ "user_id": "u3", "race_name": "Third" });
    let enrolled = world.client.post("/api/v1/games/g/members", enrol.clone()).await;
    assert_eq!(enrolled.0, StatusCode::CREATED);
    assert_eq!(memberships().await, ["u1=active", "u2=active"], "an applicant is no member");
    assert!(world.gm.book().invalidations.is_empty());
    let again = world.client.post("/api/v1/games/g/members", enrol).await;
    assert_eq!(again.0, StatusCode::CONFLICT);

    assert_eq!(member("u3", "approve").await.0, StatusCode::OK);
    assert_eq!(memberships().await, ["u1=active", "u2=active", "u3=active"]);
    assert_eq!(member("u1", "remove").await.0, StatusCode::OK);
    assert_eq!(member("u1", "remove").await.0, StatusCode::OK, "idempotent");
    assert_eq!(member("u2", "block").await.0, StatusCode::OK);
    assert_eq!(memberships().await, ["u1=removed", "u2=blocked", "u3=active"]);
    assert_eq!(member("u1", "redeem").await.0, StatusCode::OK);
    assert_eq!(member("u1", "reject").await.0, StatusCode::CONFLICT);
    assert_eq!(member("nobody", "approve").await.0, StatusCode::NOT_FOUND);
    assert_eq!(member("u1", "promote").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.gm.book().invalidations.len(), 5);

    world.create("g2").await;
    let deleted = world.client.send(Method::DELETE, "/api/v1/users/u1", None).await;
    assert_eq!(deleted.0, StatusCode::NO_CONTENT);
    assert_eq!(memberships().await, ["u1=removed", "u2=blocked", "u3=active"]);
    assert_eq!(world.gm.book().invalidations[5..], ["g".to_owned(), "g2".to_owned()]);
    let missing = world.client.get("/api/v1/internal/games/none/memberships").await;
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_invalidation_hook_fails_open() {
    let mut world = World::new().await;
    world.create("g").await;
    world.gm.change(|book| book.invalidations_fail = true);
    let remove = |user: &str| format!("/api/v1/games/g/members/{user}/remove");
    let refused = world.client.send(Method::POST, &remove("u1"), None).await;
    assert_eq!(refused.0, StatusCode::OK);
    world.gm.go_down().await;
    let unheard = world.client.send(Method::POST, &remove("u2"), None).await;
    assert_eq!(unheard.0, StatusCode::OK);
    let (_, body) = world.client.get("/api/v1/internal/games/g/memberships").await;
    assert_eq!(body["members"][0]["status"], "removed");
    assert_eq!(body["members"][1]["status"], "removed");
    let failures = world.seen().into_iter();
    let failures = failures.filter(|event| matches!(event, Event::InvalidationFailed { .. }));
    assert_eq!(failures.count(), 2);
    assert_eq!(world.start("g").await.0, StatusCode::CONFLICT, "nobody plays");
}

#[tokio::test]
async fn a_crash_anywhere_in_the_start_flow_is_survived() {
    let scratch = Scratch::new("lobby-crash");
    let slow = Backoff { first: AN_HOUR, cap: AN_HOUR };
    // Retries never come by themselves: only a restart moves the game on.
    let flow =
        FlowTiming { backoff: slow, resume: slow, register_tries: 2, ..FlowTiming::default() };
    let mut world = World::with(Some(scratch.path().join("lobby.json")), flow).await;

    // Before the job is on the stream.
    world.create("g").await;
    let (status, _) = world.start("g").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let job = world.jobs.next().await;
    world.until("g", "awaiting_container").await;

    // While Runtime Manager works: the answer comes when nobody listens.
    world.crash_lobby().await;
    world.answer(&job, "success").await;
    world.gm.go_down().await;
    world.start_lobby().await;
    world.until("g", "registering").await;

    // With Game Master away: the first try has failed, the second would take an hour to come.
    let file = world.state_file.clone().unwrap();
    let has_failed_once =
        |_: &GameSummary| std::fs::read_to_string(&file).unwrap().contains("\"failures\": 1");
    assert!(world.handle().wait_for("g", LIMIT, has_failed_once).await.is_some());
    world.crash_lobby().await;
    world.gm.go_up().await;
    world.flow = FlowTiming { backoff: FAST, resume: FAST, ..FlowTiming::default() };
    world.start_lobby().await;
    world.until("g", "running").await;
    assert_eq!(world.gm.book().records.len(), 1);

    // In good order, when all is done: nothing is done again.
    world.lobby.take().unwrap().stop().await;
    let registrations = world.gm.book().registrations.len();
    world.start_lobby().await;
    append(&world.bus, streams::LOBBY_EVENTS, &snapshot("g", 0, [1, 1], 5)).await;
    let limit = LIMIT;
    let seen = world.handle().wait_for("g", limit, |g| g.runtime.current_turn == Some(0)).await;
    assert!(seen.is_some());
    assert_eq!(world.gm.book().registrations.len(), registrations);
    assert_eq!(world.bus.entries(streams::START_JOBS).len(), 1);
}

#[tokio::test]
async fn a_crash_before_the_job_is_on_the_stream() {
    let scratch = Scratch::new("lobby-before-job");
    let flow = FlowTiming { backoff: FAST, resume: FAST, ..FlowTiming::default() };
    let mut world = World::with(Some(scratch.path().join("lobby.json")), flow).await;
    world.create("g").await;
    world.bus.set_unavailable(true);
    assert_eq!(world.start("g").await.0, StatusCode::ACCEPTED);
    world.until("g", "starting").await;
    world.crash_lobby().await;
    world.bus.set_unavailable(false);
    world.start_lobby().await;
    world.answer_job("success").await;
    world.until("g", "running").await;
}

#[tokio::test]
async fn a_pause_is_told_even_if_the_streams_were_away_and_lobby_crashed() {
    let scratch = Scratch::new("lobby-untold");
    let flow = FlowTiming { backoff: FAST, resume: FAST, ..FlowTiming::default() };
    let mut world = World::with(Some(scratch.path().join("lobby.json")), flow).await;
    world.create("g").await;
    world.start("g").await;
    let refuse = || Script::Refuse(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable");
    world.gm.change(|book| book.script.extend([refuse(), refuse(), refuse()]));
    let job = world.jobs.next().await;
    world.answer(&job, "success").await;
    // The return of Game Master does not wait for the streams.
    world.gm.until(|book| book.registrations.len() == 2).await;
    world.bus.set_unavailable(true);
    world.until("g", "running").await;
    let told_already = world.intents().len();
    world.crash_lobby().await;
    world.bus.set_unavailable(false);
    world.start_lobby().await;
    let mut intents = Tail::new(&world.bus, streams::NOTIFICATION_INTENTS);
    assert_eq!(intents.next().await["idempotency_key"], "lobby.runtime_paused_after_start:g:1");
    assert!(told_already <= 1);
}

#[tokio::test]
async fn a_job_without_an_answer_is_asked_for_again() {
    let flow = FlowTiming {
        backoff: FAST,
        resume: FAST,
        job_result_timeout: Duration::from_millis(20),
        ..FlowTiming::default()
    };
    let mut world = World::with(None, flow).await;
    world.create("g").await;
    world.start("g").await;
    let first = world.jobs.next().await;
    let second = world.jobs.next().await;
    assert_eq!(first, second);
    world.answer(&second, "success").await;
    world.until("g", "running").await;
}

#[tokio::test]
async fn repeated_foreign_and_unreadable_entries_change_nothing() {
    let mut world = World::new().await;
    world.run_game("g").await;
    let first = snapshot("g", 1, [1, 1], 10);
    let second = snapshot("g", 2, [4, 1], 20);
    for event in [&first, &second, &first, &second, &snapshot("other", 1, [1, 1], 1)] {
        append(&world.bus, streams::LOBBY_EVENTS, event).await;
    }
    for nonsense in [json!("text"), json!({ "event_type": "unheard_of", "game_id": "g" })] {
        append(&world.bus, streams::LOBBY_EVENTS, &nonsense).await;
    }
    append(&world.bus, streams::JOB_RESULTS, &json!({ "outcome": "success" })).await;
    let settled = world
        .handle()
        .wait_for_counters(LIMIT, |c| c.undecodable == 3 && c.foreign == 1)
        .await
        .expect("all read");
    assert_eq!((settled.applied, settled.repeated), (3, 2), "one result, two snapshots");
    let game = world.handle().game("g").await.unwrap();
    assert_eq!(game.runtime.current_turn, Some(2));
    assert_eq!(game.runtime.players["u1"].maximum.planets, 4);
}

#[tokio::test]
async fn malformed_requests_are_refused_in_the_envelope() {
    let world = World::new().await;
    let post = |body: &str| {
        let (client, body) = (world.client.clone(), body.to_owned());
        async move { client.send(Method::POST, "/api/v1/games", Some(body)).await }
    };
    let bad = [
        "{",
        "{}",
        r#"{"game_id":"g","engine_version":"1","turn_schedule":"x","extra":1}"#,
        r#"{"game_id":"g","game_id":"g","engine_version":"1","turn_schedule":"x"}"#,
        r#"{"game_id":"../g","engine_version":"1","turn_schedule":"x"}"#,
        r#"{"game_id":"g","engine_version":"","turn_schedule":"x"}"#,
        r#"{"game_id":"g","engine_version":"1","turn_schedule":""}"#,
        r#"{"game_id":"g","engine_version":"1","turn_schedule":"x","members":[
            {"user_id":"u","race_name":"A"},{"user_id":"u","race_name":"B"}]}"#,
        r#"{"game_id":"g","engine_version":"1","turn_schedule":"x","members":[
            {"user_id":"u","race_name":" "}]}"#,
    ];
    for body in bad {
        let (status, answer) = post(body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer["error"]["code"], "invalid_request", "{body}");
    }
    world.create("g").await;
    let exists = post(r#"{"game_id":"g","engine_version":"1","turn_schedule":"x"}"#).await;
    assert_eq!(exists.0, StatusCode::CONFLICT);
    assert_eq!(world.client.get("/api/v1/nothing").await.0, StatusCode::NOT_FOUND);
    let wrong = world.client.send(Method::DELETE, "/api/v1/games", None).await;
    assert_eq!(wrong.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.client.get("/api/v1/games?limit=0").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.start("none").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.client.get("/healthz").await.0, StatusCode::OK);
}
