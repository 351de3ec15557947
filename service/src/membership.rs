//! Who may act in which game, as Lobby last said: cached for a short time, one question to Lobby at
//! a time and game, and never an answer that an invalidation overtook.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machine::{GameId, UserId};
use tokio::time::Instant;

use crate::ports::{LobbyApi, LobbyError, MembershipStatus};
use crate::telemetry::Metrics;
use crate::telemetry::labels::CacheOutcome;

/// How often a fill that an invalidation overtook is begun anew before the caller is turned away.
const MAX_FILLS: usize = 3;

type Members = Arc<BTreeMap<UserId, MembershipStatus>>;

/// The cache.
pub struct Memberships {
    lobby: Arc<dyn LobbyApi>,
    time_to_live: Duration,
    /// While others are not heard of.
    at_most: Mutex<Option<Duration>>,
    capacity: usize,
    cache: Mutex<Cache>,
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct Cache {
    slots: BTreeMap<GameId, Slot>,
    /// Which slot was used when: the least recently used leaves first.
    order: BTreeMap<u64, GameId>,
    clock: u64,
}

struct Slot {
    /// Grows with every invalidation: a fill that began under another epoch is thrown away.
    epoch: u64,
    members: Option<(Members, Instant)>,
    /// Held by the one who asks Lobby; the others wait for the answer.
    filling: Arc<tokio::sync::Mutex<()>>,
    /// How many questions failed, and how the last one did: whoever waited for it shares that
    /// answer, or a silent Lobby would be asked once for each of them, one after the other.
    failures: u64,
    last_failure: Option<LobbyError>,
    used: u64,
}

impl Memberships {
    /// A cache of at most `capacity` games, each believed for `time_to_live`.
    pub fn new(lobby: Arc<dyn LobbyApi>, capacity: usize, time_to_live: Duration) -> Self {
        let capacity = capacity.max(1);
        let (at_most, cache) = (Mutex::default(), Mutex::default());
        Self { lobby, time_to_live, at_most, capacity, cache, metrics: None }
    }

    /// The same, counted.
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// How Lobby sees a player in a game; `None`: not a member.
    pub async fn status(
        &self,
        game: &GameId,
        user: &UserId,
    ) -> Result<Option<MembershipStatus>, LobbyError> {
        let cached = self.cached(game);
        if let Some(metrics) = &self.metrics {
            let is_hit = cached.is_some();
            metrics.looked_up(if is_hit { CacheOutcome::Hit } else { CacheOutcome::Miss });
        }
        if let Some(members) = cached {
            return Ok(members.get(user).copied());
        }
        let (filling, failures) = {
            let mut cache = self.lock();
            let slot = cache.slot(game, self.capacity);
            (Arc::clone(&slot.filling), slot.failures)
        };
        let _one_at_a_time = filling.lock().await;
        if let Some(failure) = self.failed_since(game, failures) {
            return Err(failure);
        }
        for _ in 0..MAX_FILLS {
            if let Some(members) = self.cached(game) {
                return Ok(members.get(user).copied());
            }
            let epoch = self.lock().slot(game, self.capacity).epoch;
            let list = match self.lobby.memberships(game).await {
                Ok(list) => list,
                Err(failure) => {
                    let mut cache = self.lock();
                    let slot = cache.slot(game, self.capacity);
                    slot.failures += 1;
                    slot.last_failure = Some(failure.clone());
                    return Err(failure);
                }
            };
            let members: Members =
                Arc::new(list.into_iter().map(|m| (m.user_id, m.status)).collect());
            let mut cache = self.lock();
            let slot = cache.slot(game, self.capacity);
            // SUBTLE: an answer under way when an invalidation comes may be from before the change
            // that the invalidation tells of; it must neither be kept nor used.
            if slot.epoch == epoch {
                let status = members.get(user).copied();
                slot.members = Some((members, Instant::now()));
                return Ok(status);
            }
        }
        Err(LobbyError("the members change faster than they can be read".into()))
    }

    /// Forgets what is known of a game, and what is being asked about it right now.
    pub fn invalidate(&self, game: &GameId) {
        if let Some(metrics) = &self.metrics {
            metrics.invalidated();
        }
        let mut cache = self.lock();
        // From the same counter as those of new slots, so that no epoch comes twice.
        cache.clock += 1;
        let epoch = cache.clock;
        if let Some(slot) = cache.slots.get_mut(game) {
            slot.epoch = epoch;
            slot.members = None;
        }
    }

    /// Forgets everything, and what is being asked right now.
    pub fn invalidate_all(&self) {
        let mut cache = self.lock();
        cache.clock += 1;
        let epoch = cache.clock;
        for slot in cache.slots.values_mut() {
            slot.epoch = epoch;
            slot.members = None;
        }
    }

    /// Believes what is known for no longer than `at_most`; `None`: for the whole time.
    pub fn believe(&self, at_most: Option<Duration>) {
        *self.at_most.lock().unwrap_or_else(PoisonError::into_inner) = at_most;
    }

