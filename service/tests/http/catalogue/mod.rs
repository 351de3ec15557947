//! The catalogue of bad input: what is sent, and what must come back. `docs/bad-input.md` is made
//! from the very rows that are sent here.

mod bodies;
mod framing;
mod values;
mod worlds;

use std::fmt::Write as _;
use std::path::PathBuf;

use self::worlds::Worlds;

/// One kind of input, and what becomes of it.
struct Row {
    /// Its number in the catalogue.
    id: &'static str,
    /// What it is, for people.
    input: &'static str,
    fate: Fate,
    /// What else is to be said of it.
    remark: &'static str,
}

enum Fate {
    /// All of these are sent, each of them to the same end.
    Sent { to: To, requests: Vec<Vec<u8>>, end: End },
    /// It never comes in by HTTP, or is decided by the state of a game: the test that covers it.
    Elsewhere { file: &'static str, test: &'static str, end: &'static str },
    /// There is nothing that could be given such input.
    NotOffered,
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// The HTTP layer, with an application behind it that remembers what it was asked: what is
    /// refused must not have got that far.
    Layer,
    /// The same, where callers have tokens.
    Guarded,
    /// The whole service, over an empty store.
    Service,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The error envelope.
    Refused(u16, &'static str),
    /// An answer of the protocol layer: no envelope, and the connection is closed.
    Bare(u16),
    /// The connection is closed without an answer.
    Closed,
    /// It is taken.
    Taken(u16),
}

/// Occurs in bad input, and must not in an answer.
const SECRET: &str = "hunter2";

fn rows() -> Vec<Row> {
    let mut rows = framing::rows();
    rows.extend(bodies::rows());
    rows.extend(values::rows());
    rows.sort_by_key(|row| row.id);
    rows
}

#[tokio::test]
async fn every_row_ends_as_the_document_says() {
    let worlds = Worlds::start().await;
    let mut faults = vec![];
    for row in rows() {
        let Fate::Sent { to, requests, end } = row.fate else { continue };
        assert!(!requests.is_empty(), "{}", row.id);
        for request in requests {
            let fault = worlds.fault(to, &request, end).await;
            faults.extend(fault.map(|fault| format!("{}: {fault}", row.id)));
        }
    }
    worlds.stop().await;
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_number_of_the_catalogue_has_a_row() {
    let mut ids: Vec<_> = rows().iter().map(|row| row.id).collect();
    ids.dedup();
    let expected: Vec<_> = (1..=67).map(|number| format!("B{number:02}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn what_is_covered_elsewhere_is_covered_there() {
    for row in rows() {
        let Fate::Elsewhere { file, test, .. } = row.fate else { continue };
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.contains(&format!("fn {test}(")), "{}: no {test} in {file}", row.id);
    }
}

/// `UPDATE_DOCS=1` writes the document anew.
#[test]
fn the_document_is_made_of_these_rows() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/bad-input.md");
    let rendered = document();
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &rendered).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == rendered,
        "docs/bad-input.md is out of date: run this test with UPDATE_DOCS=1"
    );
}

fn document() -> String {
    let mut text = String::from(HEAD);
    for row in rows() {
        let Row { id, input, fate, remark } = row;
        let (status, code, covered) = match fate {
            Fate::Sent { end, .. } => match end {
                End::Refused(status, code) => {
                    (status.to_string(), format!("`{code}`"), String::new())
                }
                End::Bare(status) => (status.to_string(), "no body".into(), String::new()),
                End::Closed => ("closed".into(), "–".into(), String::new()),
                End::Taken(status) => (status.to_string(), "–".into(), String::new()),
            },
            Fate::Elsewhere { file, test, end } => {
                let (status, code) = end.split_once(' ').unwrap_or((end, "–"));
                let code = if code == "–" { code.to_owned() } else { format!("`{code}`") };
                (status.to_owned(), code, format!("`{test}` in `{file}`"))
            }
            Fate::NotOffered => ("–".into(), "–".into(), "not offered".into()),
        };
        let remark = match (remark, covered.as_str()) {
            (remark, "") => remark.to_owned(),
            ("", covered) => covered.to_owned(),
            (remark, covered) => format!("{covered}: {remark}"),
        };
        let _ = writeln!(text, "| {id} | {input} | {status} | {code} | {remark} |");
    }
    text
}

const HEAD: &str = "\
# Bad input

What Game Master answers to input that is wrong, or only unusual. Made by the tests in
`service/tests/http/catalogue` from the rows that they send over a socket; do not edit it here,
run `UPDATE_DOCS=1 cargo test -p service --test http catalogue`.

Every refusal has the envelope `{\"error\": {\"code\", \"message\"}}`; its message names the place of the
fault. Except for a word of a turn schedule, quoted and escaped, it never repeats what stood there.
\"no body\" marks the answers of the protocol layer, which come before a request can be read; it closes
the connection. \"–\" as a code marks what is accepted, ignored or replaced.

| row | input | status | code | remark |
| --- | --- | --- | --- | --- |
";

fn sent<R: AsRef<[u8]>>(
    id: &'static str,
    input: &'static str,
    end: End,
    remark: &'static str,
    requests: impl IntoIterator<Item = R>,
) -> Row {
    sent_to(To::Layer, id, input, end, remark, requests)
}

fn sent_to<R: AsRef<[u8]>>(
    to: To,
    id: &'static str,
    input: &'static str,
    end: End,
    remark: &'static str,
    requests: impl IntoIterator<Item = R>,
) -> Row {
    let requests = requests.into_iter().map(|request| request.as_ref().to_vec()).collect();
    Row { id, input, fate: Fate::Sent { to, requests, end }, remark }
}

fn elsewhere(
    id: &'static str,
    input: &'static str,
    end: &'static str,
    (file, test): (&'static str, &'static str),
    remark: &'static str,
) -> Row {
    Row { id, input, fate: Fate::Elsewhere { file, test, end }, remark }
}

fn not_offered(id: &'static str, input: &'static str, remark: &'static str) -> Row {
    Row { id, input, fate: Fate::NotOffered, remark }
}

const INVALID: End = End::Refused(400, "invalid_request");

const GAMES: &str = "/api/v1/internal/games";
const RUNTIMES: &str = "/api/v1/internal/runtimes";
const VERSIONS: &str = "/api/v1/internal/engine-versions";
const PREVIEW: &str = "/api/v1/internal/schedules/preview";
const COMMANDS: &str = "/api/v1/internal/games/aurora-7/commands";
const REGISTER: &str = "/api/v1/internal/games/aurora-7/register-runtime";
const STOP: &str = "/api/v1/internal/runtimes/aurora-7/stop";

const ONE: &str = r#"{"commands":[{}]}"#;

/// A request without a body.
fn plain(method: &str, path: &str) -> String {
    with("", method, path)
}

/// A request without a body and with more headers.
fn with(headers: &str, method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n{headers}\r\n")
}

/// A command with these headers, the body's length among them.
fn command(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {COMMANDS} HTTP/1.1\r\nHost: gm\r\nX-User-Id: u1\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn json(method: &str, path: &str, body: &str) -> String {
    crate::client::json_request(method, path, body)
}

fn registration(from: &str, to: &str) -> String {
    let good =
        r#"{"engine_endpoint":"http://127.99.0.1:1","members":[{"user_id":"a","race_name":"A"}],"#
            .to_owned()
            + r#""target_engine_version":"1.4.2","turn_schedule":"0 18 * * *"}"#;
    let body = good.replacen(from, to, 1);
    assert_ne!(body, good, "{from}");
    json("POST", REGISTER, &body)
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}
