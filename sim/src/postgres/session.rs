//! One statement on its way: the locks it waits for, the work, the commit, the answer, and whatever
//! goes wrong between them.
//!
//! ```text
//!   locks ──▶ work ──▶ commit ──▶ answer
//!   55P03     57014    40001      lost
//!   57014     crash?   40P01      57P01
//!   40P01     57P01    25006      crash
//! ```
//!
//! What a statement does to the tables it does at one instant, the commit, with its locks held. A
//! crash before it leaves nothing, but for the one that strikes in the work: there the lot decides
//! whether the commit was through.

use std::time::Duration;

use machine::{Channel, GameId, Runtime, Timestamp};
use service::ports::{Claim, CommitId, Expected, VersionCommit};
use tokio::time::Instant;

use super::attendance::{roles_of, roles_to_change};
use super::commit::{Looks, is_claimed, name_of, named_anew};
use super::document::{Asked, Member};
use super::locks::{DEADLOCK_TIMEOUT, Lock, Mode, TransactionId};
use super::refusal::Refusal;
use super::request::{Moment, Reply, Request};
use super::server::{Shared, State};
use super::tables::Transaction;

/// What a session is allowed; `None` is without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) statement_timeout: Option<Duration>,
    pub(super) lock_timeout: Option<Duration>,
}

impl Limits {
    /// Out of the `options` of a start-up: `-c name=value`, blanks within a value escaped.
    pub(super) fn read(options: &str) -> Self {
        let mut limits = Self::default();
        for setting in options.split("-c ") {
            let Some((name, value)) = setting.trim().split_once('=') else { continue };
            let ms = value.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
            match name {
                "statement_timeout" => limits.statement_timeout = ms,
                "lock_timeout" => limits.lock_timeout = ms,
                _ => {}
            }
        }
        limits
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    /// The connection's number: the process's, in PostgreSQL.
    pub(super) number: i32,
    pub(super) limits: Limits,
}

/// What has struck all connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Blows {
    pub(super) crashes: u64,
    pub(super) terminations: u64,
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Without a word.
    Cut,
    /// With a last word.
    Fatal(Refusal),
}

/// How a statement ends that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It did nothing, and the connection goes on.
    Refused(Refusal),
    /// The connection ends.
    Ended(End),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The blows as one connection hears of them.
pub(super) struct Ear<'a> {
    shared: &'a Shared,
    heard: Blows,
}

impl<'a> Ear<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let heard = shared.state().blows;
        Self { shared, heard }
    }

    /// Waits for the next blow.
    pub(super) async fn struck(&self) -> End {
        loop {
            // Before the look: what comes after it is not missed.
            let mut blow = std::pin::pin!(self.shared.blow.notified());
            blow.as_mut().enable();
            let now = self.shared.state().blows;
            if now.crashes != self.heard.crashes {
                return End::Cut;
            }
            if now.terminations != self.heard.terminations {
                return End::Fatal(Refusal::terminated());
            }
            blow.await;
        }
    }
}

/// What the lot says of one statement.
struct Lots {
    work: Duration,
    answer: Duration,
    fails: Option<Refusal>,
    /// Whether the connection is ended, and then whether the commit comes first.
    terminated: Option<bool>,
    loses_answer: bool,
    /// Whether it has committed where a crash strikes in its work.
    survives: bool,
}

impl Lots {
    fn draw(state: &mut State, writes: bool) -> Self {
        let conduct = &state.conduct;
        // As many draws for every statement: what is rare does not shift what is not.
        let [work, answer, fails, ends, lost, when] = [0; 6].map(|_: u8| state.rng.bits());
        let of_thousand = |lot: u64| lot % 1_000;
        let deadlocks = u64::from(conduct.deadlocks);
        let failures = u64::from(conduct.serialization_failures);
        let fails = match of_thousand(fails) {
            lot if writes && lot < deadlocks => Some(Refusal::deadlock()),
            lot if writes && lot < deadlocks + failures => Some(Refusal::serialization_failure()),
            _ => None,
        };
        let ends = of_thousand(ends) < u64::from(conduct.terminated);
        let loses = of_thousand(lost) < u64::from(conduct.lost_answers);
        Self {
            work: conduct.work_ms.draw(work),
            answer: conduct.answer_ms.draw(answer),
            fails,
            terminated: ends.then_some(when & 1 == 1),
            loses_answer: writes && loses,
            survives: when & 2 == 2,
        }
    }
}

