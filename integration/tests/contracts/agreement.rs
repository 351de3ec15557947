//! The contracts and the rules' own types say the same.

use std::collections::BTreeSet;
use std::str::FromStr;

use integration::contracts::{Document, Pointer};
use machine::failure::FailureCode;
use machine::message::{
    AudienceKind, Channel, Intent, IntentPayload, LobbyEvent, Message, NotificationType, Producer,
};
use machine::{
    ContainerId, EngineEndpoint, EngineVersion, GameId, ImageRef, OperationKind, PlayerStats,
    RaceName, Status, StopReason, Summary, UserId,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn enum_at(document: Document, at: &str) -> BTreeSet<String> {
    let contract = document.load().unwrap();
    let values = contract.at(&Pointer::new(at)).unwrap()["enum"].as_array().unwrap().clone();
    values.into_iter().filter_map(|value| value.as_str().map(Into::into)).collect()
}

/// The names of all variants, as the refusal of an unknown one lists them.
fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_value::<T>(json!("no such variant")) else {
        panic!("an unknown variant was taken");
    };
    let text = error.to_string();
    let expected = text.split_once("expected").expect("a list of what is expected").1;
    expected.split('`').skip(1).step_by(2).map(Into::into).collect()
}

#[test]
fn enumerations_agree() {
    let schemas = "/components/schemas";
    let at = |name: &str| enum_at(Document::Internal, &format!("{schemas}/{name}"));
    assert_eq!(at("RuntimeStatus"), variants::<Status>());
    assert_eq!(at("EngineHealthSummary"), variants::<Summary>());
    assert_eq!(at("FailureCode"), variants::<FailureCode>());
    // Banishing changes no record: the service audits it, the rules do not know it.
    let mut kinds = variants::<OperationKind>();
    kinds.insert("banish".into());
    assert_eq!(at("Operation/properties/kind"), kinds);
    let mut liveness = variants::<Status>();
    liveness.insert("unregistered".into());
    assert_eq!(at("GameLiveness/properties/status"), liveness);
}

#[test]
fn streams_and_notification_types_agree() {
    for (document, channel) in [
        (Document::RuntimeEvents, Channel::LobbyEvents),
        (Document::NotificationIntents, Channel::NotificationIntents),
    ] {
        let messages = document.load().unwrap().messages().unwrap();
        assert!(messages.iter().all(|message| message.address == channel.as_str()));
    }
    let messages = Document::NotificationIntents.load().unwrap().messages().unwrap();
    let names: BTreeSet<_> = messages.into_iter().map(|message| message.name).collect();
    assert_eq!(names, variants::<NotificationType>());
}

fn assert_fits(document: Document, name: &str, message: &Message) {
    let validator = document.load().unwrap().message_validator(name).unwrap();
    let value: Value = serde_json::to_value(message).unwrap();
    let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value}: {errors:?}");
}

#[test]
fn events_for_lobby_fit() {
    let game_id: GameId = "aurora-7".parse().unwrap();
    let user_id: UserId = "u1".parse().unwrap();
    let stats = vec![PlayerStats { user_id, planets: u32::MAX, population: u64::MAX }];
    for runtime_status in Status::ALL {
        let event = LobbyEvent::RuntimeSnapshotUpdate {
            game_id: game_id.clone(),
            current_turn: u32::MAX,
            runtime_status,
            engine_health_summary: Summary::Unknown,
            player_turn_stats: stats.clone(),
            occurred_at_ms: 1_772_388_000_871,
        };
        assert_fits(Document::RuntimeEvents, "runtime_snapshot_update", &Message::Lobby(event));
    }
    let event = LobbyEvent::GameFinished {
        game_id,
        final_turn_number: 63,
        runtime_status: Status::Finished,
        player_turn_stats: stats,
        finished_at_ms: 1_776_620_401_123,
    };
    assert_fits(Document::RuntimeEvents, "game_finished", &Message::Lobby(event));
}

