//! Draws a plan from a seed.

use machine::Channel;
use service::conformance::Rng;

use crate::board::WIRE_POINTS;
use crate::plan::{
    Action, Deed, End, EngineTrouble, Fault, GamePlan, Loss, Moment, Plan, Profile, Refusal,
    StoreKind, Stray, Trouble,
};
use crate::postgres::{Conduct, Held, Refuses, Span, Strike};
use crate::world::{ADMIN, ENGINES, GATEWAY, LOBBY, REDIS, RTM, STORE, gm_host};

/// The points of contact that a crash can be tied to, besides [`WIRE_POINTS`].
pub const POINTS: [&str; 23] = [
    "store.load",
    "store.commit",
    "store.log",
    "store.claim",
    "store.list",
    "store.due",
    "store.leased_to",
    "store.operation",
    "store.open_operations",
    "store.attend",
    "store.outbox_assign",
    "store.outbox_published",
    "store.outbox_newest",
    "store.outbox_backlog",
    "store.change_version",
    "store.version",
    "store.ready",
    "streams.append_all",
    "streams.read",
    "streams.newest",
    "streams.offset",
    "streams.save_offset",
    "net.connect",
];
/// How many of a hundred crashes go for the points where a step is half done.
const COMMON_POINTS_PERCENT: u64 = 35;
/// And how many for reads and writes of connections.
const WIRE_POINTS_PERCENT: u64 = 40;
const COMMON_POINTS: [&str; 4] =
    ["store.commit", "streams.append_all", "store.outbox_published", "net.connect"];

/// The most instances of a life.
pub(crate) const MAX_GMS: usize = 3;
/// How many lives of a hundred pass on the calendar, where nobody wishes for either profile.
const CALENDAR_PERCENT: u64 = 12;
/// The most games of a life.
const MAX_GAMES: usize = 12;
/// And how many lives of a hundred have two to three times as many.
const CROWD_PERCENT: u64 = 3;
/// The same where the calendar is what matters.
const MAX_CALENDAR_GAMES: usize = 6;

/// How long a calendar life goes on before everything heals, in days: one costs about two seconds.
fn days(rng: &mut Rng) -> u64 {
    match rng.below(20) {
        0 => 7,
        1 | 2 => 3,
        3..=7 => 2,
        _ => 1,
    }
}

/// What of a plan is chosen by whoever asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Time passes so; otherwise as drawn, mostly in fine ticks.
    pub profile: Option<Profile>,
    /// So many instances; otherwise as drawn.
    pub gms: Option<usize>,
    /// This store; otherwise one of them.
    pub store: Option<StoreKind>,
    /// No faults at all.
    pub calm: bool,
}

/// The plan of a seed.
pub fn plan(seed: u64, wishes: Wishes) -> Plan {
    let mut rng = Rng::new(seed ^ 0x5eed_0000);
    // Drawn whether they are wished for or not, so that the rest of the plan is the same.
    let drawn = if rng.percent(CALENDAR_PERCENT) { Profile::Calendar } else { Profile::Race };
    let profile = wishes.profile.unwrap_or(drawn);
    let drawn = 1 + rng.below_usize(MAX_GMS);
    let gms = wishes.gms.unwrap_or(drawn).clamp(1, MAX_GMS);
    let safety_ms = match profile {
        Profile::Race => 10_000 + rng.below(35_000),
        Profile::Calendar => days(&mut rng) * 24 * 3_600_000,
    };
    let patience_ms = match profile {
        Profile::Race => 120_000,
        Profile::Calendar => 8 * 3_600_000,
    };
    let most = if profile == Profile::Calendar { MAX_CALENDAR_GAMES } else { MAX_GAMES };
    let few = 1 + rng.below_usize(most);
    let is_crowd = profile == Profile::Race && rng.percent(CROWD_PERCENT);
    let count = if is_crowd { 2 * most + rng.below_usize(most) } else { few };
    let games: Vec<GamePlan> =
        (0..count).map(|number| game(&mut rng, number, profile, safety_ms)).collect();
    let drawn = if rng.percent(50) { StoreKind::Postgres } else { StoreKind::Embedded };
    let store = wishes.store.unwrap_or(drawn);
    let mut draw = Draw { rng, store, profile, gms, games: games.len(), safety_ms };
    let faults = if wishes.calm { vec![] } else { draw.faults() };
    let actions = draw.actions(&faults);
    Plan {
        seed,
        profile,
        gms,
        store,
        safety_ms,
        patience_ms,
        games,
        faults,
        actions,
        sabotage: None,
    }
}

