//! The service function: what happens to every request, in order.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use machine::{EngineVersion, GameId};
use serde::Serialize;
use tokio::time::Instant;
use tower_service::Service as _;
use tracing::{Instrument as _, Span, debug, error, field, info_span};

use super::api::Api;
use super::body::{BodyLimits, receive};
use super::contain::contain;
use super::headers::{REQUEST_ID, caller, check_host, request_id};
use super::operation::{Found, Managed, Operation, Parameters, Probe, find};
use super::places::{Place, Places};
use super::reply::{Refusal, Reply, json};
use super::routes::{Call, Routes, routes};
use super::view::ReadinessView;
use super::{HttpSettings, path, player, query};
use crate::error::ServiceError;
use crate::ports::{Entropy, Origin};

/// What answers requests.
pub(super) struct Front {
    api: Arc<dyn Api>,
    routes: Routes,
    places: Places,
    body_limits: BodyLimits,
    request_ids: Option<Arc<dyn Entropy>>,
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
            request_ids: settings.request_ids,
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
        // Enabled wherever a warning is, so that every line within says what it is about.
        let span = info_span!(
            "request",
            operation = found.as_ref().map_or("none", |found| found.operation.id()),
            request_id = id.as_ref().and_then(|id| id.to_str().ok()),
            game_id = field::Empty,
        );

        let handled = async {
            match found {
                Ok(found) => self.handle(found, &head, body, id.as_ref()).await,
                Err(refusal) => Err(refusal),
            }
        };
        let outcome = contain(handled).instrument(span.clone()).await;
        let mut reply = match outcome {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => refusal.into_reply(),
            Err(_panicked) => {
                span.in_scope(|| error!("a request handler panicked"));
                Refusal::from(ServiceError::InternalError).into_reply()
            }
        };

        let status = reply.status().as_u16();
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
                let key = Key::parse(found.parameters)?;
                let _place = self.admit(head, &key)?;
                // Every path of a player's operation has a game; see the table.
                let game = key.game.as_ref().ok_or_else(Refusal::not_found)?;
                let subject = (game, key.turn);
                player::answer(&*self.api, operation, subject, (head, body), self.body_limits).await
            }
            Operation::Managed(operation) => {
                let key = Key::parse(found.parameters)?;
                let _place = self.admit(head, &key)?;
                self.managed(operation, key, head, body, id).await
            }
        }
    }

    /// Asks nobody, or nobody who could refuse: orchestrators must get an answer under any load.
    async fn probe(&self, probe: Probe) -> Reply {
        match probe {
            Probe::Healthz => json(StatusCode::OK, &Health { status: "ok" }),
            Probe::Readyz => {
                let view = ReadinessView::from(self.api.readiness().await);
                json(view.http_status(), &view)
            }
        }
    }

    fn admit(&self, head: &request::Parts, key: &Key) -> Result<Place<'_>, ServiceError> {
        if let Some(game) = &key.game {
            Span::current().record("game_id", game.as_str());
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
        id: Option<&HeaderValue>,
    ) -> Result<Reply, Refusal> {
        let source = caller(&head.headers, operation.usual_caller())?;
        if !operation.takes_query() {
            query::none(head.uri.query().unwrap_or_default())?;
        }
        let body = receive(operation.body(), &head.headers, body, self.body_limits).await?;
        let request_id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let origin = Origin { source, request_id };
        let call = Call { operation, game: key.game, version: key.version, origin };

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
