//! Lets the faults of a plan strike, and end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use peers::engine::{Operation, Plan as BadPlan};
use peers::front::FrontPlan;
use peers::rtm::launcher::ExitKind;

use crate::board::lock;
use crate::books::Books;
use crate::pace::{Pace, whole_ms};
use crate::plan::{End, EngineTrouble, Fault, Plan, Stray, Trouble};
use crate::postgres::{Conduct, Span, Strike};
use crate::strays;
use crate::world::{ENGINES, LOBBY, NOTIFICATION, REDIS, RTM, STORE, World, gm_host};

/// Between the end of a Game Master, or its failure to start, and its next start.
const RESTART_MS: u64 = 1_000;

/// What is to come, and what is under way.
pub struct Faults {
    pace: Pace,
    hosts: Vec<String>,
    gms: usize,
    games: Vec<String>,
    waiting: Vec<(usize, Fault)>,
    /// What ends when.
    ending: Vec<(u64, Trouble)>,
    /// Hosts that are down, and since which fault.
    down: BTreeSet<String>,
    /// How often each fault struck, by the statuses of the games it struck.
    struck: BTreeMap<String, BTreeMap<String, u64>>,
    /// Where crashes struck.
    points: BTreeMap<String, u64>,
}

impl Faults {
    /// The faults of a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut waiting: Vec<_> = plan.faults.iter().cloned().enumerate().collect();
        waiting.sort_by_key(|(_, fault)| std::cmp::Reverse(fault.at_ms));
        Self {
            pace: Pace::of(plan.profile),
            hosts: World::hosts(plan),
            gms: plan.gms,
            games: plan.games.iter().map(|game| game.id.clone()).collect(),
            waiting,
            ending: vec![],
            down: BTreeSet::new(),
            struck: BTreeMap::new(),
            points: BTreeMap::new(),
        }
    }

    /// How often each fault struck, by the statuses of the games it struck.
    pub fn struck(&self) -> &BTreeMap<String, BTreeMap<String, u64>> {
        &self.struck
    }

    /// Where crashes struck.
    pub fn points(&self) -> &BTreeMap<String, u64> {
        &self.points
    }

    /// Between two ticks: what is due strikes, what is over ends.
    pub fn tick(&mut self, world: &mut World, now_ms: u64) {
        for crash in world.board.wanted() {
            let fault = Trouble::GmCrash { gm: crash.gm };
            *self.points.entry(crash.point.clone()).or_default() += 1;
            self.note(world, &format!("{} crashes {}", gm_host(crash.gm), crash.point));
            self.count(world, "gm_crash_at");
            if self.take_down(world, &gm_host(crash.gm)) {
                world.board.recorder.fault(&fault, now_ms, self.down_ms());
                self.ending.push((now_ms + self.down_ms(), fault));
            }
        }
        for gm in world.board.ended() {
            if self.take_down(world, &gm_host(gm)) {
                self.ending.push((now_ms + RESTART_MS, Trouble::GmCrash { gm }));
            }
        }
        while let Some((_, fault)) = self.waiting.last()
            && fault.at_ms <= now_ms
        {
            let Some((number, fault)) = self.waiting.pop() else { break };
            self.strike(world, number, &fault, now_ms);
        }
        let (over, ending) =
            std::mem::take(&mut self.ending).into_iter().partition(|(at, _)| *at <= now_ms);
        self.ending = ending;
        let over: Vec<(u64, Trouble)> = over;
        for (_, trouble) in over {
            self.end(world, &trouble);
        }
    }

    /// How long a process that crashed at a point of contact stays away.
    fn down_ms(&self) -> u64 {
        u64::try_from(self.pace.latency.as_millis() * 20).unwrap_or(1_000)
    }

    /// Everything that is wrong ends.
    pub fn heal(&mut self, world: &mut World) {
        self.note(world, "everything heals");
        self.waiting.clear();
        world.board.disarm_all();
        for (_, trouble) in std::mem::take(&mut self.ending) {
            self.end(world, &trouble);
        }
        for (n, a) in self.hosts.iter().enumerate() {
            for b in self.hosts.iter().skip(n + 1) {
                mend(world, a, b);
            }
        }
        self.agree_on_time(world);
        world.engines.all_behave();
        world.board.store.requests_lost.store(0, Ordering::Relaxed);
        world.board.store.answers_lost.store(0, Ordering::Relaxed);
        world.board.redis.answers_lost.store(0, Ordering::Relaxed);
    }

    /// Somebody sets the clocks: nobody goes back, and nobody stays behind the others by more than a
    /// small part of the shortest lease.
    fn agree_on_time(&self, world: &World) {
        let skews: Vec<_> = (0..self.gms).map(|gm| world.board.skew(gm)).collect();
        let latest = skews.iter().map(|skew| skew.load(Ordering::Relaxed)).max();
        let at_least = latest.unwrap_or_default() - whole_ms(self.pace.call / 10);
        for skew in &skews {
            skew.fetch_max(at_least, Ordering::Relaxed);
        }
    }

    fn note(&self, world: &World, text: &str) {
        world.oracle.chronicle.note(None, &format!("*** {text}"));
    }

    fn count(&mut self, world: &World, name: &str) {
        let statuses = self.struck.entry(name.to_owned()).or_default();
        for record in world.oracle.records().values() {
            let status = record.as_ref().map_or("absent", |rt| rt.status().as_str());
            *statuses.entry(status.to_owned()).or_default() += 1;
        }
        *statuses.entry("times".to_owned()).or_default() += 1;
    }

    fn take_down(&mut self, world: &mut World, host: &str) -> bool {
        let goes = self.down.insert(host.to_owned());
        if goes {
            world.board.reach.goes_down(host);
            world.sim.crash(host);
        }
        goes
    }

    fn bring_up(&mut self, world: &mut World, host: &str) {
        if self.down.remove(host) {
            world.board.reach.comes_up(host);
            world.sim.bounce(host);
        }
    }

    fn strike(&mut self, world: &mut World, number: usize, fault: &Fault, now_ms: u64) {
        let Fault { at_ms: _, for_ms, what } = fault;
        let text = serde_json::to_string(what).unwrap_or_default();
        self.note(world, &format!("{text} for {for_ms} ms"));
        let lasts = match what {
            Trouble::GmCrashAt { gm, point, moment, nth } => {
                // Counted once it strikes.
                world.board.arm(number, *gm, point, *moment, *nth);
                return;
            }
            Trouble::GmCrash { gm } => self.take_down(world, &gm_host(*gm)),
            Trouble::GmStops { gm } => {
                world.board.stop(*gm);
                false
            }
            Trouble::StoreCrash => self.take_down(world, STORE),
            Trouble::RedisCrash { loss } => {
                *lock(&world.board.redis.loss) = Some(*loss);
                self.take_down(world, REDIS)
            }
            Trouble::EnginesCrash => self.take_down(world, ENGINES),
            Trouble::LobbyCrash => self.take_down(world, LOBBY),
            Trouble::RtmCrash => self.take_down(world, RTM),
            Trouble::NotificationCrash => self.take_down(world, NOTIFICATION),
            Trouble::Partition { a, b } => {
                part(world, a, b);
                true
            }
            Trouble::OneWay { from, to } => {
                world.board.reach.cut(from, to);
                world.sim.partition_oneway(from.as_str(), to.as_str());
                true
            }
            Trouble::Hold { a, b } => {
                hold(world, a, b);
                true
            }
            Trouble::Delay { a, b, ms } => {
                let delay = Duration::from_millis(*ms);
                world.sim.set_link_max_message_latency(a.as_str(), b.as_str(), delay);
                true
            }
            Trouble::Lossy { a, b, per_mille } => {
                #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
                let rate = *per_mille as f64 / 1000.0;
                world.sim.set_link_fail_rate(a.as_str(), b.as_str(), rate);
                true
            }
            Trouble::Reset { a, b } => {
                let ends = [a, b].map(|host| (host.as_str(), world.sim.lookup(host.as_str())));
                let [a, b] = ends;
                let ends = world.board.reset(a, b);
                self.note(world, &format!("{ends} ends of connections are reset"));
                false
            }
            Trouble::StoreRequestsLost { count } => {
                world.board.store.requests_lost.store(*count, Ordering::Relaxed);
                strike_database(world, Strike::Terminate);
                false
            }
            Trouble::StoreAnswersLost { count } => {
                world.board.store.answers_lost.store(*count, Ordering::Relaxed);
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                strike_database(world, Strike::LoseAnswers { count });
                false
            }
            Trouble::StoreSlow { ms } => {
                world.board.store.delay_ms.store(*ms, Ordering::Relaxed);
                set_conduct(world, Conduct { work_ms: Span::exactly(*ms), ..Conduct::default() });
                true
            }
            Trouble::RedisAnswersLost { count } => {
                world.board.redis.answers_lost.store(*count, Ordering::Relaxed);
                false
            }
            Trouble::RedisSlow { ms } => {
                world.board.redis.delay_ms.store(*ms, Ordering::Relaxed);
                true
            }
            Trouble::PostgresConduct { conduct } => {
                set_conduct(world, conduct.clone());
                true
            }
            Trouble::PostgresStruck { by } => {
                strike_database(world, by.clone());
                false
            }
            Trouble::Engine { game, bad } => {
                self.misbehave(world, *game, bad);
                matches!(bad, EngineTrouble::SlowBefore { .. } | EngineTrouble::SlowAfter { .. })
            }
            Trouble::EngineEnds { game, how } => {
                self.end_engine(world, *game, *how);
                false
            }
            Trouble::EngineForgets { game } => {
                if let Some(game) = self.games.get(*game) {
                    world.oracle.excuse(game);
                    world.engines.erase(game);
                }
                self.end_engine(world, *game, End::Disappeared);
                false
            }
            Trouble::RtmDown => {
                set_rtm(world, |faults| faults.is_unavailable = true);
                true
            }
            Trouble::RtmMute => {
                set_rtm(world, |faults| faults.is_mute = true);
                true
            }
            Trouble::LobbyDown => {
                (0..self.gms).for_each(|gm| part(world, LOBBY, &gm_host(gm)));
                true
            }
            Trouble::LobbySlow { ms } => {
                set_lobby(world, *ms);
                true
            }
            Trouble::GmFrozen { gm } => {
                self.links_of(*gm).for_each(|(gm, host)| hold(world, &gm, &host));
                true
            }
            Trouble::RedisRefuses { how } => {
                *lock(&world.board.redis.refuses) = Some(*how);
                true
            }
            Trouble::Astray { what } => {
                if self.down.contains(REDIS) || !self.stray(world, *what, now_ms) {
                    return;
                }
                false
            }
            Trouble::ClockJump { gm, ms } => {
                world.board.skew(*gm).fetch_add(*ms, Ordering::Relaxed);
                false
            }
        };
        self.count(world, what.name());
        world.board.recorder.fault(what, now_ms, if lasts { *for_ms } else { 0 });
        if lasts {
            self.ending.push((now_ms + for_ms, what.clone()));
        }
    }

    fn end(&mut self, world: &mut World, what: &Trouble) {
        self.note(world, &format!("over: {}", serde_json::to_string(what).unwrap_or_default()));
        match what {
            Trouble::GmCrash { gm } => self.bring_up(world, &gm_host(*gm)),
            Trouble::StoreCrash => self.bring_up(world, STORE),
            Trouble::RedisCrash { .. } => self.bring_up(world, REDIS),
            Trouble::EnginesCrash => self.bring_up(world, ENGINES),
            Trouble::LobbyCrash => self.bring_up(world, LOBBY),
            Trouble::RtmCrash => self.bring_up(world, RTM),
            Trouble::NotificationCrash => self.bring_up(world, NOTIFICATION),
            Trouble::Partition { a, b } => mend(world, a, b),
            Trouble::OneWay { from, to } => {
                world.sim.repair_oneway(from.as_str(), to.as_str());
                world.board.reach.mend(from, to);
            }
            Trouble::Hold { a, b } => release(world, a, b),
            Trouble::Delay { a, b, .. } => {
                let usual = self.pace.latency;
                world.sim.set_link_max_message_latency(a.as_str(), b.as_str(), usual);
            }
            Trouble::Lossy { a, b, .. } => {
                world.sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
            }
            Trouble::StoreSlow { .. } => {
                world.board.store.delay_ms.store(0, Ordering::Relaxed);
                set_conduct(world, Conduct::default());
            }
            Trouble::PostgresConduct { .. } => set_conduct(world, Conduct::default()),
            Trouble::RedisSlow { .. } => world.board.redis.delay_ms.store(0, Ordering::Relaxed),
            Trouble::Engine { game, .. } => {
                let game = self.games.get(*game);
                if let Some(bad) = game.and_then(|game| world.engines.misbehaviour(game)) {
                    bad.clear();
                }
            }
            Trouble::GmFrozen { gm } => {
                self.links_of(*gm).for_each(|(gm, host)| release(world, &gm, &host));
            }
            Trouble::RedisRefuses { .. } => *lock(&world.board.redis.refuses) = None,
            Trouble::RtmDown => set_rtm(world, |faults| faults.is_unavailable = false),
            Trouble::RtmMute => set_rtm(world, |faults| faults.is_mute = false),
            Trouble::LobbySlow { .. } => set_lobby(world, 0),
            Trouble::LobbyDown => {
                (0..self.gms).for_each(|gm| mend(world, LOBBY, &gm_host(gm)));
            }
            // These do not last.
            Trouble::GmStops { .. }
            | Trouble::GmCrashAt { .. }
            | Trouble::Reset { .. }
            | Trouble::StoreRequestsLost { .. }
            | Trouble::StoreAnswersLost { .. }
            | Trouble::RedisAnswersLost { .. }
            | Trouble::PostgresStruck { .. }
            | Trouble::EngineEnds { .. }
            | Trouble::EngineForgets { .. }
            | Trouble::Astray { .. }
            | Trouble::ClockJump { .. } => {}
        }
    }

    /// What is astray in Redis from now on; false where it would prove nothing.
    fn stray(&self, world: &World, what: Stray, now_ms: u64) -> bool {
        let mut keys = lock(&world.keys);
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        match what {
            Stray::Poison => strays::poison(&mut keys, self.games.first(), now_ms),
            Stray::Repeated { count } => strays::repeat(&mut keys, count, now_ms),
            Stray::OffsetLost => keys.lose_texts(),
            // SUBTLE: above a lost end that was not noticed yet it would hide the loss, and nobody
            // could tell.
            Stray::Foreign if world.oracle.misses_what_was_published() => return false,
            Stray::Foreign => strays::foreign(&mut keys, now_ms),
        }
        true
    }

    /// An instance, and each of the other hosts.
    fn links_of(&self, gm: usize) -> impl Iterator<Item = (String, String)> {
        let name = gm_host(gm);
        let others = self.hosts.iter().filter(move |host| **host != gm_host(gm));
        others.map(move |host| (name.clone(), host.clone()))
    }

    fn misbehave(&self, world: &World, game: usize, bad: &EngineTrouble) {
        let Some(game) = self.games.get(game) else { return };
        let plan = match *bad {
            EngineTrouble::SlowBefore { ms } => {
                BadPlan { latency_before_ms: ms, ..BadPlan::default() }
            }
            EngineTrouble::SlowAfter { ms } => {
                BadPlan { latency_after_ms: ms, ..BadPlan::default() }
            }
            EngineTrouble::Hangs { count, acts } => {
                BadPlan { hang_next: count, act_first: acts, ..BadPlan::default() }
            }
            EngineTrouble::Fails { count, status, acts } => BadPlan {
                fail_next: count,
                fail_status: status,
                act_first: acts,
                ..BadPlan::default()
            },
            EngineTrouble::Drops { count } | EngineTrouble::DropsPlayers { count } => {
                BadPlan { drop_next: count, ..BadPlan::default() }
            }
            EngineTrouble::Drips { count, ms } => {
                BadPlan { drip_next: count, drip_ms: ms, ..BadPlan::default() }
            }
            EngineTrouble::HangsPlayers { count } => {
                BadPlan { hang_next: count, ..BadPlan::default() }
            }
            EngineTrouble::Garbage { count } => {
                BadPlan { garbage_next: count, ..BadPlan::default() }
            }
            EngineTrouble::Lies { count, by } => {
                world.oracle.excuse(game);
                BadPlan { lie_next: count, lie_turn_by: by, ..BadPlan::default() }
            }
        };
        // Players' calls would use up what is meant for turns and probes.
        let is_for_players =
            matches!(bad, EngineTrouble::DropsPlayers { .. } | EngineTrouble::HangsPlayers { .. });
        let only = if is_for_players {
            vec![Operation::Command, Operation::Order]
        } else {
            vec![Operation::Init, Operation::Status, Operation::Turn, Operation::Banish]
        };
        if let Some(misbehaviour) = world.engines.misbehaviour(game) {
            misbehaviour.set(BadPlan { only, ..plan });
        }
    }

    fn end_engine(&self, world: &World, game: usize, how: End) {
        let Some(game) = self.games.get(game) else { return };
        let kind = match how {
            End::Exited => ExitKind::Exited,
            End::OutOfMemory => ExitKind::OutOfMemory,
            End::Disappeared => ExitKind::Disappeared,
        };
        if let Some(rtm) = lock(&world.rtm).as_ref() {
            rtm.end_engine(game, kind);
        }
    }
}