fn game(rng: &mut Rng, number: usize, profile: Profile, safety_ms: u64) -> GamePlan {
    let version = if rng.percent(25) { "2.0.0" } else { "1.0.0" };
    let (schedule, period, patience, turn_ms) = match profile {
        Profile::Race => {
            let schedule = format!("*/{} * * * * *", 1 + rng.below(8));
            let patience = if rng.percent(30) { 5 + rng.below(60) } else { 5_000 };
            (schedule, 200 + rng.below(2_000), patience, rng.below(400))
        }
        Profile::Calendar => {
            let schedules = [
                "*/30 * * * *",
                "0 * * * *",
                "30 */4 * * *",
                "0 0 * * *",
                "0 9,21 * * *",
                "5 4 * * 1-5",
                "0 12 1 * *",
                "*/20 6-8 * * *",
            ];
            let schedule = rng.pick(&schedules).copied().unwrap_or("0 * * * *").to_owned();
            // A tenth to a third of the life, so that a long one is not dearer for its players.
            let period = safety_ms / 30 + rng.below(safety_ms / 12);
            let patience = if rng.percent(30) { 60_000 + rng.below(240_000) } else { 1_800_000 };
            (schedule, period, patience, rng.below(120_000))
        }
    };
    let turn_limit = match rng.below(3) {
        0 => u32::try_from(2 + rng.below(10)).unwrap_or(2),
        1 => 60,
        _ => 5_000,
    };
    GamePlan {
        id: format!("game-{number}"),
        start_ms: rng.below(safety_ms / 3),
        schedule,
        version: version.to_owned(),
        players: 1 + rng.below_usize(4),
        turn_limit,
        turn_ms,
        player_period_ms: period,
        player_patience_ms: patience,
    }
}

struct Draw {
    rng: Rng,
    store: StoreKind,
    profile: Profile,
    gms: usize,
    games: usize,
    safety_ms: u64,
}

impl Draw {
    fn gm(&mut self) -> usize {
        self.rng.below_usize(self.gms)
    }

    fn game(&mut self) -> usize {
        self.rng.below_usize(self.games)
    }

    fn gm_name(&mut self) -> String {
        gm_host(self.gm())
    }

    /// Two hosts that speak with each other.
    fn pair(&mut self) -> (String, String) {
        let peers = [STORE, STORE, REDIS, REDIS, ENGINES, ENGINES, RTM, LOBBY, GATEWAY, ADMIN];
        let others = [(RTM, REDIS), (RTM, ENGINES), (LOBBY, REDIS)];
        if self.rng.percent(15) {
            let (a, b) = self.rng.pick(&others).copied().unwrap_or((RTM, REDIS));
            return (a.to_owned(), b.to_owned());
        }
        let peer = self.rng.pick(&peers).copied().unwrap_or(STORE);
        (self.gm_name(), peer.to_owned())
    }

    /// A duration, mostly short.
    fn span(&mut self) -> u64 {
        match self.profile {
            Profile::Race => match self.rng.below(10) {
                0..=5 => 50 + self.rng.below(1_500),
                6..=8 => 1_000 + self.rng.below(8_000),
                _ => 5_000 + self.rng.below(15_000),
            },
            Profile::Calendar => match self.rng.below(10) {
                0..=5 => 60_000 + self.rng.below(600_000),
                6..=8 => 600_000 + self.rng.below(2 * 3_600_000),
                _ => 4 * 3_600_000 + self.rng.below(44 * 3_600_000),
            },
        }
    }

