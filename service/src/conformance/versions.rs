//! The registry of engine versions, and that nothing names a version that is not in it.

use std::sync::Arc;

use chrono::TimeDelta;
use machine::{EngineVersion, Event, Timestamp};

use super::claims::{found, opened};
use super::records::{apply, running};
use super::sample::{Game, START, change, claim, fresh, new_version};
use super::{Rng, StoreFactory};
use crate::ports::{
    ClaimAnswer, ClaimRow, Commit, Committed, EngineVersionRow, NewVersion, Source, Store,
    VersionChange, VersionCommit, VersionCommitted, VersionOptions, VersionStatus,
};

pub(super) async fn changed(store: &dyn Store, commit: &VersionCommit) -> VersionCommitted {
    store.change_version(commit).await.expect("an answer")
}

async fn applied(store: &dyn Store, commit: &VersionCommit) -> Option<EngineVersionRow> {
    match changed(store, commit).await {
        VersionCommitted::Applied(row) => row.map(|row| *row),
        other @ (VersionCommitted::Exists
        | VersionCommitted::NotFound
        | VersionCommitted::InUse
        | VersionCommitted::Claimed) => panic!("{other:?} to {commit:?}"),
    }
}

fn version(text: &str) -> EngineVersion {
    text.parse().expect("a version")
}

fn create(text: &str, rng: &mut Rng) -> VersionCommit {
    change(VersionChange::Create(new_version(text)), START, rng)
}

fn minutes(n: i64) -> Timestamp {
    START + TimeDelta::minutes(n)
}

/// A version is registered once, and versions are listed as semver orders them.
pub(super) async fn versions_are_kept_in_semver_order(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(60);
    let texts = ["1.10.0", "1.9.3", "2.0.0-rc.1", "2.0.0", "1.9.10", "2.0.0-alpha", "0.1.0"];
    for (n, text) in texts.iter().enumerate() {
        let new = NewVersion {
            version: text.parse().expect("a version"),
            image_ref: format!("galaxy/engine:{text}").parse().expect("an image"),
            options: VersionOptions { turn_guard: n % 2 == 0 },
        };
        assert_eq!(store.version(&new.version).await.expect("a version"), None);
        let create = change(VersionChange::Create(new.clone()), START, &mut rng);
        let row = applied(&*store, &create).await.expect("a version");
        assert_eq!(store.version(&new.version).await.expect("a version"), Some(row));
        let other = NewVersion {
            image_ref: "galaxy/other:1.0.0".parse().expect("an image"),
            ..new.clone()
        };
        let late = START + TimeDelta::hours(1);
        let again = change(VersionChange::Create(other), late, &mut rng);
        assert_eq!(changed(&*store, &again).await, VersionCommitted::Exists);
        let row = store.version(&new.version).await.expect("a version").expect("there");
        assert_eq!((row.version, row.image_ref), (new.version, new.image_ref));
        assert_eq!((row.options, row.status), (new.options, VersionStatus::Active));
        assert_eq!((row.created_at, row.updated_at), (START, START));
    }
    let mut paged = vec![];
    let mut after = None;
    loop {
        let page = store.versions(after.as_ref(), 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.version.clone());
        paged.extend(page.iter().map(|row| row.version.to_string()));
    }
    let sorted = ["0.1.0", "1.9.3", "1.9.10", "1.10.0", "2.0.0-alpha", "2.0.0-rc.1", "2.0.0"];
    assert_eq!(paged, sorted);
    assert_eq!(store.versions(None, 0).await.expect("nothing"), vec![]);
}

