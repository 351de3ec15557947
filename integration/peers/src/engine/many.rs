//! Many engines in one process: a port for each game, for more games than a machine has room for
//! processes.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf};

use net::Net;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::server::{EngineError, EngineOptions, EngineServer};

/// Which engines there are in one process.
#[derive(Debug, Clone)]
pub struct ManyArgs {
    /// Where they listen.
    pub ip: IpAddr,
    /// One engine for each.
    pub ports: RangeInclusive<u16>,
    /// Where each keeps its game, in a file of its own named after its port.
    pub state_dir: Option<PathBuf>,
}

/// Runs engines until `stop`; `ready` is called once all of them listen.
///
/// They differ in nothing but port, state and seed: port by port one more than `options` say.
pub async fn run_many(
    net: &dyn Net,
    args: ManyArgs,
    options: &EngineOptions,
    ready: impl FnOnce(),
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let first = *args.ports.start();
    let mut servers = Vec::with_capacity(args.ports.len());
    for port in args.ports {
        let mut options = options.clone();
        options.game.seed = options.game.seed.wrapping_add(u64::from(port - first));
        options.state_file = args.state_dir.as_ref().map(|dir| dir.join(format!("{port}.json")));
        // Each its own: one that is told to misbehave must not spoil the others.
        options.misbehaviour = Default::default();
        servers.push(EngineServer::bind(net, (args.ip, port).into(), options).await?);
    }
    ready();
    let mut running = JoinSet::new();
    for server in servers {
        running.spawn(server.serve(stop.clone()));
    }
    while running.join_next().await.is_some() {}
    Ok(())
}
