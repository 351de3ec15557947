//! Lives of a Game Master and its engines in the simulated world.

#![expect(clippy::expect_used, reason = "a failed expectation of a test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use machine::{Runtime, Status};
use net::{ClientLimits, HttpClient};
use peers::bus::MemoryBus;
use peers::engine::game::GameOptions;
use peers::engine::{EngineOptions, EngineServer};
use peers::env::{Env, unobserved};
use peers::lobby::{Lobby, LobbyConfig};
use service::app::{self, Seams};
use service::config::Settings;
use service::embedded::Embedded;
use service::ports::{Clock, Entropy};
use sim::{SimClock, SimEntropy, SimNet};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

const PORT: u16 = 8080;
const GAMES: usize = 3;
const TURN_LIMIT: u32 = 20;

/// What a life leaves behind: a line for every change of every record, with its simulated time.
type Trace = Arc<Mutex<Vec<String>>>;

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// One whole life: a Game Master on the embedded store, and engines that play to their end.
fn live(seed: u64) -> (Vec<String>, Arc<Embedded>) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(10))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(40))
        .build();
    let trace = Trace::default();
    let clock: Arc<dyn Clock> = Arc::new(SimClock);
    let store = Arc::new(Embedded::in_memory(clock.clone()));
    for n in 0..GAMES {
        add_engine(&mut sim, n, seed);
    }
    add_lobby(&mut sim);
    add_game_master(&mut sim, seed, store.clone(), trace.clone());
    sim.client("admin", register_all());
    while !all_finished(&trace) {
        // The step says whether the clients are done; the games go on without them.
        sim.step().expect("no host fails, and the time does not run out");
    }
    let lines = trace.lock().expect("not poisoned").clone();
    (lines, store)
}

fn all_finished(trace: &Trace) -> bool {
    let lines = trace.lock().expect("not poisoned");
    lines.iter().filter(|line| line.ends_with("-> finished")).count() == GAMES
}

fn add_engine(sim: &mut Sim<'_>, n: usize, seed: u64) {
    sim.host(format!("engine-{n}"), move || async move {
        let game = GameOptions { seed, turn_limit: TURN_LIMIT, ..GameOptions::default() };
        let options = EngineOptions { game, ..EngineOptions::default() };
        EngineServer::run(Arc::new(SimNet), any(PORT), options, CancellationToken::new()).await?;
        Ok(())
    });
}

fn add_lobby(sim: &mut Sim<'_>) {
    sim.host("lobby", || async {
        let config = LobbyConfig::new(any(PORT), format!("http://gm:{PORT}"));
        let bus = MemoryBus::new(Env::new(|| 0, || "id".into()));
        let env = Env::new(|| 0, || "id".into());
        let lobby = Lobby::bind(config, Arc::new(SimNet), bus, env, unobserved()).await?;
        lobby.run(CancellationToken::new()).await;
        Ok(())
    });
}

fn add_game_master(sim: &mut Sim<'_>, seed: u64, store: Arc<Embedded>, trace: Trace) {
    sim.host("gm", move || {
        let (store, trace) = (store.clone(), trace.clone());
        async move {
            let entropy: Arc<dyn Entropy> = Arc::new(SimEntropy::new(seed));
            let seams = Seams {
                net: Arc::new(SimNet),
                store: store.clone(),
                feed: Arc::new(store.feed()),
                streams: store,
                clock: Arc::new(SimClock),
                entropy,
            };
            let networks = ["0.0.0.0/0".parse().expect("valid")];
            let mut settings = Settings::development(
                any(PORT),
                format!("http://lobby:{PORT}"),
                format!("http://lobby:{PORT}"),
                networks.into(),
            );
            // The header would tell the real date.
            settings.http.server.auto_date_header = false;
            let bound = app::bind(settings, seams, CancellationToken::new()).await?;
            let mut changes = bound.app().driver.changes();
            tokio::spawn(async move {
                while let Ok(change) = changes.recv().await {
                    let status =
                        |rt: Option<&Arc<Runtime>>| rt.map_or("none", |rt| rt.status().as_str());
                    let game = change.after.as_ref().or(change.before.as_ref());
                    let (id, turn) =
                        game.map_or(("?", 0), |rt| (rt.game_id.as_str(), rt.current_turn));
                    let (from, to) =
                        (status(change.before.as_ref()), status(change.after.as_ref()));
                    let at = SimClock.now().timestamp_millis();
                    let line = format!("{at} {id} {turn} {} {from} -> {to}", change.event);
                    trace.lock().expect("not poisoned").push(line);
                }
            });
            bound.run().await?;
            Ok(())
        }
    });
}

/// What an administrator and Lobby do at the start.
async fn register_all() -> turmoil::Result {
    let client = HttpClient::new(Arc::new(SimNet), ClientLimits::default(), None);
    let version = r#"{"version":"1.0.0","image_ref":"galaxy/engine:1.0.0","options":{}}"#;
    call(&client, "engine-versions", version, StatusCode::CREATED).await;
    for n in 0..GAMES {
        let body = format!(
            r#"{{"engine_endpoint":"http://engine-{n}:{PORT}","target_engine_version":"1.0.0",
                "turn_schedule":"*/{} * * * * *",
                "members":[{{"user_id":"u1","race_name":"Andorians"}},
                           {{"user_id":"u2","race_name":"Betans"}}]}}"#,
            5 + n
        );
        let path = format!("games/game-{n}/register-runtime");
        call(&client, &path, &body, StatusCode::OK).await;
    }
    Ok(())
}

async fn call(client: &HttpClient, path: &str, body: &str, expected: StatusCode) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://gm:{PORT}/api/v1/internal/{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_owned()))
        .expect("a request");
    let answer = client.send(request).await.expect("an answer");
    let text = String::from_utf8_lossy(answer.body());
    assert_eq!(answer.status(), expected, "{path}: {text}");
}

#[test]
fn games_play_to_their_end_in_the_simulated_world() {
    let (lines, store) = live(7);
    let records = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(service::ports::Store::list(&*store, None, None, 100))
        .expect("an embedded store answers");
    assert_eq!(records.len(), GAMES);
    for record in records {
        assert_eq!(record.status(), Status::Finished);
        // No turn lost, none twice: one change for each of them.
        let turns = |line: &&String| {
            line.contains(&format!(" {} ", record.game_id)) && line.contains(" turn_done ")
        };
        let generated = lines.iter().filter(turns).count();
        assert_eq!(generated, usize::try_from(record.current_turn).expect("small"));
    }
}

#[test]
fn the_same_seed_lives_the_same_life_and_another_one_another() {
    assert_eq!(live(11).0, live(11).0);
    assert_ne!(live(11).0, live(12).0);
}
