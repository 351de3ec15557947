//! Carrying the plan out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SoakError;
use super::part::Part;
use super::plan::{Kind, Strike};
use super::stage::{Master, Stage, TERMINATION};
use super::tracker::Tracker;
use crate::proxy::{Close, FaultProxy, Flow, Side, Way};

/// How much of what Redis wrote is lost with its tail.
const TAIL: Duration = Duration::from_secs(1);
/// By how much a slow connection is slow.
const DELAY: Duration = Duration::from_millis(300);

/// Carries out the strikes of one lane until `stop`, with a pause after each; one that has begun is
/// ended in order.
pub(super) async fn lane(
    strikes: Vec<Strike>,
    pause: Duration,
    stage: Arc<Stage>,
    tracker: Arc<Tracker>,
    stop: CancellationToken,
) -> Result<(), SoakError> {
    let mut earliest = tracker.started;
    for strike in strikes {
        let due = tokio::time::sleep_until(earliest.max(tracker.started + strike.at));
        if stop.run_until_cancelled(due).await.is_none() {
            return Ok(());
        }
        let at = Instant::now();
        let (target, since) = carry_out(&strike, &stage, &tracker, &stop).await?;
        tracker.struck(strike.kind, &target, at, since);
        earliest = Instant::now() + pause;
    }
    Ok(())
}

/// Answers whom it struck, and from when on they could recover.
async fn carry_out(
    strike: &Strike,
    stage: &Stage,
    tracker: &Tracker,
    stop: &CancellationToken,
) -> Result<(String, Instant), SoakError> {
    // One of four; another number than what chooses whom it strikes.
    let way = strike.pick / 1_000 % 4;
    let over = || stop.run_until_cancelled(tokio::time::sleep(strike.lasts));
    match strike.kind {
        Kind::GameMasterKilled => killed(one_that_runs(stage, strike.pick).await).await,
        Kind::GameMasterFrozen => {
            let part = one_that_runs(stage, strike.pick).await;
            part.signal("STOP")?;
            over().await;
            part.signal("CONT")?;
            Ok((format!("{} for {:?}", part.name(), strike.lasts), Instant::now()))
        }
        Kind::GameMastersRestarted => restarted(stage, tracker).await,
        Kind::PostgresKilled => {
            let since = Instant::now();
            stage.postgres.kill();
            stage.postgres.restart().await;
            Ok(("PostgreSQL".to_owned(), since))
        }
        Kind::RedisKilled => {
            let mut redis = stage.redis.lock().await;
            let since = Instant::now();
            redis.kill();
            redis.start_again().await;
            Ok(("Redis".to_owned(), since))
        }
        Kind::RedisTailLost => {
            let mut redis = stage.redis.lock().await;
            let mark = redis.mark();
            tokio::time::sleep(TAIL).await;
            let since = Instant::now();
            let lost = match mark {
                Some(mark) => redis.lose_since(&mark).await?,
                None => 0,
            };
            Ok((format!("Redis, {lost} bytes lost"), since))
        }
        Kind::RedisFlushed => {
            let redis = stage.redis.lock().await;
            let since = Instant::now();
            redis.command(&["FLUSHALL"]).await?;
            Ok(("Redis".to_owned(), since))
        }
        Kind::EnginesKilled => {
            let parts: Vec<&Mutex<Part>> = stage.engines.iter().collect();
            match picked(&parts, strike.pick) {
                Some(part) => killed(part.lock().await).await,
                None => Ok((String::new(), Instant::now())),
            }
        }
        Kind::LobbyKilled => killed(stage.lobby.lock().await).await,
        Kind::RtmKilled => killed(stage.rtm.lock().await).await,
        Kind::NotificationKilled => killed(stage.notification.lock().await).await,
        Kind::GatewayKilled => killed(stage.gateway.lock().await).await,
        Kind::LinksCut => {
            let (target, links) = links(stage, strike.pick);
            for link in links {
                match way {
                    0 => link.cut(Close::Finish).await,
                    1 => link.half_open(Side::Client).await,
                    _ => link.cut(Close::Reset).await,
                };
            }
            Ok((target, Instant::now()))
        }
        Kind::LinksSilent | Kind::LinksSlow => {
            let (target, links) = links(stage, strike.pick);
            for link in &links {
                if strike.kind == Kind::LinksSilent { silence(link, way) } else { slow(link, way) }
            }
            over().await;
            for link in links {
                link.calm();
            }
            Ok((target, Instant::now()))
        }
    }
}

