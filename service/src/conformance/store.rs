//! The suite for [`Store`].

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{
    AuditMark, Channel, GameId, InstanceId, OperationId, OperationKind, Status, StreamId, Timestamp,
};

use super::sample::{change, claim, fresh, likely_event, new_version, pause, versions};
use super::store_model::{Answer, Model, unix_ms};
use super::{
    Game, Rng, START, StoreFactory, attendance, claims, log, outbox, records, versions as registry,
};
use crate::ports::{
    Claim, Commit, CommitError, CommitId, Committed, Expected, LogCommit, NewVersion, OperationRow,
    Source, Store, Term, VersionChange, VersionCommit, VersionOptions,
};

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
    outbox::published_messages_are_replayed(factory).await;
    outbox::a_long_outbox_is_replayed_whole(factory).await;
    outbox::the_backlog_tells_its_age(factory).await;
    claims::a_claim_is_answered(factory).await;
    claims::what_fails_leaves_no_record(factory).await;
    claims::a_claim_is_made_once(factory).await;
    claims::a_claim_for_nothing_is_refused(factory).await;
    claims::what_does_not_happen_claims_nothing(factory).await;
    claims::one_of_many_has_the_name(factory).await;
    claims::claims_are_kept(factory).await;
    log::an_operation_needs_no_record(factory).await;
    log::an_operation_is_closed_once(factory).await;
    log::one_of_many_closes_it(factory).await;
    log::the_log_claims_names(factory).await;
    log::open_operations_are_found(factory).await;
    log::an_operation_says_its_tick_and_status(factory).await;
    registry::versions_are_kept_in_semver_order(factory).await;
    registry::a_version_changes_as_told(factory).await;
    registry::a_change_claims_its_name(factory).await;
    registry::an_unknown_version_is_a_value(factory).await;
    registry::what_is_named_stays(factory).await;
    registry::no_reference_dangles(factory).await;
    attendance::the_first_to_come_leads(factory).await;
    attendance::a_silent_leader_is_replaced(factory).await;
    attendance::a_later_life_displaces_the_earlier_one(factory).await;
    attendance::each_role_has_one_leader(factory).await;
    attendance::a_relay_of_another_term_changes_nothing(factory).await;
}

/// So many random operations on a store of its own, every answer compared with a plain model.
pub async fn sequence(factory: &mut dyn StoreFactory, seed: u64, steps: usize) {
    let mut run = Run::new(fresh(factory).await, seed);
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
    logged: Vec<LogCommit>,
    changed: Vec<VersionCommit>,
    now: Timestamp,
    place: String,
}

impl Run {
    fn new(store: Arc<dyn Store>, seed: u64) -> Self {
        let games = ["game-1", "Game-2", "g_3", "G-4"].map(Game::new).to_vec();
        let (mut model, rng) = (Model::default(), Rng::new(seed));
        for new in versions() {
            model.create_version(&new, START);
        }
        let (made, logged, changed) = (vec![], vec![], vec![]);
        Self { store, model, rng, games, made, logged, changed, now: START, place: String::new() }
    }

