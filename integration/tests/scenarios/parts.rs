//! What the worlds of other tests are made of: several Game Masters, engines that share a process,
//! and something in between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use integration::redis_server;
use integration::servers::Durability;
use integration::world::{GamePlan, Part, Setup, World};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Where the engines are said to be.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// From where to where, and how many connections there were.
type Way = (Part, Part, Arc<Mutex<usize>>);

/// Passes on whatever comes, and counts the connections.
async fn pass_on(listener: TcpListener, to: SocketAddr, passed: Arc<Mutex<usize>>) {
    while let Ok((mut from, _)) = listener.accept().await {
        *passed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        tokio::spawn(async move {
            let mut to = TcpStream::connect(to).await?;
            copy_bidirectional(&mut from, &mut to).await
        });
    }
}

/// Each pair of parts has its own way, and every process takes it; two Game Masters share the work
/// and one of them dies; then Redis does.
#[tokio::test(flavor = "multi_thread")]
async fn two_game_masters_over_proxies() {
    let ways: Arc<Mutex<Vec<Way>>> = Arc::default();
    let noted = Arc::clone(&ways);
    let route = move |from, to, address: SocketAddr| {
        let passed = Arc::<Mutex<usize>>::default();
        let listener = if to == Part::Engine {
            // Told under another address, at the same port: that of the first engine here.
            std::net::TcpListener::bind((ELSEWHERE, address.port()))
        } else {
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        };
        let listener = listener.expect("a port");
        let way = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("it can be");
        let listener = TcpListener::from_std(listener).expect("a listener");
        tokio::spawn(pass_on(listener, address, Arc::clone(&passed)));
        noted.lock().unwrap_or_else(PoisonError::into_inner).push((from, to, passed));
        way
    };
    let setup = Setup::new()
        .game_masters(2)
        .own_servers(Durability::None, redis_server::Durability::Always)
        .rtm(&["--engines", "here"])
        .route(route);
    let world = World::start(setup).await;
    world.play(&GamePlan::new("shared").every(1)).await;
    let engine = world.engine("shared").await;
    assert!(engine.endpoint().starts_with("http://127.0.0.2:"), "{}", engine.endpoint());
    for number in [1, 2] {
        world.gm_at(number).until_turn("shared", 1).await;
    }
    // The other one goes on with the game; the dead one comes back to it.
    world.kill(Part::GameMaster(1)).await;
    let at = world.gm_at(2).runtime("shared").await.expect("a record").turn();
    world.gm_at(2).until_turn("shared", at + 2).await;
    world.start_part(Part::GameMaster(1)).await;
    // A Redis that is killed holds up nobody but those who are told: they are told afterwards.
    world.redis().await.kill();
    let at = world.gm().runtime("shared").await.expect("a record").turn();
    world.gm().until_turn("shared", at + 1).await;
    world.redis().await.start_again().await;
    let caught_up = at + 1;
    world
        .lobby()
        .until("shared", "news", |seen| seen["runtime"]["current_turn"].as_u64() >= Some(caught_up))
        .await;

    world.player("alice").report("shared", 0).await.done();
    // A stop, among other things.
    world.audit().await;
    let ways = ways.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let is_unused =
        |passed: &Mutex<usize>| *passed.lock().unwrap_or_else(PoisonError::into_inner) == 0;
    let unused: Vec<_> = ways.iter().filter(|(_, _, passed)| is_unused(passed)).collect();
    let mut unused: Vec<(Part, Part)> = unused.iter().map(|(from, to, _)| (*from, *to)).collect();
    unused.sort_unstable();
    // The first Game Master was asked all of it, and no registration failed.
    let second = Part::GameMaster(2);
    assert_eq!(
        unused,
        [(second, Part::Lobby), (second, Part::Rtm), (Part::Lobby, Part::Rtm)],
        "of {} ways",
        ways.len()
    );
    world.end().await;
}
