use super::*;

fn refusal<T: fmt::Debug>(outcome: Result<T, ServiceError>) -> String {
    match outcome {
        Err(ServiceError::InvalidRequest(message)) => message,
        other => panic!("not refused as invalid: {other:?}"),
    }
}

fn of_commands(body: &str) -> String {
    refusal(commands(body.as_bytes(), 256))
}

#[test]
fn commands_are_kept_byte_for_byte() {
    let array = r#"[ {"b":1 , "a":1.0e2,"n":{"actor":"me"}},{"é":"\u00e9"}]"#;
    let body = format!(" {{ \"commands\" : {array}\n}} ");
    assert_eq!(commands(body.as_bytes(), 2), Ok(array));
}

#[test]
fn what_is_wrong_with_commands_is_said_with_its_place() {
    for (body, message) in [
        (r#"[]"#, "the body must be an object (line 1, column 1)"),
        (r#" 7"#, "the body must be an object (line 1, column 2)"),
        (r#"{}"#, "commands is missing (line 1, column 1)"),
        (r#"{"commands":{}}"#, "commands must be an array (line 1, column 13)"),
        (r#"{"commands":null}"#, "commands must be an array (line 1, column 13)"),
        (r#"{"commands":[]}"#, "commands must not be empty (line 1, column 13)"),
        (r#"{"commands":[{},7]}"#, "commands[1] must be an object (line 1, column 17)"),
        (r#"{"commands":[["x"]]}"#, "commands[0] must be an object (line 1, column 14)"),
        (
            "{\"commands\":\n [{\"x\":1,\"actor\":\"secret\"}]}",
            "commands[0] must not name an actor: Game Master does (line 2, column 3)",
        ),
        (
            r#"{"commands":[{},{"\u0061ctor":1}]}"#,
            "commands[1] must not name an actor: Game Master does (line 1, column 17)",
        ),
    ] {
        assert_eq!(of_commands(body), message, "{body}");
    }
    let unknown = of_commands("{\"commands\":[{}],\n\"actor\":1}");
    assert!(unknown.starts_with("the body must not have unknown fields (known: commands)"));
    assert!(unknown.contains("line 2"), "{unknown}");

    let many = format!(r#"{{"commands":[{}]}}"#, vec!["{}"; 257].join(","));
    assert!(of_commands(&many).starts_with("commands must have 256 elements at most"));
    let most = format!(r#"{{"commands":[{}]}}"#, vec!["{}"; 256].join(","));
    assert!(commands(most.as_bytes(), 256).is_ok());
}

#[test]
fn the_whole_body_is_checked_and_nothing_of_it_is_quoted() {
    let nested = |depth: usize| {
        format!(r#"{{"commands":[{{"SECRET":{}{}}}]}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    for bad in [
        "",
        " ",
        "SECRET",
        "{",
        r#"{"SECRET"}"#,
        r#"{"commands":[{}]"#,
        r#"{"commands":[{}]} SECRET"#,
        r#"{"commands":[{}],}"#,
        r#"{"commands":[{}],"commands":[{}]}"#,
        r#"{"commands":[{"SECRET":1,"SECRET":2}]}"#,
        r#"{"commands":[{"SECRET":1,"\u0053ECRET":2}]}"#,
        r#"{"commands":[{"x":[{"SECRET":1,"SECRET":2}]}]}"#,
        r#"{"commands":[{"SECRET":1e400}]}"#,
        r#"{"commands":[{"SECRET":01}]}"#,
        r#"{"commands":[{"SECRET":NaN}]}"#,
        r#"{"commands":[{"SECRET":"\ud800"}]}"#,
        "{\"commands\":[{\"SECRET\":\"\n\"}]}",
        &nested(126),
        &nested(10_000),
    ] {
        let message = of_commands(bad);
        assert!(message.contains("line"), "{bad:.60}: {message}");
        assert!(!message.contains("SECRET"), "{message}");
    }
    assert!(commands(nested(100).as_bytes(), 1).is_ok());
    assert_eq!(
        refusal(commands(b"{\"commands\":[{\"x\":\"\xff\"}]}", 1)),
        "the body must be UTF-8"
    );
}

#[test]
fn a_key_that_comes_twice_is_found_among_many() {
    let keys = |n: usize| (0..n).map(|i| format!(r#""k{i}":0"#)).collect::<Vec<_>>();
    for twice in [0, 15, 16, 17, 99] {
        let mut keys = keys(100);
        keys.push(format!(r#""k{twice}":0"#));
        let body = format!("{{{}}}", keys.join(","));
        assert!(refusal(Json::parse(body.as_bytes())).contains("a key comes twice"), "{twice}");
    }
    let body = format!("{{{}}}", keys(100_000).join(","));
    assert!(Json::parse(body.as_bytes()).is_ok());
    // The same key in two objects is no key twice, in whatever order they close.
    assert!(Json::parse(br#"{"a":{"b":0,"a":{"a":0}},"b":[{"a":0},{"a":0}]}"#).is_ok());
}

#[test]
fn values_are_named_by_their_place() {
    let body = br#"{"list":[{"id":"a"},{"id":"-"}],"on":1}"#;
    let [list, on, absent] =
        Json::parse(body).and_then(|b| b.fields(["list", "on", "absent"])).expect("an object");
    let on = on.expect("given");
    assert_eq!(refusal(on.boolean()), "on must be true or false (line 1, column 38)");
    assert_eq!(refusal(on.string()), "on must be a string (line 1, column 38)");
    assert_eq!(refusal(absent), "absent is missing (line 1, column 1)");
    let elements = list.and_then(|list| list.elements(2)).expect("an array");
    let ids: Vec<Result<machine::GameId, _>> = elements
        .iter()
        .map(|element| {
            let [id] = element.fields(["id"])?;
            id?.parse_as()
        })
        .collect();
    let [first, second] = <[_; 2]>::try_from(ids).expect("two");
    assert_eq!(first.expect("valid").as_str(), "a");
    let message = refusal(second);
    assert!(message.starts_with("list[1].id must be 1 to 64"), "{message}");
    assert!(message.ends_with("(line 1, column 27)"), "{message}");
}
