//! What the adapter writes is read back as what it was.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use machine::{AuditEntry, AuditMark, Failure, FailureCode, OperationId, OperationKind, Outcome};
use service::conformance::{Game, Rng, START, likely_event, register_versions};
use service::ports::{
    Claim, ClaimKey, Commit, CommitId, Committed, Fingerprint, LogCommit, Origin, Source, Store,
};
use sim::postgres::{Answer, Member};

use crate::support::Served;

/// How many games, and how often something happens to each.
const GAMES: u64 = 12;
const STEPS: usize = 60;

#[tokio::test]
async fn what_arrives_is_what_was_sent() {
    let served = Served::new(1).await;
    let store = served.open();
    register_versions(&store).await;
    let heard = Arc::new(Mutex::new(vec![]));
    let tell = Arc::clone(&heard);
    served.database.observe(move |asked, answer| {
        let line = (format!("{:?}", asked.what), answer);
        tell.lock().expect("not poisoned").push(line);
    });
    let last = || heard.lock().expect("not poisoned").pop().expect("something arrived");
    let (mut records, mut logs, mut messages, mut claims) = (0, 0, 0, 0);
    for seed in 0..GAMES {
        let mut rng = Rng::new(seed);
        let mut game = Game::new(&format!("game-{seed}"));
        for step in 0..STEPS {
            game.now += TimeDelta::milliseconds(i64::try_from(rng.below(90_000)).expect("small"));
            let event = likely_event(&game, &mut rng);
            let Some(commit) = game.decide(&event, &mut rng) else { continue };
            let opens = |entry: &AuditEntry| matches!(entry.mark, AuditMark::Opened { .. });
            let claim = commit.audit.iter().any(opens).then(|| claim(seed, step, &mut rng));
            let commit = Commit { claim, ..commit };
            assert_eq!(store.commit(&commit).await.expect("an answer"), Committed::Applied);
            messages += commit.messages.len();
            claims += usize::from(commit.claim.is_some());
            game.applied(&commit);
            let sent = format!("{:?}", Member::Record(Box::new(commit)));
            assert_eq!(last(), (sent, Answer::Applied));
            records += 1;

            let commit = log(&game, step, &mut rng);
            let answer = store.log(&commit).await.expect("an answer");
            assert_eq!(answer, Committed::Applied);
            let sent = format!("{:?}", Member::Log(Box::new(commit)));
            assert_eq!(last(), (sent, Answer::Applied));
            logs += 1;
        }
    }
    let counts = [records, logs, messages, claims];
    assert!(counts.iter().all(|count| *count > 50), "too little was sent: {counts:?}");
}

fn claim(seed: u64, step: usize, rng: &mut Rng) -> Claim {
    let key = format!("key-{seed}-{step}~!").parse().expect("a key");
    let caller = *rng.pick(&[Source::Gateway, Source::Lobby, Source::Admin]).expect("one");
    let fingerprint = std::array::from_fn(|_| rng.bits().to_be_bytes()[0]);
    Claim { key: ClaimKey { caller, key }, fingerprint: Fingerprint(fingerprint) }
}

fn log(game: &Game, step: usize, rng: &mut Rng) -> LogCommit {
    let kind = OperationKind::Banish;
    let outcomes = [
        Outcome::Succeeded,
        Outcome::Superseded,
        Outcome::Failed(Failure { code: FailureCode::RtmRefused, message: "\"no\" – è".into() }),
    ];
    let mark = match rng.pick(&outcomes).filter(|_| step.is_multiple_of(2)) {
        Some(outcome) => AuditMark::Instant { kind, outcome: outcome.clone() },
        None => AuditMark::Opened { kind, turn: Some(7), tick: Some(START) },
    };
    LogCommit {
        id: CommitId(rng.uuid()),
        game_id: game.id.clone(),
        audit: AuditEntry { operation: OperationId(rng.uuid()), mark },
        race: rng.percent(50).then(|| "Ünï çødé".parse().expect("a race")),
        origin: Origin { source: Source::Lobby, request_id: rng.percent(50).then(|| "r".into()) },
        claim: None,
        at: game.now,
    }
}
