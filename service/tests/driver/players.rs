//! Players' calls: as long as the status reads `running`, not a moment longer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use machine::{Event, GameId, Status, UserId};
use service::app::App;
use service::error::ServiceError;
use service::fleet::Fleet;
use service::http::{Api, CommandList, PlayerRequest};
use service::membership::Memberships;
use service::ports::{LobbyApi, LobbyError, Membership, MembershipStatus, Store};
use tokio_util::sync::CancellationToken;

use crate::recovery::{seams, settings};
use crate::world::{DAILY, Instance, World};

/// A Lobby that takes its time, and may be silent.
pub(crate) struct Lobby {
    takes: Duration,
    silent: bool,
}

#[async_trait]
impl LobbyApi for Lobby {
    async fn memberships(&self, _: &GameId) -> Result<Vec<Membership>, LobbyError> {
        tokio::time::sleep(self.takes).await;
        if self.silent {
            return Err(LobbyError("no answer".into()));
        }
        Ok(vec![Membership { user_id: user(), status: MembershipStatus::Active }])
    }
}

fn user() -> UserId {
    "user-1".parse().expect("a user id")
}

pub(crate) fn memberships(lobby: Arc<dyn LobbyApi>) -> Arc<Memberships> {
    Arc::new(Memberships::new(lobby, 100, Duration::from_secs(30)))
}

pub(crate) fn app(world: &World, gm: &Instance, lobby: Lobby) -> App {
    let seams = seams(world);
    App {
        settings: settings("gm-1"),
        net: seams.net,
        store: Arc::clone(&gm.store),
        streams: seams.streams,
        feed: seams.feed,
        fleet: Fleet::alone("gm-1".parse().expect("a name")),
        clock: seams.clock,
        entropy: seams.entropy,
        engine: world.engines.clone(),
        driver: Arc::clone(&gm.driver),
        board: Arc::clone(&gm.board),
        memberships: memberships(Arc::new(lobby)),
        tasks: gm.tasks.clone(),
        stopping: CancellationToken::new(),
    }
}

async fn command(app: &App, game: &GameId) -> Result<(), ServiceError> {
    let body = br#"{"commands":[{"@type":"raceQuit","cmdId":"1"}]}"#.as_slice().into();
    let commands = CommandList::from_body(&body).expect("commands");
    app.player(game, &user(), PlayerRequest::Commands(commands)).await.map(drop)
}

