//! Two stores that are told the same story, and must give the same answers to it: whatever the rules
//! of one leave open, they leave open in both.

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{
    AuditEntry, AuditMark, Channel, EngineVersion, GameId, OperationId, OperationKind, Outcome,
    Status, StreamId, Timestamp,
};

use super::{Game, Rng, START, likely_event, register_versions};
use crate::ports::{
    Claim, ClaimKey, Commit, CommitError, CommitId, Expected, Fingerprint, LogCommit, NewVersion,
    OperationRow, Origin, OutboxRow, Source, Store, Term, VersionChange, VersionCommit,
    VersionOptions,
};

/// Two stores that are told the same, from a seed.
pub struct Pair {
    one: Arc<dyn Store>,
    other: Arc<dyn Store>,
    seed: u64,
    steps: usize,
    rng: Rng,
    games: Vec<Game>,
    made: Vec<Commit>,
    opened: Vec<(GameId, OperationId)>,
    place: String,
}

fn same<T: PartialEq + std::fmt::Debug>(
    one: &Result<T, CommitError>,
    other: &Result<T, CommitError>,
    place: &str,
) {
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "{place}"),
        (Err(CommitError::Determinate(_)), Err(CommitError::Determinate(_))) => {}
        _ => panic!("{place}: {one:?} and {other:?}"),
    }
}

impl Pair {
    /// Two stores with nothing in them but the versions that the games here name.
    pub async fn new(one: Arc<dyn Store>, other: Arc<dyn Store>, seed: u64) -> Self {
        register_versions(&*one).await;
        register_versions(&*other).await;
        let games = ["game-1", "Game-2", "g_3"].map(Game::new).to_vec();
        let rng = Rng::new(seed);
        let (made, opened, steps) = (vec![], vec![], 0);
        let place = format!("seed {seed}, before the first step");
        Self { one, other, seed, steps, rng, games, made, opened, place }
    }