/// A version comes, changes, is deprecated and goes, and says so each time.
pub(super) async fn a_version_changes_as_told(factory: &mut dyn StoreFactory) {
    let store = factory.empty().await;
    let mut rng = Rng::new(61);
    let it = version("3.0.0");
    let update = |image_ref: Option<&str>, options| VersionChange::Update {
        version: version("3.0.0"),
        image_ref: image_ref.map(|text| text.parse().expect("an image")),
        options,
    };
    let guard = |turn_guard| Some(VersionOptions { turn_guard });
    for missing in [
        update(Some("a/b:1"), guard(false)),
        VersionChange::Deprecate(it.clone()),
        VersionChange::Delete(it.clone()),
    ] {
        let commit = change(missing, START, &mut rng);
        assert_eq!(changed(&*store, &commit).await, VersionCommitted::NotFound);
        assert_eq!(store.version(&it).await.expect("a version"), None);
    }
    let mut wanted = applied(&*store, &create("3.0.0", &mut rng)).await.expect("there");
    assert_eq!(wanted.status, VersionStatus::Active);

    for (at, image_ref, options) in
        [(1, Some("a/b:1"), None), (2, None, guard(false)), (3, Some("a/b:2"), guard(true))]
    {
        let commit = change(update(image_ref, options), minutes(at), &mut rng);
        if let Some(text) = image_ref {
            wanted.image_ref = text.parse().expect("an image");
        }
        wanted.options = options.unwrap_or(wanted.options);
        wanted.updated_at = minutes(at);
        assert_eq!(applied(&*store, &commit).await.as_ref(), Some(&wanted));
        assert_eq!(store.version(&it).await.expect("a version").as_ref(), Some(&wanted));
    }
    let deprecate = |at, rng: &mut Rng| change(VersionChange::Deprecate(it.clone()), at, rng);
    let first = deprecate(minutes(4), &mut rng);
    wanted.status = VersionStatus::Deprecated;
    wanted.updated_at = minutes(4);
    assert_eq!(applied(&*store, &first).await.as_ref(), Some(&wanted));
    let second = deprecate(minutes(5), &mut rng);
    assert_eq!(applied(&*store, &second).await.as_ref(), Some(&wanted), "it is so already");
    // What is deprecated can be changed, and stays it.
    let commit = change(update(Some("a/b:3"), None), minutes(6), &mut rng);
    wanted.image_ref = "a/b:3".parse().expect("an image");
    wanted.updated_at = minutes(6);
    assert_eq!(applied(&*store, &commit).await.as_ref(), Some(&wanted));

    let store = factory.reopen(store).await;
    assert_eq!(store.version(&it).await.expect("a version").as_ref(), Some(&wanted));
    // Repeats change nothing, and tell how it stands by now.
    for repeat in [&first, &second, &commit] {
        assert_eq!(applied(&*store, repeat).await.as_ref(), Some(&wanted));
    }
    let delete = change(VersionChange::Delete(it.clone()), minutes(7), &mut rng);
    assert_eq!(applied(&*store, &delete).await, None);
    assert_eq!(store.versions(None, 9).await.expect("versions"), vec![]);
    let store = factory.reopen(store).await;
    for repeat in [&delete, &first, &commit] {
        assert_eq!(applied(&*store, repeat).await, None, "it is gone");
    }
    assert_eq!(store.version(&it).await.expect("a version"), None);
    // And it may come again, as another one.
    let again = change(VersionChange::Create(new_version("3.0.0")), minutes(8), &mut rng);
    let row = applied(&*store, &again).await.expect("there");
    assert_eq!((row.status, row.created_at), (VersionStatus::Active, minutes(8)));
    assert_eq!(applied(&*store, &delete).await.as_ref(), Some(&row), "a repeat deletes no more");
}

