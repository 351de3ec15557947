//! Engines, good ones and bad ones.

use std::sync::Arc;

use peers::engine::{EngineOptions, Misbehaviour, Operation, Plan};
use serde_json::{Value, json};
use service::kit::{Finding, Stopped};
use tokio::sync::Barrier;

use crate::rig::{
    Answer, Call, Upstream, altered, assert_broken, assert_sound, bent_engine, engine, engine_args,
    proxy, replaced, run_engine, skipped, twist,
};

const INIT: &str = "POST /api/v1/admin/init";
const STATUS: &str = "GET /api/v1/admin/status";
const TURN: &str = "PUT /api/v1/admin/turn";
const BANISH: &str = "POST /api/v1/admin/race/banish";
const COMMAND: &str = "PUT /api/v1/command";
const ORDER: &str = "PUT /api/v1/order";
const REPORT: &str = "GET /api/v1/report";
const NOBODY: &str = "nobody";

#[tokio::test]
async fn the_reference_engine_passes() {
    let engine = engine(EngineOptions::default()).await;
    let report = run_engine(&engine_args(engine.address)).await.expect("it is there and fresh");
    assert_sound(&report);
}

#[tokio::test]
async fn an_unspoilt_proxy_passes() {
    assert_sound(&bent_engine(altered(|_, answer| answer)).await);
}

#[tokio::test]
async fn an_engine_that_ignores_the_guard_fails_unless_that_is_declared() {
    let unguarded = || EngineOptions { honours_expected_turn: false, ..EngineOptions::default() };
    let first = engine(unguarded()).await;
    let report = run_engine(&engine_args(first.address)).await.expect("there and fresh");
    assert_broken(&report, &["engine.turn.guard"]);
    assert!(!report.holds());

    let second = engine(unguarded()).await;
    let args = service::kit::CheckEngine { no_turn_guard: true, ..engine_args(second.address) };
    let report = run_engine(&args).await.expect("there and fresh");
    assert_broken(&report, &[]);
    assert!(report.holds());
    let guards = [
        "engine.turn.guard",
        "engine.turn.guard_far",
        "engine.turn.guard_concurrent",
        "engine.turn.conflict_code",
        "engine.turn.malformed",
    ];
    assert_eq!(skipped(&report), guards);
}

#[tokio::test]
async fn a_guard_that_looks_before_it_acts_is_caught_by_requests_at_once() {
    let engine = engine(EngineOptions { honours_expected_turn: false, ..EngineOptions::default() });
    let engine = engine.await;
    let all_looked = Arc::new(Barrier::new(8));
    let how = twist(move |call: Call, upstream: Upstream| {
        let all_looked = Arc::clone(&all_looked);
        async move {
            if !call.is(TURN) {
                return upstream.send(call).await;
            }
            let expected = call.path.split_once("expected_turn=").map(|(_, turn)| turn);
            let Some(Ok(expected)) = expected.map(str::parse::<u64>) else {
                return Answer::error(400, "invalid_request");
            };
            let status = upstream.get("/api/v1/admin/status").await;
            let state: Value = serde_json::from_slice(&status.body).expect("JSON");
            if status.status != 200 {
                return status;
            }
            if state["turn"] != json!(expected) {
                return Answer::error(409, "turn_conflict");
            }
            if expected == 1 {
                all_looked.wait().await;
            }
            upstream.send(call).await
        }
    });
    let (proxy, _) = proxy(&engine, how).await;
    let report = run_engine(&engine_args(proxy.address)).await.expect("there and fresh");
    assert_broken(&report, &["engine.turn.guard_concurrent"]);
}

#[tokio::test]
async fn a_second_init_that_is_accepted() {
    let how = twist(|call: Call, upstream: Upstream| async move {
        let is_init = call.is(INIT);
        let answer = upstream.send(call).await;
        if is_init && answer.status == 409 {
            return upstream.get("/api/v1/admin/status").await;
        }
        answer
    });
    assert_broken(&bent_engine(how).await, &["engine.init.once"]);
}

