//! Every number that operators were promised is there from the start, and written down.

use service::telemetry::{Telemetry, TelemetrySettings};

use crate::world::{Client, World};

/// What the design promises, each with a series of it.
const PROMISED: &[&str] = &[
    "gamemaster_build_info{version=\"0.1.0\"} 1",
    "gamemaster_http_requests_total{operation=\"internalForceNextTurn\",code=\"503\"} 0",
    "gamemaster_http_request_duration_seconds_count{operation=\"internalExecuteCommands\"} 0",
    "gamemaster_turns_total{outcome=\"generated\"} 0",
    "gamemaster_turn_duration_seconds_count{outcome=\"unreachable\"} 0",
    "gamemaster_tick_lag_seconds_count 0",
    "gamemaster_turn_places_in_use{pool=\"fast\"} 0",
    "gamemaster_turn_places_in_use{pool=\"slow\"} 0",
    "gamemaster_due_backlog 0",
    "gamemaster_due_oldest_age_seconds 0.000",
    "gamemaster_work_in_flight{kind=\"turn\"} 0",
    "gamemaster_store_outages_total 0",
    "gamemaster_store_commits_total{outcome=\"conflict\"} 0",
    "gamemaster_outbox_backlog 0",
    "gamemaster_outbox_oldest_age_seconds 0.000",
    "gamemaster_health_events_total{type=\"container_oom\",outcome=\"applied\"} 0",
    "gamemaster_health_events_total{type=\"healthy\",outcome=\"unknown_game\"} 0",
    "gamemaster_health_gaps_total 0",
    "gamemaster_stream_offset_seconds{stream=\"gm:lobby_events\"} 0.000",
    "gamemaster_membership_cache_lookups_total{outcome=\"hit\"} 0",
    "gamemaster_membership_cache_lookups_total{outcome=\"miss\"} 0",
    "gamemaster_membership_cache_invalidations_total 0",
    "gamemaster_lease_recoveries_total{lease=\"work_lease\"} 0",
    "gamemaster_overdue_leases 0",
    "gamemaster_invariant_violations_total 0",
    "gamemaster_panics_contained_total{place=\"handler\"} 0",
    "gamemaster_worker_restarts_total{worker=\"scheduler\"} 0",
    "gamemaster_spans_total{outcome=\"dropped\"} 0",
];

#[tokio::test]
async fn everything_promised_is_there_from_the_start() {
    let world = World::start(TelemetrySettings::default()).await;
    let text = world.metrics_with(PROMISED).await;
    assert!(!text.contains("postgres_pool"), "there is no pool");
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).expect("a name");
        assert!(name.starts_with("gamemaster_"), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert_eq!(line.ends_with(" counter"), name.ends_with("_total"), "{name}");
    }
    world.stop().await;
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = World::start(TelemetrySettings::default()).await;
    let answer = world.register("aurora", "* * * * * *", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.engine.until(|asked| asked.iter().any(|a| a.head.contains("/admin/turn"))).await;
    let mut client = Client::connect(world.addr).await;
    let player = "X-User-Id: alice\r\n";
    for _ in 0..2 {
        client.post("/api/v1/internal/games/aurora/commands", player, "{\"commands\":[{}]}").await;
    }
    client.post("/api/v1/internal/games/aurora/memberships/invalidate", "", "").await;
    world
        .metrics_with(&[
            "gamemaster_http_requests_total{operation=\"internalRegisterRuntime\",code=\"200\"} 1",
            "gamemaster_turns_total{outcome=\"generated\"} 1",
            "gamemaster_turn_duration_seconds_count{outcome=\"generated\"} 1",
            "gamemaster_peer_calls_total{peer=\"lobby\",outcome=\"answered\"} 1",
            "gamemaster_membership_cache_lookups_total{outcome=\"miss\"} 1",
            "gamemaster_membership_cache_lookups_total{outcome=\"hit\"} 1",
            "gamemaster_membership_cache_invalidations_total 1",
            "gamemaster_work_in_flight{kind=\"request\"} 1",
        ])
        .await;
    let text = world.metrics().await;
    let zero = |name: &str| text.lines().any(|line| line == format!("{name} 0"));
    assert!(!zero("gamemaster_tick_lag_seconds_count"), "{text}");
    assert!(!zero("gamemaster_store_commits_total{outcome=\"applied\"}"));
    assert!(!zero("gamemaster_outbox_published_total{stream=\"gm:lobby_events\"}"));
    world.stop().await;
}

#[test]
fn the_documentation_lists_what_there_is() {
    let document = include_str!("../../../docs/telemetry.md");
    let table = Telemetry::default().metrics().table();
    assert!(document.contains(&table), "docs/telemetry.md must contain this table:\n{table}");
}