    /// How the last question failed, where one did after there had been `failures` of them.
    fn failed_since(&self, game: &GameId, failures: u64) -> Option<LobbyError> {
        let cache = self.lock();
        let slot = cache.slots.get(game).filter(|slot| slot.failures > failures)?;
        slot.last_failure.clone()
    }

    fn cached(&self, game: &GameId) -> Option<Members> {
        let at_most = *self.at_most.lock().unwrap_or_else(PoisonError::into_inner);
        let time_to_live = at_most.map_or(self.time_to_live, |most| most.min(self.time_to_live));
        let mut cache = self.lock();
        let (members, since) = cache.used(game)?.members.as_ref()?;
        (since.elapsed() < time_to_live).then(|| Arc::clone(members))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// The slot of a game, where there is one, now the most recently used.
    fn used(&mut self, game: &GameId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(game)?;
        self.clock += 1;
        if let Some(game) = self.order.remove(&slot.used) {
            self.order.insert(self.clock, game);
        }
        slot.used = self.clock;
        Some(slot)
    }

    /// The same, made where it is missing.
    fn slot(&mut self, game: &GameId, capacity: usize) -> &mut Slot {
        self.clock += 1;
        let now = self.clock;
        if !self.slots.contains_key(game) && self.slots.len() >= capacity {
            self.evict();
        }
        // SUBTLE: a slot that was evicted and made anew begins at an epoch never used before, so
        // that a fill begun for the old slot cannot pass for one of the new.
        let slot = self.slots.entry(game.clone()).or_insert_with(|| Slot {
            epoch: now,
            members: None,
            filling: Arc::default(),
            failures: 0,
            last_failure: None,
            used: now,
        });
        self.order.remove(&slot.used);
        slot.used = now;
        self.order.insert(now, game.clone());
        slot
    }

    fn evict(&mut self) {
        if let Some((_, game)) = self.order.pop_first() {
            self.slots.remove(&game);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::ports::Membership;

    /// A Lobby that answers each question only when told to, with the status set by then or before.
    struct SlowLobby {
        asked: AtomicUsize,
        may_answer: Semaphore,
        status: Mutex<MembershipStatus>,
    }

    impl SlowLobby {
        fn new(permits: usize) -> Arc<Self> {
            let status = Mutex::new(MembershipStatus::Active);
            let may_answer = Semaphore::new(permits);
            Arc::new(Self { asked: AtomicUsize::new(0), may_answer, status })
        }

        fn set(&self, status: MembershipStatus) {
            *self.status.lock().expect("not poisoned") = status;
        }
    }

    #[async_trait]
    impl LobbyApi for SlowLobby {
        async fn memberships(&self, _: &GameId) -> Result<Vec<Membership>, LobbyError> {
            let status = *self.status.lock().expect("not poisoned");
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.may_answer.acquire().await.expect("open").forget();
            Ok(vec![Membership { user_id: "u".parse().expect("valid"), status }])
        }
    }

    fn game(name: &str) -> GameId {
        name.parse().expect("valid")
    }

    fn user() -> UserId {
        "u".parse().expect("valid")
    }

    #[tokio::test]
    async fn many_ask_and_lobby_is_asked_once() {
        let lobby = SlowLobby::new(1);
        let cache = Arc::new(Memberships::new(lobby.clone(), 10, Duration::from_secs(60)));
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.status(&game("g"), &user()).await })
            })
            .collect();
        for ask in asks {
            assert_eq!(ask.await.expect("no panic"), Ok(Some(MembershipStatus::Active)));
        }
        assert_eq!(lobby.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_fill_that_an_invalidation_overtook_is_thrown_away() {
        let lobby = SlowLobby::new(0);
        let cache = Arc::new(Memberships::new(lobby.clone(), 10, Duration::from_secs(60)));
        let ask = tokio::spawn({
            let cache = cache.clone();
            async move { cache.status(&game("g"), &user()).await }
        });
        while lobby.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // The answer under way still says `active`; then the player is removed.
        lobby.set(MembershipStatus::Removed);
        cache.invalidate(&game("g"));
        lobby.may_answer.add_permits(2);
        assert_eq!(ask.await.expect("no panic"), Ok(Some(MembershipStatus::Removed)));
        assert_eq!(lobby.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_believed_for_their_time_and_the_least_used_leave_first() {
        let lobby = SlowLobby::new(100);
        let cache = Memberships::new(lobby.clone(), 2, Duration::from_secs(5));
        let asked = || lobby.asked.load(Ordering::SeqCst);
        for (name, expected) in [("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)] {
            assert!(cache.status(&game(name), &user()).await.is_ok());
            assert_eq!(asked(), expected, "after {name}");
        }
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(cache.status(&game("b"), &user()).await.is_ok());
        assert_eq!(asked(), 5);
    }
}
