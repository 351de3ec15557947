//! Who looks on from outside and believes nobody: it sees each commit in the store's host, each
//! append in the Redis host, and the engines' files, and compares them.

mod fence;
mod hearing;
mod instants;
mod ledger;
mod members;
mod rest;
mod undisturbed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use machine::{Channel, Life, Message, Runtime, Status, StreamId, check_commit};
use serde::Serialize;
use service::ports::{Commit, CommitId, Expected};

use self::hearing::Hearing;
use self::instants::Instants;
use self::ledger::Ledger;
pub use self::ledger::While;
use self::members::Barred;
pub use self::members::Bounds;
pub use self::rest::Unrest;
use crate::board::lock;
use crate::chronicle::Chronicle;
use crate::engines::Engines;
use crate::redis::Keys;
use crate::world::gm_host;

/// The most broken promises kept of one run.
const MAX_VIOLATIONS: usize = 10;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which.
    pub promise: String,
    /// In which game, where it is about one.
    pub game: Option<String>,
    /// How.
    pub how: String,
    /// When, in simulated milliseconds.
    pub at_ms: i64,
}

/// See the module.
pub struct Oracle {
    /// What happened.
    pub chronicle: Arc<Chronicle>,
    engines: Arc<Engines>,
    /// Nothing comes between Game Master and the engines, so that one without a guard is asked for no
    /// turn twice either.
    engines_are_reached: bool,
    /// How long a member who was barred may be let through.
    bounds: Bounds,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    games: BTreeMap<String, Ledger>,
    broken: Vec<Broken>,
    /// Games whose engine lied or lost its memory: what they say is no measure any more.
    excused: BTreeSet<String>,
    /// Games that Lobby will not start any more.
    empty: BTreeSet<String>,
    /// Whether Redis lost something: intents are promised to the streams, not beyond their loss.
    streams_lost: bool,
    /// How often each change of status was committed.
    changes: BTreeMap<String, u64>,
    /// The names of commits that applied, where the store does not tell a repeat from a first try.
    applied: BTreeSet<CommitId>,
    /// Which instance asked for a commit that was not carried out yet.
    authors: BTreeMap<CommitId, usize>,
    /// Which instants of their schedules games have had turns for.
    instants: BTreeMap<String, Instants>,
    /// Who was barred by Lobby.
    barred: Barred,
    /// Games one of whose players was answered after everything had healed.
    heard: BTreeSet<String>,
    /// How often was looked whether a promise is kept, by what was looked at.
    checked: BTreeMap<&'static str, u64>,
    /// The ends of containers that were told.
    hearing: Hearing,
    /// Nothing goes wrong; how late a timer may be struck then, in milliseconds.
    undisturbed: Option<i64>,
}

impl Inner {
    fn check(&mut self, what: &'static str) {
        *self.checked.entry(what).or_default() += 1;
    }
}

impl Oracle {
    /// Looks on.
    pub fn new(
        chronicle: Arc<Chronicle>,
        engines: Arc<Engines>,
        engines_are_reached: bool,
        bounds: Bounds,
    ) -> Arc<Self> {
        let inner = Mutex::default();
        Arc::new(Self { chronicle, engines, engines_are_reached, bounds, inner })
    }

    /// A promise is broken.
    pub fn violated(&self, promise: &str, game: Option<&str>, how: &str) {
        self.chronicle.note(game, &format!("BROKEN {promise}: {how}"));
        let at_ms = self.chronicle.now_ms();
        let mut inner = lock(&self.inner);
        if inner.broken.len() < MAX_VIOLATIONS {
            let (promise, how) = (promise.to_owned(), how.to_owned());
            inner.broken.push(Broken { promise, game: game.map(str::to_owned), how, at_ms });
        }
    }

    /// The promises broken so far.
    pub fn broken(&self) -> Vec<Broken> {
        lock(&self.inner).broken.clone()
    }

    /// How often each change of status was committed.
    pub fn changes(&self) -> BTreeMap<String, u64> {
        lock(&self.inner).changes.clone()
    }

    /// How often was looked whether a promise is kept, by what was looked at.
    pub fn checked(&self) -> BTreeMap<String, u64> {
        let checked = &lock(&self.inner).checked;
        checked.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect()
    }

