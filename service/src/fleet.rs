//! Where this process stands among the Game Masters on its store: who else is alive, what it leads,
//! and whose timers are its own to strike.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use machine::{GameId, InstanceId};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ports::{Role, Roll, Term};
use crate::telemetry::Metrics;

/// How long the store believes that a process is there that says nothing, where nothing else is set:
/// what a fail-over takes.
pub const TERM_TTL: Duration = Duration::from_secs(5);

/// See the module.
pub struct Fleet {
    instance: InstanceId,
    standing: watch::Sender<Standing>,
}

/// What this process was told last.
#[derive(Clone, Debug, Default)]
struct Standing {
    alive: Vec<InstanceId>,
    terms: BTreeMap<Role, Term>,
    /// Until when it leads, where it is told nothing more.
    until: Option<Instant>,
    /// A later life has its name.
    displaced: bool,
}

impl Standing {
    /// When the term ends that this process leads in, where it does.
    fn leads_until(&self, role: Role, term: Term) -> Option<Instant> {
        self.until.filter(|_| self.terms.get(&role) == Some(&term))
    }
}

impl Fleet {
    /// One that knows of nobody, and so leads nothing and strikes everything.
    pub fn alone(instance: InstanceId) -> Arc<Self> {
        Arc::new(Self { instance, standing: watch::Sender::default() })
    }

    /// Takes in what the store says, asked at `asked_at` to believe in this process for `ttl`.
    ///
    /// SUBTLE: counted from before the question was sent, so that this process gives up before the
    /// store does, however long the question was under way; and by a clock that goes on while the
    /// process is frozen.
    pub fn told(&self, roll: &Roll, asked_at: Instant, ttl: Duration) {
        let Roll { alive, terms, displaced } = roll.clone();
        let until = Some(asked_at + ttl);
        self.standing.send_modify(|standing| {
            let displaced = displaced || standing.displaced;
            *standing = Standing { alive, terms, until, displaced };
        });
    }

    /// Whether a later process has this one's name.
    pub fn is_displaced(&self) -> bool {
        self.standing.borrow().displaced
    }

    /// Whether this process is the first to strike the timers of a game. The others follow after a
    /// grace, so that nobody's end is waited for, and two rarely meet on one record.
    ///
    /// Rendezvous hashing: of all who are alive, the one with the highest score for the game. When one
    /// comes or goes only the games change hands that it gets or had.
    pub fn strikes_first(&self, game: &GameId) -> bool {
        let standing = self.standing.borrow();
        let first = standing.alive.iter().max_by_key(|instance| (score(instance, game), *instance));
        first.is_none_or(|first| *first == self.instance)
    }

    /// Runs what `start` makes while this process holds a role, and anew in each of its terms, until
    /// it ends by itself or `stop` is cancelled while the role is not held.
    ///
    /// INVARIANT: when the term is over, `start`'s future is not polled again; what it had sent by
    /// then may still arrive.
    pub async fn lead<Work>(
        &self,
        role: Role,
        stop: &CancellationToken,
        metrics: &Metrics,
        mut start: impl FnMut(Term) -> Work,
    ) where
        Work: Future<Output = ()>,
    {
        loop {
            let term = tokio::select! {
                biased;
                // Led to the end, where that is to be done yet.
                term = self.elected(role) => term,
                () = stop.cancelled() => return,
            };
            tracing::info!(role = role.as_str(), term = term.0, "this process leads");
            let held = metrics.leads(role);
            let ended = self.within(role, term, start(term)).await;
            drop(held);
            if ended {
                return;
            }
            metrics.term_lost(role);
            tracing::warn!(role = role.as_str(), term = term.0, "this process leads no more");
        }
    }