/// Carries out one statement.
pub(super) async fn execute(
    shared: &Shared,
    caller: Caller,
    ear: &Ear<'_>,
    request: &Request,
    writes: Option<&'static str>,
) -> Result<Reply, Failure> {
    let (lots, id) = {
        let mut state = shared.state();
        let lots = Lots::draw(&mut state, writes.is_some());
        if let Some(command) = writes.filter(|_| state.conduct.read_only) {
            state.count("read_only");
            return Err(Refusal::read_only(command).into());
        }
        (lots, state.begin())
    };
    let deadline = caller.limits.statement_timeout.map(|patience| Instant::now() + patience);
    let mut running = Running { shared, id, caller, deadline, looks: Looks::default() };
    let mut may_commit = false;
    let before = tokio::select! {
        biased;
        end = ear.struck() => Err(Failure::Ended(end)),
        done = running.prepare(request, lots.work, &mut may_commit) => done.map_err(Failure::from),
    };
    match before {
        Ok(()) => {}
        Err(Failure::Ended(End::Cut)) if may_commit && lots.survives && lots.fails.is_none() => {
            // Nobody hears of it, whatever it comes to.
            let _ = running.commit(request);
            shared.state().count("committed_in_a_crash");
            return Err(Failure::Ended(End::Cut));
        }
        Err(failure) => return Err(failure),
    }
    if lots.terminated == Some(false) {
        shared.state().count("terminated_before_commit");
        return Err(Failure::Ended(End::Fatal(Refusal::terminated())));
    }
    if let Some(refusal) = lots.fails {
        shared.state().count(refusal.code);
        return Err(refusal.into());
    }
    let reply = running.commit(request)?;
    drop(running);
    if !lots.answer.is_zero() {
        tokio::select! {
            biased;
            end = ear.struck() => {
                shared.state().count("struck_after_commit");
                return Err(Failure::Ended(end));
            }
            () = tokio::time::sleep(lots.answer) => {}
        }
    }
    if lots.terminated.is_some() {
        shared.state().count("terminated_after_commit");
        return Err(Failure::Ended(End::Fatal(Refusal::terminated())));
    }
    let mut state = shared.state();
    let promised = writes.is_some() && state.answers_to_lose > 0;
    if promised {
        state.answers_to_lose -= 1;
    }
    if lots.loses_answer || promised {
        state.count("lost_answer");
        return Err(Failure::Ended(End::Cut));
    }
    Ok(reply)
}

/// Holds something for a while, as a transaction of somebody else.
pub(super) async fn hold(shared: &Shared, lock: Lock, length: Duration) {
    let id = shared.state().begin();
    let caller = Caller::default();
    let running = Running { shared, id, caller, deadline: None, looks: Looks::default() };
    if running.lock(lock, Mode::Exclusive).await.is_ok() {
        shared.state().count("held");
        tokio::time::sleep(length).await;
    }
}

/// A transaction; with it go its locks.
struct Running<'a> {
    shared: &'a Shared,
    id: TransactionId,
    caller: Caller,
    deadline: Option<Instant>,
    looks: Looks,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.state().locks.release(self.id);
    }
}