/// A Lobby that answers what it was last told.
#[derive(Default)]
pub(crate) struct Members(Mutex<Vec<(&'static str, MembershipStatus)>>);

impl Members {
    pub(crate) fn are(&self, members: &[(&'static str, MembershipStatus)]) {
        *self.0.lock().expect("no panic") = members.to_vec();
    }
}

#[async_trait]
impl LobbyApi for Members {
    async fn memberships(&self, _: &GameId) -> Result<Vec<Membership>, LobbyError> {
        let members = self.0.lock().expect("no panic").clone();
        let membership = |(user, status): (&str, _)| Membership {
            user_id: user.parse().expect("a user id"),
            status,
        };
        Ok(members.into_iter().map(membership).collect())
    }
}

pub(crate) async fn command_of(app: &App, game: &GameId, user: &str) -> Result<(), ServiceError> {
    let body = br#"{"commands":[{"@type":"raceQuit","cmdId":"1"}]}"#.as_slice().into();
    let commands = CommandList::from_body(&body).expect("commands");
    let user = user.parse().expect("a user id");
    app.player(game, &user, PlayerRequest::Commands(commands)).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn who_is_no_active_member_is_turned_away_and_a_removal_counts_from_its_invalidation() {
    use MembershipStatus::{Active, Blocked, Removed};
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let lobby = Arc::new(Members::default());
    let mut app = app(&world, &gm, AT_ONCE);
    app.memberships = memberships(lobby.clone());
    let raceless = "user-without-a-race";
    lobby.are(&[("user-1", Active), ("user-2", Removed), ("user-3", Blocked), (raceless, Active)]);
    let is_forbidden = |answer| matches!(answer, Err(ServiceError::Forbidden(_)));
    assert_eq!(command_of(&app, &game, "user-1").await, Ok(()));
    let asked = world.engines.see(&game, |e| e.calls.len());
    for outsider in ["user-2", "user-3", "user-4", raceless] {
        assert!(is_forbidden(command_of(&app, &game, outsider).await), "{outsider}");
        let report = PlayerRequest::Report { turn: 0 };
        let user = outsider.parse().expect("a user id");
        assert!(is_forbidden(app.player(&game, &user, report).await.map(drop)), "{outsider}");
    }
    let calls = || world.engines.see(&game, |e| e.calls.len());
    assert_eq!(calls(), asked, "the engine hears of none of it");
    for status in [Removed, Blocked] {
        lobby.are(&[("user-1", status)]);
        // No time passes: the cache would believe what it knows for half a minute.
        assert_eq!(command_of(&app, &game, "user-1").await, Ok(()));
        app.invalidate_memberships(game.clone()).await.expect("invalidated");
        assert!(is_forbidden(command_of(&app, &game, "user-1").await), "{status:?}");
        lobby.are(&[("user-1", Active)]);
        app.invalidate_memberships(game.clone()).await.expect("invalidated");
        assert_eq!(command_of(&app, &game, "user-1").await, Ok(()));
    }
    assert_eq!(calls(), asked + 4);
}

pub(crate) const AT_ONCE: Lobby = Lobby { takes: Duration::ZERO, silent: false };

#[tokio::test(start_paused = true)]
async fn commands_are_refused_from_the_commit_that_begins_a_turn_until_the_one_that_ends_it() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let app = app(&world, &gm, AT_ONCE);
    assert_eq!(command(&app, &game).await, Ok(()));
    world.engines.set_takes(Duration::from_secs(3));
    let driver = Arc::clone(&gm.driver);
    let of = game.clone();
    let turn = tokio::spawn(async move {
        driver.perform(of, Event::Force, service::ports::Origin::SELF.into()).await
    });
    while world.status(&game).await == Some(Status::Running) {
        tokio::task::yield_now().await;
    }
    // No time has passed, and the board would believe what it knows for two seconds more.
    let refused = command(&app, &game).await;
    assert!(matches!(refused, Err(ServiceError::RuntimeNotRunning(_))), "{refused:?}");
    assert!(turn.await.expect("no panic").is_ok());
    world.engines.set_takes(Duration::ZERO);
    assert_eq!(command(&app, &game).await, Ok(()));
    let stop = Event::Stop { reason: "the players left".parse().expect("a reason") };
    gm.perform(&game, stop).await.expect("stopped");
    let refused = command(&app, &game).await;
    assert!(matches!(refused, Err(ServiceError::RuntimeNotRunning(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_begins_while_lobby_is_asked_is_the_cutoff_too() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let app = app(&world, &gm, Lobby { takes: Duration::from_secs(2), silent: false });
    world.engines.set_takes(Duration::from_secs(20));
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        gm.perform(&game, Event::Force).await
    };
    let (refused, forced) = tokio::join!(command(&app, &game), later);
    assert!(matches!(refused, Err(ServiceError::RuntimeNotRunning(_))), "{refused:?}");
    assert!(forced.is_ok(), "{forced:?}");
    assert_eq!(world.engines.see(&game, |e| e.calls.clone()), ["init", "turn"]);
}

#[tokio::test(start_paused = true)]
async fn a_board_that_another_instance_left_behind_is_believed_for_a_moment_and_decides_nothing() {
    let world = World::new(true);
    let one = world.instance("gm-1");
    let two = world.instance("gm-2");
    let game = world.running(&one, "game-1", DAILY).await;
    let known = one.board.get(&game).expect("on the board");
    two.perform(&game, Event::Force).await.expect("a turn");
    assert_eq!(one.board.get(&game), Some(known));
    // Decided on the store's record, whatever the board says.
    let forced = one.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!(forced.current_turn, 2);
    two.perform(&game, Event::Force).await.expect("a turn");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(one.board.get(&game), None);
    world.each_turn_once(&game).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_lobby_keeps_nobody_waiting_longer_than_one_question() {
    let world = World::new(true);
    let gm = world.instance("gm-1");
    let game = world.running(&gm, "game-1", DAILY).await;
    let lobby = Lobby { takes: Duration::from_secs(10), silent: true };
    let app = Arc::new(app(&world, &gm, lobby));
    let began = tokio::time::Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (app, game) = (Arc::clone(&app), game.clone());
            tokio::spawn(async move { command(&app, &game).await })
        })
        .collect();
    for call in calls {
        let refused = call.await.expect("no panic");
        assert!(matches!(refused, Err(ServiceError::ServiceUnavailable(_))), "{refused:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_succeeded_is_not_told_as_one_that_failed() {
    let world = World::new(true);
    let store: Arc<dyn Store> = world.store.clone();
    // Every look at the record fails from the moment on at which the turn is recorded.
    let done = Arc::clone(&world.store);
    let game = crate::world::game("game-1");
    let of = game.clone();
    let decide = move |call: service::unreliable::Call<'_>| {
        use service::unreliable::{Call, Fate};
        let recorded = at_once(done.load(&of)).is_some_and(|rt| rt.current_turn > 0);
        match call {
            Call::Read("load") if recorded => Fate::Refused,
            Call::Read(_)
            | Call::Commit(_)
            | Call::Write(_)
            | Call::Log(_)
            | Call::ChangeVersion(_)
            | Call::Append(..) => Fate::Pass,
        }
    };
    let unreliable = Arc::new(service::unreliable::UnreliableStore::new(store, decide));
    let gm = world.instance_over("gm-1", unreliable);
    let game = world.running(&gm, game.as_str(), DAILY).await;
    let forced = gm.perform(&game, Event::Force).await.expect("a turn").expect("a record");
    assert_eq!(forced.current_turn, 1);
}

/// The answer of a store in memory, which is there at once.
fn at_once<T, E>(answer: impl Future<Output = Result<Option<T>, E>>) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match answer.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(answer) => answer.ok().flatten(),
        std::task::Poll::Pending => panic!("a store in memory waits for nothing"),
    }
}