    /// The engine of a game lied or lost its memory.
    pub fn excuse(&self, game: &str) {
        lock(&self.inner).excused.insert(game.to_owned());
    }

    /// Whether it did.
    pub fn is_excused(&self, game: &str) -> bool {
        lock(&self.inner).excused.contains(game)
    }

    /// Nobody plays a game any more that was not running yet: it need not come to anything.
    pub fn nobody_plays(&self, game: &str) {
        lock(&self.inner).empty.insert(game.to_owned());
    }

    /// Whether that is so.
    pub fn is_empty(&self, game: &str) -> bool {
        lock(&self.inner).empty.contains(game)
    }

    /// The last committed record of each game.
    pub fn records(&self) -> BTreeMap<String, Option<Arc<Runtime>>> {
        let inner = lock(&self.inner);
        inner.games.iter().map(|(game, ledger)| (game.clone(), ledger.last.clone())).collect()
    }

    /// A commit was carried out, or refused: told by a store that does not say what was there
    /// before, so that what it left is held against what was committed last.
    pub fn answered_commit(&self, commit: &Commit, applied: bool) {
        let before = {
            let mut inner = lock(&self.inner);
            // A repeat under the same name changes nothing.
            let is_first = applied && inner.applied.insert(commit.id);
            let ledger = inner.games.get(commit.game_id.as_str());
            let before = ledger.and_then(|ledger| ledger.last.clone());
            if !is_first {
                drop(inner);
                return self.committed(commit, before.clone(), before);
            }
            before
        };
        if before.as_deref().map(Expected::from) != commit.expected {
            let how = "a commit applied over something else than it expected";
            self.violated("nothing_else_changes_a_record", Some(commit.game_id.as_str()), how);
        }
        self.committed(commit, before, commit.next.clone());
    }

    /// What a store holds at the end is what was committed.
    pub fn holds(&self, kept: &[Arc<Runtime>]) {
        let committed = self.records();
        let kept: BTreeMap<&str, u64> =
            kept.iter().map(|rt| (rt.game_id.as_str(), rt.revision)).collect();
        for (game, record) in &committed {
            if record.as_ref().map(|rt| rt.revision) != kept.get(game.as_str()).copied() {
                let how = "the store holds something else than was committed last";
                self.violated("nothing_else_changes_a_record", Some(game), how);
            }
        }
    }

    /// An instance asks for a commit.
    pub fn asks_for(&self, commit: &Commit, gm: usize) {
        lock(&self.inner).authors.insert(commit.id, gm);
    }