    fn faults(&mut self) -> Vec<Fault> {
        // Some lives are quiet but for one kind of trouble, and some are full of everything.
        let count = match self.rng.below(4) {
            0 => 1 + self.rng.below(3),
            1 => 3 + self.rng.below(8),
            _ => 8 + self.rng.below(25),
        };
        let mut faults: Vec<Fault> = (0..count)
            .map(|_| {
                let at_ms = self.rng.below(self.safety_ms);
                let what = self.trouble();
                let left = self.safety_ms - at_ms;
                // Lobby for longer than its word is believed.
                let is_long = matches!(what, Trouble::GmFrozen { .. })
                    || matches!(what, Trouble::LobbyDown) && self.rng.percent(50);
                let span = if is_long { self.longer_than_leases() } else { self.span() };
                Fault { at_ms, for_ms: span.min(left), what }
            })
            .collect();
        let company: Vec<Fault> = faults.iter().filter_map(|fault| self.company(fault)).collect();
        faults.extend(company);
        if self.gms > 1 && self.rng.percent(30) {
            faults.extend(self.skews());
        }
        faults.sort_by_key(|fault| fault.at_ms);
        faults
    }

    fn trouble(&mut self) -> Trouble {
        let kinds = if self.store == StoreKind::Postgres { 65 } else { 59 };
        match self.rng.below(kinds) {
            59 | 60 => Trouble::PostgresConduct { conduct: self.conduct() },
            61.. => Trouble::PostgresStruck { by: self.strike() },
            40 => Trouble::LobbyCrash,
            55 | 56 => Trouble::LobbySlow { ms: self.slow_answer() },
            41 => Trouble::RtmCrash,
            42 => Trouble::NotificationCrash,
            43 | 44 => Trouble::GmFrozen { gm: self.gm() },
            45 | 46 => {
                let how = [Refusal::ReadOnly, Refusal::Loading, Refusal::Full];
                let how = self.rng.pick(&how).copied().unwrap_or(Refusal::Loading);
                Trouble::RedisRefuses { how }
            }
            47 => Trouble::Astray { what: Stray::Poison },
            48 => {
                let count = 1 + self.rng.below_usize(20);
                Trouble::Astray { what: Stray::Repeated { count } }
            }
            49 => Trouble::Astray { what: Stray::OffsetLost },
            50 => Trouble::Astray { what: Stray::Foreign },
            0..=2 => Trouble::GmCrash { gm: self.gm() },
            3..=9 => self.crash_at(),
            10 | 11 => Trouble::StoreCrash,
            12 => Trouble::RedisCrash { loss: Loss::Nothing },
            13 => Trouble::RedisCrash { loss: Loss::Tail(500 + self.rng.below(5_000)) },
            14 => Trouble::RedisCrash { loss: Loss::Everything },
            15 => Trouble::EnginesCrash,
            16 | 17 => {
                let (a, b) = self.pair();
                Trouble::Partition { a, b }
            }
            18 => {
                let (from, to) = self.pair();
                let turned = self.rng.percent(50);
                let (from, to) = if turned { (to, from) } else { (from, to) };
                Trouble::OneWay { from, to }
            }
            19 | 20 => {
                let (a, b) = self.pair();
                Trouble::Hold { a, b }
            }
            21 => {
                let (a, b) = self.pair();
                Trouble::Delay { a, b, ms: 20 + self.rng.below(3_000) }
            }
            22 => {
                let (a, b) = self.pair();
                Trouble::Lossy { a, b, per_mille: 5 + self.rng.below(200) }
            }
            23 => {
                let (a, b) = self.pair();
                Trouble::Reset { a, b }
            }
            24 => Trouble::StoreRequestsLost { count: 1 + self.rng.below(4) },
            25 | 26 => Trouble::StoreAnswersLost { count: 1 + self.rng.below(4) },
            27 => Trouble::StoreSlow { ms: 10 + self.rng.below(2_500) },
            28 => Trouble::RedisAnswersLost { count: 1 + self.rng.below(4) },
            29 => Trouble::RedisSlow { ms: 10 + self.rng.below(2_500) },
            30 | 31 | 51..=54 => {
                let game = self.game();
                Trouble::Engine { game, bad: self.bad_engine() }
            }
            32 | 57 | 58 => {
                let how = [End::Exited, End::OutOfMemory, End::Disappeared];
                let how = self.rng.pick(&how).copied().unwrap_or(End::Exited);
                Trouble::EngineEnds { game: self.game(), how }
            }
            33 => Trouble::EngineForgets { game: self.game() },
            34 => Trouble::RtmDown,
            35 => Trouble::RtmMute,
            36 => Trouble::LobbyDown,
            37 | 38 => Trouble::GmStops { gm: self.gm() },
            _ => Trouble::ClockJump { gm: self.gm(), ms: self.jump() },
        }
    }

