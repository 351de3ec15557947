//! How long things take: for the network, and for whoever waits for it.

use std::time::Duration;

use chrono::TimeDelta;
use machine::Resolution;
use service::config::Settings;

use crate::plan::Profile;
use crate::world::{LOBBY, PORT, RTM, any, gm_host};

/// Published messages are kept for longer than any run, wherever the clocks jump to.
const KEEP_PUBLISHED: TimeDelta = TimeDelta::days(20 * 365);

/// How long things take in a profile.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One step of the simulation.
    pub tick: Duration,
    /// The longest way of a message.
    pub latency: Duration,
    /// For a connection.
    pub connect: Duration,
    /// For an answer of store or Redis.
    pub answer: Duration,
    /// For a call over HTTP.
    pub call: Duration,
    /// How long a leader is believed in that says nothing.
    pub term: Duration,
    /// How long Lobby's word on who is a member is believed.
    pub believed: Duration,
    /// How late a turn may be after everything healed.
    pub late_ms: i64,
}

impl Pace {
    /// The pace of a profile.
    pub fn of(profile: Profile) -> Self {
        let ms = Duration::from_millis;
        match profile {
            Profile::Race => Self {
                tick: ms(2),
                latency: ms(15),
                connect: ms(2_000),
                answer: ms(2_000),
                call: ms(5_000),
                term: ms(5_000),
                believed: ms(4_000),
                late_ms: 10_000,
            },
            Profile::Calendar => Self {
                tick: ms(30_000),
                latency: ms(10_000),
                connect: ms(150_000),
                answer: ms(150_000),
                call: ms(450_000),
                // What a leader does takes it many ticks, each with an answer to wait for.
                term: ms(1_500_000),
                believed: ms(1_800_000),
                late_ms: 3_600_000,
            },
        }
    }

    /// How long an engine may be waited for at most, as an engine sees it: the deadline of a turn, and
    /// the ways there and back.
    pub fn longest_wait_ms(self) -> i64 {
        whole_ms(self.call * 3 + self.latency * 2)
    }
}

/// The settings of an instance; those that are the same for all say what Game Master promises.
pub(crate) fn settings(pace: Pace, gm: usize) -> Option<Settings> {
    let mut settings = Settings::development(
        any(PORT),
        format!("http://{LOBBY}:{PORT}"),
        format!("http://{RTM}:{PORT}"),
        vec!["0.0.0.0/0".parse().ok()?],
    );
    settings.instance = gm_host(gm).parse().ok()?;
    settings.keep_published = KEEP_PUBLISHED;
    settings.trim_after = Some(KEEP_PUBLISHED);
    settings.schedule_resolution = Resolution::Seconds;
    let Pace { connect, call, term, believed, .. } = pace;
    settings.membership_ttl = believed;
    settings.term_ttl = term;
    settings.connect_timeout = connect;
    settings.engine_limits.admin = call;
    settings.engine_limits.player = call;
    settings.engine_limits.turn = call * 2;
    settings.lobby_timeout = call * 2;
    settings.rtm_timeout = call * 4;
    // A process that is told to stop finishes what it has begun: a turn, and the commit of it.
    settings.shutdown_timeout = settings.shutdown_timeout.max(call * 3);
    let lease = |call: Duration| {
        TimeDelta::from_std(call).unwrap_or(TimeDelta::MAX) + TimeDelta::seconds(5)
    };
    settings.policy.probe_lease = lease(call);
    settings.policy.turn_lease = lease(call * 2);
    settings.policy.rtm_lease = lease(call * 4);
    Some(settings)
}

/// How long after Lobby has barred somebody an instance that nobody told of it may let them through:
/// an answer from before may be under way for so long, and is believed from when it came.
pub(crate) fn believed_ms(settings: &Settings) -> i64 {
    whole_ms(settings.membership_ttl + settings.lobby_timeout)
}

pub(crate) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