    /// A commit was carried out, or refused: told by the store's host.
    pub fn committed(
        &self,
        commit: &Commit,
        before: Option<Arc<Runtime>>,
        after: Option<Arc<Runtime>>,
    ) {
        let game = commit.game_id.as_str();
        let revision = |rt: &Option<Arc<Runtime>>| rt.as_ref().map(|r| (r.incarnation, r.revision));
        let nothing_happened = revision(&before) == revision(&after);
        if nothing_happened {
            let expected = commit.expected.map(|e| e.revision);
            self.chronicle.note(Some(game), &format!("no commit over revision {expected:?}"));
            return;
        }
        self.chronicle.note(Some(game), &told(commit, before.as_deref(), after.as_deref()));
        let now = after.as_deref().map(|rt| (rt.status().as_str(), rt.current_turn));
        let (status, turn) = now.unwrap_or(("absent", 0));
        self.chronicle.recorder.status(game, status, turn);
        if let Err(rule) = check_commit(before.as_deref(), after.as_deref()) {
            self.violated(rule.rule, Some(game), rule.problem);
        }
        let mut problems = Vec::new();
        {
            let mut inner = lock(&self.inner);
            let status = |rt: Option<&Runtime>| rt.map_or("absent", |rt| rt.status().as_str());
            let (from, to) = (status(before.as_deref()), status(after.as_deref()));
            *inner.changes.entry(format!("{from} -> {to}")).or_default() += 1;
            inner.check("commits");
            let ledger = inner.games.get(game);
            if revision(&ledger.and_then(|ledger| ledger.last.clone())) != revision(&before) {
                problems.push(("nothing_else_changes_a_record", "not what was committed last"));
            }
            if was_early(commit, before.as_deref(), after.as_deref()) {
                problems.push(("no_turn_early", "a regular turn began before it was due"));
            }
            if let Some(author) = inner.authors.remove(&commit.id).map(gm_host)
                && fence::is_foreign_answer(commit, &author, before.as_deref(), after.as_deref())
            {
                let how = "an answer counts that came to a question that was given up";
                problems.push(("fenced_reply_changes_nothing", how));
            }
            if let (Some(before), Some(after)) = (&before, &after) {
                let instants = inner.instants.entry(game.to_owned()).or_default();
                if let Some(judged) = instants.committed(commit.at, before, after) {
                    inner.check("regular turns");
                    problems.extend(judged.err().map(|how| ("no_instant_twice", how)));
                }
            }
            if let Some(after) = &after {
                inner.hearing.listens(before.as_deref().map(Into::into), (&**after).into());
            }
            let ends = inner.hearing.told_of();
            inner.checked.insert("ends of containers", ends);
            if let (Some(before), Some(after)) = (&before, &after)
                && inner.hearing.passed_over((&**before).into(), (&**after).into())
            {
                problems.push(("every_end_is_heard_of", "the end of a container was passed over"));
            }
            if inner.undisturbed.is_some() && Self::was_abandoned(commit) {
                problems.push(("nothing_is_abandoned", "somebody else had to take it up"));
            }
            let ledger = inner.games.entry(game.to_owned()).or_default();
            if !ledger::is_told(before.as_deref(), after.as_deref(), &commit.messages) {
                problems.push(("messages_follow_commits", "a change is not told"));
            }
            ledger.committed(after.as_ref(), &commit.messages, self.chronicle.now_ms());
        }
        for (promise, how) in problems {
            self.violated(promise, Some(game), how);
        }
        if let (Some(before), Some(after)) = (&before, &after)
            && after.current_turn > before.current_turn
        {
            self.compare_with_engine(game, after, true);
        }
    }

    /// The engine's own log against the record.
    fn compare_with_engine(&self, game: &str, record: &Runtime, has_just_grown: bool) {
        if self.is_excused(game) {
            return;
        }
        lock(&self.inner).check("engines compared");
        let turns = self.engines.turns(game).unwrap_or_default();
        let (is, says) = (turns.last().copied().unwrap_or(0), record.current_turn);
        if is < says {
            let how = format!("the record has turn {says}, the engine has turn {is}");
            self.violated("no_turn_invented", Some(game), &how);
        }
        let most = if has_just_grown { says } else { says + 1 };
        if (record.engine.turn_guard || self.engines_are_reached) && is > most {
            let how = format!("the engine has turn {is}, the record has turn {says}");
            self.violated("no_turn_generated_twice", Some(game), &how);
        }
    }

    /// All engines against their records, and what they were told by players.
    pub fn compare_engines(&self) {
        let (repeated, told) = self.engines.told_twice();
        lock(&self.inner).checked.insert("commands of players", told as u64);
        for game in repeated {
            let how = "an engine was told twice what a player said once";
            self.violated("a_command_is_passed_on_once", Some(&game), how);
        }
        for (game, record) in self.records() {
            if let Some(record) = record.filter(|record| record.status() != Status::Starting) {
                self.compare_with_engine(&game, &record, false);
            }
        }
    }

    /// Somebody was told that a game is at a revision, with this turn: was it ever, and was it while
    /// that was asked and answered?
    pub fn answered(&self, game: &str, shown: (u64, &str, u32), during: While) {
        let (revision, status, turn) = shown;
        let (known, of_its_time) = {
            let mut inner = lock(&self.inner);
            inner.check("answers");
            let ledger = inner.games.get(game);
            let known = ledger.is_some_and(|ledger| ledger.knows(revision, status, turn));
            (known, ledger.is_some_and(|ledger| ledger.was(Some(shown), during)))
        };
        let how = || format!("an answer shows revision {revision}, {status}, turn {turn}");
        if !known {
            self.violated("only_what_is_durable_is_acknowledged", Some(game), &how());
        } else if !of_its_time {
            let how = format!("{}, at no instant of {during:?}", how());
            self.violated("answers_are_of_their_time", Some(game), &how);
        }
    }