#[tokio::test]
async fn a_second_init_that_is_refused_with_another_status() {
    let how = altered(|call, answer| {
        if call.is(INIT) && answer.status == 409 {
            return Answer::error(400, "already_initialized");
        }
        answer
    });
    assert_broken(&bent_engine(how).await, &["engine.init.once"]);
}

#[tokio::test]
async fn states_that_do_not_say_whether_the_game_is_finished() {
    let how = altered(|_, answer| {
        answer.change("player", |state| {
            state.as_object_mut().expect("an object").remove("finished");
        })
    });
    assert_broken(&bent_engine(how).await, &["engine.state.finished"]);
}

#[tokio::test]
async fn a_turn_that_is_two() {
    let how = twist(|call: Call, upstream: Upstream| async move {
        let expected = call.path.split_once("expected_turn=").map(|(_, turn)| turn.parse::<u32>());
        let answer = upstream.send(call.clone()).await;
        match expected {
            Some(Ok(expected)) if call.is(TURN) && answer.status == 200 => {
                let path = format!("/api/v1/admin/turn?expected_turn={}", expected + 1);
                upstream.send(Call { path, ..call }).await
            }
            _ => answer,
        }
    });
    assert_broken(&bent_engine(how).await, &["engine.turn.next"]);
}

#[tokio::test]
async fn a_status_that_lies() {
    let misbehaviour = Misbehaviour::default();
    let (lie_next, lie_turn_by) = (1_000, 1);
    misbehaviour.set(Plan {
        only: vec![Operation::Status],
        lie_next,
        lie_turn_by,
        ..Plan::default()
    });
    let engine = engine(EngineOptions { misbehaviour, ..EngineOptions::default() }).await;
    let report = run_engine(&engine_args(engine.address)).await.expect("there and fresh");
    assert_broken(&report, &["engine.status.truth"]);
}

#[tokio::test]
async fn a_status_that_stands_still() {
    let how = altered(|call, answer| {
        if call.is(STATUS) {
            answer.change("turn", |state| state["turn"] = json!(0))
        } else {
            answer
        }
    });
    assert_broken(&bent_engine(how).await, &["engine.status.truth"]);
}

#[tokio::test]
async fn a_player_who_is_there_twice() {
    let how = altered(|_, answer| {
        answer.change("player", |state| {
            let first = state["player"][0].clone();
            state["player"].as_array_mut().expect("a list").push(first);
        })
    });
    assert_broken(&bent_engine(how).await, &["engine.state.races"]);
}

#[tokio::test]
async fn a_player_who_does_not_play() {
    let how = altered(|_, answer| {
        answer.change("player", |state| {
            let neutral = json!({
                "id": "p0", "race_name": "Neutral", "planets": 1, "population": 1, "extinct": false,
            });
            state["player"].as_array_mut().expect("a list").push(neutral);
        })
    });
    assert_broken(&bent_engine(how).await, &["engine.state.races"]);
}

#[tokio::test]
async fn a_name_that_does_not_survive() {
    let how = altered(|_, answer| {
        answer.change("player", |state| state["player"][2]["race_name"] = json!("?????"))
    });
    assert_broken(&bent_engine(how).await, &["engine.state.races"]);
}

#[tokio::test]
async fn a_race_that_goes_missing_once_it_is_out_is_a_warning() {
    let how = altered(|_, answer| {
        answer.change("player", |state| {
            let players = state["player"].as_array_mut().expect("a list");
            players.retain(|player| player["extinct"] == json!(false));
        })
    });
    let report = bent_engine(how).await;
    assert_broken(&report, &["engine.state.races_kept"]);
    assert!(report.holds(), "what should hold does not decide");
}

#[tokio::test]
async fn two_players_with_one_id_are_a_warning() {
    let how = altered(|_, answer| {
        answer.change("player", |state| state["player"][1]["id"] = state["player"][0]["id"].clone())
    });
    assert_broken(&bent_engine(how).await, &["engine.state.player_ids"]);
}