    /// What goes wrong in the very moment in which something else does: a single instant is hardly
    /// ever drawn twice.
    fn company(&mut self, fault: &Fault) -> Option<Fault> {
        if let Trouble::Engine { bad, .. } = &fault.what
            && self.rng.percent(30)
        {
            return self.asked_by_two(bad, fault.at_ms);
        }
        let is_an_end =
            matches!(fault.what, Trouble::EngineEnds { .. } | Trouble::EngineForgets { .. });
        if !is_an_end || self.rng.percent(50) {
            return None;
        }
        // An engine has ended, and whoever should hear of it is about to end, or cannot write it down.
        let what = match self.rng.below(6) {
            0..=2 => {
                let moment = if self.rng.percent(70) { Moment::After } else { Moment::Before };
                let (gm, point) = (self.gm(), "streams.save_offset".to_owned());
                Trouble::GmCrashAt { gm, point, moment, nth: 1 + self.rng.below(2) }
            }
            3 => Trouble::GmCrash { gm: self.gm() },
            4 => Trouble::StoreCrash,
            _ => Trouble::RedisCrash { loss: Loss::Nothing },
        };
        let for_ms = self.span().min(self.safety_ms - fault.at_ms);
        Some(Fault { at_ms: fault.at_ms, for_ms, what })
    }

    /// An engine takes its time, and by the clock of another instance nobody asks it any more: so there
    /// are two who ask, of whom the first one's answer is not wanted.
    fn asked_by_two(&mut self, bad: &EngineTrouble, at_ms: u64) -> Option<Fault> {
        let is_slow = matches!(
            bad,
            EngineTrouble::SlowBefore { .. }
                | EngineTrouble::SlowAfter { .. }
                | EngineTrouble::Hangs { .. }
                | EngineTrouble::Drips { .. }
        );
        if !is_slow {
            return None;
        }
        let most_ms = self.slow_answer();
        let later_ms = self.rng.below(most_ms);
        let ms = i64::try_from(2 * self.longer_than_leases()).unwrap_or(i64::MAX);
        Some(Fault {
            at_ms: at_ms + later_ms,
            for_ms: 0,
            what: Trouble::ClockJump { gm: self.gm(), ms },
        })
    }

    /// How long a neighbour thinks about an answer.
    fn slow_answer(&mut self) -> u64 {
        match self.profile {
            Profile::Race => 50 + self.rng.below(4_000),
            Profile::Calendar => 30_000 + self.rng.below(600_000),
        }
    }

    fn crash_at(&mut self) -> Trouble {
        let (points, most): (&[&str], u64) = match self.rng.below(100) {
            0..WIRE_POINTS_PERCENT => (&WIRE_POINTS, 15),
            drawn if drawn < WIRE_POINTS_PERCENT + COMMON_POINTS_PERCENT => (&COMMON_POINTS, 12),
            _ => (&POINTS, 12),
        };
        let point = self.rng.pick(points).copied().unwrap_or("store.commit").to_owned();
        let moment = if self.rng.percent(50) { Moment::Before } else { Moment::After };
        Trouble::GmCrashAt { gm: self.gm(), point, moment, nth: 1 + self.rng.below(most) }
    }