    /// So many steps more; panics where the two answer differently.
    pub async fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.place = format!("seed {}, step {}", self.seed, self.steps);
            self.step(self.steps).await;
            self.steps += 1;
        }
    }

    async fn step(&mut self, step: usize) {
        let now = START + TimeDelta::seconds(i64::try_from(step).unwrap_or(0) * 30);
        match self.rng.below(24) {
            0..=13 => self.decide(now).await,
            14 => {
                if let Some(commit) = self.rng.pick(&self.made).cloned() {
                    self.commit(&commit).await;
                }
            }
            15 => self.spoil().await,
            16..=18 => self.log(now).await,
            19 | 20 => self.version(now).await,
            21 | 22 => self.outbox(now).await,
            _ => {
                self.compare().await;
            }
        }
    }

    async fn decide(&mut self, now: Timestamp) {
        let index = self.rng.below_usize(self.games.len());
        let claim = self.claim();
        let game = self.games.get_mut(index).expect("a game");
        game.now = now;
        if self.rng.percent(85) {
            game.record = self.one.load(&game.id).await.expect("a load");
        }
        let event = likely_event(game, &mut self.rng);
        let Some(mut commit) = game.decide(&event, &mut self.rng) else { return };
        if self.rng.percent(40) {
            commit.claim = claim;
        }
        self.commit(&commit).await;
        self.made.push(commit);
    }

    async fn commit(&self, commit: &Commit) {
        let one = self.one.commit(commit).await;
        let other = self.other.commit(commit).await;
        same(&one, &other, &format!("{}: {commit:?}", self.place));
        let one = self.one.load(&commit.game_id).await.expect("a load");
        assert_eq!(self.other.load(&commit.game_id).await.expect("a load"), one);
    }

    async fn spoil(&mut self) {
        let Some(mut commit) = self.rng.pick(&self.made).cloned() else { return };
        commit.id = CommitId(self.rng.uuid());
        if self.rng.percent(60) {
            let there = self.one.load(&commit.game_id).await.expect("a load");
            commit.expected = there.as_deref().map(Expected::from);
        }
        match self.rng.below(4) {
            0 => commit.next = None,
            1 => commit.audit.clear(),
            2 => commit.claim = self.claim(),
            _ => {}
        }
        self.commit(&commit).await;
    }

    async fn log(&mut self, at: Timestamp) {
        let close = self.rng.percent(50);
        let game_id = self.rng.pick(&self.games).expect("a game").id.clone();
        let fresh = (game_id, OperationId(self.rng.uuid()));
        let known = self.rng.pick(&self.opened).cloned().filter(|_| close);
        let (game_id, operation) = known.unwrap_or(fresh);
        let outcomes = [Outcome::Succeeded, Outcome::Superseded];
        let mark = match self.rng.pick(&outcomes).filter(|_| close) {
            Some(outcome) => AuditMark::Closed(outcome.clone()),
            None => AuditMark::Opened { kind: OperationKind::Banish, turn: None, tick: None },
        };
        let claim = self.claim().filter(|_| !close || self.rng.percent(10));
        if !close {
            self.opened.push((game_id.clone(), operation));
        }
        let commit = LogCommit {
            id: CommitId(self.rng.uuid()),
            game_id,
            audit: AuditEntry { operation, mark },
            race: (!close).then(|| "O'Hara 3".parse().expect("a race")),
            origin: Origin { source: Source::Admin, request_id: Some("r-1".into()) },
            claim,
            at,
        };
        for _ in 0..2 {
            let one = self.one.log(&commit).await;
            let other = self.other.log(&commit).await;
            same(&one, &other, &format!("{}: {commit:?}", self.place));
        }
    }

    async fn version(&mut self, at: Timestamp) {
        let texts = ["1.4.2", "1.4.3", "2.0.0", "2.0.0-rc.1", "10.0.0"];
        let version: EngineVersion =
            self.rng.pick(&texts).expect("one").parse().expect("a version");
        let image_ref = format!("engine:{}", self.rng.below(9)).parse().expect("an image");
        let options = VersionOptions { turn_guard: self.rng.percent(50) };
        let change = match self.rng.below(4) {
            0 => VersionChange::Create(NewVersion { version, image_ref, options }),
            1 => VersionChange::Update {
                version,
                image_ref: self.rng.percent(50).then_some(image_ref),
                options: self.rng.percent(50).then_some(options),
            },
            2 => VersionChange::Deprecate(version),
            _ => VersionChange::Delete(version),
        };
        let claim = self.claim().filter(|_| self.rng.percent(30));
        let commit = VersionCommit { id: CommitId(self.rng.uuid()), change, claim, at };
        for _ in 0..2 {
            let one = self.one.change_version(&commit).await;
            let other = self.other.change_version(&commit).await;
            same(&one, &other, &format!("{}: {commit:?}", self.place));
        }
    }

    async fn outbox(&mut self, now: Timestamp) {
        let channel = self.rng.pick(&Channel::ALL).copied().expect("a channel");
        let floor = StreamId { ms: self.rng.below(2_000_000_000_000), seq: self.rng.bits() };
        let limit = self.rng.below_usize(6);
        let one = self
            .one
            .outbox_assign(Term::default(), channel, floor, now, limit)
            .await
            .expect("rows")
            .expect("its term");
        let other = self
            .other
            .outbox_assign(Term::default(), channel, floor, now, limit)
            .await
            .expect("rows")
            .expect("its term");
        assert_eq!(bare(&other), bare(&one), "{}", self.place);
        let count = self.rng.below_usize(one.len() + 1);
        let seqs =
            |rows: &[OutboxRow]| rows.iter().take(count).map(|row| row.seq).collect::<Vec<_>>();
        self.one.outbox_published(&seqs(&one), now).await.expect("marks");
        self.other.outbox_published(&seqs(&other), now).await.expect("marks");
        for store in [&self.one, &self.other] {
            if self.rng.clone().percent(20) {
                store
                    .outbox_unassign(Term::default(), channel)
                    .await
                    .expect("taken back")
                    .expect("its term");
            }
        }
        let newest = self.one.outbox_newest(channel).await.expect("newest");
        assert_eq!(self.other.outbox_newest(channel).await.expect("newest"), newest);
        if self.rng.percent(20) {
            let after = StreamId { ms: newest.ms.saturating_sub(self.rng.below(9)), seq: 0 };
            let one = self.one.outbox_replay(channel, after).await.expect("a count");
            let other = self.other.outbox_replay(channel, after).await.expect("a count");
            assert_eq!(other, one, "{}", self.place);
        }
    }

    fn claim(&mut self) -> Option<Claim> {
        let key = format!("key-{}", self.rng.below(40)).parse().expect("a key");
        let callers = [Source::Lobby, Source::Admin];
        let caller = *self.rng.pick(&callers).expect("a caller");
        let fingerprint = Fingerprint([u8::try_from(self.rng.below(256)).expect("a byte"); 32]);
        Some(Claim { key: ClaimKey { caller, key }, fingerprint })
    }

    /// Everything that can be read; answers how many claims there are.
    pub async fn compare(&mut self) -> usize {
        let (one, other, place) = (&self.one, &self.other, &self.place);
        for game in &self.games {
            let wanted = one.operations(&game.id, None, 1_000).await.expect("operations");
            let found = other.operations(&game.id, None, 1_000).await.expect("operations");
            assert_eq!(without_places(&found), without_places(&wanted), "{place}");
        }
        for kind in [OperationKind::Banish, OperationKind::Force, OperationKind::Register] {
            let before = START + TimeDelta::minutes(30);
            let wanted = one.open_operations(kind, before, 1_000).await.expect("operations");
            let found = other.open_operations(kind, before, 1_000).await.expect("operations");
            assert_eq!(without_places(&found), without_places(&wanted), "{place}");
        }
        for status in Status::ALL.map(Some).into_iter().chain([None]) {
            let wanted = one.list(status, None, 10).await.expect("a list");
            assert_eq!(other.list(status, None, 10).await.expect("a list"), wanted, "{place}");
        }
        let wanted = one.versions(None, 10).await.expect("versions");
        assert_eq!(other.versions(None, 10).await.expect("versions"), wanted, "{place}");
        let wanted = one.outbox_backlog().await.expect("a backlog");
        assert_eq!(other.outbox_backlog().await.expect("a backlog"), wanted, "{place}");
        let mut count = 0;
        for caller in [Source::Lobby, Source::Admin] {
            for n in 0..40 {
                let key = format!("key-{n}").parse().expect("a key");
                let key = ClaimKey { caller, key };
                let wanted = one.claim(&key).await.expect("a claim");
                assert_eq!(other.claim(&key).await.expect("a claim"), wanted, "{place}");
                count += usize::from(wanted.is_some());
            }
        }
        count
    }
}

/// The places are each store's to choose.
fn bare(rows: &[OutboxRow]) -> Vec<OutboxRow> {
    rows.iter().map(|row| OutboxRow { seq: 0, ..row.clone() }).collect()
}

fn without_places(rows: &[OperationRow]) -> Vec<OperationRow> {
    rows.iter().map(|row| OperationRow { seq: 0, ..row.clone() }).collect()
}