/// A name is claimed for a change as for an operation, and answered with the version it left.
pub(super) async fn a_change_claims_its_name(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(62);
    let name = claim(Source::Admin, "key", &mut rng);
    let named = |commit: VersionCommit, claim| VersionCommit { claim: Some(claim), ..commit };
    let first = named(create("3.0.0", &mut rng), name.clone());
    let row = applied(&*store, &first).await;
    let answer = ClaimAnswer::Version(row.clone().map(Box::new));
    let wanted = ClaimRow { claim: name.clone(), answer, at: START };
    assert_eq!(found(&*store, &name.key).await.as_ref(), Some(&wanted));
    // The name goes before all else: a repeat of the same request is what it would be without.
    let it = version("3.0.0");
    for late in [
        VersionChange::Create(new_version("3.0.0")),
        VersionChange::Create(new_version("3.0.1")),
        VersionChange::Deprecate(it.clone()),
        VersionChange::Delete(it.clone()),
        VersionChange::Delete(version("9.9.9")),
    ] {
        let late = named(change(late, minutes(1), &mut rng), name.clone());
        assert_eq!(changed(&*store, &late).await, VersionCommitted::Claimed);
        assert_eq!(store.version(&it).await.expect("a version"), row);
    }
    assert_eq!(store.version(&version("3.0.1")).await.expect("a version"), None);
    // So it does with commits, whose names are the same.
    let mut game = running(&*store, "game-1", &mut rng).await;
    let force = game.must(&Event::Force, &mut rng);
    let late = Commit { claim: Some(name.clone()), ..force.clone() };
    assert_eq!(store.commit(&late).await.expect("an answer"), Committed::Conflict);
    let theirs = claim(Source::Admin, "theirs", &mut rng);
    let force = Commit { claim: Some(theirs.clone()), ..force };
    apply(&*store, &mut game, &force).await;
    let late = named(create("3.0.2", &mut rng), theirs.clone());
    assert_eq!(changed(&*store, &late).await, VersionCommitted::Claimed);
    // What did not happen claims nothing.
    let other = claim(Source::Admin, "other", &mut rng);
    let exists = named(create("3.0.0", &mut rng), other.clone());
    assert_eq!(changed(&*store, &exists).await, VersionCommitted::Exists);
    assert_eq!(found(&*store, &other.key).await, None);
    // The answer is what the change left, not what came of it later.
    let gone = named(change(VersionChange::Delete(it), minutes(2), &mut rng), other.clone());
    assert_eq!(applied(&*store, &gone).await, None);
    let store = factory.reopen(store).await;
    assert_eq!(found(&*store, &name.key).await, Some(wanted));
    let row = found(&*store, &other.key).await.expect("it was claimed");
    assert_eq!((row.answer, row.at), (ClaimAnswer::Version(None), minutes(2)));
    let Some(ClaimRow { answer: ClaimAnswer::Operation { operation, .. }, .. }) =
        found(&*store, &theirs.key).await
    else {
        panic!("it was claimed for an operation");
    };
    assert_eq!(operation, opened(&force));
}

/// A registration of a game on a version.
fn registration(game: &Game, text: &str, rng: &mut Rng) -> Commit {
    let mut event = game.registration(rng);
    if let Event::Register(registration) = &mut event {
        registration.version = version(text);
    }
    game.must(&event, rng)
}