    fn conduct(&mut self) -> Conduct {
        let mut share = |most: u64| u16::try_from(self.rng.below(most)).unwrap_or(0);
        let (lost_answers, terminated) = (share(60), share(30));
        let (deadlocks, serialization_failures) = (share(60), share(60));
        let conduct = Conduct { lost_answers, terminated, ..Conduct::default() };
        let ms = Span { least: 0, most: 1 + self.rng.below(400) };
        match self.rng.below(6) {
            0 => Conduct { read_only: true, ..conduct },
            1 => Conduct { refuses: Some(Refuses::TooManyConnections), ..conduct },
            2 => Conduct { max_connections: 2 + self.rng.below_usize(6), ..conduct },
            3 => Conduct { work_ms: ms, answer_ms: ms, ..conduct },
            _ => Conduct { deadlocks, serialization_failures, ..conduct },
        }
    }

    fn strike(&mut self) -> Strike {
        match self.rng.below(5) {
            0 => Strike::Crash { down_ms: self.rng.below(3_000) },
            1 => Strike::Terminate,
            2 => Strike::LoseAnswers { count: 1 + u32::try_from(self.rng.below(4)).unwrap_or(0) },
            _ => Strike::Hold { what: self.held(), for_ms: self.span().min(60_000) },
        }
    }

    fn held(&mut self) -> Held {
        let game = format!("game-{}", self.game()).parse().ok();
        let channel = self.rng.pick(&Channel::ALL).copied();
        match (self.rng.below(4), game, channel) {
            (0 | 1, Some(game), _) => Held::Record(game),
            (2, _, Some(channel)) => Held::Channel(channel),
            _ => Held::Tables,
        }
    }

    /// Longer than anybody waits for an answer.
    fn longer_than_leases(&mut self) -> u64 {
        match self.profile {
            Profile::Race => 16_000 + self.rng.below(12_000),
            Profile::Calendar => 1_800_000 + self.rng.below(4 * 3_600_000),
        }
    }

    /// Clocks that never agreed.
    fn skews(&mut self) -> Vec<Fault> {
        let skew = |rng: &mut Rng| i64::try_from(rng.below(60_000)).unwrap_or(0) - 30_000;
        let jump = |gm| Trouble::ClockJump { gm, ms: skew(&mut self.rng) };
        (0..self.gms).map(jump).map(|what| Fault { at_ms: 0, for_ms: 0, what }).collect()
    }

    fn jump(&mut self) -> i64 {
        let most = match self.profile {
            _ if self.rng.percent(5) => 365 * 86_400_000,
            Profile::Race => 60_000,
            Profile::Calendar => 2 * 86_400_000,
        };
        let ms = i64::try_from(self.rng.below(most)).unwrap_or(0);
        if self.rng.percent(50) { ms } else { -ms }
    }

    fn bad_engine(&mut self) -> EngineTrouble {
        let count = u32::try_from(1 + self.rng.below(3)).unwrap_or(1);
        let acts = self.rng.percent(50);
        // Some of it beyond the deadline of a turn.
        let ms = match self.profile {
            Profile::Race => 100 + self.rng.below(12_000),
            Profile::Calendar => 10_000 + self.rng.below(590_000),
        };
        match self.rng.below(12) {
            // Of the answers in drops too: there are sixty-four of them.
            10 => {
                let ms = if self.rng.percent(50) { ms / 32 } else { ms };
                EngineTrouble::Drips { count, ms: ms.max(1) }
            }
            9 => EngineTrouble::HangsPlayers { count },
            8 => EngineTrouble::DropsPlayers { count },
            0 => EngineTrouble::SlowBefore { ms },
            1 => EngineTrouble::SlowAfter { ms },
            2 => EngineTrouble::Hangs { count, acts },
            3 => EngineTrouble::Fails { count, status: 500, acts },
            4 => EngineTrouble::Fails { count, status: 400, acts: false },
            5 => EngineTrouble::Drops { count },
            6 => EngineTrouble::Garbage { count },
            7 => EngineTrouble::Fails { count, status: 429, acts: false },
            _ => {
                let by = if self.rng.percent(50) { 1 } else { -1 };
                EngineTrouble::Lies { count, by }
            }
        }
    }