#[tokio::test]
async fn fields_of_the_engines_own_are_a_warning() {
    let how =
        altered(|_, answer| answer.change("player", |state| state["weather"] = json!("fair")));
    assert_broken(&bent_engine(how).await, &["engine.state.contract"]);
}

#[tokio::test]
async fn states_that_cannot_be_read_cut_the_check_short() {
    for (name, value, rule) in [
        ("turn", json!("0"), "engine.state.fields"),
        ("turn", json!(-1), "engine.state.numbers"),
        ("turn", json!(1_u64 << 32), "engine.state.numbers"),
        ("player", json!({}), "engine.state.fields"),
    ] {
        let how = altered(move |_, answer| {
            let value = value.clone();
            answer.change("player", |state| state[name] = value)
        });
        let report = bent_engine(how).await;
        assert_broken(&report, &[rule]);
        assert!(report.ended.is_some() && !report.holds());
    }
}

#[tokio::test]
async fn a_game_that_does_not_begin_at_its_beginning() {
    let how = twist(|call: Call, upstream: Upstream| async move {
        let mut call = call;
        for name in ["expected_turn=", "turn="] {
            if let Some((path, turn)) = call.path.split_once(name)
                && let Ok(turn) = turn.parse::<u32>()
            {
                call.path = format!("{path}{name}{}", turn.saturating_sub(3));
                break;
            }
        }
        let later = |state: &mut Value| {
            state["turn"] = json!(state["turn"].as_u64().expect("a turn") + 3);
        };
        upstream.send(call).await.change("player", later)
    });
    assert_broken(&bent_engine(how).await, &["engine.init.turn_zero"]);
}

#[tokio::test]
async fn success_for_a_race_that_does_not_play() {
    for (line, rule) in [
        (COMMAND, "engine.command.unknown_race"),
        (ORDER, "engine.order.unknown_race"),
        (REPORT, "engine.report.unknown_race"),
        (BANISH, "engine.banish.unknown_race"),
    ] {
        let how = replaced(move |call| {
            let is_it = call.is(line) && call.mentions(NOBODY);
            is_it.then(|| Answer::json(200, &json!({ "outcomes": [] })))
        });
        assert_broken(&bent_engine(how).await, &[rule]);
    }
}

#[tokio::test]
async fn mistakes_of_the_caller_that_are_taken_for_the_engines_own() {
    for (line, rule) in [(COMMAND, "engine.command.malformed"), (ORDER, "engine.order.malformed")] {
        let how = altered(move |call, answer| {
            if call.is(line) && answer.status == 400 {
                return Answer::error(500, "internal_error");
            }
            answer
        });
        assert_broken(&bent_engine(how).await, &[rule]);
    }
}

#[tokio::test]
async fn a_report_of_the_future() {
    let how = altered(|call, answer| {
        if call.is(REPORT) && answer.text().contains("report_not_found") {
            return Answer::json(200, &json!({}));
        }
        answer
    });
    assert_broken(&bent_engine(how).await, &["engine.report.future"]);
}

#[tokio::test]
async fn a_report_that_does_not_know_the_race_by_its_encoded_name() {
    let how = altered(|call, answer| {
        if call.is(REPORT) && call.mentions("%D0") {
            return Answer::error(404, "race_not_found");
        }
        answer
    });
    assert_broken(&bent_engine(how).await, &["engine.report.current"]);
}

#[tokio::test]
async fn a_banishment_that_works_once_only() {
    let how = altered(|call, answer| {
        // The first is of nobody and before the game, the second of nobody.
        if call.is(BANISH) && call.nth == 4 {
            return Answer::error(409, "race_extinct");
        }
        answer
    });
    assert_broken(&bent_engine(how).await, &["engine.banish.twice"]);
}

#[tokio::test]
async fn a_command_that_moves_the_turn() {
    let how = twist(|call: Call, upstream: Upstream| async move {
        if call.is(ORDER) && call.mentions("Zoral") && call.nth > 1 {
            let path = "/api/v1/admin/turn?expected_turn=1";
            upstream
                .send(Call { method: http::Method::PUT, body: None, path: path.into(), nth: 1 })
                .await;
        }
        upstream.send(call).await
    });
    // The engine is where it says it is from then on.
    assert_broken(&bent_engine(how).await, &["engine.player.keeps_turn"]);
}