    /// Waits until this process leads.
    async fn elected(&self, role: Role) -> Term {
        let mut standing = self.standing.subscribe();
        loop {
            let found = {
                let standing = standing.borrow_and_update();
                let term = standing.terms.get(&role).copied();
                term.zip(standing.until).filter(|(_, until)| Instant::now() < *until)
            };
            if let Some((term, _)) = found {
                return term;
            }
            if standing.changed().await.is_err() {
                // The sender is this one's own.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Polls `work` as long as the term lasts; whether it came to its end.
    async fn within(&self, role: Role, term: Term, work: impl Future<Output = ()>) -> bool {
        let mut work = pin!(work);
        let mut over = pin!(self.over(role, term));
        poll_fn(|cx| {
            // SUBTLE: the clock itself is asked, and not a timer, which fires some time after a
            // process that was frozen goes on.
            let until = self.standing.borrow().leads_until(role, term);
            let lasts = until.is_some_and(|until| Instant::now() < until);
            if !lasts || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            work.as_mut().poll(cx).map(|()| true)
        })
        .await
    }

    async fn over(&self, role: Role, term: Term) {
        let mut standing = self.standing.subscribe();
        loop {
            let until = standing.borrow_and_update().leads_until(role, term);
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                biased;
                _ = standing.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

/// The same in every process and every version of this program: FNV-1a, and the finish of MurmurHash3,
/// without which names that differ in one letter would have the same favourites.
fn score(instance: &InstanceId, game: &GameId) -> u64 {
    let text = [instance.as_str().as_bytes(), b"/", game.as_str().as_bytes()];
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in text.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(me: &str, alive: &[&str]) -> Arc<Fleet> {
        let fleet = Fleet::alone(me.parse().expect("a name"));
        let alive = alive.iter().map(|name| name.parse().expect("a name")).collect();
        let roll = Roll { alive, ..Roll::default() };
        fleet.told(&roll, Instant::now(), TERM_TTL);
        fleet
    }

    fn games() -> impl Iterator<Item = GameId> {
        (0..3_000).map(|n| format!("game-{n}").parse().expect("a game id"))
    }

    #[test]
    fn the_score_of_a_game_is_the_same_for_ever() {
        let score = |instance: &str, game: &str| {
            score(&instance.parse().expect("a name"), &game.parse().expect("a game id"))
        };
        assert_eq!(score("gm-1", "game-1"), 18_001_427_893_258_173_546);
    }

    #[tokio::test]
    async fn each_game_has_one_owner_and_each_owner_its_share() {
        let names = ["gm-1", "gm-2", "gm-3"];
        let fleets = names.map(|me| fleet(me, &names));
        let mut shares = [0_usize; 3];
        for game in games() {
            let owners: Vec<usize> = (0..3).filter(|n| fleets[*n].strikes_first(&game)).collect();
            let [owner] = owners.as_slice() else { panic!("{game}: {owners:?}") };
            shares[*owner] += 1;
        }
        assert!(shares.iter().all(|share| (850..1_150).contains(share)), "{shares:?}");
    }

    #[tokio::test]
    async fn who_goes_leaves_its_games_to_all_others_and_theirs_to_them() {
        let names = ["gm-1", "gm-2", "gm-3"];
        let before = names.map(|me| fleet(me, &names));
        let left = ["gm-1", "gm-2"];
        let after = left.map(|me| fleet(me, &left));
        let mut inherited = [0_usize; 2];
        for game in games() {
            for n in 0..2 {
                let (had, has) = (before[n].strikes_first(&game), after[n].strikes_first(&game));
                assert!(has || !had, "{game} was taken from one who is there");
                inherited[n] += usize::from(has && !had);
            }
        }
        assert!(inherited.iter().all(|games| *games > 350), "{inherited:?}");
    }

    #[tokio::test]
    async fn who_knows_of_nobody_strikes_everything() {
        let fleet = Fleet::alone("gm-1".parse().expect("a name"));
        assert!(games().all(|game| fleet.strikes_first(&game)));
    }

    /// Leads until the term is over; counts how often it was begun.
    async fn leads(fleet: &Fleet, metrics: &Metrics, stop: &CancellationToken) -> Vec<Term> {
        let mut begun = vec![];
        let work = |term| {
            begun.push(term);
            std::future::pending()
        };
        let led = fleet.lead(Role::OutboxRelay, stop, metrics, work);
        let _ = tokio::time::timeout(Duration::from_secs(60), led).await;
        begun
    }

    fn elected(fleet: &Fleet, term: u64, asked_at: Instant) {
        let terms = BTreeMap::from([(Role::OutboxRelay, Term(term))]);
        fleet.told(&Roll { terms, ..Roll::default() }, asked_at, TERM_TTL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_hears_nothing_stops_before_its_term_ends() {
        let fleet = Fleet::alone("gm-1".parse().expect("a name"));
        let metrics = Metrics::new(crate::conformance::START);
        let began = Instant::now();
        let asked_at = began;
        tokio::time::advance(Duration::from_secs(2)).await;
        // The answer took two seconds: three are left.
        elected(&fleet, 7, asked_at);
        let stop = CancellationToken::new();
        let within = fleet.within(Role::OutboxRelay, Term(7), std::future::pending());
        assert!(!within.await);
        assert_eq!(began.elapsed(), TERM_TTL);
        assert_eq!(leads(&fleet, &metrics, &stop).await, [] as [Term; 0], "nor begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_led_goes_on_through_renewals_and_begins_anew_in_another_term() {
        let fleet = Fleet::alone("gm-1".parse().expect("a name"));
        let metrics = Metrics::new(crate::conformance::START);
        let stop = CancellationToken::new();
        let renewals = async {
            for (term, seconds) in [(1, 3), (1, 3), (1, 3), (2, 3), (2, 3)] {
                elected(&fleet, term, Instant::now());
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            fleet.told(&Roll::default(), Instant::now(), TERM_TTL);
        };
        let (begun, ()) = tokio::join!(leads(&fleet, &metrics, &stop), renewals);
        assert_eq!(begun, [Term(1), Term(2)]);
        let lost = "\ngamemaster_terms_lost_total{role=\"outbox_relay\"} 2\n";
        assert!(metrics.render().contains(lost), "{}", metrics.render());
        assert!(metrics.render().contains("\ngamemaster_leads{role=\"outbox_relay\"} 0\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_frozen_does_not_take_one_step_more() {
        let fleet = Fleet::alone("gm-1".parse().expect("a name"));
        elected(&fleet, 1, Instant::now());
        let mut steps = 0;
        // Each step is ready at once: no timer of the runtime comes between them.
        let work = async {
            loop {
                steps += 1;
                if steps == 3 {
                    tokio::time::advance(Duration::from_secs(60)).await;
                }
                let mut yielded = false;
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
        };
        assert!(!fleet.within(Role::OutboxRelay, Term(1), work).await);
        assert_eq!(steps, 3);
    }
}
