//! Several Game Masters over one store: who leads, who strikes, and what each hears of the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use machine::{Event, GameId};
use service::app::{self, App, RunError, Seams};
use service::driver::Change;
use service::embedded::Embedded;
use service::error::ServiceError;
use service::fleet::TERM_TTL;
use service::http::Api;
use service::ports::{Feed, FeedError, Heard, MembershipStatus, News, Store, Streams};
use service::unreliable::{Call, Fate, UnreliableStore};
use tokio::sync::{Mutex as Held, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::players::{AT_ONCE, Members, app, command_of, memberships};
use crate::recovery::{seams, settings};
use crate::world::{DAILY, EVERY_TEN, Instance, World, game, metric};

const RELAY: &str = "gamemaster_leads{role=\"outbox_relay\"}";
const CONSUMER: &str = "gamemaster_leads{role=\"health_consumer\"}";

fn streams(world: &World) -> Arc<dyn Streams> {
    Arc::new(Embedded::in_memory(Arc::clone(&world.clock)))
}

/// A whole Game Master under way.
struct Running {
    app: Arc<App>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

async fn start(name: &str, seams: Seams) -> Running {
    let stop = CancellationToken::new();
    let bound = app::bind(settings(name), seams, stop.clone()).await.expect("it starts");
    Running { app: bound.app(), stop, task: tokio::spawn(bound.run()) }
}

impl Running {
    fn metric(&self, series: &str) -> u64 {
        metric(self.app.telemetry(), series)
    }

    async fn ended(self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await;
        ended.expect("it ends").expect("no panic")
    }
}

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for something within a time of the paused clock; how long it took.
async fn within(limit: Duration, what: &str, mut wanted: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !wanted() {
        assert!(began.elapsed() <= limit, "{what} took too long");
        tokio::time::sleep(LOOK).await;
    }
    began.elapsed()
}

/// Everything that a frozen process asked for arrives when it goes on, and not before.
fn frozen(is_frozen: &Arc<AtomicBool>) -> impl Fn(Call<'_>) -> Fate + Send + Sync + 'static {
    let is_frozen = Arc::clone(is_frozen);
    move |_| match is_frozen.load(Ordering::Relaxed) {
        true => Fate::Late { after_calls: u32::MAX },
        false => Fate::Pass,
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_from_the_start_and_at_its_end_the_other_does_at_once() {
    let world = World::new(true);
    let shared = streams(&world);
    let began = Instant::now();
    let first = start("gm-1", Seams { streams: Arc::clone(&shared), ..seams(&world) }).await;
    within(Duration::ZERO, "the first term", || first.metric(RELAY) + first.metric(CONSUMER) == 2)
        .await;
    assert!(began.elapsed() <= LOOK, "one that is alone waits for nobody");
    let second = start("gm-2", Seams { streams: shared, ..seams(&world) }).await;
    let alive = "gamemaster_instances_alive";
    within(TERM_TTL, "the roll", || first.metric(alive) == 2 && second.metric(alive) == 2).await;
    assert_eq!(second.metric(RELAY) + second.metric(CONSUMER), 0);

    first.stop.cancel();
    let counted = first.app.telemetry().clone();
    assert_eq!(first.ended().await, Ok(()));
    within(TERM_TTL / 2, "the change", || second.metric(RELAY) + second.metric(CONSUMER) == 2)
        .await;
    assert_eq!(metric(&counted, RELAY) + metric(&counted, CONSUMER), 0);
    within(TERM_TTL / 2, "the roll", || second.metric(alive) == 1).await;
    second.stop.cancel();
    assert_eq!(second.ended().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_last_one_to_end_publishes_what_is_left_though_it_never_led() {
    let world = World::new(true);
    let shared = streams(&world);
    let first = start("gm-1", Seams { streams: Arc::clone(&shared), ..seams(&world) }).await;
    tokio::time::sleep(LOOK).await;
    let second = start("gm-2", Seams { streams: Arc::clone(&shared), ..seams(&world) }).await;
    tokio::time::sleep(LOOK).await;
    first.stop.cancel();
    assert_eq!(first.ended().await, Ok(()));
    assert_eq!(second.metric(RELAY), 0, "it does not know yet");
    let game = world.running(&world.instance("gm-0"), "game-1", DAILY).await;
    assert!(world.store.outbox_backlog().await.expect("a backlog").waiting > 0);
    second.stop.cancel();
    assert_eq!(second.ended().await, Ok(()));
    assert_eq!(world.store.outbox_backlog().await.expect("a backlog").waiting, 0);
    world.told_in_order(&*shared, &game).await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_relay_is_replaced_within_its_term_and_does_no_harm_when_it_goes_on() {
    let world = World::new(true);
    let shared = streams(&world);
    let is_frozen = Arc::new(AtomicBool::new(false));
    let inner: Arc<dyn Store> = world.store.clone();
    let over = Arc::new(UnreliableStore::new(inner, frozen(&is_frozen)));
    let (one, two) = (world.instance_over("gm-1", over.clone()), world.instance("gm-2"));
    let gone = CancellationToken::new();
    let attends = [one.attend("gm-1", 1, &gone), two.attend("gm-2", 2, &gone)];
    let leads = [one.lead(Arc::clone(&shared)), two.lead(Arc::clone(&shared))];
    let game = world.running(&two, "game-1", DAILY).await;
    world.until_published().await;
    assert_eq!((one.metric(RELAY), two.metric(RELAY)), (1, 0));

    is_frozen.store(true, Ordering::Relaxed);
    let froze = Instant::now();
    two.perform(&game, Event::Force).await.expect("a turn");
    // What it asks for meanwhile is on its way, the assignment of ids among it.
    let other = || two.metric(RELAY) == 1;
    within(TERM_TTL + Duration::from_secs(2), "the fail-over", other).await;
    assert_eq!(one.metric(RELAY), 0, "two lead at once");
    assert!(froze.elapsed() > TERM_TTL - Duration::from_secs(2));
    two.perform(&game, Event::Force).await.expect("a turn");
    world.until_published().await;

    is_frozen.store(false, Ordering::Relaxed);
    let before = world.outbox(machine::Channel::LobbyEvents).await;
    assert!(over.deliver_late().await > 1);
    assert_eq!(world.outbox(machine::Channel::LobbyEvents).await, before);
    two.perform(&game, Event::Force).await.expect("a turn");
    world.until_published().await;
    tokio::time::sleep(TERM_TTL * 2).await;
    assert_eq!((one.metric(RELAY), two.metric(RELAY)), (0, 1), "it stays replaced");
    assert_eq!(one.metric("gamemaster_terms_lost_total{role=\"outbox_relay\"}"), 1);
    world.told_in_order(&*shared, &game).await;
    gone.cancel();
    one.stop.cancel();
    two.stop.cancel();
    for worker in attends.into_iter().chain(leads) {
        worker.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn the_older_of_two_of_one_name_ends_itself_and_says_why() {
    let world = World::new(true);
    let older = start("gm-1", seams(&world)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let newer = start("gm-1", seams(&world)).await;
    within(Duration::ZERO, "the change", || newer.metric(RELAY) + newer.metric(CONSUMER) == 2)
        .await;
    let error = older.ended().await.expect_err("it says so");
    assert_eq!(error, RunError::Displaced("gm-1".parse().expect("a name")));
    assert!(error.to_string().contains("GAMEMASTER_INSTANCE"), "{error}");
    tokio::time::sleep(TERM_TTL * 2).await;
    assert_eq!(newer.metric(RELAY) + newer.metric(CONSUMER), 2);
    assert!(!newer.stop.is_cancelled());
    newer.stop.cancel();
    assert_eq!(newer.ended().await, Ok(()));
}

/// Two instances that attend and hear of each other; how many ticks each has struck is counted.
struct Pair {
    instances: [Instance; 2],
    changes: [broadcast::Receiver<Change>; 2],
    gone: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

const NAMES: [&str; 2] = ["gm-1", "gm-2"];

impl Pair {
    async fn new(world: &World) -> Self {
        let instances = NAMES.map(|name| world.instance(name));
        let (gone, mut workers) = (CancellationToken::new(), vec![]);
        for ((instance, name), boot) in instances.iter().zip(NAMES).zip(1..) {
            workers.push(instance.attend(name, boot, &gone));
            let members = memberships(Arc::new(Members::default()));
            workers.push(instance.hear(Arc::new(world.store.feed()), members));
        }
        tokio::time::sleep(TERM_TTL).await;
        let changes = [0, 1].map(|n: usize| instances[n].driver.changes());
        Self { instances, changes, gone, workers }
    }

    /// The ticks since the last look: by game, who struck it and how often.
    fn struck(&mut self) -> BTreeMap<GameId, [usize; 2]> {
        let mut struck: BTreeMap<GameId, [usize; 2]> = BTreeMap::new();
        for (n, changes) in self.changes.iter_mut().enumerate() {
            while let Ok(change) = changes.try_recv() {
                let record = change.after.filter(|_| change.event == "tick");
                if let Some(record) = record {
                    struck.entry(record.game_id.clone()).or_default()[n] += 1;
                }
            }
        }
        struck
    }

    async fn end(self) {
        self.instances.iter().for_each(|instance| instance.stop.cancel());
        self.gone.cancel();
        for worker in self.workers {
            worker.await.expect("no panic");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_timer_is_struck_by_its_owner_and_by_the_other_where_the_owner_does_not() {
    let world = World::new(true);
    let mut pair = Pair::new(&world).await;
    let mut games = vec![];
    for n in 0..12 {
        let name = format!("game-{n}");
        games.push(world.running(&pair.instances[0], &name, EVERY_TEN).await);
    }
    let owner = |pair: &Pair, game: &GameId| {
        let owns = [0, 1].map(|n: usize| pair.instances[n].fleet.strikes_first(game));
        assert!(owns[0] != owns[1], "{game}: {owns:?}");
        usize::from(owns[1])
    };
    let owners: Vec<usize> = games.iter().map(|game| owner(&pair, game)).collect();
    assert!(owners.contains(&0) && owners.contains(&1), "{owners:?}");
    let [mine, theirs] = [0, 1].map(|n: usize| pair.instances[n].schedule());
    tokio::time::sleep(Duration::from_secs(55)).await;
    let struck = pair.struck();
    for (game, owner) in games.iter().zip(&owners) {
        let by = struck.get(game).expect("it was struck");
        assert!(by[*owner] >= 4 && by[1 - owner] == 0, "{game}: {by:?}, owned by {owner}");
    }
    let conflicts = "gamemaster_store_commits_total{outcome=\"conflict\"}";
    assert!(pair.instances.iter().all(|instance| instance.metric(conflicts) == 0));

    // Its clock stands still, and nobody knows yet.
    theirs.abort();
    let before = world.clock.now();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let struck = pair.struck();
    for game in &games {
        let by = struck.get(game).expect("it was struck");
        assert_eq!(by[1], 0, "{game}");
        assert!(by[0] >= 1, "{game}: {by:?}");
    }
    for (game, owner) in games.iter().zip(&owners) {
        let ticks = world.store.operations(game, None, 10).await.expect("the log");
        let tick = ticks.iter().find(|row| row.tick.is_some_and(|at| at > before));
        let tick = tick.expect("a tick");
        let late = (tick.started_at - tick.tick.expect("a tick")).num_milliseconds();
        let grace = if *owner == 0 { 0..100 } else { 500..700 };
        assert!(grace.contains(&late), "{game} of {owner}: {late} ms late");
    }
    mine.abort();
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_here_is_known_there_before_the_board_would_forget() {
    let world = World::new(true);
    let pair = Pair::new(&world).await;
    let [one, two] = &pair.instances;
    let game = world.running(one, "game-1", DAILY).await;
    let known = world.record(&game).await.expect("a record");
    assert!(two.board.put(Arc::clone(&known)));
    world.engines.set_takes(Duration::from_secs(1));
    let turn = one.perform(&game, Event::Force);
    let look = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(two.board.get(&game), None, "what is older than the news is believed");
        assert!(!two.board.put(known), "a look that was under way takes it in again");
        let now = world.record(&game).await.expect("a record");
        assert!(two.board.put(Arc::clone(&now)), "what the news told of is taken in");
        assert_eq!(two.board.get(&game), Some(now));
    };
    let (turn, ()) = tokio::join!(turn, look);
    turn.expect("a turn");
    assert!(two.metric("gamemaster_feed_news_received_total") > 0);
    assert!(one.metric("gamemaster_feed_news_sent_total") > 0);
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_is_turned_away_everywhere_once_lobby_has_said_so() {
    use MembershipStatus::{Active, Removed};
    let world = World::new(true);
    let lobby = Arc::new(Members::default());
    lobby.are(&[("user-1", Active)]);
    let [one, two] = NAMES.map(|name| world.instance(name));
    let game = world.running(&one, "game-1", DAILY).await;
    let mut workers = vec![];
    let [there, here] = [&two, &one].map(|instance| {
        let mut app = app(&world, instance, AT_ONCE);
        app.memberships = memberships(lobby.clone());
        app.feed = Arc::new(world.store.feed());
        workers.push(instance.hear(Arc::clone(&app.feed), Arc::clone(&app.memberships)));
        app
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    for app in [&here, &there] {
        assert_eq!(command_of(app, &game, "user-1").await, Ok(()));
    }
    lobby.are(&[("user-1", Removed)]);
    assert_eq!(command_of(&there, &game, "user-1").await, Ok(()), "it is cached");
    here.invalidate_memberships(game.clone()).await.expect("the others are told");
    tokio::time::sleep(Duration::from_millis(10)).await;
    for app in [&here, &there] {
        let turned_away = command_of(app, &game, "user-1").await;
        assert!(matches!(turned_away, Err(ServiceError::Forbidden(_))), "{turned_away:?}");
    }
    for instance in [&one, &two] {
        instance.stop.cancel();
    }
    for worker in workers {
        worker.await.expect("no panic");
    }
}

/// A feed that says what the test says, and takes nothing.
struct Script {
    heard: Held<mpsc::Receiver<Heard>>,
    published: Mutex<Vec<News>>,
}

impl Script {
    fn new() -> (Arc<Self>, mpsc::Sender<Heard>) {
        let (say, heard) = mpsc::channel(8);
        (Arc::new(Self { heard: Held::new(heard), published: Mutex::default() }), say)
    }
}

#[async_trait]
impl Feed for Script {
    async fn publish(&self, news: &[News]) -> Result<(), FeedError> {
        self.published.lock().expect("no panic").extend_from_slice(news);
        Err(FeedError("nobody takes it".into()))
    }

    async fn next(&self) -> Heard {
        match self.heard.lock().await.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_heard_members_are_believed_no_longer_than_the_board() {
    use MembershipStatus::{Active, Removed};
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let lobby = Arc::new(Members::default());
    let mut app = app(&world, &gm, AT_ONCE);
    app.memberships = memberships(lobby.clone());
    let (feed, say) = Script::new();
    let worker = gm.hear(feed.clone(), Arc::clone(&app.memberships));
    let is_active = |answer: Result<(), ServiceError>| match answer {
        Ok(()) => true,
        Err(ServiceError::Forbidden(_)) => false,
        Err(error) => panic!("{error:?}"),
    };
    // So it is before anything was heard, after a silence began, and not in between.
    for (said, believed) in [(None, false), (Some(Heard::Gap), true), (Some(Heard::Deaf), false)] {
        lobby.are(&[("user-1", Active)]);
        if let Some(said) = said.clone() {
            say.send(said).await.expect("it listens");
        }
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(is_active(command_of(&app, &game, "user-1").await), "{said:?}");
        lobby.are(&[("user-1", Removed)]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(is_active(command_of(&app, &game, "user-1").await), believed, "{said:?}");
    }
    // A gap forgets what was known, whatever its age, and the board with it.
    for heard in [Heard::Gap, Heard::News(vec![News::Lost])] {
        lobby.are(&[("user-1", Active)]);
        app.memberships.invalidate(&game);
        assert!(is_active(command_of(&app, &game, "user-1").await));
        lobby.are(&[("user-1", Removed)]);
        assert!(gm.board.get(&game).is_some());
        say.send(heard.clone()).await.expect("it listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!is_active(command_of(&app, &game, "user-1").await), "{heard:?}");
    }
    gm.stop.cancel();
    worker.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_the_others_may_not_hear_of_is_not_confirmed() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let mut app = app(&world, &gm, AT_ONCE);
    let (feed, _say) = Script::new();
    app.feed = feed.clone();
    let answer = app.invalidate_memberships(game("game-1")).await;
    assert!(matches!(answer, Err(ServiceError::ServiceUnavailable(_))), "{answer:?}");
    let published = feed.published.lock().expect("no panic").clone();
    assert_eq!(published, [News::Members(game("game-1"))]);
}

#[tokio::test(start_paused = true)]
async fn news_that_was_not_taken_is_told_as_lost() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let (feed, _say) = Script::new();
    let worker = gm.hear(feed.clone(), memberships(Arc::new(Members::default())));
    world.running(&gm, "game-1", DAILY).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let published = feed.published.lock().expect("no panic").clone();
    let is_record = |news: &News| matches!(news, News::Record { .. });
    assert!(published.iter().any(is_record), "{published:?}");
    assert_eq!(
        published.iter().rev().take(2).rev().cloned().collect::<Vec<_>>(),
        [News::Lost, News::Outbox]
    );
    gm.stop.cancel();
    worker.await.expect("no panic");
}
