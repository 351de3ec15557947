//! The neighbours' REST, as Game Master relies on it, frozen.

use integration::contracts::Document;

use super::frozen::{
    Frozen, assert_none, enum_differences, operation_differences, shape_differences,
};

type Shapes = &'static [(&'static str, &'static [&'static str])];
type Enums = &'static [(&'static str, &'static str)];

const fn operation(
    id: &'static str,
    call: &'static str,
    parameters: &'static [&'static str],
    takes: &'static str,
    gives: &'static str,
    errors: &'static [&'static [&'static str]],
) -> Frozen {
    Frozen { id, call, callers: "", parameters, takes, gives, errors }
}

const MALFORMED: &[&str] = &["400 invalid_request"];
const BUG: &[&str] = &["500 internal_error"];
const BUSY: &[&str] = &["503 service_unavailable"];
const NO_RACE: &[&str] = &["404 race_not_found"];
const NO_GAME: &[&str] = &["409 not_initialized"];
const NOT_PLAYING: &[&str] = &["409 game_finished|not_initialized|race_extinct"];

const ENGINE: [Frozen; 8] = [
    operation(
        "adminInitGame",
        "POST /api/v1/admin/init",
        &[],
        "InitRequest",
        "200 StateResponse",
        &[MALFORMED, &["409 already_initialized"], BUG],
    ),
    operation(
        "adminGetGameStatus",
        "GET /api/v1/admin/status",
        &[],
        "",
        "200 StateResponse",
        &[NO_GAME, BUG],
    ),
    operation(
        "adminGenerateTurn",
        "PUT /api/v1/admin/turn",
        &["query expected_turn!"],
        "",
        "200 StateResponse",
        &[MALFORMED, &["409 game_finished|not_initialized|turn_conflict"], BUG],
    ),
    operation(
        "adminBanishRace",
        "POST /api/v1/admin/race/banish",
        &[],
        "Race",
        "204",
        &[MALFORMED, NO_RACE, NOT_PLAYING, BUG],
    ),
    operation(
        "executeCommand",
        "PUT /api/v1/command",
        &[],
        "EngineCommands",
        "200 EngineAnswer",
        &[MALFORMED, NO_RACE, NOT_PLAYING, BUG],
    ),
    operation(
        "putOrder",
        "PUT /api/v1/order",
        &[],
        "EngineCommands",
        "200 EngineAnswer",
        &[MALFORMED, NO_RACE, NOT_PLAYING, BUG],
    ),
    operation(
        "getReport",
        "GET /api/v1/report",
        &["query player!, query turn!"],
        "",
        "200 EngineAnswer",
        &[MALFORMED, &["404 race_not_found|report_not_found"], NO_GAME, BUG],
    ),
    operation("healthz", "GET /healthz", &[], "", "200 EngineHealth", &[]),
];

const ENGINE_SHAPES: Shapes = &[
    ("Race", &["race_name: RaceName"]),
    ("InitRequest", &["races: [Race]"]),
    ("StateResponse", &["id: string", "turn: Turn", "player: [PlayerState]", "finished: boolean"]),
    (
        "PlayerState",
        &[
            "id: string",
            "race_name: RaceName",
            "planets: integer int64",
            "population: integer int64",
            "extinct: boolean",
        ],
    ),
    ("EngineCommands", &["actor: RaceName", "cmd: [Command]"]),
    ("Command", &[]),
    ("EngineHealth", &["status: \"ok\""]),
    ("EngineError", &["error: EngineErrorDetail"]),
    ("EngineErrorDetail", &["code: EngineErrorCode", "message: string"]),
];

const ENGINE_ENUMS: Enums = &[(
    "schemas/EngineErrorCode",
    "invalid_request already_initialized not_initialized turn_conflict game_finished \
     race_not_found race_extinct report_not_found internal_error",
)];

const LOBBY: [Frozen; 1] = [operation(
    "internalListMemberships",
    "GET /api/v1/internal/games/{game_id}/memberships",
    &["path game_id!"],
    "",
    "200 Memberships",
    &[MALFORMED, &["404 game_not_found"], BUG, BUSY],
)];

const LOBBY_SHAPES: Shapes = &[
    ("Memberships", &["members: [Membership]"]),
    ("Membership", &["user_id: UserId", "race_name: RaceName", "status: enum string"]),
    ("LobbyError", &["error: LobbyErrorDetail"]),
    ("LobbyErrorDetail", &["code: enum string", "message: string"]),
];

const LOBBY_ENUMS: Enums = &[
    ("schemas/Membership/properties/status", "active removed blocked"),
    (
        "schemas/LobbyErrorDetail/properties/code",
        "invalid_request game_not_found internal_error service_unavailable",
    ),
];

const RTM: [Frozen; 2] = [
    operation(
        "internalStopRuntime",
        "POST /api/v1/internal/runtimes/{game_id}/stop",
        &["path game_id!"],
        "StopRuntimeRequest",
        "200 RuntimeContainer",
        &[MALFORMED, &["404 runtime_not_found"], BUG, BUSY],
    ),
    operation(
        "internalPatchRuntime",
        "POST /api/v1/internal/runtimes/{game_id}/patch",
        &["path game_id!"],
        "PatchImageRequest",
        "200 RuntimeContainer",
        &[
            MALFORMED,
            &["404 runtime_not_found", "409 conflict", "422 image_not_found|image_ref_invalid"],
            BUG,
            BUSY,
        ],
    ),
];

const RTM_SHAPES: Shapes = &[
    ("StopRuntimeRequest", &["reason: StopReason"]),
    ("PatchImageRequest", &["image_ref: ImageRef"]),
    ("RuntimeContainer", &["container_id: ContainerId"]),
    ("RtmError", &["error: RtmErrorDetail"]),
    ("RtmErrorDetail", &["code: enum string", "message: string"]),
];

const RTM_ENUMS: Enums = &[(
    "schemas/RtmErrorDetail/properties/code",
    "invalid_request runtime_not_found conflict image_ref_invalid image_not_found internal_error \
     service_unavailable",
)];

fn assert_frozen(document: Document, operations: &[Frozen], shapes: Shapes, enums: Enums) {
    let contract = document.load().expect("readable contract");
    let mut differences = operation_differences(&contract, operations);
    differences.extend(shape_differences(&contract, shapes));
    differences.extend(enum_differences(&contract, enums));
    assert_none(&differences);
}

#[test]
fn the_engine_is_frozen() {
    assert_frozen(Document::Engine, &ENGINE, ENGINE_SHAPES, ENGINE_ENUMS);
}

#[test]
fn lobby_is_frozen() {
    assert_frozen(Document::Lobby, &LOBBY, LOBBY_SHAPES, LOBBY_ENUMS);
}

#[test]
fn runtime_manager_is_frozen() {
    assert_frozen(Document::Rtm, &RTM, RTM_SHAPES, RTM_ENUMS);
}
