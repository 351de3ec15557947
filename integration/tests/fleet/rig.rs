//! Processes, servers, an engine for each game and a Lobby that answers what it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use integration::harness::{Client, PortBlock, Process, audit_streams, program, until};
use integration::redis_server::{Durability as Everything, RedisServer};
use integration::servers::PostgresServer;
use net::{Net, ServerLimits, TokioNet};
use peers::engine::{EngineOptions, EngineServer, Misbehaviour};
use serde_json::{Value, json};
use service::postgres::migrate;
use service::redis_streams::{RedisSettings, RedisStreams};
use tokio_postgres::Client as Sql;
use tokio_util::sync::CancellationToken;

const SCHEDULE: &str = "* * * * * *";
const GAMES: &str = "/api/v1/internal/games";

/// A game and the engine that plays it.
pub(crate) struct Game {
    pub(crate) id: String,
    pub(crate) engine: Client,
    pub(crate) misbehaviour: Misbehaviour,
}

/// One Game Master of several.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    pub(crate) process: Process,
    address: SocketAddr,
}

/// Everything that the members share.
pub(crate) struct Rig {
    pub(crate) url: String,
    pub(crate) redis: RedisServer,
    pub(crate) sql: Sql,
    pub(crate) members_are: Arc<Mutex<&'static str>>,
    lobby: SocketAddr,
    stop: CancellationToken,
    ports: PortBlock,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let server = PostgresServer::shared().await;
        let (name, url) = server.database().await;
        migrate(&url.as_str().into()).await.expect("a migration");
        let sql = server.admin(&name).await.expect("a connection");
        let redis = RedisServer::start(Everything::Always).await;
        let (members_are, stop) = (Arc::new(Mutex::new("active")), CancellationToken::new());
        let lobby = lobby(Arc::clone(&members_are), stop.clone()).await;
        Self { url, redis, sql, members_are, lobby, stop, ports: PortBlock::take() }
    }

    /// A member, at its own port, once it is ready.
    pub(crate) async fn start(&self, name: &'static str, n: u16) -> Member {
        let mut address = self.ports.first();
        address.set_port(address.port() + n);
        let (listen, lobby) = (address.to_string(), format!("http://{}", self.lobby));
        let args = [
            ["--listen", &listen],
            ["--instance", name],
            ["--lobby-url", &lobby],
            ["--rtm-url", "http://127.0.0.1:9"],
            ["--engine-networks", "127.0.0.0/8"],
            ["--resolution", "seconds"],
            // Leases are fifteen seconds longer.
            ["--turn-timeout-seconds", "3"],
        ];
        let args: Vec<&str> = ["serve"].into_iter().chain(args.into_iter().flatten()).collect();
        let redis = self.redis.url();
        let variables =
            [("GAMEMASTER_POSTGRES_URL", self.url.as_str()), ("GAMEMASTER_REDIS_URL", &redis)];
        let process = Process::start_with(&program(), &args, &variables).expect("it starts");
        let client = Client::new(address);
        until("the service to be ready", || client.get("/readyz")).await;
        Member { name, client, process, address }
    }

    /// A game that runs, with a turn each second.
    pub(crate) async fn game(&self, gm: &Member, id: &str) -> Game {
        let misbehaviour = Misbehaviour::default();
        let options = EngineOptions { misbehaviour: misbehaviour.clone(), ..Default::default() };
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let engine = EngineServer::bind(&TokioNet, anywhere, options).await.expect("it binds");
        let endpoint = engine.local_addr().expect("an address");
        tokio::spawn(engine.serve(self.stop.clone()));
        let registration = json!({
            "engine_endpoint": format!("http://{endpoint}"),
            "target_engine_version": "1.0.0",
            "turn_schedule": SCHEDULE,
            "members": [{ "user_id": "u1", "race_name": "Andorians" },
                        { "user_id": "u2", "race_name": "Betans" }],
        });
        gm.post(&format!("{GAMES}/{id}/register-runtime"), &registration).await;
        Game { id: id.to_owned(), engine: Client::new(endpoint), misbehaviour }
    }

    /// Who leads a role by what the database says.
    pub(crate) async fn leader(&self, role: &str) -> Option<String> {
        let sql = "SELECT instance FROM gamemaster.roles \
                   WHERE role = $1 AND expires_at > clock_timestamp()";
        let rows = self.sql.query(sql, &[&role]).await.expect("the roles");
        rows.first().and_then(|row| row.get(0))
    }

    pub(crate) async fn until_led_by(&self, name: &str) {
        until("the one to lead everything", || async {
            let relay = self.leader("outbox_relay").await?;
            let consumer = self.leader("health_consumer").await?;
            (relay == name && consumer == name).then_some(())
        })
        .await;
    }

    /// How many messages have been published.
    pub(crate) async fn published(&self) -> i64 {
        let sql = "SELECT count(*) FROM gamemaster.outbox WHERE published_at IS NOT NULL";
        self.sql.query_one(sql, &[]).await.expect("the outbox").get(0)
    }

    /// The turn of a game by its record.
    pub(crate) async fn turn(&self, game: &Game) -> u64 {
        let sql = "SELECT current_turn FROM gamemaster.runtime_records WHERE game_id = $1";
        let row = self.sql.query_one(sql, &[&game.id]).await.expect("the record");
        u64::try_from(row.get::<_, i64>(0)).expect("a turn")
    }

    pub(crate) async fn until_turn(&self, games: &[Game], more: u64) {
        for game in games {
            let from = self.turn(game).await;
            until("turns", || async { (self.turn(game).await >= from + more).then_some(()) }).await;
        }
    }

    /// Ends the members, one after the other, and looks at everything that was told and done: each turn
    /// once in its engine, in the log and in the streams, in order.
    pub(crate) async fn settle(&self, games: &[Game], members: Vec<Member>) {
        for member in members {
            let (code, output) = member.process.interrupt().await.expect("it ends");
            assert_eq!(code, Some(0), "{output:#?}");
            let bad = |line: &&String| line.contains("\"ERROR\"");
            let errors: Vec<_> = output.iter().filter(bad).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        let waiting = "SELECT count(*) FROM gamemaster.outbox WHERE published_at IS NULL";
        let waiting: i64 = self.sql.query_one(waiting, &[]).await.expect("the outbox").get(0);
        assert_eq!(waiting, 0, "the last one publishes all there is");
        let settings = RedisSettings {
            url: self.redis.url().parse().expect("a URL"),
            limits: net::RedisLimits::default(),
            key_prefix: String::new(),
        };
        let streams = RedisStreams::new(Arc::new(TokioNet), settings);
        let audits = audit_streams(&streams).await.expect("the streams").expect("nothing is wrong");
        for game in games {
            let log = game.engine.get("/_log").await.expect("the engine's log");
            let log = log.as_array().expect("a list").iter();
            let log: Vec<u64> = log.map(|entry| entry["turn"].as_u64().expect("a turn")).collect();
            let turn = self.turn(game).await;
            // A turn may be under way in the engine that nobody has recorded yet.
            let all = |last: u64| (1..=last).collect::<Vec<_>>();
            assert!(log == all(turn) || log == all(turn + 1), "{}: {log:?} at {turn}", game.id);
            let told = audits.get(&game.id).expect("it was told of");
            let told: Vec<u64> = told.turns.iter().map(|turn| u64::from(*turn)).collect();
            assert_eq!(told, (0..=turn).collect::<Vec<_>>(), "{}", game.id);
        }
        let twice = "SELECT game_id, turn, count(*) FROM gamemaster.operation_log \
                     WHERE kind = 'tick' AND outcome = 'succeeded' \
                     GROUP BY game_id, turn HAVING count(*) > 1";
        assert!(self.sql.query(twice, &[]).await.expect("the log").is_empty(), "a turn twice");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Member {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> StatusCode {
        let posted = self.client.call(Method::POST, path, &[], Some(body)).await;
        let (status, answer) = posted.expect("an answer");
        assert!(status.is_success(), "{path}: {status} {answer}");
        status
    }

    pub(crate) async fn know_the_version(&self) {
        let version = json!({ "version": "1.0.0", "image_ref": "galaxy/engine:1.0.0" });
        self.post("/api/v1/internal/engine-versions", &version).await;
    }

    /// A series of its metrics.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let http = net::HttpClient::new(Arc::new(TokioNet), Default::default(), None);
        let uri = format!("http://{}/metrics", self.address);
        let request = http::Request::builder().uri(uri).body(Bytes::new()).ok()?;
        let answer = http.send(request).await.ok()?;
        let text = std::str::from_utf8(answer.body()).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// What a player who asks for a report is answered.
    pub(crate) async fn report(&self, game: &Game) -> (StatusCode, Value) {
        let path = format!("{GAMES}/{}/reports/0", game.id);
        let answer = self.client.call(Method::GET, &path, &[("X-User-ID", "u1")], None).await;
        answer.expect("an answer")
    }
}

/// A Lobby that knows one thing of every game: how its two members are.
async fn lobby(status: Arc<Mutex<&'static str>>, stop: CancellationToken) -> SocketAddr {
    let listener = TokioNet.bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service = hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| {
        let status = *status.lock().expect("no panic");
        let member = |user: &str| json!({ "user_id": user, "status": status });
        let body = json!({ "members": [member("u1"), member("u2")] }).to_string();
        let mut answer = http::Response::new(Full::new(Bytes::from(body)));
        let json = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
        async move { Ok::<_, Infallible>(answer) }
    });
    tokio::spawn(net::serve(listener, service, ServerLimits::default(), stop));
    address
}