#[tokio::test]
async fn answers_that_break_the_rules_of_http_break_no_other() {
    let html = Answer {
        status: 200,
        headers: vec![("content-type", "text/html")],
        body: b"<html><body>It works!</body></html>".to_vec(),
    };
    let plain = |headers: Vec<(&'static str, &'static str)>, status| Answer {
        status,
        headers,
        body: b"{}".to_vec(),
    };
    let json = ("content-type", "application/json");
    let huge = Answer {
        status: 200,
        headers: vec![json],
        body: format!("\"{}\"", "x".repeat(5 << 20)).into_bytes(),
    };
    let cases: [(Answer, &[&str]); 5] = [
        (html, &["http.json", "http.content_type"]),
        (huge, &["http.size"]),
        (plain(vec![json, ("location", "/elsewhere")], 308), &["http.no_redirect"]),
        (plain(vec![json, ("content-encoding", "gzip")], 200), &["http.plain"]),
        (plain(vec![], 0), &["http.answered"]),
    ];
    for (line, nth) in [(COMMAND, 2), (REPORT, 2)] {
        for (answer, rules) in &cases {
            let answer = answer.clone();
            // The one before init is to be refused in any case.
            let wrong = move |call: &Call| {
                (call.is(line) && call.nth == nth && !call.mentions(NOBODY)).then(|| answer.clone())
            };
            let report = bent_engine(replaced(wrong)).await;
            assert_broken(&report, rules);
        }
    }
}

#[tokio::test]
async fn bodies_that_do_not_say_what_they_are_are_a_warning() {
    let how =
        altered(|_, answer| Answer { headers: vec![("content-type", "text/plain")], ..answer });
    let report = bent_engine(how).await;
    assert_broken(&report, &["http.content_type"]);
    assert!(report.holds());
}

#[tokio::test]
async fn an_engine_that_hangs() {
    let engine = engine(EngineOptions::default()).await;
    let how = twist(|call: Call, upstream: Upstream| async move {
        if call.is(ORDER) && call.nth == 2 {
            return std::future::pending().await;
        }
        upstream.send(call).await
    });
    let (proxy, _) = proxy(&engine, how).await;
    let mut args = engine_args(proxy.address);
    args.timing.timeout_seconds = 1;
    let report = run_engine(&args).await.expect("there and fresh");
    assert_broken(&report, &["http.in_time"]);
}

#[tokio::test]
async fn connections_that_are_closed_after_each_call_are_a_warning() {
    let how = altered(|_, mut answer| {
        answer.headers.push(("connection", "close"));
        answer
    });
    let report = bent_engine(how).await;
    assert_broken(&report, &["http.keep_alive"]);
    assert!(report.holds());
}

#[tokio::test]
async fn success_on_every_path_is_a_warning() {
    let how = altered(|_, answer| {
        if answer.text().contains("\"not_found\"") { Answer::json(200, &json!({})) } else { answer }
    });
    assert_broken(&bent_engine(how).await, &["http.unknown_path"]);
}

#[tokio::test]
async fn refusals_without_the_envelope_are_a_warning() {
    let how = altered(|_, answer| {
        if answer.status == 404 { Answer::json(404, &json!({ "detail": "no" })) } else { answer }
    });
    assert_broken(&bent_engine(how).await, &["error.envelope"]);
}

#[tokio::test]
async fn a_conflict_by_another_name_is_a_warning() {
    let how = altered(|_, answer| {
        if answer.text().contains("turn_conflict") { Answer::error(409, "busy") } else { answer }
    });
    assert_broken(&bent_engine(how).await, &["engine.turn.conflict_code"]);
}

