//! The suite for [`Store`].

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{Channel, GameId, InstanceId, Status, StreamId, Timestamp};

use super::sample::{likely_event, pause};
use super::store_model::{Model, unix_ms};
use super::{Game, Rng, START, StoreFactory, outbox, records};
use crate::ports::{Commit, CommitId, Expected, NewVersion, OperationRow, Store, VersionOptions};

/// How old a commit may be to be found again under its name: a store may forget names in time, but
/// not sooner.
pub const REPEATS_WITHIN_HOURS: i64 = 12;

/// Every promise of the trait, one by one, each on a store of its own.
pub async fn directed(factory: &mut dyn StoreFactory) {
    records::a_record_comes_back_as_it_went(factory).await;
    records::exactly_one_wins(factory).await;
    records::a_repeat_is_found(factory).await;
    records::racing_repeats_apply_once(factory).await;
    records::a_conflict_is_a_value(factory).await;
    records::what_breaks_a_rule_is_refused(factory).await;
    records::a_rolled_back_game_can_come_again(factory).await;
    records::operations_page_newest_first(factory).await;
    records::records_list_in_key_order(factory).await;
    records::due_comes_earliest_first(factory).await;
    records::leases_are_found_by_owner(factory).await;
    records::a_crash_takes_nothing_back(factory).await;
    outbox::messages_leave_in_order(factory).await;
    outbox::ids_lie_above_the_floor(factory).await;
    outbox::published_messages_are_found_again(factory).await;
    outbox::a_long_outbox_is_pruned_whole(factory).await;
    outbox::versions_are_kept_in_semver_order(factory).await;
}

/// So many random operations on a store of its own, every answer compared with a plain model.
pub async fn sequence(factory: &mut dyn StoreFactory, seed: u64, steps: usize) {
    let mut run = Run::new(factory.empty().await, seed);
    for step in 0..steps {
        run.place = format!("seed {seed}, step {step}");
        if run.rng.percent(3) {
            run = run.reopen(factory).await;
            run.compare_all().await;
        }
        run.step().await;
    }
    run.place = format!("seed {seed}, at the end");
    run.compare_all().await;
}

/// One sequence under way.
struct Run {
    store: Arc<dyn Store>,
    model: Model,
    rng: Rng,
    games: Vec<Game>,
    /// Commits made before, to be repeated.
    made: Vec<Commit>,
    now: Timestamp,
    place: String,
}

impl Run {
    fn new(store: Arc<dyn Store>, seed: u64) -> Self {
        let games = ["game-1", "Game-2", "g_3", "G-4"].map(Game::new).to_vec();
        let (model, rng) = (Model::default(), Rng::new(seed));
        Self { store, model, rng, games, made: vec![], now: START, place: String::new() }
    }

    async fn step(&mut self) {
        self.now += pause(&mut self.rng);
        match self.rng.below(39) {
            0..=19 => self.commit().await,
            20 => self.repeat().await,
            21 | 22 => self.spoil().await,
            23..=25 => self.assign().await,
            26 => self.unassign().await,
            27..=29 => self.publish().await,
            30 => self.prune().await,
            31 => self.create_version().await,
            32 => self.compare_list().await,
            33 => self.compare_due().await,
            34 => self.compare_leases().await,
            35 => self.compare_operations().await,
            36 => self.compare_outbox().await,
            37 => self.compare_versions().await,
            _ => self.compare_records().await,
        }
    }

    /// A step of a game, decided on what is there or on what was there a while ago.
    async fn commit(&mut self) {
        let index = self.rng.below_usize(self.games.len());
        let Some(game) = self.games.get_mut(index) else { return };
        game.now = self.now;
        game.instance = self.rng.pick(&instances()).expect("an instance").clone();
        if self.rng.percent(80) {
            game.record = self.model.record(&game.id);
        }
        let event = likely_event(game, &mut self.rng);
        if let Some(commit) = game.decide(&event, &mut self.rng) {
            self.compare_commit(&commit).await;
            self.made.push(commit);
        }
    }