    /// Somebody was told that there is no record of a game: was there none, while that was asked and
    /// answered?
    pub fn answered_absent(&self, game: &str, during: While) {
        let of_its_time = {
            let mut inner = lock(&self.inner);
            inner.check("answers");
            inner.games.get(game).is_none_or(|ledger| ledger.was(None, during))
        };
        if !of_its_time {
            let how = format!("an answer shows no record, at no instant of {during:?}");
            self.violated("answers_are_of_their_time", Some(game), &how);
        }
    }

    /// How long anybody may wait for an engine that does not answer, in simulated milliseconds.
    pub fn callers_hang_up(&self, most_ms: i64) {
        let hung = self.engines.hung();
        lock(&self.inner).checked.insert("calls that hung", hung);
        for game in self.engines.waited_for(self.chronicle.now_ms(), most_ms) {
            let how = format!("an engine is waited for since more than {most_ms} ms");
            self.violated("every_call_has_a_deadline", Some(&game), &how);
        }
    }

    /// After everything has healed a player of a game was answered, whatever he was told.
    pub fn player_is_heard(&self, game: &str) {
        let mut inner = lock(&self.inner);
        inner.check("players heard at the end");
        inner.heard.insert(game.to_owned());
    }

    /// The key of a request came with another one.
    pub fn key_was_reused(&self) {
        lock(&self.inner).check("reused keys");
    }

    /// Lobby could not tell Game Master that the members of a game changed.
    pub fn not_told(&self, game: &str) {
        self.chronicle.note(Some(game), "lobby: the change of members is not told");
        lock(&self.inner).barred.not_told(game);
    }

    /// How often that was so.
    pub fn untold(&self, game: &str) -> u64 {
        lock(&self.inner).barred.untold(game)
    }

    /// Lobby said that it has barred a member; `told` is the instance that knows of it.
    pub fn barred(&self, game: &str, user: &str, told: Option<usize>) {
        lock(&self.inner).barred.barred(game, user, self.chronicle.now_ms(), told);
    }

    /// A player's call that was asked at an instant was let through, or refused for who asked.
    pub fn player_answered(
        &self,
        (game, user): (&str, &str),
        gm: usize,
        asked_ms: i64,
        is_accepted: bool,
    ) {
        let must_be_refused = {
            let mut inner = lock(&self.inner);
            let barred = &inner.barred;
            let must = barred.must_be_refused((game, user), gm, asked_ms, self.bounds);
            if must {
                inner.check("calls of barred members");
            }
            must
        };
        if must_be_refused && is_accepted {
            let how = format!("gm-{gm} lets {user} through, who asked at {asked_ms} ms");
            self.violated("a_barred_member_is_refused", Some(game), &how);
        }
    }

    /// A player's command or order was taken: was the game running, at some instant of that while?
    pub fn command_taken(&self, game: &str, during: While) {
        let ran = {
            let mut inner = lock(&self.inner);
            inner.check("commands taken");
            inner.games.get(game).is_some_and(|ledger| ledger.had_status("running", during))
        };
        if !ran {
            let how = format!("a command is taken, and at no instant of {during:?} did it run");
            self.violated("answers_are_of_their_time", Some(game), &how);
        }
    }

