//! What goes wrong on the way to Game Master and back, what is said of it, and when it is tried
//! again.

use std::time::Duration;

use integration::contracts;
use integration::harness::{PATIENCE, Process, program, until};
use tokio::time::Instant;

use crate::fake::{Act, Fake, example};
use crate::{Run, command, finish, gamemaster};

const FORCE: &[&str] = &["runtimes", "force", "g"];
const GET: &[&str] = &["runtimes", "get", "g"];

async fn ask(fake: &Fake, args: &[&str]) -> Run {
    gamemaster(&[args, &["--url", &fake.url()]].concat()).await
}

fn running() -> Act {
    Act::example("internalForceNextTurn", 200, "running")
}

/// All tries are one change: one key, one request id.
fn assert_one_change(fake: &Fake, tries: usize) -> String {
    let seen = fake.seen();
    assert_eq!(seen.len(), tries, "{seen:?}");
    let keys: Vec<_> = seen.iter().map(|s| s.header("idempotency-key").expect("a key")).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    keys[0].to_owned()
}

#[tokio::test]
async fn every_refusal_of_the_contract_is_told() {
    let contract = contracts::openapi().expect("the contract");
    for (args, operation) in [
        (FORCE, "internalForceNextTurn"),
        (&["runtimes", "patch", "g", "1.0.1", "--yes"], "internalPatchRuntime"),
        (&["versions", "delete", "1.0.1", "--yes"], "internalDeleteEngineVersion"),
        (&["runtimes", "banish", "g", "r", "--yes"], "internalBanishRace"),
        (&["explain", "g"], "internalExplainRuntime"),
    ] {
        let responses = contract.operation(operation).expect("an operation").responses;
        let codes = responses.iter().flat_map(|(n, r)| r.codes.iter().map(move |code| (*n, code)));
        for (status, code) in codes.filter(|(_, code)| *code != "outcome_unknown") {
            let fake = Fake::start([Act::refusal(status, code, "a \u{1b}[31mred\nline")]).await;
            let run = ask(&fake, args).await;
            assert_eq!((run.code, &*run.out), (Some(1), ""), "{operation} {code} {run:?}");
            let seen = fake.only();
            let id = seen.header("x-request-id").expect("a request id");
            let hint = match status {
                401 => "; see --token, GAMEMASTER_TOKEN",
                503 => "; another try is worth it in 1 s",
                _ => "",
            };
            let line =
                format!("gamemaster: {code}: a \\u{{1b}}[31mred\\nline{hint} (request {id})\n");
            assert_eq!(run.err, line);
        }
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_again_with_the_same_key() {
    let unknown = || Act::refusal(503, "outcome_unknown", "repeat");
    let fake = Fake::start([unknown(), running()]).await;
    let began = Instant::now();
    let run = ask(&fake, FORCE).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    assert!(run.err.contains("outcome_unknown: repeat; asking again in 1.0 s, try 2 of 3"));
    assert_one_change(&fake, 2);

    // Who is in doubt does not take it for an answer that this try changed nothing.
    let unavailable = Act::refusal(503, "service_unavailable", "full");
    let fake = Fake::start([unknown(), unavailable, running()]).await;
    let run = ask(&fake, &[FORCE, &["-o", "json"]].concat()).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.json(), example("internalForceNextTurn", 200, "running"));
    assert_one_change(&fake, 3);

    // A refusal of the repeat is the true answer.
    let fake = Fake::start([unknown(), Act::refusal(409, "conflict", "a turn runs")]).await;
    let run = ask(&fake, FORCE).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_one_change(&fake, 2);
}

#[tokio::test]
async fn what_stays_unknown_is_said_to_be() {
    let unknown = || Act::refusal(503, "outcome_unknown", "repeat");
    let fake = Fake::start([unknown(), unknown(), unknown(), running()]).await;
    let run = ask(&fake, FORCE).await;
    assert_eq!((run.code, &*run.out), (Some(4), ""), "{run:?}");
    let key = assert_one_change(&fake, 3);
    let hint = format!("to learn it, repeat the command with --idempotency-key {key}\n");
    assert!(run.err.ends_with(&hint), "{}", run.err);

    // And with that key it is the same change.
    let fake = Fake::start([running()]).await;
    let run = ask(&fake, &[FORCE, &["--idempotency-key", &key]].concat()).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(assert_one_change(&fake, 1), key);
}

#[tokio::test]
async fn a_broken_connection_is_no_answer() {
    let Act::Bytes(whole) = running() else { panic!("an answer") };
    let cut = || Act::Bytes(whole[..whole.len() - 100].to_vec());
    let hung_up = || Act::Bytes(vec![]);
    let foreign = || Act::answer(502, &[], "<h1>Bad Gateway</h1>");
    for broken in [&cut, &hung_up, &foreign] as [&dyn Fn() -> Act; 3] {
        let fake = Fake::start([broken(), running()]).await;
        let run = ask(&fake, FORCE).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_one_change(&fake, 2);

        let fake = Fake::start([broken(), broken(), broken()]).await;
        let run = ask(&fake, FORCE).await;
        assert_eq!((run.code, &*run.out), (Some(4), ""), "{run:?}");
        assert_one_change(&fake, 3);

        // Reading leaves nothing in doubt.
        let fake = Fake::start([broken(), broken(), broken()]).await;
        let run = ask(&fake, GET).await;
        assert_eq!(run.code, Some(3), "{run:?}");
        assert_eq!(fake.seen().len(), 3);
    }
    // The server is gone after it took the first try: the change may have been made all the same.
    let fake = Fake::start([hung_up()]).await;
    let run = ask(&fake, FORCE).await;
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_one_change(&fake, 1);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_way_out() {
    let fake = Fake::start([]).await;
    let url = fake.url();
    for args in [GET, FORCE] {
        // Connections are refused once the listener is gone.
        let run = until("the listener to be gone", || async {
            let run = gamemaster(&[args, &["--url", &url]].concat()).await;
            run.err.contains("refused").then_some(run)
        })
        .await;
        assert_eq!((run.code, &*run.out), (Some(3), ""), "{run:?}");
        let begin = format!("gamemaster: cannot reach Game Master at {url}: ");
        assert!(run.err.starts_with(&begin), "{}", run.err);
        assert!(run.err.ends_with("; is it running? (--url, GAMEMASTER_URL)\n"), "{}", run.err);
        assert_eq!(run.err.lines().count(), 1, "it is said once: {}", run.err);
    }
}

#[tokio::test]
async fn silence_is_waited_for_no_longer_than_told() {
    for (args, code) in [(GET, 3), (FORCE, 4)] {
        let fake = Fake::start([Act::Silence]).await;
        let run = ask(&fake, &[args, &["--timeout", "1"]].concat()).await;
        assert_eq!((run.code, &*run.out), (Some(code), ""), "{run:?}");
        assert!(run.err.contains("no answer within 1 s"), "{}", run.err);
        fake.only();
    }
}

#[tokio::test]
async fn an_answer_without_sense_is_not_believed() {
    let big = format!("[{}1]", "1,".repeat(9 << 20));
    let chunked = {
        let head = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
        let size = format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len());
        Act::Bytes(format!("{head}{size}").into_bytes())
    };
    for (act, words) in [
        (Act::answer(200, &[], "<p>\u{1b}]0;x\u{7}hello"), "no JSON: <p>\\u{1b}]0;x\\u{7}hello"),
        (Act::answer(200, &[], &big), "more than 16 MiB"),
        (chunked, "more than 16 MiB"),
        (Act::Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec()), "no text"),
    ] {
        for (args, code) in [(GET, 1), (FORCE, 4)] {
            let fake = Fake::start([act.clone()]).await;
            let run = ask(&fake, args).await;
            assert_eq!((run.code, &*run.out), (Some(code), ""), "{}", run.err);
            assert!(run.err.contains(words), "{}", run.err);
            assert!(run.err.contains("is this Game Master at"), "{}", run.err);
            fake.only();
        }
    }
    // What is refused by somebody else was not done, and a redirection is not followed.
    let elsewhere = [("Location", "http://127.0.0.1:9/")];
    for act in [Act::answer(404, &[], "nothing here"), Act::answer(307, &elsewhere, "")] {
        let fake = Fake::start([act]).await;
        let run = ask(&fake, FORCE).await;
        assert_eq!(run.code, Some(1), "{run:?}");
        fake.only();
    }
    // JSON, but nothing that could be shown.
    let fake = Fake::start([Act::answer(200, &[], r#"{"game_id":7}"#)]).await;
    let run = ask(&fake, GET).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("answer cannot be read"), "{}", run.err);
}

#[tokio::test]
async fn what_the_server_says_cannot_steer_a_terminal() {
    let mut runtime = example("internalGetRuntime", 200, "failed");
    runtime["last_failure"]["message"] = "\u{1b}[2J\u{9b}1m\u{202e}gone\r\n".into();
    for output in ["table", "json"] {
        let fake = Fake::start([Act::json(200, &runtime)]).await;
        let run = ask(&fake, &[GET, &["-o", output]].concat()).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.out.contains(bad), "{:?}", run.out);
        if output == "json" {
            assert_eq!(run.json(), runtime);
        }
    }
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    const TOKEN: &str = "s3cret-t0ken";
    let fake = Fake::start([Act::refusal(401, "unauthenticated", "no")]).await;
    let args = ["runtimes", "get", "g", "--url", &fake.url()];
    let run = finish(command(&args).env("GAMEMASTER_TOKEN", TOKEN)).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(fake.only().header("authorization"), Some("Bearer s3cret-t0ken"));
    let mut shown = vec![run];
    for args in [&["runtimes", "list", "--help"][..], &["config"], &["config", "-o", "json"]] {
        shown.push(finish(command(args).env("GAMEMASTER_TOKEN", TOKEN)).await);
    }
    let broken = format!("{TOKEN}\n");
    shown.push(finish(command(&args).env("GAMEMASTER_TOKEN", broken)).await);
    assert_eq!(shown[4].code, Some(2), "{:?}", shown[4]);
    for run in shown {
        assert!(!run.out.contains(TOKEN) && !run.err.contains(TOKEN), "{run:?}");
    }
}

#[tokio::test]
async fn nothing_is_done_unasked() {
    let fake = Fake::start([running()]).await;
    for args in [
        &["runtimes", "stop", "g", "--reason", "r"][..],
        &["runtimes", "patch", "g", "1.0.1"],
        &["runtimes", "banish", "g", "r"],
        &["versions", "delete", "1.0.1"],
    ] {
        let run = ask(&fake, args).await;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{run:?}");
        assert!(run.err.contains("say --yes"), "{}", run.err);
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_and_says_how_to_go_on() {
    let fake = Fake::start([Act::Silence]).await;
    let url = fake.url();
    let args = [FORCE, &["--url", &url]].concat();
    let process = Process::start(&program(), &args).expect("the program starts");
    until("the request", || async { (!fake.seen().is_empty()).then_some(()) }).await;
    let ended = tokio::time::timeout(PATIENCE, process.interrupt()).await;
    let (code, output) = ended.expect("it ends").expect("it can be asked to");
    assert_eq!(code, Some(130), "{output:?}");
    let seen = fake.only();
    let key = seen.header("idempotency-key").expect("a key");
    assert!(output.iter().any(|line| line.contains(key)), "{output:?}");
}