    /// A commit made before, under its name.
    async fn repeat(&mut self) {
        let since = self.now - TimeDelta::hours(REPEATS_WITHIN_HOURS);
        let recent: Vec<&Commit> = self.made.iter().filter(|commit| commit.at >= since).collect();
        if let Some(commit) = self.rng.pick(&recent).copied().cloned() {
            self.compare_commit(&commit).await;
        }
    }

    /// A commit made before, under a new name or with something missing.
    async fn spoil(&mut self) {
        let Some(mut commit) = self.rng.pick(&self.made).cloned() else { return };
        commit.id = CommitId(self.rng.uuid());
        if self.rng.percent(50) {
            commit.expected = self.model.record(&commit.game_id).as_deref().map(Expected::from);
        }
        match self.rng.below(3) {
            0 => commit.next = None,
            1 => commit.audit.clear(),
            _ => {}
        }
        self.compare_commit(&commit).await;
    }

    async fn compare_commit(&mut self, commit: &Commit) {
        let wanted = self.model.commit(commit);
        let answer = self.store.commit(commit).await;
        let found = answer.as_ref().map_or(None, |committed| Some(*committed));
        assert_eq!(found, wanted, "{}: {answer:?} to {commit:?}", self.place);
        let loaded = self.store.load(&commit.game_id).await.expect("a load");
        assert_eq!(loaded, self.model.record(&commit.game_id), "{}", self.place);
    }

    async fn assign(&mut self) {
        let channel = self.channel();
        let limit = self.rng.below_usize(6);
        let floor = if self.rng.percent(20) {
            let seq = if self.rng.percent(30) { u64::MAX } else { self.rng.below(5) };
            StreamId { ms: unix_ms(self.now) + self.rng.below(2_000), seq }
        } else {
            StreamId::ZERO
        };
        let rows = self.store.outbox_assign(channel, floor, self.now, limit).await.expect("rows");
        self.model.assigned(channel, floor, self.now, limit, &rows, &self.place);
    }

    async fn unassign(&mut self) {
        let channel = self.channel();
        self.store.outbox_unassign(channel).await.expect("taken back");
        self.model.unassign(channel);
    }

    async fn publish(&mut self) {
        let seqs: Vec<u64> = self.model.known_seqs();
        let count = self.rng.below_usize(4);
        let chosen: Vec<u64> = (0..count).filter_map(|_| self.rng.pick(&seqs).copied()).collect();
        self.store.outbox_published(&chosen, self.now).await.expect("marks");
        self.model.publish(&chosen, self.now);
    }

    async fn prune(&mut self) {
        let before = self.now - pause(&mut self.rng);
        let pruned = self.store.outbox_prune(before).await.expect("a count");
        assert_eq!(pruned, self.model.prune(before), "{}", self.place);
    }

    async fn create_version(&mut self) {
        let patch = self.rng.below(12);
        let new = NewVersion {
            version: format!("1.{}.{patch}", patch % 3).parse().expect("a version"),
            image_ref: format!("engine:{}", self.rng.below(9)).parse().expect("an image"),
            options: VersionOptions { turn_guard: self.rng.percent(50) },
        };
        let created = self.store.create_version(&new, self.now).await.expect("an answer");
        assert_eq!(created, self.model.create_version(&new, self.now), "{}", self.place);
    }

    /// INVARIANT: the handle that goes to the factory is the last one here.
    async fn reopen(self, factory: &mut dyn StoreFactory) -> Self {
        let store = factory.reopen(self.store).await;
        Self { store, ..self }
    }

    async fn compare_all(&mut self) {
        self.compare_records().await;
        self.compare_list().await;
        self.compare_due().await;
        self.compare_leases().await;
        self.compare_operations().await;
        self.compare_outbox().await;
        self.compare_versions().await;
    }

