//! One trace from the request to the engine, with and without a collector.

use std::collections::BTreeSet;

use service::telemetry::TelemetrySettings;

use crate::stub::Asked;
use crate::world::{Client, World};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\ntracestate: a=1\r\n")
}

/// Trace, span and flags of the first request whose line holds this.
fn context(asked: &[Asked], line: &str) -> (String, String, String) {
    let asked = asked.iter().find(|a| a.head.contains(line)).expect("was asked");
    let value = asked.header("traceparent").expect("in a trace");
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{value}") };
    assert_eq!((version, trace.len(), span.len(), flags.len()), ("00", 32, 16, 2), "{value}");
    (trace.into(), span.into(), flags.into())
}

fn was_asked(line: &'static str) -> impl Fn(&[Asked]) -> bool {
    move |asked| asked.iter().any(|a| a.head.contains(line))
}

#[tokio::test]
async fn calls_carry_the_trace_of_the_request_and_ticks_begin_their_own() {
    let world = World::start(TelemetrySettings::default()).await;
    let answer = world.register("aurora", "* * * * * *", &parent("01")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = world.engine.until(was_asked("/admin/turn")).await;
    let (trace, span, flags) = context(&asked, "/admin/init");
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_ne!(span, CALLER, "a span of its own");
    let init = asked.iter().find(|a| a.head.contains("/admin/init")).expect("was asked");
    assert_eq!(init.header("tracestate"), Some("a=1"));
    let (trace, _, flags) = context(&asked, "/admin/turn");
    assert_ne!(trace, TRACE, "nobody asked for the tick");
    assert_eq!(flags, "00", "nobody records it");

    let mut client = Client::connect(world.addr).await;
    let headers = format!("{}X-User-Id: alice\r\n", parent("00"));
    client.post("/api/v1/internal/games/aurora/commands", &headers, "{\"commands\":[{}]}").await;
    let asked = world.lobby.until(was_asked("/memberships")).await;
    assert_eq!(context(&asked, "/memberships").0, TRACE);
    let asked = world.engine.until(was_asked("/api/v1/command ")).await;
    assert_eq!(context(&asked, "/api/v1/command ").0, TRACE);
    world.stop().await;
}

#[tokio::test]
async fn a_malformed_parent_is_none_and_each_request_begins_a_trace_of_its_own() {
    let world = World::start(TelemetrySettings::default()).await;
    let bad = format!("traceparent: 00-{TRACE}-{CALLER}-0g\r\ntracestate: a=1\r\n");
    let answer = world.register("aurora", "0 0 0 1 1 *", &bad).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.register("borealis", "0 0 0 1 1 *", "").await;
    let inits = |asked: &[Asked]| -> Vec<Asked> {
        asked.iter().filter(|a| a.head.contains("/admin/init")).cloned().collect()
    };
    let asked = inits(&world.engine.until(|asked| inits(asked).len() == 2).await);
    let traces: BTreeSet<String> =
        asked.iter().map(|a| context(std::slice::from_ref(a), "").0).collect();
    assert_eq!(traces.len(), 2);
    assert!(!traces.contains(TRACE));
    assert!(asked.iter().all(|a| a.header("tracestate").is_none()));
    world.stop().await;
}

#[cfg(feature = "otlp")]
mod collected {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message as _;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::stub::Stub;

    fn settings(endpoint: &str, sample_ratio: f64) -> TelemetrySettings {
        TelemetrySettings {
            otlp_endpoint: Some(endpoint.parse().expect("an endpoint")),
            service_name: "gm-under-test".into(),
            sample_ratio,
        }
    }

    /// What a collector was given; `text` holds the names in the resource too.
    fn spans(asked: &[Asked]) -> Vec<Span> {
        let exports = asked.iter().map(|asked| {
            assert!(asked.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", asked.head);
            assert_eq!(asked.header("content-type"), Some("application/x-protobuf"));
            ExportTraceServiceRequest::decode(&*asked.body).expect("protobuf")
        });
        let resources = exports.flat_map(|export| export.resource_spans);
        resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }

    #[tokio::test]
    async fn a_request_its_operation_its_commit_and_its_call_are_one_trace() {
        let collector = Stub::start(|_| String::new()).await;
        let world = World::start(settings(&collector.url(), 0.0)).await;
        let answer = world.register("aurora", "0 0 0 1 1 *", &parent("01")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        world.stop().await;
        // Whatever was not sent before is sent before the end.
        let asked = collector.until(|asked| !asked.is_empty()).await;
        let spans = spans(&asked);
        let id = |text: &str| u128::from_str_radix(text, 16).expect("hexadecimal").to_be_bytes();
        assert!(spans.iter().all(|span| span.trace_id == id(TRACE)), "nothing else is sampled");
        let named = |name: &str| {
            let mut found = spans.iter().filter(|span| span.name == name);
            found.next().unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
        };
        let request = named("internalRegisterRuntime");
        let operation = named("operation register");
        let call = named("engine POST");
        let commit = named("store commit");
        assert_eq!(request.parent_span_id, id(CALLER)[8..]);
        assert_eq!(operation.parent_span_id, request.span_id);
        assert_eq!(call.parent_span_id, operation.span_id);
        assert_eq!(commit.parent_span_id, operation.span_id);
        assert!(request.start_time_unix_nano <= call.start_time_unix_nano);
        assert!(call.end_time_unix_nano <= operation.end_time_unix_nano);
        assert!(asked[0].body.windows(13).any(|w| w == b"gm-under-test"));
    }

    #[tokio::test]
    async fn traces_that_begin_here_are_recorded_by_their_share() {
        let collector = Stub::start(|_| String::new()).await;
        let world = World::start(settings(&collector.url(), 1.0)).await;
        world.register("aurora", "* * * * * *", "").await;
        let asked = world.engine.until(was_asked("/admin/turn")).await;
        let (tick, _, flags) = context(&asked, "/admin/turn");
        assert_eq!(flags, "01");
        world.stop().await;
        let asked = collector.until(|asked| {
            let names: BTreeSet<String> = spans(asked).into_iter().map(|s| s.name).collect();
            names.contains("operation tick") && names.contains("engine PUT")
        });
        let spans = spans(&asked.await);
        let of_tick = |span: &&Span| span.name == "operation tick";
        let traces: Vec<String> = spans.iter().filter(of_tick).map(|s| hex(&s.trace_id)).collect();
        assert!(traces.contains(&tick), "{traces:?} {tick}");
        let probes = spans.iter().filter(|span| span.name == "metrics").count();
        assert_eq!(probes, 0, "probes are not worth a trace");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[tokio::test]
    async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
        // Takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", silent.local_addr().expect("bound"));
        let world = World::start(settings(&url, 1.0)).await;
        let mut client = Client::connect(world.addr).await;
        for _ in 0..4000 {
            client.get("/api/v1/internal/runtimes/unknown").await;
        }
        let text = world.metrics().await;
        let dropped = text
            .lines()
            .find_map(|line| line.strip_prefix("gamemaster_spans_total{outcome=\"dropped\"} "))
            .and_then(|count| count.parse::<u64>().ok());
        assert!(dropped.is_some_and(|n| (1..4000).contains(&n)), "{dropped:?}");
        let began = Instant::now();
        world.stop().await;
        assert!(began.elapsed() < Duration::from_secs(6), "the end does not wait for it");
    }
}
