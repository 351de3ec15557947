//! The requests: what each operation is asked, and what must come of it.

use integration::harness::until;
use peers::engine::{Operation, Plan};
use serde_json::{Value, json};

use crate::call::Call;
use crate::world::{MAX_BODY_BYTES, Mode, World};

const USER: &str = "user-1";

fn register(game: &str, endpoint: &str) -> Call {
    let path = format!("games/{game}/register-runtime");
    Call::new("internalRegisterRuntime", "POST", &path).by("lobby").body(json!({
        "engine_endpoint": endpoint,
        "members": [
            { "user_id": USER, "race_name": "Terrans" },
            { "user_id": "user-2", "race_name": "Zoral Combine" },
        ],
        "target_engine_version": "1.4.2",
        "turn_schedule": "0 18 * * *",
    }))
}

fn runtime(operation: &'static str, method: &'static str, game: &str, verb: &str) -> Call {
    Call::new(operation, method, &format!("runtimes/{game}{verb}"))
}

fn get(game: &str) -> Call {
    runtime("internalGetRuntime", "GET", game, "")
}

fn force(game: &str) -> Call {
    runtime("internalForceNextTurn", "POST", game, "/force-next-turn")
}

fn stop(game: &str) -> Call {
    runtime("internalStopRuntime", "POST", game, "/stop").body(json!({ "reason": "over" }))
}

fn patch(game: &str, version: &str) -> Call {
    runtime("internalPatchRuntime", "POST", game, "/patch").body(json!({ "version": version }))
}

fn reconcile(game: &str) -> Call {
    runtime("internalReconcileRuntime", "POST", game, "/reconcile")
}

fn operations(game: &str) -> Call {
    runtime("internalListOperations", "GET", game, "/operations")
}

fn explain(game: &str) -> Call {
    runtime("internalExplainRuntime", "GET", game, "/explain")
}

fn banish(game: &str, race: &str) -> Call {
    let path = format!("games/{game}/races/{race}/banish");
    Call::new("internalBanishRace", "POST", &path)
}

fn invalidate(game: &str) -> Call {
    let path = format!("games/{game}/memberships/invalidate");
    Call::new("internalInvalidateMemberships", "POST", &path).by("lobby")
}

fn liveness(game: &str) -> Call {
    Call::new("internalGameLiveness", "GET", &format!("games/{game}/liveness")).by("lobby")
}

fn commands(game: &str) -> Call {
    Call::new("internalExecuteCommands", "POST", &format!("games/{game}/commands"))
        .by("gateway")
        .header("X-User-Id", USER)
        .body(json!({ "commands": [{ "type": "build", "planet": 0 }] }))
}

fn orders(game: &str) -> Call {
    let Call { path, .. } = commands(game);
    let path = path.replace("/commands", "/orders");
    Call { operation: "internalPutOrders", method: "PUT", path, ..commands(game) }
}

fn report(game: &str, turn: u32) -> Call {
    Call::new("internalGetReport", "GET", &format!("games/{game}/reports/{turn}"))
        .by("gateway")
        .header("X-User-Id", USER)
}

fn list() -> Call {
    Call::new("internalListRuntimes", "GET", "runtimes")
}

fn preview() -> Call {
    let path = "schedules/preview?expression=0%2018%20*%20*%20*&count=3";
    Call::new("internalPreviewSchedule", "GET", path).by("lobby")
}

fn versions() -> Call {
    Call::new("internalListEngineVersions", "GET", "engine-versions")
}

fn create(version: &str) -> Call {
    let image = format!("galaxy/engine:{version}");
    Call::new("internalCreateEngineVersion", "POST", "engine-versions")
        .body(json!({ "version": version, "image_ref": image }))
}

fn version(operation: &'static str, method: &'static str, version: &str, verb: &str) -> Call {
    Call::new(operation, method, &format!("engine-versions/{version}{verb}"))
}

fn get_version(of: &str) -> Call {
    version("internalGetEngineVersion", "GET", of, "")
}

fn update(of: &str) -> Call {
    version("internalUpdateEngineVersion", "PATCH", of, "")
        .body(json!({ "image_ref": "galaxy/engine:moved" }))
}

