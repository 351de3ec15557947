//! The suite that every store passes, and the same story told to two stores.

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{
    AuditEntry, AuditMark, Channel, OperationId, OperationKind, Outcome, Status, StreamId,
};
use service::conformance::{Game, Rng, START, likely_event, store};
use service::embedded::Embedded;
use service::ports::{
    Claim, ClaimKey, Commit, CommitError, CommitId, Expected, Fingerprint, LogCommit, NewVersion,
    OperationRow, Origin, OutboxRow, Source, Store, SystemClock, Term, VersionChange,
    VersionCommit, VersionOptions,
};

use crate::support::{OnServer, know_versions, open, settings, shared};

/// Says how many random sequences there are, where that is not [`SEQUENCES`].
const VARIABLE: &str = "GAMEMASTER_TEST_SEQUENCES";
/// How many random sequences, and how long each is.
const SEQUENCES: u64 = 16;
const STEPS: usize = 100;
/// How many stories are told to two stores, and how long each is.
const STORIES: u64 = 4;
const STORY_STEPS: usize = 150;

/// So many, and as many times that as the environment asks for more sequences.
fn as_asked(count: u64) -> u64 {
    let Ok(text) = std::env::var(VARIABLE) else { return count };
    let asked: u64 = text.parse().expect("GAMEMASTER_TEST_SEQUENCES is a number");
    (count * asked).div_ceil(SEQUENCES)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_every_promise() {
    store::directed(&mut OnServer::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_agrees_with_its_model() {
    let mut factory = OnServer::default();
    for seed in 0..as_asked(SEQUENCES) {
        store::sequence(&mut factory, seed, STEPS).await;
    }
}

/// Two stores that are told the same.
struct Both {
    embedded: Arc<dyn Store>,
    postgres: Arc<dyn Store>,
    rng: Rng,
    games: Vec<Game>,
    made: Vec<Commit>,
    opened: Vec<(machine::GameId, OperationId)>,
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

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_gives_the_same_answers() {
    let mut claimed = 0;
    for seed in 0..as_asked(STORIES) {
        let (_, database) = shared().await;
        let mut both = Both {
            embedded: Arc::new(Embedded::in_memory(Arc::new(SystemClock))),
            postgres: Arc::new(open(settings(&database.url))),
            rng: Rng::new(seed),
            games: ["game-1", "Game-2", "g_3"].map(Game::new).to_vec(),
            made: vec![],
            opened: vec![],
            place: String::new(),
        };
        know_versions(&*both.embedded, &mut Rng::new(9)).await;
        know_versions(&*both.postgres, &mut Rng::new(9)).await;
        for step in 0..STORY_STEPS {
            both.place = format!("seed {seed}, step {step}");
            both.step(step).await;
        }
        claimed += both.compare().await;
    }
    assert!(claimed > 10, "only {claimed} claims came to anything");
}

impl Both {
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

    async fn decide(&mut self, now: machine::Timestamp) {
        let index = self.rng.below_usize(self.games.len());
        let claim = self.claim();
        let game = self.games.get_mut(index).expect("a game");
        game.now = now;
        if self.rng.percent(85) {
            game.record = self.embedded.load(&game.id).await.expect("a load");
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
        let one = self.embedded.commit(commit).await;
        let other = self.postgres.commit(commit).await;
        same(&one, &other, &format!("{}: {commit:?}", self.place));
        let one = self.embedded.load(&commit.game_id).await.expect("a load");
        assert_eq!(self.postgres.load(&commit.game_id).await.expect("a load"), one);
    }

    async fn spoil(&mut self) {
        let Some(mut commit) = self.rng.pick(&self.made).cloned() else { return };
        commit.id = CommitId(self.rng.uuid());
        if self.rng.percent(60) {
            let there = self.embedded.load(&commit.game_id).await.expect("a load");
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

    async fn log(&mut self, at: machine::Timestamp) {
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
            let one = self.embedded.log(&commit).await;
            let other = self.postgres.log(&commit).await;
            same(&one, &other, &format!("{}: {commit:?}", self.place));
        }
    }

    async fn version(&mut self, at: machine::Timestamp) {
        let texts = ["1.4.2", "1.4.3", "2.0.0", "2.0.0-rc.1", "10.0.0"];
        let version: machine::EngineVersion =
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
            let one = self.embedded.change_version(&commit).await;
            let other = self.postgres.change_version(&commit).await;
            same(&one, &other, &format!("{}: {commit:?}", self.place));
        }
    }

    async fn outbox(&mut self, now: machine::Timestamp) {
        let channel = self.rng.pick(&Channel::ALL).copied().expect("a channel");
        let floor = StreamId { ms: self.rng.below(2_000_000_000_000), seq: self.rng.bits() };
        let limit = self.rng.below_usize(6);
        let one = self
            .embedded
            .outbox_assign(Term::default(), channel, floor, now, limit)
            .await
            .expect("rows")
            .expect("its term");
        let other = self
            .postgres
            .outbox_assign(Term::default(), channel, floor, now, limit)
            .await
            .expect("rows")
            .expect("its term");
        assert_eq!(bare(&other), bare(&one), "{}", self.place);
        let count = self.rng.below_usize(one.len() + 1);
        let seqs =
            |rows: &[OutboxRow]| rows.iter().take(count).map(|row| row.seq).collect::<Vec<_>>();
        self.embedded.outbox_published(&seqs(&one), now).await.expect("marks");
        self.postgres.outbox_published(&seqs(&other), now).await.expect("marks");
        for store in [&self.embedded, &self.postgres] {
            if self.rng.clone().percent(20) {
                store
                    .outbox_unassign(Term::default(), channel)
                    .await
                    .expect("taken back")
                    .expect("its term");
            }
        }
        let newest = self.embedded.outbox_newest(channel).await.expect("newest");
        assert_eq!(self.postgres.outbox_newest(channel).await.expect("newest"), newest);
        if self.rng.percent(20) {
            let after = StreamId { ms: newest.ms.saturating_sub(self.rng.below(9)), seq: 0 };
            let one = self.embedded.outbox_replay(channel, after).await.expect("a count");
            let other = self.postgres.outbox_replay(channel, after).await.expect("a count");
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
    async fn compare(&mut self) -> usize {
        let (one, other, place) = (&self.embedded, &self.postgres, &self.place);
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