/// Nothing passes between two hosts.
fn part(world: &World, a: &str, b: &str) {
    world.board.reach.cut(a, b);
    world.board.reach.cut(b, a);
    world.sim.partition(a, b);
}

/// What is sent between two hosts waits.
fn hold(world: &World, a: &str, b: &str) {
    world.board.reach.hold(a, b);
    world.sim.hold(a, b);
}

/// What waited arrives, and passes from now on; but where nothing passes, nothing does.
fn release(world: &World, a: &str, b: &str) {
    world.sim.release(a, b);
    world.board.reach.release(a, b);
    for (from, to) in [(a, b), (b, a)] {
        if world.board.reach.is_cut(from, to) {
            world.sim.partition_oneway(from, to);
        }
    }
}

/// It passes again.
fn mend(world: &World, a: &str, b: &str) {
    world.sim.repair(a, b);
    world.board.reach.mend(a, b);
    world.board.reach.mend(b, a);
}

fn strike_database(world: &World, strike: Strike) {
    if let Books::Postgres(database) = &world.books {
        database.strike(strike);
    }
}

fn set_conduct(world: &World, conduct: Conduct) {
    if let Books::Postgres(database) = &world.books {
        database.conduct(conduct);
    }
}

fn set_lobby(world: &World, latency_after_ms: u64) {
    world.board.lobby_slow_ms.store(latency_after_ms, Ordering::Relaxed);
    if let Some(lobby) = lock(&world.lobby).as_ref() {
        lobby.front().set(FrontPlan { latency_after_ms, ..FrontPlan::default() });
    }
}

fn set_rtm(world: &World, change: impl FnOnce(&mut peers::rtm::Faults)) {
    if let Some(rtm) = lock(&world.rtm).as_ref() {
        rtm.set_faults(change);
    }
}
