//! The streams, frozen.

use std::collections::BTreeSet;

use integration::contracts::{Contract, Document, Pointer};

use super::frozen::{assert_none, differences, enum_differences, shape_differences};
use super::walk;

struct Frozen {
    document: Document,
    /// Operation id, direction, channel address, message names.
    operations: &'static [(&'static str, &'static str, &'static str, &'static [&'static str])],
    shapes: &'static [(&'static str, &'static [&'static str])],
    enums: &'static [(&'static str, &'static str)],
}

const STATUS: (&str, &str) = (
    "schemas/RuntimeStatus",
    "starting running generation_in_progress generation_failed stopped engine_unreachable finished",
);

const STREAMS: [Frozen; 4] = [
    Frozen {
        document: Document::RuntimeEvents,
        operations: &[(
            "publishLobbyEvents",
            "send",
            "gm:lobby_events",
            &["runtime_snapshot_update", "game_finished"],
        )],
        shapes: &[
            (
                "RuntimeSnapshotUpdate",
                &[
                    "event_type: \"runtime_snapshot_update\"",
                    "game_id: GameId",
                    "current_turn: Turn",
                    "runtime_status: RuntimeStatus",
                    "engine_health_summary: EngineHealthSummary",
                    "player_turn_stats: AllPlayerTurnStats",
                    "occurred_at_ms: UnixMilliseconds",
                ],
            ),
            (
                "GameFinished",
                &[
                    "event_type: \"game_finished\"",
                    "game_id: GameId",
                    "final_turn_number: Turn",
                    "runtime_status: \"finished\"",
                    "player_turn_stats: AllPlayerTurnStats",
                    "finished_at_ms: UnixMilliseconds",
                ],
            ),
            (
                "PlayerTurnStats",
                &["user_id: UserId", "planets: integer int64", "population: integer int64"],
            ),
        ],
        enums: &[
            STATUS,
            (
                "schemas/EngineHealthSummary",
                "unknown healthy probe_failed inspect_unhealthy exited oom disappeared",
            ),
        ],
    },
    Frozen {
        document: Document::RuntimeHealth,
        operations: &[(
            "receiveHealthEvents",
            "receive",
            "runtime:health_events",
            &["runtime_health_event"],
        )],
        shapes: &[
            (
                "RuntimeHealthEvent",
                &[
                    "game_id: GameId",
                    "container_id: ContainerId",
                    "event_type: HealthEventType",
                    "occurred_at_ms: UnixMilliseconds",
                    "details: HealthEventDetails",
                ],
            ),
            ("HealthEventDetails", &["consecutive_failures?: integer int64"]),
        ],
        enums: &[(
            "schemas/HealthEventType",
            "healthy probe_failed inspect_unhealthy container_exited container_oom \
             container_disappeared",
        )],
    },
    Frozen {
        document: Document::RuntimeJobs,
        operations: &[
            ("receiveStartJobs", "receive", "runtime:start_jobs", &["runtime_start_job"]),
            ("publishJobResults", "send", "runtime:job_results", &["runtime_job_result"]),
        ],
        shapes: &[
            (
                "RuntimeStartJob",
                &[
                    "job_id: JobId",
                    "game_id: GameId",
                    "image_ref: string",
                    "requested_at_ms: UnixMilliseconds",
                ],
            ),
            (
                "RuntimeJobResult",
                &[
                    "job_id: JobId",
                    "game_id: GameId",
                    "outcome: JobOutcome",
                    "engine_endpoint: null | EngineEndpoint",
                    "container_id: null | ContainerId",
                    "error_message: string | null",
                ],
            ),
        ],
        enums: &[(
            "schemas/JobOutcome",
            "success start_config_invalid image_pull_failed container_start_failed",
        )],
    },
    Frozen {
        document: Document::NotificationIntents,
        operations: &[(
            "publishNotificationIntents",
            "send",
            "notification:intents",
            &["game.turn.ready", "game.finished", "game.generation_failed"],
        )],
        shapes: &[
            (
                "GameTurnReady",
                &[
                    "notification_type: \"game.turn.ready\"",
                    "producer: Producer",
                    "audience_kind: \"user\"",
                    "recipient_user_ids: Players",
                    "idempotency_key: IdempotencyKey",
                    "occurred_at_ms: UnixMilliseconds",
                    "payload: TurnFacts",
                ],
            ),
            (
                "GameFinishedIntent",
                &[
                    "notification_type: \"game.finished\"",
                    "producer: Producer",
                    "audience_kind: \"user\"",
                    "recipient_user_ids: Players",
                    "idempotency_key: IdempotencyKey",
                    "occurred_at_ms: UnixMilliseconds",
                    "payload: TurnFacts",
                ],
            ),
            (
                "GameGenerationFailed",
                &[
                    "notification_type: \"game.generation_failed\"",
                    "producer: Producer",
                    "audience_kind: \"admin_email\"",
                    "recipient_user_ids: [UserId]",
                    "idempotency_key: IdempotencyKey",
                    "occurred_at_ms: UnixMilliseconds",
                    "payload: FailureFacts",
                ],
            ),
            ("TurnFacts", &["game_id: GameId", "turn: Turn"]),
            (
                "FailureFacts",
                &[
                    "game_id: GameId",
                    "turn: Turn",
                    "error_code: FailureCode",
                    "error_message: string",
                ],
            ),
        ],
        enums: &[(
            "schemas/FailureCode",
            "engine_validation_error engine_unreachable engine_protocol_violation \
             generation_interrupted start_interrupted rtm_unavailable rtm_refused conflict",
        )],
    },
];

