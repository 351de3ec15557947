//! Game Master's own REST, frozen.

use integration::contracts::{Contract, openapi, validator_for};
use serde_json::json;

use super::frozen::{
    Frozen, assert_none, enum_differences, operation_differences, shape_differences,
};

const READS: &str = "header X-Request-Id, header X-Galaxy-Caller, header traceparent";
const CHANGES: &str =
    "header Idempotency-Key, header X-Request-Id, header X-Galaxy-Caller, header traceparent";
const PLAYS: &str =
    "header X-User-Id!, header X-Request-Id, header X-Galaxy-Caller, header traceparent";
const GAME: &str = "path game_id!";
const VERSION: &str = "path version!";
const PAGE: &str = "query limit, query cursor";

const ALWAYS: &[&str] =
    &["400 invalid_request", "401 unauthenticated", "403 forbidden", "500 internal_error"];
const BODY: &[&str] = &["408 invalid_request", "413 invalid_request", "415 invalid_request"];
const ENGINE: &[&str] =
    &["422 engine_validation_error", "502 engine_protocol_violation|engine_unreachable"];
const BUSY: &[&str] = &["503 service_unavailable +Retry-After"];
const BUSY_OR_UNKNOWN: &[&str] = &["503 outcome_unknown|service_unavailable +Retry-After"];
const NO_RUNTIME: &[&str] = &["404 runtime_not_found"];
const NO_VERSION: &[&str] = &["404 engine_version_not_found"];
const CONFLICT: &[&str] = &["409 conflict"];
const NOT_RUNNING: &[&str] = &["409 runtime_not_running"];
const CONFLICT_OR_NOT_RUNNING: &[&str] = &["409 conflict|runtime_not_running"];