fn delete(of: &str) -> Call {
    version("internalDeleteEngineVersion", "DELETE", of, "")
}

fn deprecate(of: &str) -> Call {
    version("internalDeprecateEngineVersion", "POST", of, "/deprecate")
}

fn image_ref(of: &str) -> Call {
    version("internalResolveEngineVersionImageRef", "GET", of, "/image-ref").by("lobby")
}

fn probe(operation: &'static str, path: &str) -> Call {
    Call { path: path.into(), caller: None, ..Call::new(operation, "GET", "") }
}

/// A good request of every operation that has a caller.
fn one_of_each() -> Vec<Call> {
    vec![
        register("a", "http://127.0.0.1:1"),
        get("a"),
        list(),
        force("a"),
        stop("a"),
        patch("a", "1.4.3"),
        reconcile("a"),
        operations("a"),
        explain("a"),
        banish("a", "Terrans"),
        invalidate("a"),
        liveness("a"),
        commands("a"),
        orders("a"),
        report("a", 0),
        preview(),
        versions(),
        create("1.4.2"),
        get_version("1.4.2"),
        update("1.4.2"),
        delete("1.4.2"),
        deprecate("1.4.2"),
        image_ref("1.4.2"),
    ]
}

/// Whether the operation may have a body.
fn takes_body(call: &Call) -> bool {
    !["GET", "DELETE"].contains(&call.method)
}

pub(crate) async fn everything(world: &World) {
    probes(world).await;
    what_every_operation_refuses(world).await;
    the_registry(world).await;
    registrations(world).await;
    players(world).await;
    turns(world).await;
    stops_and_patches(world).await;
    banishing(world).await;
    unknown_games(world).await;
    names_of_requests(world).await;
    the_store_is_away(world).await;
    nobody_knows(world).await;
}

async fn probes(world: &World) {
    world.expect(probe("internalHealthz", "/healthz"), 200, "").await;
    world.expect(probe("internalReadyz", "/readyz"), 200, "").await;
    world.set(Mode::Down);
    world.ask(probe("internalHealthz", "/healthz")).await;
    let (status, body) = world.ask(probe("internalReadyz", "/readyz")).await;
    assert_eq!((status, &body["status"]), (503, &Value::from("unavailable")));
    world.set(Mode::Well);
}

/// What is wrong with the request itself, or with the process that answers.
async fn what_every_operation_refuses(world: &World) {
    for call in one_of_each() {
        let mark = if call.path.contains('?') { '&' } else { '?' };
        let nonsense = Call { path: format!("{}{mark}nonsense=1", call.path), ..call.clone() };
        world.expect(nonsense, 400, "invalid_request").await;
        let nobody = Call { caller: None, ..call.clone() };
        world.expect(nobody, 401, "unauthenticated").await;
        let stranger = if call.caller == Some("gateway") { "lobby" } else { "gateway" };
        world.expect(call.clone().by(stranger), 403, "forbidden").await;
        if takes_body(&call) {
            let text = call.clone().header("Content-Type", "text/plain");
            let text = Call { body: Some("{}".into()), ..text };
            world.expect(text, 415, "invalid_request").await;
            let long = Call { body: Some(" ".repeat(MAX_BODY_BYTES + 1)), ..call.clone() };
            world.expect(long, 413, "invalid_request").await;
            let stalled = Call { body: Some("{".into()), ..call.clone() };
            let answer = stalled.send_with_length(world.gm, 100).await;
            assert_eq!(world.hold(&stalled, &answer).0, 408, "{stalled:?}");
        }
        let answer = call.send(world.full).await;
        assert_eq!(world.hold(&call, &answer).0, 503, "{call:?}");
        let answer = call.send(world.broken).await;
        assert_eq!(world.hold(&call, &answer).0, 500, "{call:?}");
    }
}

