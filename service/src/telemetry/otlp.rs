//! Finished spans on their way to a collector: OTLP, protobuf over HTTP.
//!
//! Through the service's own HTTP client, and so through the `Net` seam: no proxy, no redirect, a
//! bound on every wait. One batch at a time; meanwhile the queue fills, and what does not fit in is
//! dropped where it is offered. A batch that is not taken is not sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use net::{ClientLimits, HttpClient, Net};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as proto;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::labels::SpanFate;
use super::trace::{FinishedSpan, SpanKind};
use super::{Metrics, TelemetrySettings};

/// How many spans are sent at a time.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const DELAY: Duration = Duration::from_secs(1);
/// How long one batch may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a collector has to say is short.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

pub(super) struct Exporter {
    client: HttpClient,
    uri: Uri,
    resource: Resource,
    metrics: Arc<Metrics>,
}

impl Exporter {
    /// `None` where no collector is configured.
    pub(super) fn new(
        settings: &TelemetrySettings,
        net: Arc<dyn Net>,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let endpoint = settings.otlp_endpoint.as_ref()?;
        let uri = format!("{endpoint}/v1/traces").parse().ok()?;
        let limits = ClientLimits {
            total_timeout: EXPORT_TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
            max_idle_per_host: 1,
            ..ClientLimits::default()
        };
        let resource = Resource {
            attributes: vec![
                attribute("service.name", &settings.service_name),
                attribute("service.version", env!("CARGO_PKG_VERSION")),
            ],
            ..Resource::default()
        };
        Some(Self { client: HttpClient::new(net, limits, None), uri, resource, metrics })
    }

    /// Runs until told to stop, and then until the queue is empty.
    pub(super) async fn run(
        self,
        mut finished: mpsc::Receiver<FinishedSpan>,
        stop: CancellationToken,
    ) {
        let mut is_told = false;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                _ = finished.recv_many(&mut batch, BATCH) => {}
                () = stop.cancelled() => return,
            }
            let more = async {
                while batch.len() < BATCH {
                    let left = BATCH - batch.len();
                    if finished.recv_many(&mut batch, left).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = more => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(DELAY) => {}
            }
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            match self.send(batch).await {
                Ok(()) => {
                    is_told = false;
                    self.metrics.spans(SpanFate::Exported, count);
                }
                Err(error) => {
                    self.metrics.spans(SpanFate::Failed, count);
                    if !is_told {
                        tracing::warn!(error, "the collector takes no spans");
                        is_told = true;
                    }
                }
            }
        }
    }

    async fn send(&self, batch: Vec<FinishedSpan>) -> Result<(), String> {
        let scope = InstrumentationScope { name: "gamemaster".into(), ..Default::default() };
        let spans = batch.into_iter().map(span).collect();
        let scope_spans = proto::ScopeSpans { scope: Some(scope), spans, ..Default::default() };
        let resource_spans = proto::ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            ..Default::default()
        };
        let export = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
        let mut request = Request::new(Bytes::from(export.encode_to_vec()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
    }
}

fn span(span: FinishedSpan) -> proto::Span {
    let kind = match span.kind {
        SpanKind::Server => proto::span::SpanKind::Server,
        SpanKind::Client => proto::span::SpanKind::Client,
        SpanKind::Internal => proto::span::SpanKind::Internal,
    };
    let code = match span.failed {
        true => proto::status::StatusCode::Error,
        false => proto::status::StatusCode::Unset,
    };
    let attributes = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    proto::Span {
        trace_id: span.context.trace.0.to_be_bytes().to_vec(),
        span_id: span.context.span.0.to_be_bytes().to_vec(),
        trace_state: span.context.state.as_deref().unwrap_or_default().into(),
        parent_span_id: span.parent.map(|id| id.0.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: u32::from(span.context.sampled),
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: span.start_unix_nanos,
        end_time_unix_nano: span.end_unix_nanos,
        attributes,
        status: Some(proto::Status { code: code.into(), message: String::new() }),
        ..Default::default()
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: name.into(), value: Some(value), ..Default::default() }
}
