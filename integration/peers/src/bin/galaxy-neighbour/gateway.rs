//! `galaxy-neighbour gateway`.

use std::net::SocketAddr;

use clap::Args;
use net::{Net as _, ServerLimits, TokioNet};
use peers::gateway::{Gateway, GatewayOptions, GatewayServer, TokenTable};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    common::{self, milliseconds},
};

#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct GatewayArgs {
    /// Address to listen on; port 0 lets the system choose, and the log says which.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Game Master: http://host:port.
    #[arg(long, value_name = "URL")]
    gm_url: String,
    /// The gateway's bearer token at Game Master.
    #[arg(long, env = "NEIGHBOUR_GM_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    gm_token: Option<String>,
    /// Who may play: the bearer token of each user. Better given as the variable: flags can be
    /// read by everybody on the machine.
    #[arg(
        long,
        env = "NEIGHBOUR_PLAYERS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "USER=TOKEN,…",
        required = true
    )]
    players: Vec<String>,
    /// For one call to Game Master, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    call_timeout_ms: u64,
}

pub(crate) async fn run(args: GatewayArgs, stop: CancellationToken) -> Result<(), Failure> {
    // The message must not show a token.
    let pair = |text: &str| match text.split_once('=') {
        Some((user, token)) if !user.is_empty() && !token.is_empty() => {
            Ok((token.to_owned(), user.to_owned()))
        }
        _ => Err("--players: must be USER=TOKEN, separated by commas".to_owned()),
    };
    let pairs: Result<Vec<_>, _> = args.players.iter().map(|text| pair(text)).collect();
    let call_timeout = milliseconds(args.call_timeout_ms);
    let options = GatewayOptions {
        base_url: args.gm_url,
        api_token: args.gm_token,
        tokens: pairs?.into_iter().collect::<TokenTable>(),
        call_timeout,
    };
    let cannot = |error| format!("cannot listen on {}: {error}", args.listen);
    let listener = TokioNet.bind(args.listen).await.map_err(cannot)?;
    common::listening(listener.local_addr().map_err(cannot)?);
    let server = GatewayServer::new(Gateway::new(common::client(call_timeout), options));
    server.serve(listener, ServerLimits::default(), stop).await;
    Ok(())
}