async fn the_registry(world: &World) {
    for of in ["1.4.2", "1.4.3", "1.5.0", "2.0.0"] {
        world.expect(create(of), 201, "").await;
    }
    world.expect(create("1.4.2"), 409, "conflict").await;
    world.expect(versions(), 200, "").await;
    world.expect(get_version("1.4.2"), 200, "").await;
    world.expect(image_ref("1.4.2"), 200, "").await;
    let moved = world.expect(update("2.0.0"), 200, "").await;
    assert_eq!(moved["image_ref"], "galaxy/engine:moved");
    let deprecated = world.expect(deprecate("2.0.0"), 200, "").await;
    assert_eq!(deprecated["status"], "deprecated");
    world.expect(image_ref("2.0.0"), 409, "conflict").await;
    world.expect(delete("2.0.0"), 204, "").await;
    for call in [
        get_version("2.0.0"),
        update("2.0.0"),
        deprecate("2.0.0"),
        delete("2.0.0"),
        image_ref("2.0.0"),
    ] {
        world.expect(call, 404, "engine_version_not_found").await;
    }
}

/// Has an engine do something wrong the next time it is asked for something.
fn spoil(world: &World, engine: &str, only: Operation, plan: Plan) {
    world.misbehaviour(engine).set(Plan { only: vec![only], ..plan });
}

fn fails(status: u16) -> Plan {
    Plan { fail_next: 1, fail_status: status, ..Plan::default() }
}

fn babbles() -> Plan {
    Plan { garbage_next: 1, ..Plan::default() }
}