/// A game is not registered on, and not patched to, a version that is not registered.
pub(super) async fn an_unknown_version_is_a_value(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(63);
    let mut game = Game::new("game-1");
    let commit = registration(&game, "3.0.0", &mut rng);
    let name = claim(Source::Lobby, "key", &mut rng);
    let named = Commit { claim: Some(name.clone()), ..commit };
    assert_eq!(store.commit(&named).await.expect("an answer"), Committed::UnknownVersion);
    assert_eq!(store.load(&game.id).await.expect("a load"), None);
    assert_eq!(found(&*store, &name.key).await, None);
    assert_eq!(store.operations(&game.id, None, 9).await.expect("operations"), vec![]);
    assert_eq!(store.outbox_backlog().await.expect("a backlog").waiting, 0);
    // Nor is that answer remembered.
    applied(&*store, &create("3.0.0", &mut rng)).await;
    apply(&*store, &mut game, &named).await;
    let init = game.must(&game.init_done(), &mut rng);
    apply(&*store, &mut game, &init).await;

    let patch = Event::Patch {
        version: version("3.0.1"),
        image_ref: "galaxy/engine:3.0.1".parse().expect("an image"),
        turn_guard: true,
    };
    let commit = game.must(&patch, &mut rng);
    assert_eq!(store.commit(&commit).await.expect("an answer"), Committed::UnknownVersion);
    assert_eq!(store.load(&game.id).await.expect("a load"), game.record);
    assert_eq!(store.operation(opened(&commit)).await.expect("an answer"), None);
    // A name that is taken goes before: the first request under it may be why.
    let twin = Game::new("twin");
    let late = Commit { claim: Some(name), ..registration(&twin, "4.0.0", &mut rng) };
    assert_eq!(store.commit(&late).await.expect("an answer"), Committed::Conflict);
    // What is deprecated is registered all the same.
    let deprecate = VersionChange::Deprecate(version("3.0.0"));
    applied(&*store, &change(deprecate, START, &mut rng)).await;
    let mut other = Game::new("game-2");
    let commit = registration(&other, "3.0.0", &mut rng);
    apply(&*store, &mut other, &commit).await;
    applied(&*store, &create("3.0.1", &mut rng)).await;
    let commit = game.must(&patch, &mut rng);
    apply(&*store, &mut game, &commit).await;
}

/// A version goes when nothing names it: no game, however long it is over, and no patch on its way.
pub(super) async fn what_is_named_stays(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(64);
    for text in ["3.0.0", "3.0.1"] {
        applied(&*store, &create(text, &mut rng)).await;
    }
    let mut game = Game::new("game-1");
    let commit = registration(&game, "3.0.0", &mut rng);
    apply(&*store, &mut game, &commit).await;
    is_named(&*store, "3.0.0", &mut rng).await;
    // A registration that is rolled back names nothing any more.
    game.now = START + TimeDelta::days(1);
    let gone = game.must(&Event::WorkLeaseExpired, &mut rng);
    apply(&*store, &mut game, &gone).await;
    is_free(&*store, "3.0.0", &mut rng).await;
    applied(&*store, &create("3.0.0", &mut rng)).await;

    game.now = START;
    let commit = registration(&game, "3.0.0", &mut rng);
    apply(&*store, &mut game, &commit).await;
    let init = game.must(&game.init_done(), &mut rng);
    apply(&*store, &mut game, &init).await;
    let patch = Event::Patch {
        version: version("3.0.1"),
        image_ref: "galaxy/engine:3.0.1".parse().expect("an image"),
        turn_guard: true,
    };
    let commit = game.must(&patch, &mut rng);
    apply(&*store, &mut game, &commit).await;
    let store = factory.reopen(store).await;
    is_named(&*store, "3.0.0", &mut rng).await;
    is_named(&*store, "3.0.1", &mut rng).await;
    let rt = game.record.as_ref().expect("a record");
    let ticket = machine::Ticket { incarnation: rt.incarnation, attempt: rt.attempt };
    let container = "container-2".parse().expect("a container id");
    let patched = game.must(&Event::PatchDone(ticket, Ok(container)), &mut rng);
    apply(&*store, &mut game, &patched).await;
    is_free(&*store, "3.0.0", &mut rng).await;
    is_named(&*store, "3.0.1", &mut rng).await;

    // Over is not gone: stopped,
    let mut stopped = Game::new("stopped");
    let commit = registration(&stopped, "3.0.1", &mut rng);
    apply(&*store, &mut stopped, &commit).await;
    let init = stopped.must(&stopped.init_done(), &mut rng);
    apply(&*store, &mut stopped, &init).await;
    let stop = stopped.must(&Event::Stop { reason: "done".parse().expect("a reason") }, &mut rng);
    apply(&*store, &mut stopped, &stop).await;
    let rt = stopped.record.as_ref().expect("a record");
    let ticket = machine::Ticket { incarnation: rt.incarnation, attempt: rt.attempt };
    let done = stopped.must(&Event::StopDone(ticket, Ok(())), &mut rng);
    apply(&*store, &mut stopped, &done).await;
    let status = stopped.record.as_ref().map(|rt| rt.status());
    assert_eq!(status, Some(machine::Status::Stopped));
    is_named(&*store, "3.0.1", &mut rng).await;
    // or finished.
    applied(&*store, &create("3.0.2", &mut rng)).await;
    let mut finished = Game::new("finished");
    let commit = registration(&finished, "3.0.2", &mut rng);
    apply(&*store, &mut finished, &commit).await;
    let init = finished.must(&finished.init_done(), &mut rng);
    apply(&*store, &mut finished, &init).await;
    let force = finished.must(&Event::Force, &mut rng);
    apply(&*store, &mut finished, &force).await;
    let ticket = finished.work_ticket().expect("a turn is under way");
    let end = Event::TurnDone(ticket, Ok(Game::engine_at(1, true)));
    let end = finished.must(&end, &mut rng);
    apply(&*store, &mut finished, &end).await;
    let status = finished.record.as_ref().map(|rt| rt.status());
    assert_eq!(status, Some(machine::Status::Finished));
    is_named(&*store, "3.0.2", &mut rng).await;
}

