//! Players at the gateway, who remember what they were told: orders that were acknowledged must be
//! carried out by the next turn, and what a command built must stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::Random;
use super::stage::{PLAYERS, Stage};
use super::tracker::Tracker;
use crate::harness::Client;

/// How many play at a time.
const WORKERS: usize = 6;
/// Between two requests of one of them.
const PAUSE: Duration = Duration::from_millis(100);
/// For this long nothing new is tried where the outcome of a request is unknown: it may still be
/// under way, in a process that is stopped or in a connection that is silent.
const WARY: Duration = Duration::from_secs(40);
/// Planets on the maps.
const PLANETS: u64 = 6;
/// The most commands in an order.
const MOST: u64 = 5;
/// The most findings of one kind that are kept in words.
const MAX_WORDS: usize = 20;

/// What became of what players asked.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers, by status and code.
    pub answers: BTreeMap<String, u64>,
    /// Orders and commands that were acknowledged.
    pub acknowledged: u64,
    /// Those of them that were found carried out.
    pub confirmed: u64,
    /// Those whose turn cannot be looked at any more.
    pub unconfirmed: u64,
    /// Those that were not carried out.
    pub lost: u64,
    /// The first of those, in words.
    pub findings: Vec<String>,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Players(Arc<Mutex<Tally>>);

/// A player's place in a game.
struct Seat {
    table: usize,
    player: usize,
    hopes: Hopes,
}

/// What a player waits for there.
enum Hopes {
    Nothing,
    /// Orders: so many outcomes in the report of the turn after this one.
    Outcomes {
        turn: u32,
        count: usize,
    },
    /// A command: at least this level of a planet in that report.
    Level {
        turn: u32,
        planet: usize,
        level: u64,
    },
    /// The end of a time in which an old request may still arrive.
    Peace {
        at: Instant,
    },
}

impl Players {
    pub(super) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays until `stop`, then looks after what is still hoped for until `end`.
    pub(super) async fn play(
        self,
        seed: u64,
        stage: Arc<Stage>,
        tracker: Arc<Tracker>,
        (stop, end): (CancellationToken, CancellationToken),
    ) {
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..WORKERS {
            let (tables, players) = (stage.tables.len(), PLAYERS.len());
            let all = (0..tables * players).filter(|n| n % WORKERS == worker);
            let seats = all.map(|n| Seat {
                table: n / players,
                player: n % players,
                hopes: Hopes::Nothing,
            });
            let work = Worker {
                seats: seats.collect(),
                random: Random::new(seed, 100 + worker as u64),
                client: Client::new(stage.gateway_address),
                stage: Arc::clone(&stage),
                tracker: Arc::clone(&tracker),
                players: self.clone(),
            };
            workers.spawn(work.run(stop.clone(), end.clone()));
        }
        while workers.join_next().await.is_some() {}
    }
}