/// What an engine can do wrong, and what its caller is told.
fn faults() -> [(Plan, u16, &'static str); 3] {
    [
        (fails(422), 422, "engine_validation_error"),
        (fails(500), 502, "engine_unreachable"),
        (babbles(), 502, "engine_protocol_violation"),
    ]
}

/// A game of this name that runs, on an engine of its name.
async fn begin(world: &World, game: &str, turn_limit: u32) {
    let endpoint = world.engine(game, turn_limit).await;
    world.neighbour.set_members(
        game,
        json!([
            { "user_id": USER, "race_name": "Terrans", "status": "active" },
            { "user_id": "user-2", "race_name": "Zoral Combine", "status": "removed" },
        ]),
    );
    let record = world.expect(register(game, &endpoint), 200, "").await;
    assert_eq!(record["runtime_status"], "running");
}

async fn registrations(world: &World) {
    let (status, body) = world.ask(liveness("a")).await;
    assert_eq!((status, &body["status"]), (200, &Value::from("unregistered")));
    for (n, (plan, status, code)) in faults().into_iter().enumerate() {
        let name = format!("refused-{n}");
        let endpoint = world.engine(&name, 100).await;
        spoil(world, &name, Operation::Init, plan);
        world.expect(register(&name, &endpoint), status, code).await;
        // Rolled back, but for the log.
        world.expect(get(&name), 404, "runtime_not_found").await;
        world.expect(operations(&name), 200, "").await;
    }
    begin(world, "a", 100).await;
    world.expect(get("a"), 200, "").await;
    world.expect(list(), 200, "").await;
    world.expect(liveness("a"), 200, "").await;
    world.expect(operations("a"), 200, "").await;
    let explained = world.expect(explain("a"), 200, "").await;
    assert_eq!(explained["runtime_status"], "running");
    world.expect(preview(), 200, "").await;
    world.expect(invalidate("a"), 204, "").await;
    world.expect(register("a", "http://127.0.0.1:1"), 409, "conflict").await;
    world.expect(delete("1.4.2"), 409, "engine_version_in_use").await;
    let unknown = register("b", "http://127.0.0.1:1");
    let body = unknown.body.as_deref().map(|body| body.replace("1.4.2", "9.9.9"));
    world.expect(Call { body, ..unknown }, 404, "engine_version_not_found").await;
}

async fn players(world: &World) {
    for call in [commands("a"), orders("a"), report("a", 0)] {
        world.expect(call.clone(), 200, "").await;
        let removed = Call { headers: vec![("X-User-Id", "user-2".into())], ..call.clone() };
        world.expect(removed, 403, "forbidden").await;
        let only = match call.operation {
            "internalExecuteCommands" => Operation::Command,
            "internalPutOrders" => Operation::Order,
            _ => Operation::Report,
        };
        for (plan, status, code) in faults() {
            spoil(world, "a", only, plan);
            world.expect(call.clone(), status, code).await;
        }
        if only != Operation::Report {
            // Carried out, and the answer lost on its way.
            spoil(world, "a", only, Plan { drop_next: 1, ..Plan::default() });
            world.expect(call.clone(), 503, "outcome_unknown").await;
        }
        world.misbehaviour("a").clear();
    }
    world.expect(invalidate("a"), 204, "").await;
    world.neighbour.set_lobby_down(true);
    world.expect(commands("a"), 503, "service_unavailable").await;
    world.neighbour.set_lobby_down(false);
}

async fn turns(world: &World) {
    let after = world.expect(force("a"), 200, "").await;
    assert_eq!(after["current_turn"], 1);
    world.expect(reconcile("a"), 200, "").await;
    for (n, (plan, status, code)) in faults().into_iter().enumerate() {
        let game = format!("fails-{n}");
        begin(world, &game, 100).await;
        spoil(world, &game, Operation::Turn, plan);
        world.expect(force(&game), status, code).await;
    }
    // One that waits for an operator: an engine that refuses is not asked again unbidden.
    for (plan, status, code) in faults() {
        spoil(world, "fails-0", Operation::Status, plan);
        world.expect(reconcile("fails-0"), status, code).await;
        world.expect(explain("fails-0"), 200, "").await;
    }
    world.expect(reconcile("fails-0"), 200, "").await;
    // One that ends.
    begin(world, "ends", 1).await;
    let over = world.expect(force("ends"), 200, "").await;
    assert_eq!(over["runtime_status"], "finished");
    for call in
        [force("ends"), reconcile("ends"), banish("ends", "Terrans"), patch("ends", "1.4.3")]
    {
        world.expect(call, 409, "runtime_not_running").await;
    }
    for call in [commands("ends"), orders("ends"), report("ends", 1)] {
        world.expect(call, 409, "runtime_not_running").await;
    }
    world.expect(stop("ends"), 409, "conflict").await;
    world.expect(explain("ends"), 200, "").await;
}

async fn stops_and_patches(world: &World) {
    world.expect(patch("a", "1.4.9"), 404, "engine_version_not_found").await;
    world.expect(patch("a", "1.5.0"), 409, "semver_patch_only").await;
    world.neighbour.set_rtm_down(true);
    world.expect(patch("a", "1.4.3"), 503, "service_unavailable").await;
    world.expect(stop("a"), 503, "service_unavailable").await;
    world.neighbour.set_rtm_down(false);
    let patched = world.expect(patch("a", "1.4.3"), 200, "").await;
    assert_eq!(patched["engine"]["version"], "1.4.3");
    begin(world, "stops", 100).await;
    world.neighbour.hold_rtm(true);
    let meanwhile = async {
        until("the stop to be asked for", || async {
            let (_, body) = world.ask(get("stops")).await;
            (body["pending"]["kind"] == "stop").then_some(())
        })
        .await;
        for call in [force("stops"), reconcile("stops"), patch("stops", "1.4.3"), stop("stops")] {
            world.expect(call, 409, "conflict").await;
        }
        world.expect(explain("stops"), 200, "").await;
        world.neighbour.hold_rtm(false);
    };
    let (stopped, ()) = tokio::join!(world.expect(stop("stops"), 200, ""), meanwhile);
    assert_eq!(stopped["runtime_status"], "stopped");
    world.expect(explain("stops"), 200, "").await;
}

async fn banishing(world: &World) {
    world.expect(banish("a", "Nobody"), 404, "race_not_found").await;
    world.expect(banish("a", "Zoral%20Combine"), 204, "").await;
    for (plan, status, code) in faults().into_iter().take(2) {
        spoil(world, "a", Operation::Banish, plan);
        world.expect(banish("a", "Terrans"), status, code).await;
    }
    world.misbehaviour("a").clear();
    // An engine that sends its caller elsewhere, where nobody follows.
    let endpoint = format!("http://{}", world.neighbour.address);
    world.expect(register("odd", &endpoint), 200, "").await;
    world.expect(banish("odd", "Terrans"), 502, "engine_protocol_violation").await;
    world.expect(operations("odd"), 200, "").await;
}

async fn unknown_games(world: &World) {
    for call in [
        get("nobody"),
        force("nobody"),
        stop("nobody"),
        patch("nobody", "1.4.3"),
        reconcile("nobody"),
        operations("nobody"),
        explain("nobody"),
        banish("nobody", "Terrans"),
        commands("nobody"),
        orders("nobody"),
        report("nobody", 0),
    ] {
        world.expect(call, 404, "runtime_not_found").await;
    }
}

async fn names_of_requests(world: &World) {
    world.expect(create("3.0.0").named("taken"), 201, "").await;
    let again = world.expect(create("3.0.0").named("taken"), 201, "").await;
    assert_eq!(again["version"], "3.0.0");
    world.expect(banish("a", "Terrans").by("lobby").named("taken"), 204, "").await;
    for call in [
        force("a"),
        stop("a"),
        patch("a", "1.4.2"),
        banish("a", "Terrans"),
        create("3.0.1"),
        update("3.0.0"),
        delete("3.0.0"),
        deprecate("3.0.0"),
    ] {
        world.expect(call.named("taken"), 409, "conflict").await;
    }
    world.expect(register("a", "http://127.0.0.1:1").named("taken"), 409, "conflict").await;
    // The first answer, although what it was made of is gone.
    world.expect(create("1.4.4"), 201, "").await;
    let first = world.expect(patch("a", "1.4.4").named("patch-1"), 200, "").await;
    world.expect(patch("a", "1.4.3"), 200, "").await;
    world.expect(delete("1.4.4"), 204, "").await;
    let again = world.expect(patch("a", "1.4.4").named("patch-1"), 200, "").await;
    assert_eq!(again, first);
}

async fn the_store_is_away(world: &World) {
    world.set(Mode::Down);
    for call in one_of_each() {
        // What asks no store goes on.
        let asks_nobody = ["internalInvalidateMemberships", "internalPreviewSchedule"];
        let (status, body) = world.ask(call.clone()).await;
        let expected = if asks_nobody.contains(&call.operation) { status } else { 503 };
        assert_eq!(status, expected, "{call:?}: {body}");
    }
    world.set(Mode::Well);
}

/// The answer to every commit is lost, and to every repeat of it.
async fn nobody_knows(world: &World) {
    for game in ["m1", "m2", "m3", "m4", "m5"] {
        begin(world, game, 100).await;
    }
    spoil(world, "m4", Operation::Turn, fails(422));
    world.expect(force("m4"), 422, "engine_validation_error").await;
    let endpoint = world.engine("m6", 100).await;
    world.set(Mode::Mute);
    let unknown = |call| world.expect(call, 503, "outcome_unknown");
    tokio::join!(
        unknown(force("m1")),
        unknown(stop("m2")),
        unknown(patch("m3", "1.4.3")),
        unknown(reconcile("m4")),
        unknown(banish("m5", "Terrans")),
        unknown(register("m6", &endpoint).named("mute-1")),
        unknown(create("4.0.0").named("mute-2")),
        unknown(update("1.5.0").named("mute-3")),
        unknown(deprecate("3.0.0").named("mute-4")),
        unknown(delete("1.5.0").named("mute-5")),
    );
    world.set(Mode::Well);
    // Asking again under the same name tells the truth: of the registration, that nobody went on with
    // it and that it was taken back when its lease ended.
    until("the registration to be taken back", || async {
        (world.ask(get("m6")).await.0 == 404).then_some(())
    })
    .await;
    let again = register("m6", &endpoint);
    world.expect(again.clone().named("mute-1"), 503, "service_unavailable").await;
    world.expect(again, 200, "").await;
    world.expect(create("4.0.0").named("mute-2"), 201, "").await;
    world.expect(deprecate("3.0.0").named("mute-4"), 200, "").await;
    world.expect(delete("1.5.0").named("mute-5"), 204, "").await;
}