async fn is_named(store: &dyn Store, text: &str, rng: &mut Rng) {
    let it = version(text);
    let before = store.version(&it).await.expect("a version");
    assert!(before.is_some(), "{text}");
    let delete = change(VersionChange::Delete(it.clone()), START, rng);
    assert_eq!(changed(store, &delete).await, VersionCommitted::InUse, "{text}");
    assert_eq!(store.version(&it).await.expect("a version"), before, "{text}");
}

async fn is_free(store: &dyn Store, text: &str, rng: &mut Rng) {
    let delete = change(VersionChange::Delete(version(text)), START, rng);
    assert_eq!(changed(store, &delete).await, VersionCommitted::Applied(None), "{text}");
}

/// Whoever comes first, a registration or the end of its version: no game is left without one.
pub(super) async fn no_reference_dangles(factory: &mut dyn StoreFactory) {
    let store = fresh(factory).await;
    let mut rng = Rng::new(65);
    for round in 0..24 {
        let text = format!("3.0.{round}");
        applied(&*store, &create(&text, &mut rng)).await;
        let mut games = tokio::task::JoinSet::new();
        for n in 0..3 {
            let game = Game::new(&format!("game-{round}-{n}"));
            let commit = registration(&game, &text, &mut rng);
            let store = Arc::clone(&store);
            games.spawn(async move {
                // Each has its turn to come first, as often as the scheduler allows.
                for _ in 0..(round + n) % 3 {
                    tokio::task::yield_now().await;
                }
                store.commit(&commit).await.expect("a commit")
            });
        }
        let delete = change(VersionChange::Delete(version(&text)), START, &mut rng);
        let ended = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { changed(&*store, &delete).await })
        };
        let mut answers = vec![];
        while let Some(answer) = games.join_next().await {
            answers.push(answer.expect("a racer"));
        }
        let ended = ended.await.expect("a racer");
        let there = store.version(&version(&text)).await.expect("a version").is_some();
        match ended {
            VersionCommitted::Applied(None) => {
                assert!(!there);
                assert!(answers.iter().all(|a| *a == Committed::UnknownVersion), "{answers:?}");
            }
            VersionCommitted::InUse => {
                assert!(there);
                assert!(answers.contains(&Committed::Applied), "{answers:?}");
            }
            other @ (VersionCommitted::Applied(Some(_))
            | VersionCommitted::Exists
            | VersionCommitted::NotFound
            | VersionCommitted::Claimed) => panic!("{other:?}"),
        }
    }
}