struct Worker {
    seats: Vec<Seat>,
    random: Random,
    client: Client,
    stage: Arc<Stage>,
    tracker: Arc<Tracker>,
    players: Players,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken, end: CancellationToken) {
        let mut next = 0;
        while !end.is_cancelled() && !self.seats.is_empty() {
            next = (next + 1) % self.seats.len();
            let Some(seat) = self.seats.get(next) else { return };
            let (table, player) = (seat.table, seat.player);
            let asked = match seat.hopes {
                Hopes::Nothing if stop.is_cancelled() => None,
                Hopes::Nothing if self.random.below(3) == 0 => {
                    Some(self.command(table, player).await)
                }
                Hopes::Nothing => Some(self.order(table, player).await),
                Hopes::Outcomes { turn, .. } | Hopes::Level { turn, .. } => {
                    if self.tracker.turn(table) > turn { self.look_after(next).await } else { None }
                }
                Hopes::Peace { at } => (Instant::now() > at).then_some(Hopes::Nothing),
            };
            let is_idle = asked.is_none();
            if let (Some(hopes), Some(seat)) = (asked, self.seats.get_mut(next)) {
                seat.hopes = hopes;
            }
            if stop.is_cancelled()
                && self
                    .seats
                    .iter()
                    .all(|s| matches!(s.hopes, Hopes::Nothing | Hopes::Peace { .. }))
            {
                return;
            }
            let pause = if is_idle { PAUSE / 50 } else { PAUSE };
            tokio::time::sleep(pause).await;
        }
        let left = self
            .seats
            .iter()
            .filter(|seat| matches!(seat.hopes, Hopes::Outcomes { .. } | Hopes::Level { .. }));
        self.players.lock().unconfirmed += left.count() as u64;
    }

    async fn ask(
        &self,
        method: Method,
        (table, player): (usize, usize),
        what: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, Value)> {
        let game = &self.stage.tables.get(table)?.id;
        let (_, _, token) = PLAYERS.get(player)?;
        let bearer = format!("Bearer {token}");
        let path = format!("/api/v1/games/{game}/{what}");
        let answer =
            self.client.call(method, &path, &[("Authorization", &bearer)], body).await.ok();
        let kind = match &answer {
            Some((status, body)) => {
                let code = body["error"]["code"].as_str().unwrap_or_default();
                format!("{} {code}", status.as_u16()).trim().to_owned()
            }
            None => "no answer".to_owned(),
        };
        *self.players.lock().answers.entry(kind).or_default() += 1;
        answer
    }

    fn build(&mut self) -> (u64, Value) {
        let planet = self.random.below(PLANETS);
        (planet, json!({ "type": "build", "planet": planet }))
    }

    async fn order(&mut self, table: usize, player: usize) -> Hopes {
        let count = usize::try_from(1 + self.random.below(MOST)).unwrap_or(1);
        let commands: Vec<Value> = (0..count).map(|_| self.build().1).collect();
        let body = json!({ "commands": commands });
        match self.ask(Method::PUT, (table, player), "orders", Some(&body)).await {
            Some((StatusCode::OK, answer)) => match turn_of(&answer) {
                Some(turn) => {
                    self.players.lock().acknowledged += 1;
                    Hopes::Outcomes { turn, count }
                }
                None => self.found(table, player, &format!("orders answered with {answer}")),
            },
            Some((status, answer)) if is_refused(status, &answer) => Hopes::Nothing,
            Some(_) | None => wary(),
        }
    }

    async fn command(&mut self, table: usize, player: usize) -> Hopes {
        let (planet, command) = self.build();
        let body = json!({ "commands": [command] });
        match self.ask(Method::POST, (table, player), "commands", Some(&body)).await {
            Some((StatusCode::OK, answer)) => {
                let (turn, outcome) = (turn_of(&answer), &answer["outcomes"][0]);
                match (turn, outcome["outcome"].as_str(), outcome["level"].as_u64()) {
                    (Some(turn), Some("built"), Some(level)) => {
                        self.players.lock().acknowledged += 1;
                        let planet = usize::try_from(planet).unwrap_or(0);
                        Hopes::Level { turn, planet, level }
                    }
                    // The rules of the game forbid it: nothing is hoped for.
                    (Some(_), Some(_), _) => Hopes::Nothing,
                    _ => self.found(table, player, &format!("a command answered with {answer}")),
                }
            }
            Some((status, answer)) if is_refused(status, &answer) => Hopes::Nothing,
            Some(_) | None => wary(),
        }
    }

    /// `None` where it cannot be known yet.
    async fn look_after(&mut self, seat: usize) -> Option<Hopes> {
        let seat = self.seats.get(seat)?;
        let (table, player) = (seat.table, seat.player);
        let (turn, wanted) = match seat.hopes {
            Hopes::Outcomes { turn, count } => (turn, format!("{count} orders")),
            Hopes::Level { turn, planet, level } => {
                (turn, format!("level {level} of planet {planet}"))
            }
            Hopes::Nothing | Hopes::Peace { .. } => return None,
        };
        let what = format!("reports/{}", turn + 1);
        let (status, report) = self.ask(Method::GET, (table, player), &what, None).await?;
        if status == StatusCode::NOT_FOUND {
            self.players.lock().unconfirmed += 1;
            return Some(Hopes::Nothing);
        }
        if status != StatusCode::OK {
            return None;
        }
        let is_there =
            match self.seats.iter().find(|s| s.table == table && s.player == player)?.hopes {
                Hopes::Outcomes { count, .. } => {
                    report["outcomes"].as_array().is_some_and(|outcomes| outcomes.len() == count)
                }
                Hopes::Level { planet, level, .. } => {
                    report["planets"][planet]["level"].as_u64().is_some_and(|now| now >= level)
                }
                Hopes::Nothing | Hopes::Peace { .. } => true,
            };
        if is_there {
            self.players.lock().confirmed += 1;
            return Some(Hopes::Nothing);
        }
        let outcomes = &report["outcomes"];
        let finding = format!("{wanted}, acknowledged at turn {turn}, are not in {outcomes}");
        Some(self.found(table, player, &finding))
    }

    fn found(&self, table: usize, player: usize, finding: &str) -> Hopes {
        let game = self.stage.tables.get(table).map_or("", |table| &table.id);
        let user = PLAYERS.get(player).map_or("", |player| player.0);
        let mut tally = self.players.lock();
        tally.lost += 1;
        if tally.findings.len() < MAX_WORDS {
            tally.findings.push(format!("{game}: {user}: {finding}"));
        }
        wary()
    }
}

fn wary() -> Hopes {
    Hopes::Peace { at: Instant::now() + WARY }
}

/// Whether it is certain that nothing was done, and that nothing will be.
fn is_refused(status: StatusCode, answer: &Value) -> bool {
    status.is_client_error() || answer["error"]["code"] == "service_unavailable"
}

fn turn_of(answer: &Value) -> Option<u32> {
    answer["turn"].as_u64().and_then(|turn| turn.try_into().ok())
}
