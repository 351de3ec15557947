//! What is seen of a life for its page: who sent whom what, what went wrong and for how long, what the
//! records said. Seen at the seams, so that nothing in the hosts knows of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::board::lock;
use crate::plan::Trouble;
use crate::report::{
    Arrow, ArrowKind, Band, BandKind, Broken, GameLine, Lane, Mark, StatusSpan, Story,
};
use crate::run::Report;
use crate::world::{ADMIN, ENGINES, LOBBY, NOTIFICATION, REDIS, RTM, STORE, gm_host};

/// The most that is kept of each kind of thing: what comes later is not on the page.
const MAX_KEPT: usize = 40_000;
/// Among how many of the latest messages one that arrives is looked for.
const LOOKED_BACK: usize = 5_000;
/// The longest label.
const MAX_LABEL: usize = 120;
/// What a request or an answer over HTTP begins with.
const HTTP: [&str; 7] = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE ", "HEAD ", "HTTP/1.1 "];

/// Keeps what it sees, where it is wanted.
#[derive(Default)]
pub struct Recorder {
    is_on: bool,
    now_us: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    arrows: Vec<Sent>,
    marks: Vec<(u64, String, Option<String>, String)>,
    bands: Vec<(u64, u64, Vec<String>, BandKind, String)>,
    games: BTreeMap<String, Vec<StatusSpan>>,
    is_cut: bool,
}

struct Sent {
    at_us: u64,
    arrived_us: Option<u64>,
    from: String,
    to: String,
    /// The ends of its connection, the sender's first; nothing where a call is meant.
    ends: Option<Ends>,
    kind: ArrowKind,
    label: String,
}

/// Both ends of a connection: one's own, and the other one's.
pub(crate) type Ends = (SocketAddr, SocketAddr);

impl Recorder {
    /// One that keeps what it sees, or one that does not.
    pub fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    /// What the time is outside of the simulated hosts.
    pub fn set_now(&self, ms: u64) {
        self.now_us.store(ms * 1000, Ordering::Relaxed);
    }

    fn now_us(&self) -> u64 {
        let inside = turmoil::sim_elapsed().and_then(|at| u64::try_from(at.as_micros()).ok());
        inside.unwrap_or_else(|| self.now_us.load(Ordering::Relaxed))
    }