#[tokio::test]
async fn an_engine_with_a_game_is_left_alone() {
    let engine = engine(EngineOptions::default()).await;
    let upstream = Upstream::new(engine.address);
    let races = json!({ "races": [{ "race_name": "Terrans" }, { "race_name": "Betans" }] });
    let init = Call::new(http::Method::POST, "/api/v1/admin/init", races.to_string());
    assert_eq!(upstream.send(init).await.status, 200);
    let (proxy, seen) = proxy(&engine, altered(|_, answer| answer)).await;
    let stopped = run_engine(&engine_args(proxy.address)).await.expect_err("it has a game");
    assert!(matches!(&stopped, Stopped::Unfit(why) if why.contains("has a game")), "{stopped}");
    let seen = seen.lock().expect("not poisoned");
    assert!(!seen.is_empty() && seen.iter().all(|call| call.method == http::Method::GET));
}

#[tokio::test]
async fn an_engine_of_which_nothing_is_known_is_left_alone() {
    let engine = engine(EngineOptions::default()).await;
    for (wrong, rules) in [
        (Answer::error(500, "internal_error"), vec!["engine.status.uninitialised"]),
        (Answer::json(200, &json!([])), vec!["engine.status.uninitialised"]),
        (Answer { status: 0, headers: vec![], body: vec![] }, vec!["http.answered"]),
    ] {
        let how = replaced(move |call| call.is(STATUS).then(|| wrong.clone()));
        let (proxy, seen) = proxy(&engine, how).await;
        let report = run_engine(&engine_args(proxy.address)).await.expect("a report");
        assert_broken(&report, &rules);
        assert!(!report.holds() && report.ended.is_some());
        let seen = seen.lock().expect("not poisoned");
        assert!(seen.iter().all(|call| call.method == http::Method::GET));
    }
}

#[tokio::test]
async fn a_status_before_the_game_that_looks_like_none_is_told_and_the_rest_goes_on() {
    let nothing = json!({ "id": "", "turn": 0, "player": [], "finished": false });
    let how = altered(move |call, answer| {
        let is_before = call.is(STATUS) && answer.status == 409;
        if is_before { Answer::json(200, &nothing) } else { answer }
    });
    assert_broken(&bent_engine(how).await, &["engine.status.uninitialised"]);
}

#[tokio::test]
async fn without_a_command_that_the_engine_understands_none_is_expected_to_work() {
    let engine = engine(EngineOptions::default()).await;
    let args = service::kit::CheckEngine { command: None, ..engine_args(engine.address) };
    let report = run_engine(&args).await.expect("there and fresh");
    assert_broken(&report, &[]);
    assert_eq!(skipped(&report), ["engine.command.accepted", "engine.order.accepted"]);
}

#[tokio::test]
async fn evidence_is_bounded_and_escaped() {
    let evil = format!("\u{1b}[2J{}", "x".repeat(100_000));
    let how = replaced(move |call| {
        let is_it = call.is(REPORT) && call.mentions(NOBODY);
        is_it.then(|| Answer::json(200, &json!(evil)))
    });
    let report = bent_engine(how).await;
    assert_broken(&report, &["engine.report.unknown_race"]);
    let told = service::kit::table(&report, &service::kit::Marks::WORDS);
    assert!(!told.contains('\u{1b}') && told.len() < 20_000, "{}", told.len());
    let broken = report.found.iter().find(|found| matches!(found.finding, Finding::Fail { .. }));
    let Some(Finding::Fail { evidence, .. }) = broken.map(|found| &found.finding) else { return };
    assert_eq!(evidence[0].status, Some(200));
    assert!(evidence[0].request.starts_with("GET /api/v1/report?player=nobody"), "{evidence:?}");
}

#[tokio::test]
async fn an_engine_that_answers_nothing_is_given_up_before_long() {
    let engine = engine(EngineOptions::default()).await;
    let how = twist(|call: Call, upstream: Upstream| async move {
        if call.is(INIT) || call.is(TURN) || (call.is(STATUS) && call.nth == 1) {
            return upstream.send(call).await;
        }
        Answer { status: 0, headers: vec![], body: vec![] }
    });
    let (proxy, seen) = proxy(&engine, how).await;
    let report = run_engine(&engine_args(proxy.address)).await.expect("there and fresh");
    assert_broken(&report, &["http.answered"]);
    assert!(seen.lock().expect("not poisoned").len() < 20);
}