    fn actions(&mut self, faults: &[Fault]) -> Vec<Action> {
        let count = self.rng.below(25);
        let mut actions: Vec<Action> = (0..count)
            .map(|_| {
                let at_ms = self.rng.below(self.safety_ms);
                let patience_ms = match (self.profile, self.rng.percent(25)) {
                    (Profile::Race, true) => 5 + self.rng.below(80),
                    (Profile::Race, false) => 15_000,
                    (Profile::Calendar, true) => 30_000 + self.rng.below(300_000),
                    (Profile::Calendar, false) => 2_700_000,
                };
                let repeats = if self.rng.percent(40) { 1 + self.rng.below(3) } else { 0 };
                let repeats = u32::try_from(repeats).unwrap_or(0);
                let reuses_key = self.rng.percent(20);
                let (gm, what) = (self.gm(), self.deed());
                Action { at_ms, gm, patience_ms, repeats, reuses_key, what }
            })
            .collect();
        actions.extend(faults.iter().filter_map(|fault| self.barred_meanwhile(fault)));
        actions.sort_by_key(|action| action.at_ms);
        actions
    }

    /// Somebody is barred while Lobby's answers are under way for long, or Lobby cannot say so.
    fn barred_meanwhile(&mut self, fault: &Fault) -> Option<Action> {
        let is_slow = matches!(fault.what, Trouble::LobbySlow { .. });
        let is_down = matches!(fault.what, Trouble::LobbyDown);
        let is_cut_off = matches!(
            &fault.what,
            Trouble::Partition { a, b } | Trouble::OneWay { from: a, to: b } | Trouble::Hold { a, b }
                if a == LOBBY || b == LOBBY
        );
        if !(is_slow || is_down || is_cut_off) || fault.for_ms == 0 {
            return None;
        }
        let what = Deed::Block { game: self.game(), player: self.rng.below_usize(2) };
        let most_ms = if is_slow { fault.for_ms } else { fault.for_ms.div_ceil(4) };
        let at_ms = fault.at_ms + self.rng.below(most_ms);
        Some(Action { at_ms, gm: 0, patience_ms: 0, repeats: 0, reuses_key: false, what })
    }

    fn deed(&mut self) -> Deed {
        let game = self.game();
        match self.rng.below(25) {
            0..=5 => Deed::Force { game },
            6 => Deed::Stop { game },
            7..=9 => {
                let versions = ["1.0.1", "1.0.0", "2.0.1", "1.7.0"];
                let version = self.rng.pick(&versions).copied().unwrap_or("1.0.1").to_owned();
                Deed::Patch { game, version }
            }
            10 | 11 => Deed::Reconcile { game },
            12 => Deed::Banish { game, player: self.rng.below_usize(4) },
            13 => Deed::Block { game, player: self.rng.below_usize(4) },
            14 | 15 => Deed::CreateVersion { version: format!("3.{}.0", self.rng.below(4)) },
            16 => Deed::UpdateVersion { version: format!("3.{}.0", self.rng.below(4)) },
            17 => Deed::DeprecateVersion { version: format!("3.{}.0", self.rng.below(4)) },
            18 => Deed::Block { game, player: self.rng.below_usize(2) },
            19..=21 => Deed::Get { game },
            _ => Deed::List,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_again_and_it_survives_its_text() {
        let plan_of = |seed| plan(seed, Wishes::default());
        assert_eq!(plan_of(7), plan_of(7));
        assert_ne!(plan_of(7), plan_of(8));
        let text = serde_json::to_string(&plan_of(7)).expect("a text");
        assert_eq!(serde_json::from_str::<Plan>(&text).expect("a plan"), plan_of(7));
    }

    #[test]
    fn every_trouble_is_drawn_in_the_course_of_time() {
        let mut names = BTreeSet::new();
        for seed in 0..200 {
            let plan = plan(seed, Wishes::default());
            names.extend(plan.faults.iter().map(|fault| fault.what.name()));
        }
        let missing: Vec<_> = Trouble::NAMES.iter().filter(|name| !names.contains(*name)).collect();
        assert!(missing.is_empty(), "never drawn: {missing:?}");
        assert_eq!(names.len(), Trouble::NAMES.len());
    }
}
