//! `galaxy-neighbour notification`.

use std::sync::Arc;

use clap::Args;
use net::{Net as _, ServerLimits, TokioNet};
use peers::{
    env::Observer,
    notification::{Notification, Sent},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    common::{self, Place, Streams},
};

#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct NotificationArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    streams: Streams,
}

pub(crate) async fn run(args: NotificationArgs, stop: CancellationToken) -> Result<(), Failure> {
    let bus = args.streams.bus()?;
    let observer: Observer<Sent> = Arc::new(|sent| {
        let intent = &sent.intent;
        tracing::info!(kind = intent.notification_type, key = intent.idempotency_key, "sent");
    });
    let notification = Notification::open(args.place.state_file, common::env(), observer).await;
    let notification = notification.map_err(|error| error.to_string())?;
    let listen = args.place.listen;
    let cannot = |error| format!("cannot listen on {listen}: {error}");
    let listener = TokioNet.bind(listen).await.map_err(cannot)?;
    common::listening(listener.local_addr().map_err(cannot)?);
    tokio::join!(
        notification.serve(listener, ServerLimits::default(), stop.clone()),
        notification.run(bus, args.streams.follow(), stop),
    );
    Ok(())
}