fn picked<T>(all: &[T], pick: u64) -> Option<&T> {
    let index = pick.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(index).unwrap_or(0))
}

/// A Game Master that nobody has in his hands; if there is none, the first that is let go.
async fn one_that_runs(stage: &Stage, pick: u64) -> MutexGuard<'_, Part> {
    let masters: Vec<&Master> = stage.masters.iter().collect();
    let first = usize::try_from(pick % masters.len() as u64).unwrap_or(0);
    let free = masters.iter().cycle().skip(first).take(masters.len());
    for master in free {
        if let Ok(part) = master.part.try_lock() {
            return part;
        }
    }
    let waits = masters.iter().map(|master| Box::pin(master.part.lock()));
    let mut waits: Vec<_> = waits.collect();
    std::future::poll_fn(|context| {
        for wait in &mut waits {
            if let std::task::Poll::Ready(part) = wait.as_mut().poll(context) {
                return std::task::Poll::Ready(part);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

async fn killed(mut part: MutexGuard<'_, Part>) -> Result<(String, Instant), SoakError> {
    let since = Instant::now();
    part.kill()?;
    part.start()?;
    Ok((part.name().to_owned(), since))
}

/// One after the other ends in order and is started again.
async fn restarted(stage: &Stage, tracker: &Tracker) -> Result<(String, Instant), SoakError> {
    for master in &stage.masters {
        let mut part = master.part.lock().await;
        part.signal("TERM")?;
        if let Err(error) = ended_in_order(&mut part).await {
            tracker.note(error.to_string());
        }
        part.start()?;
    }
    Ok(("all, one after the other".to_owned(), Instant::now()))
}

/// Waits until a Game Master has ended that was told to by SIGTERM.
pub(super) async fn ended_in_order(part: &mut Part) -> Result<(), SoakError> {
    match part.ends_within(TERMINATION).await? {
        Some(status) if status.success() => Ok(()),
        ended => {
            let how = ended.map_or("not in time".to_owned(), |status| status.to_string());
            Err(SoakError::Io(io::Error::other(format!("{} ended {how}", part.name()))))
        }
    }
}

fn links(stage: &Stage, pick: u64) -> (String, Vec<&FaultProxy>) {
    let masters: Vec<&Master> = stage.masters.iter().collect();
    let (which, pick) = (pick % 3, pick / 3);
    let (Some(master), 0 | 1) = (picked(&masters, pick), which) else {
        return ("engines".to_owned(), stage.engine_links.iter().collect());
    };
    let number = pick % masters.len() as u64 + 1;
    if which == 0 {
        (format!("gm-{number} to PostgreSQL"), vec![&master.postgres])
    } else {
        (format!("gm-{number} to Redis"), vec![&master.redis])
    }
}

fn silence(link: &FaultProxy, way: u64) {
    match way {
        0 => drop(link.hole(Way::ToServer)),
        1 => drop(link.hole(Way::ToClient)),
        _ => drop(link.hole_both()),
    }
}

fn slow(link: &FaultProxy, way: u64) {
    match way {
        0 => drop(link.flow(Way::ToClient, slow_pieces())),
        _ => drop(link.delay(Way::ToServer, DELAY)),
    }
}

/// A few bytes at a time.
fn slow_pieces() -> Flow {
    Flow { piece: 256, pause: Duration::from_millis(2), ..Flow::default() }
}