    async fn step(&mut self) {
        self.now += pause(&mut self.rng);
        match self.rng.below(52) {
            0..=19 => self.commit().await,
            20 => self.repeat().await,
            21 | 22 => self.spoil().await,
            23..=25 => self.assign().await,
            26 => self.unassign().await,
            27..=29 => self.publish().await,
            30 => self.prune().await,
            31 => self.replay().await,
            39..=43 => self.log().await,
            44..=47 => self.change_version().await,
            48 => self.repeat_others().await,
            49 => self.compare_claims().await,
            50 => self.compare_open().await,
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
        if let Some(mut commit) = game.decide(&event, &mut self.rng) {
            let opens = commit.audit.iter().any(|e| matches!(e.mark, AuditMark::Opened { .. }));
            if opens || self.rng.percent(3) {
                commit.claim = self.claim();
            }
            self.compare_commit(&commit).await;
            self.made.push(commit);
        }
    }

    /// A commit made before, under its name.
    async fn repeat(&mut self) {
        let (model, now) = (&self.model, self.now);
        let since = now - TimeDelta::hours(REPEATS_WITHIN_HOURS);
        let recent = self.made.iter().filter(|commit| commit.at >= since);
        let recent: Vec<&Commit> =
            recent.filter(|c| model.is_settled(c.id, c.claim.as_ref(), now)).collect();
        if let Some(commit) = self.rng.pick(&recent).copied().cloned() {
            self.compare_commit(&commit).await;
        }
    }

    /// A commit made before, under a new name or with something missing.
    async fn spoil(&mut self) {
        let Some(mut commit) = self.rng.pick(&self.made).cloned() else { return };
        commit.id = CommitId(self.rng.uuid());
        commit.at = self.now;
        commit.claim = self.claim();
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

    /// Mostly none; else mostly a new one, at times one that is taken, or is so for another caller.
    /// One that is so old that it may be forgotten is never met again.
    fn claim(&mut self) -> Option<Claim> {
        if self.rng.percent(50) {
            return None;
        }
        let young = self.model.young_claims(self.now);
        let known = self.rng.pick(&young).filter(|_| self.rng.below(4) == 0).cloned();
        let callers = [Source::Gateway, Source::Lobby, Source::Admin];
        let caller = *self.rng.pick(&callers).expect("a caller");
        match known {
            Some(row) if self.rng.percent(70) => Some(row.claim),
            // Where that is taken as well, it must be young as well.
            Some(row) => {
                let claim = claim(caller, row.claim.key.key.as_str(), &mut self.rng);
                let keys = self.model.claim_keys();
                let is_young = young.iter().any(|row| row.claim.key == claim.key);
                (is_young || !keys.contains(&claim.key)).then_some(claim)
            }
            None => Some(claim(caller, &format!("k-{:x}", self.rng.bits()), &mut self.rng)),
        }
    }

    async fn compare_commit(&mut self, commit: &Commit) {
        let right = self.model.commit(commit);
        let answer = self.store.commit(commit).await;
        self.compare_answer(&answer, &right, commit);
        let loaded = self.store.load(&commit.game_id).await.expect("a load");
        assert_eq!(loaded, self.model.record(&commit.game_id), "{}", self.place);
    }

    fn compare_answer(
        &self,
        answer: &Result<Committed, CommitError>,
        right: &[Answer],
        to: &dyn std::fmt::Debug,
    ) {
        let found = match answer {
            Ok(committed) => Some(*committed),
            Err(CommitError::Determinate(_)) => None,
            Err(CommitError::Indeterminate(_)) => panic!("{}: {answer:?} to {to:?}", self.place),
        };
        assert!(right.contains(&found), "{}: {answer:?}, not {right:?} to {to:?}", self.place);
    }

    /// An operation without a record is opened, or one is closed: mostly one that is open.
    async fn log(&mut self) {
        let Some(game) = self.rng.pick(&self.games).cloned() else { return };
        let mut game = Game { now: self.now, ..game };
        let open = self.model.open_operations(OperationKind::Banish);
        let commit = match self.rng.pick(&open).filter(|_| self.rng.percent(50)) {
            Some(row) => {
                if self.rng.percent(80) {
                    game.id = row.game_id.clone();
                }
                log::close(&game, row.operation, &mut self.rng)
            }
            None if self.rng.percent(70) => {
                let claim = self.claim();
                log::open(&game, claim.as_ref(), &mut self.rng)
            }
            None => {
                let known = self.rng.pick(&self.logged).map(|before| before.audit.operation);
                let operation = known.unwrap_or(OperationId(self.rng.uuid()));
                let claim = self.claim().filter(|_| self.rng.percent(20));
                LogCommit { claim, ..log::close(&game, operation, &mut self.rng) }
            }
        };
        self.compare_log(&commit).await;
        self.logged.push(commit);
    }

    async fn compare_log(&mut self, commit: &LogCommit) {
        let right = self.model.log(commit);
        let answer = self.store.log(commit).await;
        self.compare_answer(&answer, &right, commit);
    }

    async fn change_version(&mut self) {
        let texts = ["1.4.2", "1.4.3", "1.4.2-rc.1", "1.10.0", "0.9.0", "2.0.0"];
        let it = new_version(self.rng.pick(&texts).expect("a version"));
        let image_ref = format!("engine:{}", self.rng.below(9)).parse().expect("an image");
        let options = VersionOptions { turn_guard: self.rng.percent(50) };
        let change_of = match self.rng.below(6) {
            0..=2 => VersionChange::Create(NewVersion { image_ref, options, ..it }),
            3 => VersionChange::Update {
                version: it.version,
                image_ref: self.rng.percent(60).then_some(image_ref),
                options: self.rng.percent(60).then_some(options),
            },
            4 => VersionChange::Deprecate(it.version),
            _ => VersionChange::Delete(it.version),
        };
        let claim = self.claim();
        let commit = VersionCommit { claim, ..change(change_of, self.now, &mut self.rng) };
        self.compare_change(&commit).await;
        self.changed.push(commit);
    }

    async fn compare_change(&mut self, commit: &VersionCommit) {
        let wanted = self.model.change_version(commit);
        let answer = self.store.change_version(commit).await.expect("an answer");
        assert_eq!(answer, wanted, "{}: to {commit:?}", self.place);
        let found = self.store.version(commit.change.version()).await.expect("a version");
        assert_eq!(found, self.model.version(commit.change.version()), "{}", self.place);
    }

    /// A change of the log or of a version made before, under its name.
    async fn repeat_others(&mut self) {
        let (model, now) = (&self.model, self.now);
        let since = now - TimeDelta::hours(REPEATS_WITHIN_HOURS);
        let recent = self.logged.iter().filter(|commit| commit.at >= since);
        let logged: Vec<&LogCommit> =
            recent.filter(|c| model.is_settled(c.id, c.claim.as_ref(), now)).collect();
        let recent = self.changed.iter().filter(|commit| commit.at >= since);
        let changed: Vec<&VersionCommit> =
            recent.filter(|c| model.is_settled(c.id, c.claim.as_ref(), now)).collect();
        let logged = self.rng.pick(&logged).copied().cloned();
        let changed = self.rng.pick(&changed).copied().cloned();
        if let Some(commit) = logged.filter(|_| self.rng.percent(50)) {
            self.compare_log(&commit).await;
        } else if let Some(commit) = changed {
            self.compare_change(&commit).await;
        }
    }

    async fn compare_claims(&mut self) {
        let mut found = vec![];
        for key in self.model.claim_keys() {
            let row = self.store.claim(&key).await.expect("a claim");
            found.push((key, row));
        }
        self.model.compare_claims(&found, self.now, &self.place);
    }

    async fn compare_open(&mut self) {
        for kind in [OperationKind::Banish, OperationKind::Force, OperationKind::Register] {
            let before = self.now - pause(&mut self.rng) + TimeDelta::milliseconds(1);
            let limit = self.rng.below_usize(6);
            let found = self.store.open_operations(kind, before, limit).await.expect("operations");
            self.model.compare_open(kind, before, limit, &found, &self.place);
        }
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
        let rows = self
            .store
            .outbox_assign(Term::default(), channel, floor, self.now, limit)
            .await
            .expect("rows")
            .expect("its term");
        self.model.assigned(channel, floor, self.now, limit, &rows, &self.place);
    }

    async fn unassign(&mut self) {
        let channel = self.channel();
        self.store
            .outbox_unassign(Term::default(), channel)
            .await
            .expect("taken back")
            .expect("its term");
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

    async fn replay(&mut self) {
        let channel = self.channel();
        let newest = self.model.newest(channel);
        let after = match self.rng.below(3) {
            0 => newest,
            1 => StreamId { ms: newest.ms.saturating_sub(self.rng.below(100_000)), seq: 0 },
            _ => StreamId::ZERO,
        };
        let count = self.store.outbox_replay(channel, after).await.expect("a count");
        assert_eq!(count, self.model.replay(channel, after), "{}", self.place);
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
        self.compare_claims().await;
        self.compare_open().await;
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