/// Every operation with every message of it, and every message of every channel.
fn lines_of(contract: &Contract) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let messages = contract.messages().unwrap();
    for message in &messages {
        lines.insert(format!("{} carries {}", message.address, message.name));
    }
    for (id, operation) in walk::children(&contract.root()["operations"]) {
        let channel = Pointer::of_reference(operation["channel"]["$ref"].as_str().unwrap());
        let address = contract.at(&channel.unwrap()).unwrap()["address"].as_str().unwrap();
        let action = operation["action"].as_str().unwrap();
        for (index, _) in walk::children(&operation["messages"]) {
            let at = format!("/operations/{id}/messages/{index}");
            let place = contract.follow(&Pointer::new(&at)).unwrap();
            let name = contract.at(&place).unwrap()["name"].as_str().unwrap();
            lines.insert(format!("{id}: {action} {name} on {address}"));
        }
    }
    lines
}

#[test]
fn streams_are_frozen() {
    for frozen in STREAMS {
        let contract = frozen.document.load().unwrap();
        let mut lines = BTreeSet::new();
        for (id, action, address, messages) in frozen.operations {
            for name in *messages {
                lines.insert(format!("{address} carries {name}"));
                lines.insert(format!("{id}: {action} {name} on {address}"));
            }
        }
        let mut found = differences(&lines, &lines_of(&contract));
        found.extend(shape_differences(&contract, frozen.shapes));
        found.extend(enum_differences(&contract, frozen.enums));
        assert_none(&found);
    }
}

#[test]
fn every_document_says_how_an_entry_looks() {
    for frozen in STREAMS {
        let contract = frozen.document.load().unwrap();
        let description = contract.root()["info"]["description"].as_str().unwrap();
        assert!(description.contains("exactly one field, `payload`"), "{:?}", frozen.document);
    }
}

#[test]
fn a_message_is_known_by_its_discriminator_alone() {
    for document in [Document::RuntimeEvents, Document::NotificationIntents] {
        let contract = document.load().unwrap();
        let messages = contract.messages().unwrap();
        for message in &messages {
            let schema = contract.at(&message.payload).unwrap();
            let discriminator = ["event_type", "notification_type"]
                .iter()
                .find_map(|name| schema["properties"][name]["const"].as_str());
            assert_eq!(discriminator, Some(message.name.as_str()));
        }
    }
}

#[test]
fn job_results_are_one_thing_or_the_other() {
    let contract = Document::RuntimeJobs.load().unwrap();
    let validator = contract.message_validator("runtime_job_result").unwrap();
    let result = |outcome: &str, endpoint: Option<&str>, error: Option<&str>| {
        serde_json::json!({
            "job_id": "j", "game_id": "g", "outcome": outcome, "engine_endpoint": endpoint,
            "container_id": endpoint.map(|_| "c"), "error_message": error,
        })
    };
    assert!(validator.is_valid(&result("success", Some("http://e:1"), None)));
    assert!(validator.is_valid(&result("image_pull_failed", None, Some("no such image"))));
    assert!(!validator.is_valid(&result("success", None, None)));
    assert!(!validator.is_valid(&result("success", Some("http://e:1"), Some("and yet"))));
    assert!(!validator.is_valid(&result("image_pull_failed", Some("http://e:1"), Some("x"))));
    assert!(!validator.is_valid(&result("image_pull_failed", None, None)));
}

#[test]
fn failed_probes_are_counted() {
    let contract = Document::RuntimeHealth.load().unwrap();
    let validator = contract.message_validator("runtime_health_event").unwrap();
    let event = |event_type: &str, details: serde_json::Value| {
        serde_json::json!({
            "game_id": "g", "container_id": "c", "event_type": event_type,
            "occurred_at_ms": 1, "details": details,
        })
    };
    assert!(validator.is_valid(&event("healthy", serde_json::json!({}))));
    let counted = serde_json::json!({ "consecutive_failures": 2, "status": 502 });
    assert!(validator.is_valid(&event("probe_failed", counted)));
    assert!(!validator.is_valid(&event("probe_failed", serde_json::json!({}))));
    assert!(!validator.is_valid(&event("sneezed", serde_json::json!({}))));
}
