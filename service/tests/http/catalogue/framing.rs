//! Paths, methods, headers and framing.

use super::{
    COMMANDS, End, GAMES, INVALID, ONE, PREVIEW, REGISTER, RUNTIMES, Row, STOP, To, VERSIONS,
    command, elsewhere, json, not_offered, plain, sent, sent_to, with,
};
use crate::catalogue::worlds::{GATEWAY, LOBBY};

const TYPE: &str = "Content-Type: application/json\r\n";
const REFUSED_TYPE: End = End::Refused(415, "invalid_request");
const TOO_LARGE: End = End::Refused(413, "invalid_request");
const NOT_FOUND: End = End::Refused(404, "not_found");
const NO_METHOD: End = End::Refused(405, "invalid_request");

pub(super) fn rows() -> Vec<Row> {
    let mut rows = paths();
    rows.extend(declared_bodies());
    rows.extend(broken_framing());
    rows.extend(heads());
    rows.extend(callers());
    rows
}

fn paths() -> Vec<Row> {
    let ids = |ids: &[&str]| -> Vec<String> {
        ids.iter()
            .flat_map(|id| {
                [
                    plain("GET", &format!("{RUNTIMES}/{id}")),
                    plain("POST", &format!("{GAMES}/{id}/commands")),
                    plain("POST", &format!("{GAMES}/{id}/races/A/banish")),
                ]
            })
            .collect()
    };
    let long = "a".repeat(10_000);
    vec![
        sent(
            "B01",
            "unknown path",
            NOT_FOUND,
            "",
            [
                plain("GET", "/"),
                plain("POST", "/hunter2"),
                plain("GET", "/api/v1/internal"),
                plain("GET", &format!("{GAMES}/aurora-7")),
                plain("OPTIONS", "*"),
            ],
        ),
        sent(
            "B02",
            "known path, other method",
            NO_METHOD,
            "`Allow` names the methods",
            [
                plain("DELETE", RUNTIMES),
                plain("GET", COMMANDS),
                plain("PUT", &format!("{VERSIONS}/1.4.2")),
                plain("POST", "/healthz"),
            ],
        ),
        sent(
            "B34",
            "`..`, `.`, `%2e%2e`, `..%2f..%2fetc` as an id",
            INVALID,
            "decoded once, then judged",
            ids(&["..", ".", "%2e%2e", "..%2f..%2fetc"]),
        ),
        sent(
            "B35",
            "`%00`, an encoded slash, a broken escape, bytes that are no UTF-8, 10 KB as an id",
            INVALID,
            "race names may be any printable text, but not with a slash",
            ids(&["a%00", "a%2Fb", "%", "%6", "%zz", "%ff", "%c3%28", "%2561", &long])
                .into_iter()
                .chain(
                    ["a%2Fb", "a%00", "%", "%ff", "%20a"].map(|race| {
                        plain("POST", &format!("{GAMES}/aurora-7/races/{race}/banish"))
                    }),
                ),
        ),
        sent(
            "B35",
            "an empty id",
            NOT_FOUND,
            "an empty segment makes another path",
            [
                plain("GET", &format!("{RUNTIMES}/")),
                plain("GET", &format!("{GAMES}//liveness")),
                plain("POST", &format!("{GAMES}/aurora-7/races//banish")),
            ],
        ),
        sent(
            "B36",
            "a UUID in braces or as a URN",
            INVALID,
            "",
            ids(&[
                "{0197f3a2-5c1e-7b44-9d11-3f0a5d2c7e01}",
                "urn:uuid:0197f3a2-5c1e-7b44-9d11-3f0a5d2c7e01",
            ]),
        ),
        sent_to(
            To::Service,
            "B36",
            "a UUID in upper case or without dashes",
            End::Refused(404, "runtime_not_found"),
            "an id is Lobby's word, taken letter by letter: another spelling is another game",
            [
                plain("GET", &format!("{RUNTIMES}/0197F3A2-5C1E-7B44-9D11-3F0A5D2C7E01")),
                plain("GET", &format!("{RUNTIMES}/0197f3a25c1e7b449d113f0a5d2c7e01")),
            ],
        ),
        sent(
            "B37",
            "trailing slash, double slash, matrix parameter",
            NOT_FOUND,
            "",
            [
                plain("GET", &format!("{RUNTIMES}/aurora-7/")),
                plain("GET", "/api/v1/internal//runtimes"),
                plain("GET", &format!("{RUNTIMES};a=b")),
                plain("GET", "/healthz/"),
            ],
        ),
        sent_to(
            To::Service,
            "B38",
            "a good id of no game",
            End::Refused(404, "runtime_not_found"),
            "",
            [
                plain("GET", &format!("{RUNTIMES}/aurora-7")),
                plain("GET", &format!("{RUNTIMES}/aurora-7/operations")),
                plain("GET", &format!("{RUNTIMES}/aurora-7/explain")),
                plain("POST", &format!("{RUNTIMES}/aurora-7/force-next-turn")),
                plain("POST", &format!("{RUNTIMES}/aurora-7/reconcile")),
                plain("POST", &format!("{GAMES}/aurora-7/races/A/banish")),
                json("POST", STOP, r#"{"reason":"r"}"#),
                json("POST", COMMANDS, ONE),
            ],
        ),
        sent_to(
            To::Service,
            "B38",
            "a good version that is not registered",
            End::Refused(404, "engine_version_not_found"),
            "",
            [
                plain("GET", &format!("{VERSIONS}/9.9.9")),
                plain("DELETE", &format!("{VERSIONS}/9.9.9")),
                plain("POST", &format!("{VERSIONS}/9.9.9/deprecate")),
                json("PATCH", &format!("{VERSIONS}/9.9.9"), r#"{"image_ref":"e:1"}"#),
                json("POST", &format!("{RUNTIMES}/aurora-7/patch"), r#"{"version":"9.9.9"}"#),
            ],
        ),
        sent(
            "B39",
            "query: unknown, repeated, empty or out of range",
            INVALID,
            "",
            [
                "hunter2=1",
                "limit=1&limit=1",
                "limit=",
                "limit=-1",
                "limit=1e9",
                "limit=0",
                "limit=201",
                "cursor=",
                "status=hunter2",
                "limit=%",
                "limit=1&",
            ]
            .map(|query| plain("GET", &format!("{RUNTIMES}?{query}")))
            .into_iter()
            .chain([
                plain("GET", &format!("{RUNTIMES}/aurora-7?hunter2")),
                plain("GET", &format!("{PREVIEW}?count=1")),
                plain("GET", &format!("{PREVIEW}?expression=*&count=101")),
            ]),
        ),
        sent(
            "B40",
            "a cursor that was cut, forged, or is of another list",
            INVALID,
            "a check in it finds accidents; it gives access to nothing",
            ["hunter2", "1-6175726f7261-00000000", "1-", "%00"].into_iter().flat_map(|cursor| {
                [RUNTIMES, VERSIONS, "/api/v1/internal/runtimes/aurora-7/operations"]
                    .map(|list| plain("GET", &format!("{list}?cursor={cursor}")))
            }),
        ),
        sent(
            "B43",
            "an unknown action",
            NOT_FOUND,
            "",
            [plain("POST", &format!("{RUNTIMES}/aurora-7/restart"))],
        ),
        sent(
            "B43",
            "an unknown status",
            INVALID,
            "",
            [
                plain("GET", &format!("{RUNTIMES}?status=paused")),
                plain("GET", &format!("{RUNTIMES}?status=RUNNING")),
            ],
        ),
        sent(
            "B66",
            "OPTIONS, TRACE, FOO, lower-case `get`",
            NO_METHOD,
            "`Allow` names the methods",
            ["OPTIONS", "TRACE", "FOO", "get"].map(|method| plain(method, RUNTIMES)),
        ),
        sent(
            "B66",
            "HEAD",
            End::Bare(405),
            "the answer to a HEAD has no body",
            [with("Connection: close\r\n", "HEAD", RUNTIMES)],
        ),
        sent(
            "B66",
            "CONNECT",
            NOT_FOUND,
            "an authority is no path of ours",
            [plain("CONNECT", "gm:80")],
        ),
    ]
}

fn declared_bodies() -> Vec<Row> {
    vec![
        sent("B16", "no Content-Type", REFUSED_TYPE, "", [command("", ONE)]),
        sent(
            "B17",
            "text/plain, a form",
            REFUSED_TYPE,
            "",
            [
                command("Content-Type: text/plain\r\n", ONE),
                command("Content-Type: application/x-www-form-urlencoded\r\n", ONE),
                command("Content-Type: application/merge-patch+json\r\n", ONE),
            ],
        ),
        sent(
            "B18",
            "`charset=utf-16`",
            REFUSED_TYPE,
            "`charset=utf-8` is fine",
            [
                command("Content-Type: application/json; charset=utf-16\r\n", ONE),
                command(&TYPE.repeat(2), ONE),
            ],
        ),
        sent(
            "B19",
            "Accept without JSON",
            End::Taken(200),
            "ignored: every answer is JSON",
            [
                with("Accept: text/html\r\n", "GET", RUNTIMES),
                with("Accept: application/json;q=0\r\n", "GET", RUNTIMES),
            ],
        ),
        sent(
            "B20",
            "Content-Encoding",
            REFUSED_TYPE,
            "nothing is ever inflated",
            [
                command(&format!("{TYPE}Content-Encoding: gzip\r\n"), ONE),
                command(&format!("{TYPE}Content-Encoding: identity\r\n"), ONE),
            ],
        ),
        sent(
            "B21",
            "body over 1 MiB by Content-Length",
            TOO_LARGE,
            "not waited for",
            [
                with(&format!("{TYPE}Content-Length: 1048577\r\n"), "POST", COMMANDS),
                with(&format!("{TYPE}Content-Length: 99999999999\r\n"), "POST", REGISTER),
            ],
        ),
        sent(
            "B22",
            "body over 1 MiB, chunked",
            TOO_LARGE,
            "",
            [with(&format!("{TYPE}Transfer-Encoding: chunked\r\n"), "POST", COMMANDS)
                + "100000\r\n"
                + &" ".repeat(1 << 20)
                + "\r\n1\r\n \r\n0\r\n\r\n"],
        ),
        sent(
            "B23",
            "chunked, within the limit",
            End::Taken(200),
            "",
            [with(&format!("{TYPE}Transfer-Encoding: chunked\r\n"), "POST", COMMANDS)
                + "d\r\n{\"commands\":[\r\n4\r\n{}]}\r\n0\r\n\r\n"],
        ),
        elsewhere(
            "B27",
            "Content-Length longer than the body, then silence",
            "408 invalid_request",
            ("service/tests/http/limits.rs", "a_body_is_bounded_in_size_and_time"),
            "after 10 s; the connection is closed",
        ),
    ]
}

fn broken_framing() -> Vec<Row> {
    let framed = |framing: &str| with(&format!("{TYPE}{framing}"), "POST", COMMANDS) + ONE;
    vec![
        sent(
            "B24",
            "Content-Length twice and different, or no number",
            End::Bare(400),
            "",
            [
                framed("Content-Length: 17\r\nContent-Length: 18\r\n"),
                framed("Content-Length: -1\r\n"),
                framed("Content-Length: 1e1\r\n"),
            ],
        ),
        sent(
            "B25",
            "Content-Length and Transfer-Encoding",
            INVALID,
            "in either order; the connection is closed",
            [
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nContent-Length: 27\r\n",
            ]
            .map(|framing| {
                let head = with(&format!("{TYPE}{framing}"), "POST", COMMANDS);
                head + "11\r\n" + ONE + "\r\n0\r\n\r\n"
            }),
        ),
        sent(
            "B26",
            "`Transfer-Encoding` not ending in chunked, folded headers",
            End::Bare(400),
            "",
            [
                framed("Transfer-Encoding: chunked, identity\r\n"),
                framed("Transfer-Encoding: gzip\r\n"),
                framed(" folded: yes\r\n"),
            ],
        ),
        sent(
            "B26",
            "`Transfer-Encoding: Chunked` in odd casing",
            End::Taken(200),
            "",
            [with(&format!("{TYPE}Transfer-Encoding: cHunKed\r\n"), "POST", COMMANDS)
                + "11\r\n"
                + ONE
                + "\r\n0\r\n\r\n"],
        ),
        sent(
            "B26",
            "a chunk whose size is no number",
            INVALID,
            "",
            [framed("Transfer-Encoding: chunked\r\n")],
        ),
        sent("B32", "the HTTP/2 preface", End::Closed, "", ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]),
        sent(
            "B32",
            "a TLS hello",
            End::Bare(400),
            "",
            [b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03hello hello\r\n\r\n"],
        ),
        elsewhere(
            "B33",
            "2,000 idle connections beyond the cap",
            "503 service_unavailable",
            ("service/tests/http/limits.rs", "two_thousand_idle_connections_lock_nobody_out"),
            "whoever asks is told so, up to 64 at a time; the others are closed. A connection that has \
             a place and says nothing is closed after 10 s, an idle one after 60 s",
        ),
        elsewhere(
            "B28",
            "headers that drip",
            "closed",
            ("service/tests/http/limits.rs", "heads_that_drip_are_cut"),
            "after 10 s",
        ),
    ]
}

fn heads() -> Vec<Row> {
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    vec![
        sent(
            "B29",
            "more than 100 headers, a header of 500 KB",
            End::Bare(431),
            "",
            [
                with(&many, "GET", RUNTIMES),
                with(&format!("x: {}\r\n", "y".repeat(500_000)), "GET", RUNTIMES),
            ],
        ),
        sent(
            "B30",
            "a URI of 70 KB",
            End::Bare(431),
            "the line counts as part of the head",
            [plain("GET", &format!("/{}", "a".repeat(70_000)))],
        ),
        sent(
            "B31",
            "no Host, or two",
            INVALID,
            "",
            [
                format!("GET {RUNTIMES} HTTP/1.1\r\n\r\n"),
                format!("GET {RUNTIMES} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            ],
        ),
        sent(
            "B42",
            "If-Match",
            End::Taken(200),
            "ignored: no call names the revision it expects",
            [with("If-Match: \"hunter2\"\r\n", "POST", &format!("{RUNTIMES}/aurora-7/reconcile"))],
        ),
        sent(
            "B49",
            "Idempotency-Key empty, of 10 KB, with blanks or not ASCII, or twice",
            INVALID,
            "",
            [
                String::new(),
                "k".repeat(129),
                "k".repeat(10_000),
                "hunter2 x".into(),
                "é".into(),
                "a\r\nIdempotency-Key: a".into(),
            ]
            .map(|key| {
                let path = format!("{RUNTIMES}/aurora-7/reconcile");
                with(&format!("Idempotency-Key: {key}\r\n"), "POST", &path)
            }),
        ),
        sent_to(
            To::Service,
            "B50",
            "the same Idempotency-Key with another body",
            End::Refused(409, "conflict"),
            "",
            [json("POST", VERSIONS, r#"{"version":"2.0.0","image_ref":"galaxy/engine:2"}"#)
                .replacen("Host: gm\r\n", "Host: gm\r\nIdempotency-Key: known\r\n", 1)],
        ),
        sent(
            "B63",
            "a malformed traceparent",
            End::Taken(200),
            "ignored",
            [
                with("traceparent: hunter2\r\n", "GET", RUNTIMES),
                with(
                    "traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n",
                    "GET",
                    RUNTIMES,
                ),
            ],
        ),
        sent(
            "B64",
            "X-Request-Id of 10 KB, or not ASCII",
            End::Taken(200),
            "replaced by one of our own",
            [
                with(&format!("X-Request-Id: {}\r\n", "x".repeat(10_000)), "GET", RUNTIMES),
                with("X-Request-Id: é\r\n", "GET", RUNTIMES),
            ],
        ),
        sent(
            "B67",
            "Range, Upgrade",
            End::Taken(200),
            "ignored",
            [
                with("Range: bytes=0-1\r\n", "GET", RUNTIMES),
                with("Connection: Upgrade\r\nUpgrade: websocket\r\n", "GET", RUNTIMES),
                with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", "GET", RUNTIMES),
            ],
        ),
        sent(
            "B67",
            "`Expect: 100-continue`",
            End::Taken(100),
            "told to go on once the body is wanted",
            [with(
                &format!("{TYPE}Content-Length: 17\r\nExpect: 100-continue\r\n"),
                "POST",
                COMMANDS,
            )],
        ),
        sent(
            "B67",
            "`Expect: 100-continue` with a body that is too large",
            TOO_LARGE,
            "refused before it is sent",
            [with(
                &format!("{TYPE}Content-Length: 1048577\r\nExpect: 100-continue\r\n"),
                "POST",
                COMMANDS,
            )],
        ),
    ]
}

fn callers() -> Vec<Row> {
    let command = |headers: &str| {
        format!(
            "POST {COMMANDS} HTTP/1.1\r\nHost: gm\r\n{headers}{TYPE}Content-Length: {}\r\n\r\n{ONE}",
            ONE.len()
        )
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    vec![
        sent(
            "B46",
            "X-User-Id missing or malformed, X-Galaxy-Caller unknown",
            INVALID,
            "",
            [
                command(""),
                command("X-User-Id:\r\n"),
                command("X-User-Id: hunter2 x\r\n"),
                command("X-User-Id: é\r\n"),
                command("X-User-Id: ../hunter2\r\n"),
                command("X-User-Id: u1\r\nX-Galaxy-Caller: hunter2\r\n"),
            ],
        ),
        sent_to(
            To::Guarded,
            "B46",
            "bearer token missing, malformed or unknown",
            End::Refused(401, "unauthenticated"),
            "where callers have tokens; with `WWW-Authenticate: Bearer`, and before anything else is \
             looked at",
            [
                command("X-User-Id: u1\r\n"),
                command("X-User-Id: u1\r\nX-Galaxy-Caller: gateway\r\n"),
                command(&format!("X-User-Id: u1\r\nAuthorization: Basic {GATEWAY}\r\n")),
                command(&format!("X-User-Id: u1\r\n{}", bearer("hunter2-hunter2-hunter2"))),
                plain("GET", &format!("{RUNTIMES}/..")),
            ],
        ),
        sent_to(
            To::Guarded,
            "B46",
            "the token of another caller, or another caller's name",
            End::Refused(403, "forbidden"),
            "where callers have tokens",
            [
                command(&format!("X-User-Id: u1\r\n{}", bearer(LOBBY))),
                command(&format!("X-User-Id: u1\r\nX-Galaxy-Caller: lobby\r\n{}", bearer(GATEWAY))),
            ],
        ),
        sent(
            "B47",
            "an identity header twice",
            INVALID,
            "",
            [
                command("X-User-Id: u1\r\nX-User-Id: u1\r\n"),
                command(
                    "X-User-Id: u1\r\nX-Galaxy-Caller: gateway\r\nX-Galaxy-Caller: gateway\r\n",
                ),
            ],
        ),
        sent(
            "B47",
            "CR or NUL within a header",
            End::Bare(400),
            "",
            [command("X-User-Id: u1\rX: y\r\n"), command("X-User-Id: u\0\r\n")],
        ),
        sent_to(
            To::Guarded,
            "B48",
            "X-User-Id from somebody who is not Gateway",
            End::Refused(403, "forbidden"),
            "players are believed to be whom Gateway says; without tokens GM listens on loopback only",
            [command(&format!("X-User-Id: u1\r\n{}", bearer(LOBBY)))],
        ),
        not_offered(
            "B53",
            "an image from a registry that is not allowed",
            "which images may be pulled is Runtime Manager's to say",
        ),
    ]
}
