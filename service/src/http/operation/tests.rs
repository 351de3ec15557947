use serde_json::Value;

use super::*;

#[test]
fn each_path_has_one_spelling() {
    let parameters = |path| find(&Method::GET, path).map(|found| found.parameters).ok();
    assert_eq!(parameters("/api/v1/internal/runtimes"), Some(Parameters::None));
    assert_eq!(parameters("/api/v1/internal/runtimes/a"), Some(Parameters::Game("a")));
    assert_eq!(
        parameters("/api/v1/internal/games/a/reports/7"),
        Some(Parameters::GameAndTurn("a", "7"))
    );
    let banish = find(&Method::POST, "/api/v1/internal/games/a/races/b%2Fc/banish");
    assert_eq!(banish.map(|found| found.parameters), Ok(Parameters::GameAndRace("a", "b%2Fc")));
    for unknown in [
        "",
        "*",
        "/",
        "/healthz/",
        "//healthz",
        "/Healthz",
        "/api/v1/internal",
        "/api/v1/internal/",
        "/api/v1/internal/runtimes/",
        "/api/v1/internal//runtimes",
        "/api/v1/internal/%72untimes",
        "/api/v1/internal/runtimes;a=b",
        "/api/v1/internal/runtimes/a/",
        "/api/v1/internal/games//liveness",
        "/api/v1/internal/games/a/liveness/",
        "/api/v1/internal/games/a/reports/",
        "/api/v1/internal/games/a/reports/7/",
        "/api/v1/internal/games/a/reports/7/8",
        "/api/v1/internal/games/a/b/liveness",
        "/api/v1/internal/games/a/races//banish",
        "/api/v1/internal/games/a/races/b/c/banish",
        "/api/v1/internal/games/a/races/b/banish/",
        "/api/v1/internal/schedules",
        "/api/v1/internal/schedules/a/preview",
    ] {
        assert_eq!(parameters(unknown), None, "{unknown}");
        assert_eq!(find(&Method::POST, unknown), Err(Refusal::not_found()), "{unknown}");
    }
}

/// The contract's operations: method, path with something in place of each parameter, and what it
/// says of them.
fn contract() -> Vec<(Method, String, Value)> {
    let text = include_str!("../../../../api/internal-openapi.yaml");
    let document: Value = serde_norway::from_str(text).expect("YAML");
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = vec![];
    for (path, item) in paths {
        let path: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        for (method, operation) in item.as_object().expect("an object") {
            if let Ok(method) = method.to_uppercase().parse::<Method>()
                && operation.get("operationId").is_some()
            {
                operations.push((method, path.join("/"), operation.clone()));
            }
        }
    }
    operations
}

#[test]
fn the_table_is_that_of_the_contract() {
    let contract = contract();
    assert!(contract.len() > 20, "{}", contract.len());
    for (method, path, described) in &contract {
        let id = described["operationId"].as_str().expect("a text");
        let Found { operation, .. } = find(method, path).expect(id);
        assert_eq!(operation.id(), id);

        let mut callers: Vec<_> =
            operation.callers().iter().map(|caller| caller.as_str()).collect();
        let documented = described["x-callers"].as_array().expect(id);
        let mut documented: Vec<_> =
            documented.iter().map(|caller| caller.as_str().expect(id)).collect();
        callers.sort_unstable();
        documented.sort_unstable();
        assert_eq!(callers, documented, "{id}");

        let has = |wanted: &str| {
            let parameters = described.get("parameters").and_then(Value::as_array);
            parameters.into_iter().flatten().any(|parameter| {
                let named = parameter["$ref"].as_str().unwrap_or_default();
                named.ends_with(wanted) || parameter["in"] == wanted
            })
        };
        let Operation::Managed(operation) = operation else { continue };
        assert_eq!(operation.takes_idempotency_key(), has("/IdempotencyKey"), "{id}");
        assert_eq!(operation.takes_query(), has("/Limit") || has("query"), "{id}");
        let body = match described.get("requestBody") {
            None => BodyRule::Absent,
            Some(body) if body["$ref"] == "#/components/requestBodies/Empty" => BodyRule::Empty,
            Some(_) => BodyRule::Json,
        };
        assert_eq!(operation.body(), body, "{id}");
    }
}

#[test]
fn no_path_has_a_method_beyond_the_contract() {
    let contract = contract();
    for (_, path, _) in &contract {
        for method in
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
        {
            let method: Method = method.parse().expect("a method");
            let documented = contract.iter().any(|(known, at, _)| *known == method && at == path);
            assert_eq!(find(&method, path).is_ok(), documented, "{method} {path}");
        }
    }
}
