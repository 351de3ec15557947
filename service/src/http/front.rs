//! The service function: what happens to every request, in order.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use machine::{EngineVersion, GameId, RaceName};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use tracing::{Instrument as _, Span, debug, error, error_span, field};

use super::api::{Api, Asked};
use super::body::{BodyLimits, receive};
use super::claim::claim;
use super::contain::contain;
use super::headers::{REQUEST_ID, caller, check_host, idempotency_key, request_id};
use super::operation::{Found, Managed, Operation, Parameters, Probe, find};
use super::places::{Place, Places};
use super::reply::{Refusal, Reply, exposition, json};
use super::routes::{Call, Routes, routes};
use super::tokens::Tokens;
use super::view::ReadinessView;
use super::{HttpSettings, path, player, query};
use crate::error::ServiceError;
use crate::ports::{Entropy, Origin, Source};
use crate::telemetry::Telemetry;
use crate::telemetry::labels::Place as PanicPlace;

/// What answers requests.
pub(super) struct Front {
    api: Arc<dyn Api>,
    routes: Routes,
    places: Places,
    body_limits: BodyLimits,
    tokens: Option<Tokens>,
    request_ids: Option<Arc<dyn Entropy>>,
    draining: CancellationToken,
    telemetry: Telemetry,
}

impl Front {
    pub(super) fn new(api: Arc<dyn Api>, settings: HttpSettings) -> Self {
        Self {
            routes: routes(Arc::clone(&api)),
            api,
            places: Places::new(settings.max_in_flight, settings.max_in_flight_per_game),
            body_limits: BodyLimits {
                max_bytes: settings.max_body_bytes,
                timeout: settings.body_timeout,
            },
            tokens: settings.tokens,
            request_ids: settings.request_ids,
            draining: settings.draining,
            telemetry: settings.telemetry.unwrap_or_default(),
        }
    }

    /// As `net::serve` wants it.
    pub(super) fn into_service(
        self,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static {
        let front = Arc::new(self);
        service_fn(move |request| {
            let front = Arc::clone(&front);
            async move { Ok(front.answer(request).await.map(Full::new)) }
        })
    }

    /// Answers a request, whatever it is and whatever goes wrong.
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let id = self.name(&head);
        let found = find(&head.method, head.uri.path());
        let operation = found.as_ref().map_or("none", |found| found.operation.id());
        let is_probe =
            matches!(&found, Ok(found) if matches!(found.operation, Operation::Probe(_)));
        let scope = self.telemetry.request(&head.headers, operation, is_probe);
        // Enabled wherever any line is, so that every line within says what it is about.
        let span = error_span!(
            "request",
            operation,
            trace_id = %scope.trace_id(),
            request_id = id.as_ref().and_then(|id| id.to_str().ok()),
            game_id = field::Empty,
        );

        let handled = async {
            match found {
                Ok(_) | Err(_) if head.extensions.get::<net::AmbiguousFraming>().is_some() => {
                    let message = "Content-Length and Transfer-Encoding exclude each other";
                    Err(ServiceError::InvalidRequest(message.into()).into())
                }
                Ok(found) => self.handle(found, &head, body, id.as_ref()).await,
                Err(refusal) => Err(refusal),
            }
        };
        let outcome = contain(scope.carry(handled)).instrument(span.clone()).await;
        let mut reply = match outcome {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => refusal.into_reply(),
            Err(_panicked) => {
                span.in_scope(|| error!("a request handler panicked"));
                self.telemetry.metrics().panicked(PanicPlace::Handler);
                Refusal::from(ServiceError::InternalError).into_reply()
            }
        };

        let status = reply.status().as_u16();
        scope.answered(operation, status);
        let latency_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        span.in_scope(|| match reply.status() {
            StatusCode::INTERNAL_SERVER_ERROR => error!(status, latency_us, "answered: a bug"),
            _ => debug!(status, latency_us, "answered"),
        });
        if let Some(id) = id {
            reply.headers_mut().insert(REQUEST_ID, id);
        }
        reply
    }

    /// The identifier of a request: the caller's, or one of our own.
    fn name(&self, head: &request::Parts) -> Option<HeaderValue> {
        let own = || {
            let id = self.request_ids.as_ref()?.uuid().to_string();
            HeaderValue::try_from(id).ok()
        };
        request_id(&head.headers).cloned().or_else(own)
    }

