//! Those who answer.

use std::net::SocketAddr;
use std::sync::Arc;

use machine::Resolution;
use net::TokioNet;
use service::app::{self, Seams};
use service::config::Settings;
use service::embedded::Embedded;
use service::http::HttpSettings;
use service::ports::{Clock, SystemClock, SystemEntropy};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{End, SECRET, To, VERSIONS};
use crate::client::{Connection, PATIENCE, Server, exchange, json_request};
use crate::fake::Fake;

pub(super) const GATEWAY: &str = "gateway-hunter2-1";
pub(super) const LOBBY: &str = "lobby-hunter2-0001";
pub(super) const ADMIN: &str = "admin-hunter2-0001";

pub(super) struct Worlds {
    layer: Server,
    guarded: Server,
    service: Service,
}

impl Worlds {
    pub(super) async fn start() -> Self {
        let tokens = format!("gateway={GATEWAY},lobby={LOBBY},admin={ADMIN}");
        let settings = HttpSettings {
            tokens: Some(tokens.parse().expect("tokens")),
            ..HttpSettings::default()
        };
        Self {
            layer: Server::start().await,
            guarded: Server::with(Fake::new(), settings).await,
            service: Service::start().await,
        }
    }

    pub(super) async fn stop(self) {
        self.layer.stop().await;
        self.guarded.stop().await;
        self.service.stop().await;
    }

    /// Sends a request; what is wrong with its end, if anything is.
    pub(super) async fn fault(&self, to: To, request: &[u8], end: End) -> Option<String> {
        let (addr, fake) = match to {
            To::Layer => (self.layer.addr, Some(&self.layer)),
            To::Guarded => (self.guarded.addr, Some(&self.guarded)),
            To::Service => (self.service.addr, None),
        };
        let mut connection = Connection::to(addr).await;
        connection.write(request).await;
        let answer = match end {
            End::Bare(_) => connection.head_or_end().await,
            End::Closed | End::Refused(_, _) | End::Taken(_) => connection.read_or_end().await,
        };
        let asked = fake.map(Server::asked).unwrap_or_default();
        let is_fine = match (end, &answer) {
            (End::Closed, None) => true,
            (End::Bare(status), Some(answer)) => {
                answer.status == status && connection.is_closed().await
            }
            (End::Refused(status, code), Some(answer)) => {
                answer.status == status
                    && answer.error().0 == code
                    && !answer.body.contains(SECRET)
                    && asked.is_empty()
            }
            (End::Taken(status), Some(answer)) => answer.status == status,
            (End::Closed, Some(_)) | (_, None) => false,
        };
        let request: String = String::from_utf8_lossy(request).chars().take(400).collect();
        (!is_fine).then(|| format!("{request}\n{answer:?}\nasked: {asked:?}"))
    }
}

/// All of Game Master but its workers' neighbours, which nothing here comes as far as.
struct Service {
    addr: SocketAddr,
    stopping: CancellationToken,
    running: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let embedded = Arc::new(Embedded::in_memory(Arc::clone(&clock)));
        let nobody = "http://127.0.0.1:9".to_owned();
        let networks = vec!["127.99.0.0/16".parse().expect("a network")];
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = Settings::development(listen, nobody.clone(), nobody, networks);
        settings.schedule_resolution = Resolution::Minutes;
        let seams = Seams {
            net: Arc::new(TokioNet),
            feed: Arc::new(embedded.feed()),
            store: embedded.clone(),
            streams: embedded,
            clock,
            entropy: Arc::new(SystemEntropy),
        };
        let stopping = CancellationToken::new();
        let bound = app::bind(settings, seams, stopping.clone()).await.expect("bound");
        let addr = bound.address().expect("an address");
        let running = tokio::spawn(async move { bound.run().await.expect("no panic") });
        let service = Self { addr, stopping, running };
        for version in ["1.4.2", "3.0.0"] {
            let body = format!(r#"{{"version":"{version}","image_ref":"galaxy/engine:1"}}"#);
            let request = json_request("POST", VERSIONS, &body).replacen(
                "Host: gm\r\n",
                "Host: gm\r\nIdempotency-Key: known\r\n",
                1,
            );
            let answer = exchange(addr, request.as_bytes()).await;
            // The name stands for the first of the two; the other is its own bad input.
            let expected = if version == "1.4.2" { 201 } else { 409 };
            assert_eq!(answer.status, expected, "{answer:?}");
        }
        service
    }

    async fn stop(self) {
        self.stopping.cancel();
        timeout(PATIENCE, self.running).await.expect("in time").expect("no panic");
    }
}