    fn send(
        &self,
        from: &str,
        to: &str,
        ends: Option<Ends>,
        (kind, label): (ArrowKind, String),
    ) -> Option<usize> {
        let at_us = self.now_us();
        let mut seen = lock(&self.seen);
        if seen.arrows.len() >= MAX_KEPT {
            seen.is_cut = true;
            return None;
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        seen.arrows.push(Sent { at_us, arrived_us: None, from, to, ends, kind, label });
        Some(seen.arrows.len() - 1)
    }

    /// A host writes to a connection.
    pub(crate) fn writes(&self, host: &str, ends: Ends, bytes: &[u8]) {
        if !self.is_on {
            return;
        }
        let Some(said) = told(bytes) else { return };
        if let Some(peer) = turmoil::reverse_lookup(ends.1.ip()) {
            self.send(host, &peer, Some(ends), said);
        }
    }

    /// A host has read from a connection.
    pub(crate) fn reads(&self, ends: Ends, bytes: &[u8]) {
        if !self.is_on {
            return;
        }
        let Some((_, label)) = told(bytes) else { return };
        let now_us = self.now_us();
        let sent_from = Some((ends.1, ends.0));
        let mut seen = lock(&self.seen);
        let is_it = |sent: &&mut Sent| {
            sent.arrived_us.is_none() && sent.ends == sent_from && sent.label == label
        };
        if let Some(sent) = seen.arrows.iter_mut().rev().take(LOOKED_BACK).find(is_it) {
            sent.arrived_us = Some(now_us);
        }
    }

    /// An instance asks its store; what is answered is told by the number.
    pub(crate) fn asks_store(&self, gm: usize, name: &str) -> Option<usize> {
        if !self.is_on {
            return None;
        }
        self.send(&gm_host(gm), STORE, None, (ArrowKind::Store, name.to_owned()))
    }

    /// The store has answered.
    pub(crate) fn store_answered(&self, number: Option<usize>) {
        let now_us = self.now_us();
        let mut seen = lock(&self.seen);
        if let Some(sent) = number.and_then(|number| seen.arrows.get_mut(number)) {
            sent.arrived_us = Some(now_us);
        }
    }

    /// A line of the chronicle.
    pub(crate) fn line(&self, game: Option<&str>, text: &str) {
        // Faults are bands.
        if !self.is_on || text.starts_with("***") {
            return;
        }
        let at_us = self.now_us();
        let mut seen = lock(&self.seen);
        if seen.marks.len() >= MAX_KEPT {
            seen.is_cut = true;
            return;
        }
        seen.marks.push((at_us, place(text), game.map(str::to_owned), short(text)));
    }

    /// A fault strikes, for so long.
    pub(crate) fn fault(&self, what: &Trouble, from_ms: u64, for_ms: u64) {
        if !self.is_on {
            return;
        }
        let (hosts, kind) = reach(what);
        let (from, to) = (from_ms * 1000, (from_ms + for_ms) * 1000);
        let label = short(&serde_json::to_string(what).unwrap_or_default());
        lock(&self.seen).bands.push((from, to, hosts, kind, label));
    }

    /// What the record of a game says from now on.
    pub(crate) fn status(&self, game: &str, status: &str, turn: u32) {
        if !self.is_on {
            return;
        }
        let span = StatusSpan { at_us: self.now_us(), status: status.to_owned(), turn };
        let mut seen = lock(&self.seen);
        let spans = seen.games.entry(game.to_owned()).or_default();
        let is_same =
            spans.last().is_some_and(|last| (&last.status, last.turn) == (&span.status, turn));
        if !is_same && spans.len() < MAX_KEPT {
            spans.push(span);
        }
    }

    /// The page's content.
    pub fn story(&self, hosts: &[String], report: &Report) -> Story {
        let seen = lock(&self.seen);
        let lane = |host: &str| hosts.iter().position(|name| name == host);
        let game_in = |text: &str| {
            let at = text.find("game-")?;
            let digits = text[at + 5..].chars().take_while(char::is_ascii_digit).count();
            (digits > 0).then(|| text[at..at + 5 + digits].to_owned())
        };
        let arrow = |sent: &Sent| {
            let status = sent.label.strip_prefix("HTTP/1.1 ");
            Some(Arrow {
                at_us: sent.at_us,
                arrived_us: sent.arrived_us,
                from: lane(&sent.from)?,
                to: lane(&sent.to)?,
                kind: sent.kind,
                label: sent.label.clone(),
                game: game_in(&sent.label),
                bad: status.is_some_and(|status| status.starts_with(['4', '5'])),
            })
        };
        let broken = report.broken.first().map(|broken| Broken {
            at_us: u64::try_from(broken.at_ms).unwrap_or(0) * 1000,
            promise: broken.promise.clone(),
            text: broken.how.clone(),
            game: broken.game.clone(),
        });
        let mut facts = vec![
            ("seed".to_owned(), report.seed.to_string()),
            ("profile".to_owned(), report.profile.as_str().to_owned()),
            ("store".to_owned(), report.store.as_str().to_owned()),
            ("events".to_owned(), report.lines.to_string()),
            ("trace".to_owned(), report.hash.clone()),
        ];
        if seen.is_cut {
            facts.push(("shown".to_owned(), format!("the first {MAX_KEPT} of a kind")));
        }
        let mut marks: Vec<Mark> = seen
            .marks
            .iter()
            .filter_map(|(at_us, host, game, label)| {
                let bad = label.starts_with("BROKEN") || label.contains("lost");
                let (game, label) = (game.clone(), label.clone());
                Some(Mark { at_us: *at_us, lane: lane(host)?, label, game, bad })
            })
            .collect();
        marks.sort_by_key(|mark| mark.at_us);
        let bands = seen.bands.iter().filter_map(|(from_us, to_us, hosts, kind, label)| {
            let mut lanes = hosts.iter().filter_map(|host| lane(host));
            let (first, other) = (lanes.next()?, lanes.next());
            let (from_us, to_us, label) = (*from_us, *to_us, label.clone());
            Some(Band { from_us, to_us, lane: first, other, kind: *kind, label })
        });
        let mut arrows: Vec<Arrow> = seen.arrows.iter().filter_map(arrow).collect();
        arrows.sort_by_key(|arrow| arrow.at_us);
        Story {
            title: format!("Seed {}, {}", report.seed, report.profile.as_str()),
            facts,
            end_us: report.simulated_ms * 1000,
            lanes: hosts.iter().map(|name| Lane { name: name.clone(), always: false }).collect(),
            games: seen
                .games
                .iter()
                .map(|(game, spans)| GameLine { game: game.clone(), spans: spans.clone() })
                .collect(),
            arrows,
            marks,
            bands: bands.collect(),
            broken,
        }
    }
}

/// What bytes on the wire begin to say, where they begin something.
fn told(bytes: &[u8]) -> Option<(ArrowKind, String)> {
    let head = &bytes[..bytes.len().min(400)];
    if head.first() == Some(&b'*') {
        let text = String::from_utf8_lossy(head);
        let mut words = text.split("\r\n").skip(2).step_by(2);
        let command = words.next()?;
        // Scripts are long, and keys come after them.
        let rest: Vec<&str> = words.take(3).collect();
        let label = if command == "EVAL" {
            "append_all".to_owned()
        } else {
            format!("{command} {}", rest.join(" "))
        };
        return Some((ArrowKind::Stream, short(&label)));
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    HTTP.iter().any(|start| line.starts_with(start)).then(|| {
        let line = line.strip_suffix(" HTTP/1.1").unwrap_or(line);
        (ArrowKind::Http, short(line))
    })
}

fn short(text: &str) -> String {
    text.chars().take(MAX_LABEL).collect()
}

/// The host that a line of the chronicle is about.
fn place(text: &str) -> String {
    let first = text.split([' ', ':']).next().unwrap_or_default();
    match first {
        "published" | "appended" | "redis" => REDIS.to_owned(),
        "admin" | "operator" => ADMIN.to_owned(),
        "lobby" => LOBBY.to_owned(),
        gm if gm.starts_with("gm-") => gm.to_owned(),
        _ => STORE.to_owned(),
    }
}

/// Which hosts a fault reaches, and what it is to them.
fn reach(what: &Trouble) -> (Vec<String>, BandKind) {
    let host = |name: &str| vec![name.to_owned()];
    match what {
        Trouble::GmCrash { gm } | Trouble::GmStops { gm } | Trouble::GmCrashAt { gm, .. } => {
            (vec![gm_host(*gm)], BandKind::Down)
        }
        Trouble::StoreCrash | Trouble::PostgresStruck { .. } => (host(STORE), BandKind::Down),
        Trouble::RedisCrash { .. } => (host(REDIS), BandKind::Down),
        Trouble::EnginesCrash | Trouble::EngineEnds { .. } | Trouble::EngineForgets { .. } => {
            (host(ENGINES), BandKind::Down)
        }
        Trouble::Partition { a, b }
        | Trouble::Hold { a, b }
        | Trouble::Lossy { a, b, .. }
        | Trouble::Reset { a, b } => (vec![a.clone(), b.clone()], BandKind::Cut),
        Trouble::Delay { a, b, .. } => (vec![a.clone(), b.clone()], BandKind::Slow),
        Trouble::OneWay { from, to } => (vec![from.clone(), to.clone()], BandKind::Cut),
        Trouble::StoreRequestsLost { .. }
        | Trouble::StoreAnswersLost { .. }
        | Trouble::StoreSlow { .. }
        | Trouble::PostgresConduct { .. } => (host(STORE), BandKind::Slow),
        Trouble::RedisAnswersLost { .. }
        | Trouble::RedisSlow { .. }
        | Trouble::RedisRefuses { .. } => (host(REDIS), BandKind::Slow),
        Trouble::Astray { .. } => (host(REDIS), BandKind::Other),
        Trouble::GmFrozen { gm } => (vec![gm_host(*gm)], BandKind::Cut),
        Trouble::Engine { .. } => (host(ENGINES), BandKind::Slow),
        Trouble::RtmDown | Trouble::RtmMute | Trouble::RtmCrash => (host(RTM), BandKind::Down),
        Trouble::LobbyDown => (host(LOBBY), BandKind::Cut),
        Trouble::LobbySlow { .. } => (host(LOBBY), BandKind::Slow),
        Trouble::LobbyCrash => (host(LOBBY), BandKind::Down),
        Trouble::NotificationCrash => (host(NOTIFICATION), BandKind::Down),
        Trouble::ClockJump { gm, .. } => (vec![gm_host(*gm)], BandKind::Clock),
    }
}