    async fn handle(
        &self,
        found: Found<'_>,
        head: &request::Parts,
        body: Incoming,
        id: Option<&HeaderValue>,
    ) -> Result<Reply, Refusal> {
        match found.operation {
            Operation::Probe(probe) => Ok(self.probe(probe).await),
            Operation::Player(operation) => {
                self.identify(&found, head)?;
                let key = Key::parse(found.parameters)?;
                let _place = self.admit(head, &key)?;
                // Every path of a player's operation has a game; see the table.
                let game = key.game.as_ref().ok_or_else(Refusal::not_found)?;
                let subject = (game, key.turn);
                player::answer(&*self.api, operation, subject, (head, body), self.body_limits).await
            }
            Operation::Managed(operation) => {
                let source = self.identify(&found, head)?;
                let key = Key::parse(found.parameters)?;
                let _place = self.admit(head, &key)?;
                let request_id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
                let origin = Origin { source, request_id };
                // On the heap, or every request would carry the space for warp's filters along.
                Box::pin(self.managed(operation, key, head, body, origin)).await
            }
        }
    }

    /// Asks nobody, or nobody who could refuse: orchestrators must get an answer under any load.
    async fn probe(&self, probe: Probe) -> Reply {
        match probe {
            Probe::Healthz => json(StatusCode::OK, &Health { status: "ok" }),
            Probe::Metrics => exposition(self.telemetry.metrics().render()),
            Probe::Readyz => {
                let view = ReadinessView::from(self.api.readiness().await);
                json(view.http_status(), &view)
            }
        }
    }

    /// Who asks, if they may; the log is told of the game all the same where they may not.
    fn identify(&self, found: &Found<'_>, head: &request::Parts) -> Result<Source, Refusal> {
        self.caller_of(found.operation, head).inspect_err(|_| {
            if let Ok(Key { game: Some(game), .. }) = Key::parse(found.parameters) {
                Span::current().record("game_id", game.as_str());
            }
        })
    }

    /// With tokens nothing else decides; without, the caller is believed.
    fn caller_of(&self, operation: Operation, head: &request::Parts) -> Result<Source, Refusal> {
        let callers = operation.callers();
        let Some(tokens) = &self.tokens else {
            let usual = callers.first().copied().unwrap_or(Source::GameMaster);
            return Ok(caller(&head.headers)?.unwrap_or(usual));
        };
        let holder = tokens.caller(&head.headers).ok_or_else(Refusal::unauthenticated)?;
        if !callers.contains(&holder) {
            let message = format!("{} may not use this operation", holder.as_str());
            return Err(ServiceError::Forbidden(message).into());
        }
        if caller(&head.headers)?.is_some_and(|named| named != holder) {
            let message = "X-Galaxy-Caller names another caller than the token";
            return Err(ServiceError::Forbidden(message.into()).into());
        }
        Ok(holder)
    }

    fn admit(&self, head: &request::Parts, key: &Key) -> Result<Place<'_>, ServiceError> {
        if let Some(game) = &key.game {
            Span::current().record("game_id", game.as_str());
        }
        if self.draining.is_cancelled() {
            return Err(ServiceError::ServiceUnavailable("this process is shutting down".into()));
        }
        check_host(head.version, &head.headers)?;
        self.places.take(key.game.as_ref())
    }

    /// Takes in everything that can be wrong with a request and lets warp's filters do the rest.
    async fn managed(
        &self,
        operation: Managed,
        key: Key,
        head: &request::Parts,
        body: Incoming,
        origin: Origin,
    ) -> Result<Reply, Refusal> {
        let named = match operation.takes_idempotency_key() {
            true => idempotency_key(&head.headers)?,
            false => None,
        };
        if !operation.takes_query() {
            query::none(head.uri.query().unwrap_or_default())?;
        }
        let body = receive(operation.body(), &head.headers, body, self.body_limits).await?;
        let claim = named.map(|name| {
            claim(origin.source, name, Operation::Managed(operation), &head.uri, &body)
        });
        let Key { game, race, version, turn: _ } = key;
        let call = Call { operation, game, race, version, asked: Asked { origin, claim } };

        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        request.extensions_mut().insert(Arc::new(call));
        let Ok(response) = warp::service(self.routes.clone()).call(request).await;
        let (parts, body) = response.into_parts();
        match body.collect().await {
            Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
            Err(error) => {
                error!(%error, "an answer that was whole could not be read");
                Err(ServiceError::InternalError.into())
            }
        }
    }
}

/// The path parameters, parsed.
#[derive(Debug, Default)]
struct Key {
    game: Option<GameId>,
    race: Option<RaceName>,
    version: Option<EngineVersion>,
    turn: u32,
}

impl Key {
    fn parse(parameters: Parameters<'_>) -> Result<Self, ServiceError> {
        Ok(match parameters {
            Parameters::None => Self::default(),
            Parameters::Game(game) => {
                Self { game: Some(path::parameter(game)?), ..Self::default() }
            }
            Parameters::GameAndTurn(game, turn) => Self {
                game: Some(path::parameter(game)?),
                turn: path::turn(turn)?,
                ..Self::default()
            },
            Parameters::GameAndRace(game, race) => Self {
                game: Some(path::parameter(game)?),
                race: Some(path::race(race)?),
                ..Self::default()
            },
            Parameters::Version(version) => {
                Self { version: Some(path::parameter(version)?), ..Self::default() }
            }
        })
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}