    async fn compare_records(&mut self) {
        for game in &self.games {
            let found = self.store.load(&game.id).await.expect("a load");
            assert_eq!(found, self.model.record(&game.id), "{}", self.place);
        }
    }

    async fn compare_list(&mut self) {
        let status = self.rng.pick(&Status::ALL).copied().filter(|_| self.rng.percent(60));
        let after: Option<GameId> =
            self.rng.pick(&self.games).map(|game| game.id.clone()).filter(|_| self.rng.percent(50));
        let limit = self.rng.below_usize(6);
        let found = self.store.list(status, after.as_ref(), limit).await.expect("a list");
        assert_eq!(found, self.model.list(status, after.as_ref(), limit), "{}", self.place);
    }

    async fn compare_due(&mut self) {
        let until = self.now + pause(&mut self.rng);
        let limit = self.rng.below_usize(6);
        let found = self.store.due(until, limit).await.expect("due");
        self.model.compare_due(until, limit, &found, &self.place);
    }

    async fn compare_leases(&mut self) {
        for owner in &instances() {
            let limit = self.rng.below_usize(6);
            let found = self.store.leased_to(owner, limit).await.expect("leases");
            self.model.compare_leases(owner, limit, &found, &self.place);
        }
    }

    async fn compare_operations(&mut self) {
        for game in &self.games {
            let mut rows = vec![];
            let size = self.rng.below_usize(5) + 1;
            loop {
                let before = rows.last().map(|row: &OperationRow| row.seq);
                let page = self.store.operations(&game.id, before, size).await.expect("a page");
                assert!(page.len() <= size, "{}", self.place);
                if page.is_empty() {
                    break;
                }
                rows.extend(page);
            }
            self.model.compare_operations(&game.id, &rows, &self.place);
            if let Some(row) = self.rng.pick(&rows) {
                let found = self.store.operation(row.operation).await.expect("an operation");
                assert_eq!(found.as_ref(), Some(row), "{}", self.place);
            }
        }
    }

    async fn compare_outbox(&mut self) {
        let backlog = self.store.outbox_backlog().await.expect("a backlog");
        assert_eq!(backlog, self.model.backlog(), "{}", self.place);
        for channel in Channel::ALL {
            let newest = self.store.outbox_newest(channel).await.expect("newest");
            assert_eq!(newest, self.model.newest(channel), "{}", self.place);
            let below = self.rng.below(newest.ms.saturating_add(2));
            let after = StreamId { ms: below, seq: self.rng.below(3) };
            for after in [StreamId::ZERO, newest, after] {
                let limit = self.rng.below_usize(6);
                let store = &self.store;
                let found = store.outbox_published_after(channel, after, limit).await;
                let wanted = self.model.published_after(channel, after, limit);
                assert_eq!(found.expect("rows"), wanted, "{}", self.place);
            }
        }
    }

    async fn compare_versions(&mut self) {
        let rows = self.store.versions(None, 100).await.expect("versions");
        assert_eq!(rows, self.model.versions(), "{}", self.place);
        if let Some(after) = self.rng.pick(&rows) {
            let page = self.store.versions(Some(&after.version), 2).await.expect("versions");
            let place = rows.iter().position(|row| row == after).expect("it is there") + 1;
            let wanted: Vec<_> = rows.iter().skip(place).take(2).cloned().collect();
            assert_eq!(page, wanted, "{}", self.place);
            let one = self.store.version(&after.version).await.expect("a version");
            assert_eq!(one.as_ref(), Some(after), "{}", self.place);
        }
    }

    fn channel(&mut self) -> Channel {
        if self.rng.percent(50) { Channel::LobbyEvents } else { Channel::NotificationIntents }
    }
}

fn instances() -> [InstanceId; 2] {
    ["gm-1", "gm-2"].map(|id| id.parse().expect("an instance id"))
}
