//! What is being done, on whose behalf: the task-local through which a call that goes out knows the
//! request that came in.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Method, Uri};
use machine::{GameId, Timestamp};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, error_span};

use super::Telemetry;
use super::labels::{CallOutcome, CommitOutcome, Label as _, OperationLabel, Peer, Work};
use super::trace::{FinishedSpan, SpanId, SpanKind, TraceContext, TraceId};
use crate::ports::{CommitError, Committed};

tokio::task_local! {
    static CURRENT: Scope;
}

/// Longest value of an attribute of a span, in characters.
const MAX_ATTRIBUTE_CHARS: usize = 256;

/// A span that is open, and where it belongs. Clones share it; it ends when the last one is gone.
#[derive(Clone)]
pub struct Scope(Arc<Open>);

struct Open {
    telemetry: Telemetry,
    context: TraceContext,
    parent: Option<SpanId>,
    kind: SpanKind,
    name: Cow<'static, str>,
    /// A wall-clock time and the instant it was read at. The spans of one trace share it, so that
    /// they follow each other as they happened although the wall clock only knows milliseconds.
    anchor: (Timestamp, Instant),
    started: Instant,
    work: Option<Work>,
    attributes: Mutex<Vec<(&'static str, String)>>,
    failed: AtomicBool,
}

/// What a span is called.
struct Named {
    kind: SpanKind,
    name: Cow<'static, str>,
    work: Option<Work>,
}

impl Telemetry {
    /// A request came in. `quiet`: nobody traces it unless the caller does.
    pub fn request(&self, headers: &HeaderMap, operation: &'static str, quiet: bool) -> Scope {
        let named =
            Named { kind: SpanKind::Server, name: operation.into(), work: Some(Work::Request) };
        match TraceContext::of(headers) {
            Some(caller) => self.open(&caller, self.anchor(), named),
            None => self.root(named, !quiet),
        }
    }

    /// Does something for a game on behalf of whatever is being done here, or else of nobody. It
    /// ends when `work` and all that was [`carried`] from there have ended.
    pub fn operation<F: Future>(
        &self,
        name: &'static str,
        game: &GameId,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let named = Named {
            kind: SpanKind::Internal,
            name: format!("operation {name}").into(),
            work: Some(Work::Operation),
        };
        let scope = match current() {
            Some(scope) => scope.child(named),
            None => self.root(named, true),
        };
        scope.note("gamemaster.game_id", game.as_str());
        let trace_id = scope.trace_id();
        let span = error_span!("operation", operation = name, game_id = %game, %trace_id);
        CURRENT.scope(scope, work).instrument(span)
    }

    /// Measures a commit.
    pub async fn commit(
        &self,
        commit: impl Future<Output = Result<Committed, CommitError>>,
    ) -> Result<Committed, CommitError> {
        let named = Named { kind: SpanKind::Client, name: "store commit".into(), work: None };
        let scope = current().map(|scope| scope.child(named));
        let began = Instant::now();
        let committed = commit.await;
        let outcome = match &committed {
            Ok(Committed::Applied) => CommitOutcome::Applied,
            Ok(Committed::Conflict) => CommitOutcome::Conflict,
            Ok(Committed::UnknownVersion) => CommitOutcome::UnknownVersion,
            Err(CommitError::Determinate(_)) => CommitOutcome::Failed,
            Err(CommitError::Indeterminate(_)) => CommitOutcome::Unknown,
        };
        self.metrics().committed(outcome, began.elapsed());
        if let Some(scope) = scope {
            scope.note("gamemaster.outcome", outcome.text());
            if committed.is_err() {
                scope.fail();
            }
        }
        committed
    }

    fn anchor(&self) -> (Timestamp, Instant) {
        (self.now(), Instant::now())
    }

    fn root(&self, named: Named, may_record: bool) -> Scope {
        let trace = TraceId::fresh(self.inner.entropy.uuid());
        let ratio = self.inner.exporter.as_ref().map_or(0.0, |exporter| exporter.ratio);
        let sampled = may_record && trace.is_within(ratio);
        let context = TraceContext { trace, span: self.span_id(), sampled, state: None };
        self.scope(context, None, self.anchor(), named)
    }

    fn open(&self, parent: &TraceContext, anchor: (Timestamp, Instant), named: Named) -> Scope {
        let context = TraceContext { span: self.span_id(), ..parent.clone() };
        self.scope(context, Some(parent.span), anchor, named)
    }