    /// An entry was appended: told by the Redis host.
    pub fn appended(&self, keys: &Keys, key: &str, id: StreamId, payload: &[u8]) {
        let Ok(text) = std::str::from_utf8(payload) else { return };
        lock(&self.inner).check("appends");
        if key == Channel::LobbyEvents.as_str() {
            let Ok(Message::Lobby(event)) = serde_json::from_str(text) else {
                return self.violated("messages_follow_commits", None, "an unreadable event");
            };
            let game = ledger::game_of(&event).as_str().to_owned();
            self.chronicle.note(Some(&game), &format!("published {id} {}", ledger::shown(&event)));
            let wrong = lock(&self.inner).games.entry(game.clone()).or_default().published(text);
            if let Some(how) = wrong {
                self.violated("messages_follow_commits", Some(&game), how);
            }
        } else if key == Channel::NotificationIntents.as_str() {
            // Others write there too.
            let Ok(Message::Intent(intent)) = serde_json::from_str(text) else { return };
            let game = intent.payload.game_id.as_str().to_owned();
            let shown = format!("published {id} intent {}", intent.notification_type.as_str());
            self.chronicle.note(Some(&game), &shown);
            let mut inner = lock(&self.inner);
            let is_strict = !inner.streams_lost;
            let ledger = inner.games.entry(game.clone()).or_default();
            let wrong = ledger.intended(&intent.idempotency_key, text, is_strict);
            drop(inner);
            if let Some(how) = wrong {
                self.violated("messages_follow_commits", Some(&game), how);
            }
        } else {
            if key == hearing::STREAM {
                lock(&self.inner).hearing.told(id, text);
            }
            let newest = keys.newest(key).map_or(0, |(_, length)| length);
            self.chronicle.note(None, &format!("appended {key} {id} ({newest} entries)"));
        }
    }

    /// Redis lost entries: what is on the stream is counted anew.
    pub fn streams_lost(&self, keys: &Keys, lost: usize) {
        self.chronicle.note(None, &format!("redis: {lost} writes are lost"));
        if lost == 0 {
            return;
        }
        let mut wrong = Vec::new();
        {
            let mut inner = lock(&self.inner);
            inner.streams_lost = true;
            inner.hearing.forget();
            inner.games.values_mut().for_each(Ledger::forget_published);
            for (_, entry) in keys.all(Channel::LobbyEvents.as_str()) {
                let text = String::from_utf8_lossy(&entry.payload);
                let Ok(Message::Lobby(event)) = serde_json::from_str(&text) else { continue };
                let game = ledger::game_of(&event).as_str().to_owned();
                let ledger = inner.games.entry(game.clone()).or_default();
                wrong.extend(ledger.published(&text).map(|how| (game, how)));
            }
        }
        for (game, how) in wrong {
            self.violated("messages_follow_commits", Some(&game), how);
        }
    }

    /// Whether entries that were on the streams are lost, and not there again.
    pub fn misses_what_was_published(&self) -> bool {
        let lost = lock(&self.inner).streams_lost;
        lost && !self.owed().is_empty()
    }

    /// What is still owed to the streams, game by game.
    pub fn owed(&self) -> Vec<String> {
        let inner = lock(&self.inner);
        let owed = |(game, ledger): (&String, &Ledger)| {
            ledger.owes(!inner.streams_lost).map(|what| format!("{game}: {what}"))
        };
        inner.games.iter().filter_map(owed).collect()
    }
}

/// A regular turn must not begin before it is due, by the clock of whoever begins it.
fn was_early(commit: &Commit, before: Option<&Runtime>, after: Option<&Runtime>) -> bool {
    use machine::record::Trigger;
    let Some(Life::Generating { trigger: Trigger::Tick { .. }, .. }) = after.map(|rt| &rt.life)
    else {
        return false;
    };
    let Some(Life::Running { clock, .. }) = before.map(|rt| &rt.life) else { return false };
    commit.at < clock.next_generation_at
}

fn told(commit: &Commit, before: Option<&Runtime>, after: Option<&Runtime>) -> String {
    let status = |rt: Option<&Runtime>| rt.map_or("absent", |rt| rt.status().as_str());
    let (from, to) = (status(before), status(after));
    let change = if from == to { to.to_owned() } else { format!("{from} -> {to}") };
    let Some(rt) = after else { return format!("committed {change}") };
    let owner = rt.work().map(|work| format!(", asked by {}", work.lease.owner.as_str()));
    let pending = rt.pending().map(|_| ", pending").unwrap_or_default();
    let failed = rt.last_failure.as_ref().map(|f| format!(", {}", f.code.as_str()));
    format!(
        "committed {change}, revision {}, turn {}, attempt {}{}{pending}{} ({} messages)",
        rt.revision,
        rt.current_turn,
        rt.attempt,
        owner.unwrap_or_default(),
        failed.unwrap_or_default(),
        commit.messages.len(),
    )
}
