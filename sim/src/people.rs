//! Where the people come from: the administrators' host, and the players'.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use net::{ClientLimits, HttpClient};
use peers::gateway::{
    Gateway, GatewayError, GatewayOptions, Player, PlayerEvent, PlayerOutcome, PlayerRequest,
    TokenTable,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::board::Board;
use crate::net::SimNet;
use crate::oracle::While;
use crate::plan::GamePlan;
use crate::workload::{Deeds, user};
use crate::world::{ADMIN, GATEWAY, PORT, gm_host};

/// Adds the hosts that the people come from.
pub(crate) fn add_people(sim: &mut Sim<'static>, deeds: &Arc<Deeds>, board: &Arc<Board>) {
    let net = Arc::new(SimNet::new(ADMIN, Arc::clone(board)));
    let admin = Arc::clone(deeds);
    sim.host(ADMIN, move || {
        let (deeds, net) = (Arc::clone(&admin), Arc::clone(&net));
        async move {
            let limits = ClientLimits {
                connect_timeout: deeds.pace.connect,
                total_timeout: deeds.pace.call * 3,
                ..ClientLimits::default()
            };
            administrate(deeds, HttpClient::new(net, limits, None)).await;
            Ok(())
        }
    });
    let net = Arc::new(SimNet::new(GATEWAY, Arc::clone(board)));
    let players = Arc::clone(deeds);
    sim.host(GATEWAY, move || {
        let (deeds, net) = (Arc::clone(&players), Arc::clone(&net));
        async move {
            play(&deeds, &net);
            std::future::pending().await
        }
    });
}

async fn administrate(deeds: Arc<Deeds>, client: HttpClient) {
    let began = Instant::now();
    deeds.prepare(&client).await;
    for number in 0..deeds.plan.games.len() {
        let (deeds, client) = (Arc::clone(&deeds), client.clone());
        tokio::spawn(async move {
            let Some(game) = deeds.game(number) else { return };
            sleep_until(began + Duration::from_millis(game.start_ms)).await;
            deeds.start_game(&client, game).await;
        });
    }
    for number in 0..deeds.plan.actions.len() {
        let (deeds, client) = (Arc::clone(&deeds), client.clone());
        tokio::spawn(async move {
            let Some(action) = deeds.plan.actions.get(number) else { return };
            sleep_until(began + Duration::from_millis(action.at_ms)).await;
            deeds.perform(&client, number, action).await;
        });
    }
    // Once the faults are over, an operator looks after what does not get well by itself.
    sleep_until(began + Duration::from_millis(deeds.plan.safety_ms)).await;
    let mut number = 0;
    loop {
        sleep(deeds.pace.call * 2).await;
        for game in deeds.oracle.unwell() {
            number += 1;
            deeds.look_after(&client, &game, 0, number).await;
        }
    }
}

fn play(deeds: &Arc<Deeds>, net: &Arc<SimNet>) {
    for (number, game) in deeds.plan.games.iter().enumerate() {
        let patience = Duration::from_millis(game.player_patience_ms);
        let limits = ClientLimits {
            connect_timeout: deeds.pace.connect.min(patience),
            total_timeout: patience,
            ..ClientLimits::default()
        };
        let tokens: TokenTable = (0..game.players).map(|p| (user(p), user(p))).collect();
        let options = GatewayOptions {
            base_url: format!("http://{}:{PORT}", gm_host(number % deeds.plan.gms)),
            api_token: None,
            tokens,
            call_timeout: patience,
        };
        let through = |limits| HttpClient::new(Arc::<SimNet>::clone(net), limits, None);
        if game.players > 0 {
            let patient = GatewayOptions { call_timeout: deeds.pace.call * 3, ..options.clone() };
            let limits = ClientLimits {
                connect_timeout: deeds.pace.connect,
                total_timeout: patient.call_timeout,
                ..ClientLimits::default()
            };
            let gateway = Gateway::new(through(limits), patient);
            let (deeds, game) = (Arc::clone(deeds), game.clone());
            tokio::spawn(async move { be_heard(&deeds, &gateway, &game).await });
        }
        let client = through(limits);
        let gateway = Arc::new(Gateway::new(client, options));
        let gm = number % deeds.plan.gms;
        for player in 0..game.players {
            let player = Player {
                gateway: Arc::clone(&gateway),
                token: user(player),
                game_id: game.id.clone(),
                period: Duration::from_millis(game.player_period_ms),
                max_rounds: None,
            };
            let deeds = Arc::clone(deeds);
            let observe = move |event: PlayerEvent| told(&deeds, gm, &event);
            tokio::spawn(player.run(observe, CancellationToken::new()));
        }
    }
}

/// A player was answered, or was not.
fn told(deeds: &Deeds, gm: usize, event: &PlayerEvent) {
    let outcome = match &event.outcome {
        PlayerOutcome::Accepted => "accepted".to_owned(),
        PlayerOutcome::Refused { status, code } => format!("{} {code}", status.as_u16()),
        PlayerOutcome::Unreachable { .. } => "no answer".to_owned(),
        PlayerOutcome::Unreadable => "unreadable".to_owned(),
    };
    deeds.count("player", &outcome);
    let is_accepted = event.outcome == PlayerOutcome::Accepted;
    let took_ms = i64::try_from(event.took.as_millis()).unwrap_or(i64::MAX);
    let answered_ms = deeds.oracle.chronicle.now_ms();
    let asked_ms = answered_ms.saturating_sub(took_ms);
    let who = (event.game_id.as_str(), event.user_id.as_str());
    deeds.oracle.player_answered(who, gm, asked_ms, is_accepted);
    match event.request {
        PlayerRequest::Commands { .. } | PlayerRequest::Orders { .. } if is_accepted => {
            let asked_ms = asked_ms.saturating_sub(deeds.old_ms());
            deeds.oracle.command_taken(&event.game_id, While { asked_ms, answered_ms });
        }
        PlayerRequest::Commands { .. }
        | PlayerRequest::Orders { .. }
        | PlayerRequest::Report { .. } => {}
    }
}

/// Once the faults are over the players of each game insist on being answered, one after the other, until
/// the engine answers one of them, or all are told that they may not play.
async fn be_heard(deeds: &Deeds, gateway: &Gateway, game: &GamePlan) {
    sleep(Duration::from_millis(deeds.plan.safety_ms)).await;
    let mut barred = BTreeSet::new();
    let mut turns = (0..game.players).cycle();
    while let Some(player) = turns.next().filter(|_| barred.len() < game.players) {
        match gateway.report(&user(player), &game.id, 0).await {
            Ok(_) => break,
            // The engine's own word on a turn that it does not keep any more.
            Err(GatewayError::Refused { code, .. }) if code == "engine_validation_error" => break,
            Err(GatewayError::Refused { code, .. }) if code == "forbidden" => {
                barred.insert(player);
            }
            Err(_) => sleep(deeds.pace.call / 5).await,
        }
    }
    deeds.oracle.player_is_heard(&game.id);
}