impl Running<'_> {
    async fn prepare(
        &mut self,
        request: &Request,
        work: Duration,
        may_commit: &mut bool,
    ) -> Result<(), Refusal> {
        self.lock_all(request).await?;
        *may_commit = true;
        if work.is_zero() {
            return Ok(());
        }
        let done = Instant::now() + work;
        match self.deadline.filter(|deadline| *deadline < done) {
            None => tokio::time::sleep_until(done).await,
            Some(deadline) => {
                tokio::time::sleep_until(deadline).await;
                *may_commit = false;
                self.shared.state().count("57014");
                return Err(Refusal::statement_timeout());
            }
        }
        Ok(())
    }

    /// The one instant at which the tables change.
    fn commit(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let (reply, observer) = {
            let mut state = self.shared.state();
            if let Request::Notify { letters } = request {
                state.deliver(self.caller.number, letters)?;
            }
            let moment = Moment { now: self.shared.now(), read_only: state.conduct.read_only };
            let mut tx = Transaction::begin(&mut state.tables);
            match request.carry_out(&mut tx, &mut self.looks, moment) {
                Ok(reply) => (reply, state.observer.clone()),
                Err(refusal) => {
                    tx.roll_back();
                    return Err(refusal);
                }
            }
        };
        if let (Some(observer), Request::CommitAll(members)) = (observer, request) {
            for (asked, answer) in members.iter().zip(&reply.answers) {
                observer(asked, *answer);
            }
        }
        Ok(reply)
    }

    /// In the order in which the statements of the functions come to them.
    async fn lock_all(&mut self, request: &Request) -> Result<(), Refusal> {
        self.lock(Lock::Tables, Mode::Shared).await?;
        match request {
            Request::CommitAll(members) => {
                let mut games = vec![];
                for member in members {
                    self.lock_member(member, &mut games).await?;
                }
            }
            Request::ChangeVersion { commit, sort_key: _ } => self.lock_change(commit).await?,
            Request::OutboxAssign { .. } | Request::Published { .. } => {
                for channel in Channel::ALL {
                    self.lock(Lock::Channel(channel), Mode::Exclusive).await?;
                }
            }
            Request::Attend(who) => {
                self.lock(Lock::Seat(who.instance.clone()), Mode::Exclusive).await?;
                let now = self.shared.now();
                let roles = roles_to_change(&self.shared.state().tables, who, now);
                for role in roles {
                    self.lock(Lock::Role(role), Mode::Exclusive).await?;
                }
            }
            Request::Leave { instance, boot } => {
                self.lock(Lock::Seat(instance.clone()), Mode::Exclusive).await?;
                let roles = roles_of(&self.shared.state().tables, *boot);
                for role in roles {
                    self.lock(Lock::Role(role), Mode::Exclusive).await?;
                }
            }
            Request::OutboxUnassign { channel, .. } | Request::OutboxReplay { channel, .. } => {
                self.lock(Lock::Channel(*channel), Mode::Exclusive).await?;
            }
            Request::Backlog
            | Request::Claim { .. }
            | Request::Due { .. }
            | Request::Forget
            | Request::Judge { .. }
            | Request::LeasedTo { .. }
            | Request::Load { .. }
            | Request::Newest { .. }
            | Request::Notify { .. }
            | Request::OpenOperations { .. }
            | Request::Operation(_)
            | Request::Operations { .. }
            | Request::OutboxPrune { .. }
            | Request::Page { .. }
            | Request::PublishedAfter { .. }
            | Request::Ready
            | Request::Version { .. }
            | Request::Versions { .. } => {}
        }
        Ok(())
    }

    async fn lock_member(&mut self, asked: &Asked, games: &mut Vec<GameId>) -> Result<(), Refusal> {
        let commit = match &asked.what {
            Member::Record(commit) => commit,
            Member::Log(commit) => {
                self.lock(Lock::CommitId(commit.id), Mode::Exclusive).await?;
                self.lock(Lock::Operation(commit.audit.operation), Mode::Exclusive).await?;
                if self.finds_taken(commit.id, commit.claim.as_ref(), commit.at) {
                    return Ok(());
                }
                return self.lock_claim(commit.claim.as_ref()).await;
            }
        };
        self.lock(Lock::CommitId(commit.id), Mode::Exclusive).await?;
        self.lock(Lock::Record(commit.game_id.clone()), Mode::Exclusive).await?;
        let before = {
            let state = self.shared.state();
            state.tables.records().get(&commit.game_id).map(|row| row.runtime.clone())
        };
        // What the members before have made of the record is not to be seen yet.
        let is_first = !games.contains(&commit.game_id);
        if is_first && before.as_deref().map(Expected::from) != commit.expected
            || self.finds_taken(commit.id, commit.claim.as_ref(), commit.at)
        {
            return Ok(());
        }
        games.push(commit.game_id.clone());
        let before: Option<&Runtime> = before.as_deref().filter(|_| is_first);
        for version in named_anew(before, commit.next.as_deref()) {
            self.lock(Lock::Version(version), Mode::Shared).await?;
        }
        for entry in &commit.audit {
            self.lock(Lock::Operation(entry.operation), Mode::Exclusive).await?;
        }
        self.lock_claim(commit.claim.as_ref()).await
    }

    async fn lock_change(&mut self, commit: &VersionCommit) -> Result<(), Refusal> {
        self.lock(Lock::CommitId(commit.id), Mode::Exclusive).await?;
        let version = commit.change.version().to_string();
        self.lock(Lock::Version(version), Mode::Exclusive).await?;
        if self.finds_taken(commit.id, commit.claim.as_ref(), commit.at) {
            return Ok(());
        }
        self.lock_claim(commit.claim.as_ref()).await
    }

    /// Looks whether a name is taken, and waits for nobody who is about to take it.
    fn finds_taken(&mut self, id: CommitId, claim: Option<&Claim>, at: Timestamp) -> bool {
        let taken = claim.is_some_and(|claim| is_claimed(&self.shared.state().tables, claim, at));
        if taken {
            self.looks.taken.insert(id);
        }
        taken
    }

    async fn lock_claim(&self, claim: Option<&Claim>) -> Result<(), Refusal> {
        match claim {
            Some(claim) => self.lock(Lock::Claim(name_of(claim)), Mode::Exclusive).await,
            None => Ok(()),
        }
    }

    async fn lock(&self, lock: Lock, mode: Mode) -> Result<(), Refusal> {
        let Some(told) = self.shared.state().locks.ask(self.id, lock, mode) else { return Ok(()) };
        let asked_at = Instant::now();
        let patience = self.caller.limits.lock_timeout.map(|patience| asked_at + patience);
        let mut told = std::pin::pin!(told);
        let mut looked = false;
        loop {
            let refusal = tokio::select! {
                biased;
                granted = &mut told => match granted {
                    Ok(()) => return Ok(()),
                    Err(_) => Refusal::new("XX000", "the line for a lock is gone"),
                },
                () = until(patience) => Refusal::lock_timeout(),
                () = until(self.deadline) => Refusal::statement_timeout(),
                () = tokio::time::sleep_until(asked_at + DEADLOCK_TIMEOUT), if !looked => {
                    looked = true;
                    if !self.shared.state().locks.waits_for_itself(self.id) {
                        continue;
                    }
                    Refusal::deadlock()
                }
            };
            self.shared.state().count(refusal.code);
            return Err(refusal);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_the_options_of_the_adapter() {
        let options = "-c statement_timeout=5000 -c lock_timeout=2000 \
             -c default_transaction_isolation=read\\ committed -c TimeZone=UTC";
        let limits = Limits::read(options);
        assert_eq!(limits.statement_timeout, Some(Duration::from_secs(5)));
        assert_eq!(limits.lock_timeout, Some(Duration::from_secs(2)));
        assert_eq!(Limits::read("-c lock_timeout=0"), Limits::default());
    }
}