/// Breaks one rule each, where it takes no more than another answer.
#[tokio::test]
async fn every_other_rule_is_broken_by_somebody() {
    type Change = fn(&Call, Answer) -> Answer;
    let cases: [(&str, Change); 14] = [
        ("engine.healthz", |call, answer| {
            if call.is("GET /healthz") { Answer::error(503, "starting") } else { answer }
        }),
        ("engine.healthz.body", |call, answer| {
            if call.is("GET /healthz") { Answer::json(200, &json!("fine")) } else { answer }
        }),
        ("engine.uninitialised.refuses", |call, answer| {
            let is_before = call.is(BANISH) && answer.text().contains("not_initialized");
            if is_before { Answer::error(500, "internal_error") } else { answer }
        }),
        ("engine.init.malformed", |call, answer| {
            let is_it = call.is(INIT) && answer.status == 400;
            if is_it { Answer::error(500, "internal_error") } else { answer }
        }),
        ("engine.turn.guard_far", |call, answer| {
            let is_it = call.is(TURN) && call.mentions("=1001");
            if is_it { Answer::error(400, "invalid_request") } else { answer }
        }),
        ("engine.turn.malformed", |call, answer| {
            let is_it = call.is(TURN) && call.mentions("=soon");
            if is_it { Answer::error(500, "internal_error") } else { answer }
        }),
        ("engine.command.accepted", |call, answer| {
            let is_it = call.is(COMMAND) && call.mentions("Чужие");
            if is_it { Answer::error(400, "invalid_request") } else { answer }
        }),
        ("engine.order.accepted", |call, answer| {
            let is_it = call.is(ORDER) && call.mentions("Zoral");
            if is_it { Answer::error(400, "invalid_request") } else { answer }
        }),
        ("engine.report.earlier", |call, answer| {
            let is_it = call.is(REPORT) && call.mentions("turn=0") && answer.status == 200;
            if is_it { Answer::error(500, "internal_error") } else { answer }
        }),
        ("engine.report.repeatable", |call, answer| {
            let nth = call.nth;
            let is_it = call.is(REPORT);
            answer.change("planets", |report| {
                if is_it {
                    report["asked"] = json!(nth);
                }
            })
        }),
        ("engine.banish.done", |call, answer| {
            let is_it = call.is(BANISH) && call.mentions("Чужие") && call.nth > 1;
            if is_it { Answer::error(500, "internal_error") } else { answer }
        }),
        ("engine.banish.no_content", |call, answer| {
            let is_it = call.is(BANISH) && answer.status == 204;
            if is_it { Answer::json(200, &json!({})) } else { answer }
        }),
        ("engine.banish.extinct", |_, answer| {
            answer.change("player", |state| state["player"][2]["extinct"] = json!(false))
        }),
        ("engine.banish.plays_on", |call, answer| {
            let is_it = call.is(TURN) && call.mentions("=2");
            if is_it { Answer::error(500, "internal_error") } else { answer }
        }),
    ];
    for (rule, change) in cases {
        assert_broken(&bent_engine(altered(change)).await, &[rule]);
    }
}

#[tokio::test]
async fn an_engine_that_cannot_be_set_up_is_not_said_to_be_fine() {
    let how = altered(|call, answer| {
        let is_it = call.is(INIT) && answer.status == 200;
        if is_it { Answer::error(500, "internal_error") } else { answer }
    });
    let report = bent_engine(how).await;
    assert_broken(&report, &["engine.init.fresh"]);
    assert!(report.ended.is_some());
}

#[tokio::test]
async fn a_turn_that_is_never_generated_is_not_said_to_be_fine() {
    let how = altered(|call, answer| {
        let is_it = call.is(TURN) && answer.status == 200;
        if is_it { Answer::error(500, "internal_error") } else { answer }
    });
    let report = bent_engine(how).await;
    assert_broken(&report, &["engine.turn.next"]);
    assert!(report.ended.is_some());
}
