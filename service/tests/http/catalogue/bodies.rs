//! JSON bodies.

use super::{COMMANDS, INVALID, REGISTER, RUNTIMES, Row, STOP, VERSIONS, json, registration, sent};

pub(super) fn rows() -> Vec<Row> {
    let commands = |bodies: &[&str]| -> Vec<String> {
        bodies.iter().map(|body| json("POST", COMMANDS, body)).collect()
    };
    let reason = |reason: &str| json("POST", STOP, &format!(r#"{{"reason":"{reason}"}}"#));
    let deep = format!(r#"{{"commands":[{{"x":{}{}}}]}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let mut not_utf8 = json("POST", COMMANDS, r#"{"commands":[{"x":"_"}]}"#).into_bytes();
    for byte in &mut not_utf8 {
        if *byte == b'_' {
            *byte = 0xff;
        }
    }
    vec![
        sent(
            "B03",
            "malformed JSON",
            INVALID,
            "the message has line and column",
            commands(&[
                "hunter2",
                "{",
                r#"{"commands":[{}]}hunter2"#,
                r#"{"commands":[{"x":NaN}]}"#,
            ]),
        ),
        sent(
            "B04",
            "an empty body where one is due",
            INVALID,
            "",
            [
                json("POST", COMMANDS, ""),
                json("POST", REGISTER, ""),
                json("POST", STOP, ""),
                json("PATCH", &format!("{VERSIONS}/1.4.2"), ""),
            ],
        ),
        sent(
            "B05",
            "JSON of another type",
            INVALID,
            "",
            commands(&["[]", "null", r#""hunter2""#, r#"{"commands":{}}"#, r#"{"commands":[1]}"#])
                .into_iter()
                .chain([
                    json("POST", STOP, r#"{"reason":7}"#),
                    json("POST", &format!("{RUNTIMES}/aurora-7/reconcile"), "[]"),
                ]),
        ),
        sent(
            "B06",
            "an unknown field",
            INVALID,
            "nothing is silently ignored",
            commands(&[
                r#"{"commands":[{}],"hunter2":1}"#,
                r#"{"commands":[{}],"actor":"hunter2"}"#,
                r#"{"commands":[{"actor":"hunter2"}]}"#,
            ])
            .into_iter()
            .chain([
                json("POST", STOP, r#"{"reason":"r","hunter2":1}"#),
                json(
                    "PATCH",
                    &format!("{VERSIONS}/1.4.2"),
                    r#"{"image_ref":"e:1","status":"active"}"#,
                ),
                json("POST", &format!("{RUNTIMES}/aurora-7/reconcile"), r#"{"hunter2":1}"#),
            ]),
        ),
        sent(
            "B07",
            "a field missing",
            INVALID,
            "",
            [
                json("POST", COMMANDS, "{}"),
                json("POST", STOP, "{}"),
                json("POST", &format!("{RUNTIMES}/aurora-7/patch"), "{}"),
                json("PATCH", &format!("{VERSIONS}/1.4.2"), "{}"),
                json("PATCH", &format!("{VERSIONS}/1.4.2"), r#"{"options":{}}"#),
                registration(r#","race_name":"A""#, ""),
            ],
        ),
        sent(
            "B08",
            "a key twice, at any depth, however it is spelt",
            INVALID,
            "",
            commands(&[
                r#"{"commands":[{}],"commands":[{}]}"#,
                r#"{"commands":[{}],"\u0063ommands":[{}]}"#,
                r#"{"commands":[{"a":{"b":[{"hunter2":1,"hunter2":2}]}}]}"#,
            ]),
        ),
        sent("B09", "depth 10,000", INVALID, "128 is the limit", commands(&[&deep])),
        sent(
            "B10",
            "numbers: 1e400, a turn that is negative, fractional or over 32 bits",
            INVALID,
            "",
            commands(&[r#"{"commands":[{"x":1e400}]}"#]).into_iter().chain(
                ["-1", "1.0", "1e3", "4294967296", "01"].map(|turn| {
                    super::plain("GET", &format!("{}/aurora-7/reports/{turn}", super::GAMES))
                }),
            ),
        ),
        sent(
            "B11",
            "a text over its limit, or more elements than allowed",
            INVALID,
            "",
            [
                reason(&"a".repeat(201)),
                registration(r#""race_name":"A""#, &format!(r#""race_name":"{}""#, "A".repeat(65))),
                registration(r#""user_id":"a""#, &format!(r#""user_id":"{}""#, "a".repeat(65))),
                registration("0 18 * * *", &"*".repeat(257)),
                json(
                    "POST",
                    COMMANDS,
                    &format!(r#"{{"commands":[{}]}}"#, vec!["{}"; 257].join(",")),
                ),
            ],
        ),
        sent(
            "B12",
            "NUL (`\\u0000`) in a text",
            INVALID,
            "",
            [reason("a\\u0000"), registration(r#""race_name":"A""#, r#""race_name":"A\u0000""#)],
        ),
        sent(
            "B13",
            "bytes that are no UTF-8, lone surrogates",
            INVALID,
            "",
            [
                not_utf8,
                json("POST", COMMANDS, r#"{"commands":[{"x":"\ud800"}]}"#).into_bytes(),
                reason("\\udc00").into_bytes(),
            ],
        ),
        sent(
            "B14",
            "bidirectional controls, zero width and the like in names",
            INVALID,
            "right-to-left scripts are fine",
            ["\\u202ehunter2", "a\\u200bb", "a\\u2066b", "\\ufeffa", "a\\u00adb"]
                .into_iter()
                .flat_map(|text| {
                    let race = format!(r#""race_name":"{text}""#);
                    [registration(r#""race_name":"A""#, &race), reason(text)]
                }),
        ),
        sent(
            "B15",
            "CR, LF, ESC in a text that is logged",
            INVALID,
            "",
            [
                reason("a\\r\\nhunter2"),
                reason("\\u001b[31mhunter2"),
                registration(r#""race_name":"A""#, r#""race_name":"\u001b[0m""#),
            ],
        ),
    ]
}
