//! How each part of a world is started: program, flags, variables.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::World;
use super::setup::Part;
use crate::harness::{neighbour_program, program};

/// How a process is started.
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
}

/// Places of the parts in the world's block of ports.
const LOBBY: u16 = 10;
const RTM: u16 = 11;
const GATEWAY: u16 = 12;
const NOTIFICATION: u16 = 13;
/// Engines that Runtime Manager starts.
pub(super) const ENGINES: std::ops::RangeInclusive<u16> = 20..=219;
/// Engines that it did not start.
pub(super) const OTHER_ENGINES: std::ops::RangeInclusive<u16> = 220..=247;

/// Bearer tokens at Game Master.
pub(super) const GATEWAY_TOKEN: &str = "token-of-the-gateway";
pub(super) const LOBBY_TOKEN: &str = "token-of-the-lobby";
pub(super) const ADMIN_TOKEN: &str = "token-of-the-admins";

/// A player's token at the gateway.
pub(super) fn player_token(user: &str) -> String {
    format!("token-of-player-{user}")
}

fn flag(name: &str, value: impl ToString) -> [String; 2] {
    [name.to_owned(), value.to_string()]
}

impl World {
    /// Where a process listens.
    ///
    /// # Panics
    /// For a part that is no process of its own, or is many.
    #[expect(clippy::panic, reason = "a mistake in a test")]
    pub fn address(&self, part: Part) -> SocketAddr {
        let place = match part {
            Part::GameMaster(number @ 1..=8) => u16::from(number) - 1,
            Part::Lobby => LOBBY,
            Part::Rtm => RTM,
            Part::Gateway => GATEWAY,
            Part::Notification => NOTIFICATION,
            Part::Engines => *OTHER_ENGINES.start(),
            Part::GameMaster(_) | Part::Engine | Part::Postgres | Part::Redis => {
                panic!("{part} has no one address here")
            }
        };
        self.port(place)
    }

    pub(super) fn port(&self, place: u16) -> SocketAddr {
        let first = self.ports.first();
        SocketAddr::new(first.ip(), first.port() + place)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Where `from` finds `to`; asked of the route once.
    fn way(&self, from: Part, to: Part, address: SocketAddr) -> SocketAddr {
        let mut ways = self.ways.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *ways.entry((from, to)).or_insert_with(|| (self.setup.route)(from, to, address))
    }

    fn url(&self, from: Part, to: Part) -> String {
        format!("http://{}", self.way(from, to, self.address(to)))
    }

    /// The URL of a server by the way that `from` goes there.
    fn server_url(&self, from: Part, to: Part, url: &str, address: SocketAddr) -> String {
        url.replacen(&address.to_string(), &self.way(from, to, address).to_string(), 1)
    }

    fn redis_variable(&self, from: Part) -> String {
        let (url, address) = (&self.redis_url, self.redis_address);
        address.map_or_else(|| url.clone(), |it| self.server_url(from, Part::Redis, url, it))
    }

    pub(super) fn start_of(&self, part: Part) -> Start {
        match part {
            Part::GameMaster(number) => self.start_of_gm(number),
            Part::Lobby => {
                let mut args = self.neighbour("lobby", part);
                args.extend(flag("--gm-url", self.url(part, Part::GameMaster(1))));
                args.extend(flag("--rtm-url", self.url(part, Part::Rtm)));
                args.extend(flag("--state-file", self.file("lobby.json")));
                args.extend(self.setup.lobby.clone());
                self.streaming(part, args, &[("NEIGHBOUR_GM_TOKEN", LOBBY_TOKEN.to_owned())])
            }
            Part::Rtm => {
                let mut args = self.neighbour("rtm", part);
                args.extend(flag("--state-file", self.file("rtm.json")));
                args.extend(flag("--engine-state-dir", self.file("engines")));
                let (first, last) = (self.port(*ENGINES.start()), self.port(*ENGINES.end()));
                args.extend(flag("--engine-ports", format!("{}..{}", first.port(), last.port())));
                let host = self.way(Part::GameMaster(1), Part::Engine, first).ip();
                args.extend(flag("--engine-host", host));
                args.extend(self.setup.rtm.clone());
                self.streaming(part, args, &[])
            }
            Part::Notification => {
                let mut args = self.neighbour("notification", part);
                args.extend(flag("--state-file", self.file("notification.json")));
                self.streaming(part, args, &[])
            }
            Part::Gateway => {
                let mut args = self.neighbour("gateway", part);
                args.extend(flag("--gm-url", self.url(part, Part::GameMaster(1))));
                let players = self.setup.players.iter();
                let players: Vec<String> =
                    players.map(|user| format!("{user}={}", player_token(user))).collect();
                let variables = vec![
                    ("NEIGHBOUR_PLAYERS".to_owned(), players.join(",")),
                    ("NEIGHBOUR_GM_TOKEN".to_owned(), GATEWAY_TOKEN.to_owned()),
                ];
                Start { program: neighbour_program(), args, variables }
            }
            Part::Engines => {
                let (first, last) =
                    (self.port(*OTHER_ENGINES.start()), self.port(*OTHER_ENGINES.end()));
                let mut args = vec!["engine".to_owned()];
                args.extend(flag("--ports", format!("{}..{}", first.port(), last.port())));
                args.extend(flag("--state-dir", self.file("other-engines")));
                Start { program: neighbour_program(), args, variables: vec![] }
            }
            Part::Engine | Part::Postgres | Part::Redis => {
                Start { program: PathBuf::new(), args: vec![], variables: vec![] }
            }
        }
    }

    fn neighbour(&self, command: &str, part: Part) -> Vec<String> {
        [vec![command.to_owned()], flag("--listen", self.address(part)).into()].concat()
    }

    fn streaming(&self, part: Part, args: Vec<String>, more: &[(&str, String)]) -> Start {
        let own = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
        let mut variables: Vec<(String, String)> = more.iter().map(own).collect();
        variables.push(("NEIGHBOUR_REDIS_URL".to_owned(), self.redis_variable(part)));
        variables.push(("NEIGHBOUR_REDIS_KEY_PREFIX".to_owned(), self.redis_prefix.clone()));
        Start { program: neighbour_program(), args, variables }
    }

    fn start_of_gm(&self, number: u8) -> Start {
        let part = Part::GameMaster(number);
        let postgres = match self.postgres_address {
            Some(address) => self.server_url(part, Part::Postgres, &self.database.url, address),
            None => self.database.url.clone(),
        };
        let tokens = format!("gateway={GATEWAY_TOKEN},lobby={LOBBY_TOKEN},admin={ADMIN_TOKEN}");
        let own = [
            ("LISTEN", self.address(part).to_string()),
            ("INSTANCE", part.to_string()),
            ("API_TOKENS", tokens),
            ("POSTGRES_URL", postgres),
            ("REDIS_URL", self.redis_variable(part)),
            ("REDIS_KEY_PREFIX", self.redis_prefix.clone()),
            ("LOBBY_URL", self.url(part, Part::Lobby)),
            ("RTM_URL", self.url(part, Part::Rtm)),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut all = self.setup.gm.clone();
        all.extend(own);
        let variables =
            all.into_iter().map(|(name, value)| (format!("GAMEMASTER_{name}"), value)).collect();
        Start { program: program(), args: vec!["serve".to_owned()], variables }
    }
}