    fn scope(
        &self,
        context: TraceContext,
        parent: Option<SpanId>,
        anchor: (Timestamp, Instant),
        Named { kind, name, work }: Named,
    ) -> Scope {
        if let Some(work) = work {
            self.metrics().began(work);
        }
        Scope(Arc::new(Open {
            telemetry: self.clone(),
            context,
            parent,
            kind,
            name,
            anchor,
            started: Instant::now(),
            work,
            attributes: Mutex::default(),
            failed: AtomicBool::new(false),
        }))
    }

    fn span_id(&self) -> SpanId {
        SpanId::fresh(self.inner.entropy.uuid())
    }
}

impl Scope {
    /// The trace it belongs to.
    pub fn trace_id(&self) -> TraceId {
        self.0.context.trace
    }

    /// Does `work` in this scope.
    pub fn carry<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// A request was answered.
    pub fn answered(&self, operation: &'static str, status: u16) {
        let label = OperationLabel::of(operation);
        self.0.telemetry.metrics().answered(label, status, self.0.started.elapsed());
        self.note("http.response.status_code", &status.to_string());
        if status >= 500 {
            self.fail();
        }
    }

    /// Notes something about it, where it is recorded.
    pub fn note(&self, name: &'static str, value: &str) {
        if self.0.is_recorded() {
            let value = value.chars().take(MAX_ATTRIBUTE_CHARS).collect();
            self.0.attributes().push((name, value));
        }
    }

    fn fail(&self) {
        self.0.failed.store(true, Ordering::Relaxed);
    }

    fn child(&self, named: Named) -> Self {
        self.0.telemetry.open(&self.0.context, self.0.anchor, named)
    }
}

impl Open {
    fn is_recorded(&self) -> bool {
        self.context.sampled && self.telemetry.inner.exporter.is_some()
    }

    fn attributes(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, String)>> {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unix_nanos(&self, instant: Instant) -> u64 {
        let (wall, at) = self.anchor;
        let since = u64::try_from(instant.saturating_duration_since(at).as_nanos());
        let wall = u64::try_from(wall.timestamp_millis()).unwrap_or_default();
        wall.saturating_mul(1_000_000).saturating_add(since.unwrap_or_default())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(work) = self.work {
            self.telemetry.metrics().ended(work);
        }
        if !self.is_recorded() {
            return;
        }
        let span = FinishedSpan {
            context: self.context.clone(),
            parent: self.parent,
            kind: self.kind,
            name: std::mem::take(&mut self.name).into_owned(),
            start_unix_nanos: self.unix_nanos(self.started),
            end_unix_nanos: self.unix_nanos(Instant::now()),
            attributes: std::mem::take(&mut *self.attributes()),
            failed: self.failed.load(Ordering::Relaxed),
        };
        self.telemetry.offer(span);
    }
}

/// What is being done here.
fn current() -> Option<Scope> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Takes the scope, for traces and for logs, along into a task that is about to be spawned.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    let scope = current();
    async move {
        match scope {
            Some(scope) => CURRENT.scope(scope, work).await,
            None => work.await,
        }
    }
    .instrument(Span::current())
}

/// A call to a neighbour, as the traces and the numbers see it.
pub struct Call {
    scope: Option<Scope>,
    peer: Peer,
    ended: bool,
}

/// A call begins, on behalf of what is being done here.
pub fn call(peer: Peer, method: &Method, uri: &Uri) -> Call {
    let scope = current().map(|scope| {
        let peer = peer.text();
        let name = format!("{peer} {method}").into();
        let scope = scope.child(Named { kind: SpanKind::Client, name, work: None });
        scope.note("http.request.method", method.as_str());
        scope.note("url.path", uri.path());
        scope.note("peer.service", peer);
        scope
    });
    Call { scope, peer, ended: false }
}

impl Call {
    /// Tells the neighbour where in which trace it is called.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(scope) = &self.scope {
            scope.0.context.write(headers);
        }
    }

    /// It is over.
    pub fn ended(mut self, outcome: CallOutcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: CallOutcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Some(scope) = &self.scope else { return };
        scope.0.telemetry.metrics().called(self.peer, outcome, scope.0.started.elapsed());
        match outcome {
            CallOutcome::Answered => {}
            CallOutcome::Refused
            | CallOutcome::Unreachable
            | CallOutcome::Unreadable
            | CallOutcome::Abandoned => scope.fail(),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(CallOutcome::Abandoned);
    }
}