const OPERATIONS: [Frozen; 25] = [
    Frozen {
        id: "internalRegisterRuntime",
        call: "POST /api/v1/internal/games/{game_id}/register-runtime",
        callers: "lobby",
        parameters: &[GAME, CHANGES],
        takes: "RegisterRuntimeRequest",
        gives: "200 Runtime",
        errors: &[ALWAYS, BODY, NO_VERSION, CONFLICT, ENGINE, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalGetRuntime",
        call: "GET /api/v1/internal/runtimes/{game_id}",
        callers: "admin lobby",
        parameters: &[GAME, READS],
        takes: "",
        gives: "200 Runtime",
        errors: &[ALWAYS, NO_RUNTIME, BUSY],
    },
    Frozen {
        id: "internalListRuntimes",
        call: "GET /api/v1/internal/runtimes",
        callers: "admin",
        parameters: &["query status", PAGE, READS],
        takes: "",
        gives: "200 RuntimePage",
        errors: &[ALWAYS, BUSY],
    },
    Frozen {
        id: "internalForceNextTurn",
        call: "POST /api/v1/internal/runtimes/{game_id}/force-next-turn",
        callers: "admin",
        parameters: &[GAME, CHANGES],
        takes: "EmptyObject",
        gives: "200 Runtime",
        errors: &[ALWAYS, BODY, NO_RUNTIME, CONFLICT_OR_NOT_RUNNING, ENGINE, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalStopRuntime",
        call: "POST /api/v1/internal/runtimes/{game_id}/stop",
        callers: "admin lobby",
        parameters: &[GAME, CHANGES],
        takes: "StopRuntimeRequest",
        gives: "200 Runtime",
        errors: &[ALWAYS, BODY, NO_RUNTIME, CONFLICT, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalPatchRuntime",
        call: "POST /api/v1/internal/runtimes/{game_id}/patch",
        callers: "admin",
        parameters: &[GAME, CHANGES],
        takes: "PatchRuntimeRequest",
        gives: "200 Runtime",
        errors: &[
            ALWAYS,
            BODY,
            &["404 engine_version_not_found|runtime_not_found"],
            &["409 conflict|runtime_not_running|semver_patch_only"],
            BUSY_OR_UNKNOWN,
        ],
    },
    Frozen {
        id: "internalReconcileRuntime",
        call: "POST /api/v1/internal/runtimes/{game_id}/reconcile",
        callers: "admin",
        parameters: &[GAME, CHANGES],
        takes: "EmptyObject",
        gives: "200 Runtime",
        errors: &[ALWAYS, BODY, NO_RUNTIME, CONFLICT_OR_NOT_RUNNING, ENGINE, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalListOperations",
        call: "GET /api/v1/internal/runtimes/{game_id}/operations",
        callers: "admin",
        parameters: &[GAME, PAGE, READS],
        takes: "",
        gives: "200 OperationPage",
        errors: &[ALWAYS, NO_RUNTIME, BUSY],
    },
    Frozen {
        id: "internalExplainRuntime",
        call: "GET /api/v1/internal/runtimes/{game_id}/explain",
        callers: "admin",
        parameters: &[GAME, READS],
        takes: "",
        gives: "200 RuntimeExplanation",
        errors: &[ALWAYS, NO_RUNTIME, BUSY],
    },
    Frozen {
        id: "internalPreviewSchedule",
        call: "GET /api/v1/internal/schedules/preview",
        callers: "lobby admin",
        parameters: &["query expression!, query count", READS],
        takes: "",
        gives: "200 SchedulePreview",
        errors: &[ALWAYS, BUSY],
    },
    Frozen {
        id: "internalBanishRace",
        call: "POST /api/v1/internal/games/{game_id}/races/{race_name}/banish",
        callers: "lobby admin",
        parameters: &[GAME, "path race_name!", CHANGES],
        takes: "EmptyObject",
        gives: "204",
        errors: &[
            ALWAYS,
            BODY,
            &["404 race_not_found|runtime_not_found"],
            CONFLICT_OR_NOT_RUNNING,
            ENGINE,
            BUSY_OR_UNKNOWN,
        ],
    },
    Frozen {
        id: "internalInvalidateMemberships",
        call: "POST /api/v1/internal/games/{game_id}/memberships/invalidate",
        callers: "lobby",
        parameters: &[GAME, READS],
        takes: "EmptyObject",
        gives: "204",
        errors: &[ALWAYS, BODY, BUSY],
    },
    Frozen {
        id: "internalGameLiveness",
        call: "GET /api/v1/internal/games/{game_id}/liveness",
        callers: "lobby",
        parameters: &[GAME, READS],
        takes: "",
        gives: "200 GameLiveness",
        errors: &[ALWAYS, BUSY],
    },
    Frozen {
        id: "internalListEngineVersions",
        call: "GET /api/v1/internal/engine-versions",
        callers: "admin",
        parameters: &[PAGE, READS],
        takes: "",
        gives: "200 EngineVersionPage",
        errors: &[ALWAYS, BUSY],
    },
    Frozen {
        id: "internalCreateEngineVersion",
        call: "POST /api/v1/internal/engine-versions",
        callers: "admin",
        parameters: &[CHANGES],
        takes: "CreateEngineVersionRequest",
        gives: "201 EngineVersion",
        errors: &[ALWAYS, BODY, CONFLICT, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalGetEngineVersion",
        call: "GET /api/v1/internal/engine-versions/{version}",
        callers: "admin",
        parameters: &[VERSION, READS],
        takes: "",
        gives: "200 EngineVersion",
        errors: &[ALWAYS, NO_VERSION, BUSY],
    },
    Frozen {
        id: "internalUpdateEngineVersion",
        call: "PATCH /api/v1/internal/engine-versions/{version}",
        callers: "admin",
        parameters: &[VERSION, CHANGES],
        takes: "UpdateEngineVersionRequest",
        gives: "200 EngineVersion",
        errors: &[ALWAYS, BODY, NO_VERSION, CONFLICT, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalDeleteEngineVersion",
        call: "DELETE /api/v1/internal/engine-versions/{version}",
        callers: "admin",
        parameters: &[VERSION, CHANGES],
        takes: "",
        gives: "204",
        errors: &[ALWAYS, NO_VERSION, &["409 conflict|engine_version_in_use"], BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalDeprecateEngineVersion",
        call: "POST /api/v1/internal/engine-versions/{version}/deprecate",
        callers: "admin",
        parameters: &[VERSION, CHANGES],
        takes: "EmptyObject",
        gives: "200 EngineVersion",
        errors: &[ALWAYS, BODY, NO_VERSION, CONFLICT, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalResolveEngineVersionImageRef",
        call: "GET /api/v1/internal/engine-versions/{version}/image-ref",
        callers: "lobby",
        parameters: &[VERSION, READS],
        takes: "",
        gives: "200 EngineVersionImageRef",
        errors: &[ALWAYS, NO_VERSION, CONFLICT, BUSY],
    },
    Frozen {
        id: "internalExecuteCommands",
        call: "POST /api/v1/internal/games/{game_id}/commands",
        callers: "gateway",
        parameters: &[GAME, PLAYS],
        takes: "CommandsRequest",
        gives: "200 EngineAnswer",
        errors: &[ALWAYS, BODY, NO_RUNTIME, NOT_RUNNING, ENGINE, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalPutOrders",
        call: "PUT /api/v1/internal/games/{game_id}/orders",
        callers: "gateway",
        parameters: &[GAME, PLAYS],
        takes: "CommandsRequest",
        gives: "200 EngineAnswer",
        errors: &[ALWAYS, BODY, NO_RUNTIME, NOT_RUNNING, ENGINE, BUSY_OR_UNKNOWN],
    },
    Frozen {
        id: "internalGetReport",
        call: "GET /api/v1/internal/games/{game_id}/reports/{turn}",
        callers: "gateway",
        parameters: &[GAME, "path turn!", PLAYS],
        takes: "",
        gives: "200 EngineAnswer",
        errors: &[ALWAYS, NO_RUNTIME, NOT_RUNNING, ENGINE, BUSY],
    },
    Frozen {
        id: "internalHealthz",
        call: "GET /healthz",
        callers: "",
        parameters: &[],
        takes: "",
        gives: "200 Health",
        errors: &[],
    },
    Frozen {
        id: "internalReadyz",
        call: "GET /readyz",
        callers: "",
        parameters: &[],
        takes: "",
        gives: "200 Ready",
        // The one error without the envelope.
        errors: &[&["503 NotReady"]],
    },
];

const SHAPES: [(&str, &[&str]); 34] = [
    (
        "Runtime",
        &[
            "game_id: GameId",
            "runtime_status: RuntimeStatus",
            "revision: integer int64",
            "current_turn: Turn",
            "engine: RuntimeEngine",
            "turn_schedule: TurnSchedule",
            "next_generation_at: NullableTimestamp",
            "skip_next_tick: boolean",
            "engine_health_summary: EngineHealthSummary",
            "pending: null | PendingStop | PendingPatch",
            "work: null | EngineWork",
            "tries: integer int64",
            "retry_at: NullableTimestamp",
            "player_turn_stats: [PlayerTurnStats]",
            "last_failure: null | Failure",
            "created_at: Timestamp",
            "started_at: NullableTimestamp",
            "updated_at: Timestamp",
            "stopped_at: NullableTimestamp",
            "finished_at: NullableTimestamp",
        ],
    ),
    (
        "RuntimeEngine",
        &[
            "endpoint: EngineEndpoint",
            "version: SemVer",
            "image_ref: ImageRef",
            "container_id: null | ContainerId",
            "turn_guard: boolean",
        ],
    ),
    ("PendingStop", &["kind: \"stop\"", "reason: StopReason"]),
    ("PendingPatch", &["kind: \"patch\"", "version: SemVer"]),
    ("EngineWork", &["kind: enum string"]),
    (
        "PlayerTurnStats",
        &["user_id: UserId", "planets: integer int64", "population: integer int64"],
    ),
    ("Failure", &["code: FailureCode", "message: string"]),
    ("RuntimePage", &["items: [Runtime]", "next_cursor: NextCursor"]),
    (
        "RegisterRuntimeRequest",
        &[
            "engine_endpoint: EngineEndpoint",
            "members: [Member]",
            "target_engine_version: SemVer",
            "turn_schedule: TurnSchedule",
        ],
    ),
    ("Member", &["user_id: UserId", "race_name: RaceName"]),
    ("StopRuntimeRequest", &["reason: StopReason"]),
    ("PatchRuntimeRequest", &["version: SemVer"]),
    ("GameLiveness", &["ready: boolean", "status: enum string"]),
    ("OperationPage", &["items: [Operation]", "next_cursor: NextCursor"]),
    (
        "Operation",
        &[
            "operation_id: string uuid",
            "kind: enum string",
            "source: enum string",
            "request_id: string | null",
            "outcome: enum string",
            "error_code: null | FailureCode",
            "error_message: string | null",
            "started_at: Timestamp",
            "finished_at: NullableTimestamp",
        ],
    ),
    (
        "RuntimeExplanation",
        &[
            "game_id: GameId",
            "runtime_status: RuntimeStatus",
            "why: string",
            "last_ticks: [ExplainedTick]",
            "next: [ExplainedStep]",
        ],
    ),
    (
        "ExplainedTick",
        &["due_at: Timestamp", "outcome: enum string", "turn: null | Turn", "detail: string"],
    ),
    ("ExplainedStep", &["what: string", "at: NullableTimestamp"]),
    ("SchedulePreview", &["expression: TurnSchedule", "occurrences: [Timestamp]"]),
    ("EngineOptions", &["turn_guard: boolean"]),
    ("EngineOptionsRequest", &["turn_guard?: boolean"]),
    (
        "EngineVersion",
        &[
            "version: SemVer",
            "image_ref: ImageRef",
            "options: EngineOptions",
            "status: EngineVersionStatus",
            "created_at: Timestamp",
            "updated_at: Timestamp",
        ],
    ),
    ("EngineVersionPage", &["items: [EngineVersion]", "next_cursor: NextCursor"]),
    (
        "CreateEngineVersionRequest",
        &["version: SemVer", "image_ref: ImageRef", "options?: EngineOptionsRequest"],
    ),
    ("UpdateEngineVersionRequest", &["image_ref?: ImageRef", "options?: EngineOptions"]),
    ("EngineVersionImageRef", &["version: SemVer", "image_ref: ImageRef"]),
    ("EmptyObject", &[]),
    ("CommandsRequest", &["commands: [Command]"]),
    ("Command", &[]),
    ("Health", &["status: \"ok\""]),
    ("Ready", &["status: enum string", "outbox_backlog: OutboxBacklog"]),
    ("NotReady", &["status: \"unavailable\"", "outbox_backlog: OutboxBacklog"]),
    ("Error", &["error: ErrorDetail"]),
    ("ErrorDetail", &["code: ErrorCode", "message: string"]),
];

const ENUMS: [(&str, &str); 12] = [
    (
        "schemas/RuntimeStatus",
        "starting running generation_in_progress generation_failed stopped engine_unreachable \
         finished",
    ),
    (
        "schemas/EngineHealthSummary",
        "unknown healthy probe_failed inspect_unhealthy exited oom disappeared",
    ),
    (
        "schemas/FailureCode",
        "engine_validation_error engine_unreachable engine_protocol_violation \
         generation_interrupted start_interrupted rtm_unavailable rtm_refused conflict",
    ),
    ("schemas/EngineWork/properties/kind", "init turn probe"),
    (
        "schemas/GameLiveness/properties/status",
        "starting running generation_in_progress generation_failed stopped engine_unreachable \
         finished unregistered",
    ),
    (
        "schemas/Operation/properties/kind",
        "register tick force stop patch reconcile banish retry recovery health health_publish",
    ),
    ("schemas/Operation/properties/source", "gateway lobby admin game_master"),
    ("schemas/Operation/properties/outcome", "open succeeded failed superseded"),
    ("schemas/ExplainedTick/properties/outcome", "fired forced missed held failed"),
    ("schemas/EngineVersionStatus", "active deprecated"),
    ("schemas/Ready/properties/status", "ready degraded"),
    (
        "schemas/ErrorCode",
        "invalid_request unauthenticated forbidden not_found runtime_not_found \
         engine_version_not_found race_not_found conflict runtime_not_running \
         engine_version_in_use semver_patch_only engine_validation_error engine_unreachable \
         engine_protocol_violation outcome_unknown service_unavailable internal_error",
    ),
];

const CALLER: (&str, &str) = ("parameters/Caller/schema", "gateway lobby admin");

fn contract() -> Contract {
    openapi().expect("readable contract")
}

fn enums() -> Vec<(&'static str, &'static str)> {
    ENUMS.into_iter().chain([CALLER]).collect()
}

#[test]
fn operations_are_frozen() {
    assert_none(&operation_differences(&contract(), &OPERATIONS));
}

#[test]
fn bodies_are_frozen() {
    assert_none(&shape_differences(&contract(), &SHAPES));
}

#[test]
fn enumerations_are_frozen() {
    assert_none(&enum_differences(&contract(), &enums()));
}

#[test]
fn answers_outside_operations_are_frozen() {
    let cases = contract().root()["x-outside-operations"].as_object().map(|cases| cases.len());
    assert_eq!(cases, Some(2));
    let unknown_path = integration::contracts::unknown_path().unwrap();
    assert!(unknown_path.response().codes.iter().eq(["not_found"]));
    let wrong_method = integration::contracts::method_not_allowed().unwrap();
    assert!(wrong_method.response().codes.iter().eq(["invalid_request"]));
    assert!(wrong_method.response().required_headers.iter().eq(["Allow"]));
}

#[test]
fn whoever_needs_a_token_is_named_and_probes_need_none() {
    let contract = contract();
    for operation in contract.operations().unwrap() {
        let is_probe = operation.path.ends_with('z');
        assert_eq!(operation.callers.is_empty(), is_probe, "{}", operation.id);
        let item = &contract.root()["paths"][&operation.path];
        let security = &item[operation.method.to_lowercase()]["security"];
        assert_eq!(*security == json!([]), is_probe, "{}", operation.id);
    }
}

/// The tables would be worth nothing if a change slipped past them.
#[test]
fn changes_are_noticed() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 8] = [
        ("an operation is gone", |root| {
            root["paths"].as_object_mut().unwrap().remove("/healthz");
        }),
        ("an operation is new", |root| {
            root["paths"]["/livez"] = root["paths"]["/healthz"].clone();
            root["paths"]["/livez"]["get"]["operationId"] = json!("internalLivez");
        }),
        ("a status is gone", |root| {
            let get = &mut root["paths"]["/api/v1/internal/runtimes/{game_id}"]["get"];
            get["responses"].as_object_mut().unwrap().remove("404");
        }),
        ("an error code is new", |root| {
            let schema = &mut root["components"]["responses"]["Conflict"]["content"];
            schema["application/json"]["schema"]["allOf"][1]["properties"]["error"]["properties"]
                ["code"]["enum"] = json!(["conflict", "runtime_not_running"]);
        }),
        ("a field is optional", |root| {
            root["components"]["schemas"]["Runtime"]["required"].as_array_mut().unwrap().pop();
        }),
        ("a field is new", |root| {
            root["components"]["schemas"]["Member"]["properties"]["colour"] =
                json!({ "type": "string" });
        }),
        ("an enum value is gone", |root| {
            root["components"]["schemas"]["RuntimeStatus"]["enum"].as_array_mut().unwrap().pop();
        }),
        ("a header is optional", |root| {
            root["components"]["headers"]["RetryAfter"]["required"] = json!(false);
        }),
    ];
    for (what, change) in changes {
        let mut root = contract().root().clone();
        change(&mut root);
        let changed = Contract::from_value(root);
        let mut noticed = operation_differences(&changed, &OPERATIONS);
        noticed.extend(shape_differences(&changed, &SHAPES));
        noticed.extend(enum_differences(&changed, &enums()));
        assert!(!noticed.is_empty(), "not noticed: {what}");
    }
}

#[test]
fn answers_are_checked() {
    let check = validator_for("internalStopRuntime", 503).unwrap();
    let json_type = |name: &str| (name == "content-type").then(|| "application/json".to_owned());
    let full = |name: &str| (name == "Retry-After").then(|| "1".into()).or_else(|| json_type(name));
    let good = br#"{"error":{"code":"outcome_unknown","message":"repeat"}}"#;
    assert_eq!(check.violations(full, good), []);
    assert_eq!(check.violations(json_type, good).len(), 1, "Retry-After is missing");
    let bad: [&[u8]; 5] = [
        b"",
        b"no json",
        br#"{"error":{"code":"conflict","message":"another status's code"}}"#,
        br#"{"error":{"code":"outcome_unknown"}}"#,
        br#"{"error":{"code":"outcome_unknown","message":"m","hint":"unknown field"}}"#,
    ];
    for body in bad {
        assert!(!check.violations(full, body).is_empty(), "{}", String::from_utf8_lossy(body));
    }
    let empty = validator_for("internalBanishRace", 204).unwrap();
    assert_eq!(empty.violations(|_| None, b""), []);
    assert_eq!(empty.violations(|_| None, b"{}").len(), 1);
    assert!(validator_for("internalBanishRace", 418).is_err());
    assert!(validator_for("internalSomething", 200).is_err());
}