#[test]
fn notification_intents_fit() {
    let intent = |notification_type, audience_kind, users: &[&str], failure: Option<&str>| {
        Message::Intent(Intent {
            notification_type,
            producer: Producer::GameMaster,
            audience_kind,
            recipient_user_ids: users.iter().map(|user| user.parse().unwrap()).collect(),
            idempotency_key: "game.turn.ready:aurora-7:15".into(),
            occurred_at_ms: 1_772_388_000_871,
            payload: IntentPayload {
                game_id: "aurora-7".parse().unwrap(),
                turn: 15,
                error_code: failure.map(Into::into),
                error_message: failure.map(Into::into),
            },
        })
    };
    let users = ["u1", "u2"];
    for (message, name) in [
        (intent(NotificationType::TurnReady, AudienceKind::User, &users, None), "game.turn.ready"),
        (intent(NotificationType::Finished, AudienceKind::User, &users, None), "game.finished"),
        (
            intent(
                NotificationType::GenerationFailed,
                AudienceKind::AdminEmail,
                &[],
                Some("engine_unreachable"),
            ),
            "game.generation_failed",
        ),
    ] {
        assert_fits(Document::NotificationIntents, name, &message);
    }
}

/// Asserts that schema and type take and refuse the same of these texts.
fn assert_same_texts<T: FromStr>(schema: &str, good: &[&str], bad: &[&str]) {
    let at = Pointer::new("/components/schemas").child(schema);
    let validator = Document::Internal.load().unwrap().validator_at(&at).unwrap();
    for (texts, is_good) in [(good, true), (bad, false)] {
        for text in texts {
            assert_eq!(validator.is_valid(&json!(text)), is_good, "{schema} by schema: {text:?}");
            assert_eq!(text.parse::<T>().is_ok(), is_good, "{schema} by type: {text:?}");
        }
    }
}

#[test]
fn texts_agree() {
    let long = "x".repeat(65);
    let identifiers = ["a", "Z9", "game-1", "g_2", &long[1..], "0197f3a2-5c1e-7b44-9d11-3f0a5d2c"];
    let no_identifiers = ["", "-a", "_a", "..", "a/b", "a b", "é", "a\n", "a\0", &long];
    assert_same_texts::<GameId>("GameId", &identifiers, &no_identifiers);
    assert_same_texts::<UserId>("UserId", &identifiers, &no_identifiers);
    let long_name = "é".repeat(65);
    assert_same_texts::<RaceName>(
        "RaceName",
        &["T", "Terrans", "Ünï çødé", "O'Hara 3", "銀河", &long_name[2..]],
        &["", " ", " a", "a ", "a\nb", "a\n", "a\u{85}b", "a\u{202E}b", "a\u{200B}", &long_name],
    );
    let long_reason = "r".repeat(201);
    assert_same_texts::<StopReason>(
        "StopReason",
        &["x", "abandoned by its players", &long_reason[1..]],
        &["", "a\tb", "\u{1b}[0m", "a\u{2028}b", &long_reason],
    );
    assert_same_texts::<EngineVersion>(
        "SemVer",
        &["0.0.0", "1.4.2", "2.0.0-rc.1", "1.0.0-0a.x-y", "10.20.30"],
        &["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3+build", "1.2.3-", "1.2.3-01", "1.2.3 "],
    );
    assert_same_texts::<EngineEndpoint>(
        "EngineEndpoint",
        &["http://engine-1:8080", "http://10.0.0.7:80", "http://[::1]:9000", "http://a_b.c:1"],
        &[
            "https://a:1",
            "http://a",
            "http://a:0",
            "http://a:80/",
            "http://u@a:80",
            "http://a..b:1",
        ],
    );
    assert_same_texts::<ContainerId>("ContainerId", &["9f2c", "a:b/c"], &["", "a b", "é"]);
    assert_same_texts::<ImageRef>(
        "ImageRef",
        &["registry.example/galaxy/engine:1.4.2", "engine:1"],
        &["", "a b:1", "engine:1\n"],
    );
}
