//! What Runtime Manager keeps, and how it changes. Pure: the supervisors carry out what is wanted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::image_ref::is_image_ref;
use crate::{
    bus::EntryId,
    lobby::game::is_identifier,
    messages::{JobOutcome, JobResult, StartJob},
};

/// Jobs remembered, in order to recognise a repeated one.
pub const MAX_JOBS: usize = 10_000;
/// Runtimes remembered, most of them of the past.
pub const MAX_RUNTIMES: usize = 10_000;

/// Everything Runtime Manager knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtmState {
    /// The jobs, by id.
    pub jobs: BTreeMap<String, Job>,
    /// The runtimes, by game.
    pub runtimes: BTreeMap<String, Runtime>,
    /// How far `runtime:start_jobs` was read.
    pub start_jobs_at: EntryId,
    /// How far `gm:lobby_events` was read.
    pub game_events_at: EntryId,
    /// Jobs and runtimes ever made: says which is the oldest.
    pub made: u64,
    /// What was read, by what became of it.
    pub counters: Counters,
}

/// What became of the messages read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Changed something.
    pub applied: u64,
    /// Known already.
    pub repeated: u64,
    /// No concern of ours.
    pub foreign: u64,
    /// Not readable.
    pub undecodable: u64,
}

/// A job, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its place among all that were made.
    pub number: u64,
    /// What became of it, once that is known.
    pub result: Option<JobResult>,
    /// Whether the result is on the stream.
    pub is_published: bool,
}

/// A game's engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The game.
    pub game_id: String,
    /// Its place among all that were made.
    pub number: u64,
    /// The last job that asked for it.
    pub job_id: String,
    /// The image it runs.
    pub image_ref: String,
    /// Its container: a new one for each image, the same one across restarts.
    pub container_id: String,
    /// Its port, once chosen. Game Master has it in its record, so it is kept.
    pub port: Option<u16>,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// Grows with every change of what is wanted.
    pub generation: u64,
    /// Whether it has yet to come up in a container of its own, after another one was taken down:
    /// with nothing of what that one's engine kept.
    #[serde(default)]
    pub starts_afresh: bool,
}

/// What is wanted of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// To run, however often it has to be started.
    Running,
    /// To be down.
    Stopped,
    /// To be down, and cleaned up after.
    Removed,
}

/// What became of a start job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A new one.
    Fresh,
    /// Known already: its result is published again, in case it was lost.
    Repeated,
}

/// Why a patch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchRefusal {
    /// No such runtime.
    Unknown,
    /// It is not meant to run.
    NotRunning,
}

impl RtmState {
    /// Takes a start job in. `container_id` is used where a new container is needed.
    pub fn accept(&mut self, job: &StartJob, container_id: String, max_engines: usize) -> Accepted {
        if let Some(known) = self.jobs.get_mut(&job.job_id) {
            known.is_published = false;
            return Accepted::Repeated;
        }
        let refusal = self.refusal(job, max_engines);
        let number = self.next_number();
        let result = refusal.map(|(outcome, message)| failure(job, outcome, message));
        let is_refused = result.is_some();
        let entry = Job { number, result, is_published: false };
        self.jobs.insert(job.job_id.clone(), entry);
        if !is_refused {
            self.want(job, container_id, number);
        }
        self.prune();
        Accepted::Fresh
    }

    fn refusal(&self, job: &StartJob, max_engines: usize) -> Option<(JobOutcome, &'static str)> {
        if !is_identifier(&job.game_id) {
            return Some((JobOutcome::StartConfigInvalid, "game_id is malformed"));
        }
        if !is_image_ref(&job.image_ref) {
            return Some((JobOutcome::StartConfigInvalid, "image_ref is malformed"));
        }
        let others = self
            .runtimes
            .values()
            .filter(|runtime| runtime.wanted == Wanted::Running && runtime.game_id != job.game_id);
        (others.count() >= max_engines)
            .then_some((JobOutcome::ContainerStartFailed, "no more engines can be run here"))
    }

    fn want(&mut self, job: &StartJob, container_id: String, number: u64) {
        let fresh = Runtime {
            game_id: job.game_id.clone(),
            number,
            job_id: job.job_id.clone(),
            image_ref: job.image_ref.clone(),
            container_id,
            port: None,
            wanted: Wanted::Running,
            generation: 1,
            starts_afresh: false,
        };
        match self.runtimes.get_mut(&job.game_id) {
            None => {
                self.runtimes.insert(job.game_id.clone(), fresh);
            }
            // One that runs as asked for already is adopted: no second engine for a game.
            Some(old) if old.wanted == Wanted::Running && old.image_ref == job.image_ref => {
                old.job_id = fresh.job_id;
            }
            Some(old) => {
                let generation = old.generation.saturating_add(1);
                // A port stays the game's until the game is removed.
                let port = old.port.filter(|_| old.wanted != Wanted::Removed);
                let starts_afresh = old.starts_afresh || old.wanted != Wanted::Running;
                *old = Runtime { generation, port, starts_afresh, ..fresh };
            }
        }
    }

    /// Writes down what became of the job behind a game's runtime: `false` if that was known.
    pub fn settle_job(
        &mut self,
        game_id: &str,
        result: impl FnOnce(&Runtime) -> JobResult,
    ) -> bool {
        let Some(runtime) = self.runtimes.get(game_id) else { return false };
        match self.jobs.get_mut(&runtime.job_id) {
            Some(job) if job.result.is_none() => {
                job.result = Some(result(runtime));
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether the job behind a game's runtime still waits for its result.
    pub fn awaits_result(&self, runtime: &Runtime) -> bool {
        self.jobs.get(&runtime.job_id).is_some_and(|job| job.result.is_none())
    }

    /// The engine shall be down: its container, or none where the game is unknown.
    pub fn stop(&mut self, game_id: &str) -> Option<String> {
        let runtime = self.runtimes.get_mut(game_id)?;
        if runtime.wanted == Wanted::Running {
            runtime.wanted = Wanted::Stopped;
            runtime.generation = runtime.generation.saturating_add(1);
        }
        let container_id = runtime.container_id.clone();
        self.give_up_job(game_id, "stopped before it was up");
        Some(container_id)
    }

    /// The engine shall be down and cleaned up after: `false` where there is nothing to do.
    pub fn remove(&mut self, game_id: &str) -> bool {
        let Some(runtime) = self.runtimes.get_mut(game_id) else { return false };
        if runtime.wanted == Wanted::Removed {
            return false;
        }
        runtime.wanted = Wanted::Removed;
        runtime.generation = runtime.generation.saturating_add(1);
        self.give_up_job(game_id, "the game is over");
        true
    }

    /// The engine shall run another image, in the container `fresh_id`. The same image again
    /// changes nothing, so a repeated patch restarts nothing.
    pub fn patch(
        &mut self,
        game_id: &str,
        image_ref: &str,
        fresh_id: String,
    ) -> Result<Runtime, PatchRefusal> {
        let runtime = self.runtimes.get_mut(game_id).ok_or(PatchRefusal::Unknown)?;
        if runtime.wanted != Wanted::Running {
            return Err(PatchRefusal::NotRunning);
        }
        if runtime.image_ref != image_ref {
            runtime.image_ref = image_ref.to_owned();
            runtime.container_id = fresh_id;
            runtime.generation = runtime.generation.saturating_add(1);
        }
        Ok(runtime.clone())
    }

    /// Results that are not on the stream yet, oldest first.
    pub fn unpublished(&self) -> Vec<JobResult> {
        let mut waiting: Vec<(u64, &JobResult)> = self
            .jobs
            .values()
            .filter(|job| !job.is_published)
            .filter_map(|job| Some((job.number, job.result.as_ref()?)))
            .collect();
        waiting.sort_by_key(|(number, _)| *number);
        waiting.into_iter().map(|(_, result)| result.clone()).collect()
    }

    /// Whether a port belongs to another game.
    pub fn is_taken(&self, port: u16, game_id: &str) -> bool {
        self.runtimes.values().any(|runtime| {
            runtime.port == Some(port)
                && runtime.game_id != game_id
                && runtime.wanted != Wanted::Removed
        })
    }

    fn give_up_job(&mut self, game_id: &str, why: &str) {
        self.settle_job(game_id, |runtime| JobResult {
            job_id: runtime.job_id.clone(),
            game_id: runtime.game_id.clone(),
            outcome: JobOutcome::ContainerStartFailed,
            engine_endpoint: None,
            container_id: None,
            error_message: Some(why.to_owned()),
        });
    }

    fn next_number(&mut self) -> u64 {
        self.made = self.made.saturating_add(1);
        self.made
    }

    /// Forgets the oldest of what is over and done with.
    fn prune(&mut self) {
        if self.jobs.len() > MAX_JOBS {
            let oldest = self.jobs.iter().filter(|(_, job)| job.is_published);
            let oldest = oldest.min_by_key(|(_, job)| job.number).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.jobs.remove(&id));
        }
        if self.runtimes.len() > MAX_RUNTIMES {
            let over = self.runtimes.values().filter(|r| r.wanted != Wanted::Running);
            let oldest = over.min_by_key(|r| r.number).map(|r| r.game_id.clone());
            oldest.and_then(|id| self.runtimes.remove(&id));
        }
    }
}

fn failure(job: &StartJob, outcome: JobOutcome, message: &str) -> JobResult {
    JobResult {
        job_id: job.job_id.clone(),
        game_id: job.game_id.clone(),
        outcome,
        engine_endpoint: None,
        container_id: None,
        error_message: Some(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, game: &str, image: &str) -> StartJob {
        StartJob {
            job_id: id.into(),
            game_id: game.into(),
            image_ref: image.into(),
            requested_at_ms: 1,
        }
    }

    #[test]
    fn a_repeated_job_starts_nothing_and_is_answered_again() {
        let mut state = RtmState::default();
        assert_eq!(state.accept(&job("j", "g", "i:1"), "c1".into(), 9), Accepted::Fresh);
        let result = |r: &Runtime| failure(&job(&r.job_id, "g", "i:1"), JobOutcome::Success, "");
        assert!(state.settle_job("g", result));
        assert!(!state.settle_job("g", result), "settled once");
        state.jobs.get_mut("j").unwrap().is_published = true;
        assert!(state.unpublished().is_empty());
        let before = state.runtimes.clone();
        assert_eq!(state.accept(&job("j", "g", "i:1"), "c2".into(), 9), Accepted::Repeated);
        assert_eq!(state.runtimes, before);
        assert_eq!(state.unpublished().len(), 1);
    }

    #[test]
    fn another_job_for_a_running_game_adopts_its_engine() {
        let mut state = RtmState::default();
        state.accept(&job("j1", "g", "i:1"), "c1".into(), 9);
        state.accept(&job("j2", "g", "i:1"), "c2".into(), 9);
        let runtime = &state.runtimes["g"];
        assert_eq!((runtime.container_id.as_str(), runtime.generation), ("c1", 1));
        assert!(state.awaits_result(runtime));
        state.accept(&job("j3", "g", "i:2"), "c3".into(), 9);
        let runtime = &state.runtimes["g"];
        assert_eq!((runtime.container_id.as_str(), runtime.generation), ("c3", 2));
    }

    #[test]
    fn malformed_and_superfluous_jobs_fail() {
        let mut state = RtmState::default();
        state.accept(&job("j1", "g", "Not An Image"), "c".into(), 1);
        state.accept(&job("j2", "../g", "i:1"), "c".into(), 1);
        state.accept(&job("j3", "g1", "i:1"), "c".into(), 1);
        state.accept(&job("j4", "g2", "i:1"), "c".into(), 1);
        let outcomes: Vec<_> = state.unpublished().into_iter().map(|r| r.outcome).collect();
        use JobOutcome::{ContainerStartFailed, StartConfigInvalid};
        assert_eq!(outcomes, [StartConfigInvalid, StartConfigInvalid, ContainerStartFailed]);
        assert_eq!(state.runtimes.len(), 1);
    }

    #[test]
    fn stop_and_patch_are_idempotent() {
        let mut state = RtmState::default();
        assert_eq!(state.stop("g"), None);
        assert_eq!(state.patch("g", "i:2", "c2".into()), Err(PatchRefusal::Unknown));
        state.accept(&job("j", "g", "i:1"), "c1".into(), 9);
        let patched = state.patch("g", "i:2", "c2".into()).unwrap();
        assert_eq!((patched.container_id.as_str(), patched.generation), ("c2", 2));
        assert_eq!(state.patch("g", "i:2", "c3".into()), Ok(patched));
        assert_eq!(state.stop("g").as_deref(), Some("c2"));
        let stopped = state.runtimes.clone();
        assert_eq!(state.stop("g").as_deref(), Some("c2"));
        assert_eq!(state.runtimes, stopped);
        assert_eq!(state.patch("g", "i:2", "c4".into()), Err(PatchRefusal::NotRunning));
        assert_eq!(state.unpublished().len(), 1, "the job that never came up is answered");
        assert!(state.remove("g"));
        assert!(!state.remove("g"));
    }

    #[test]
    fn what_is_over_is_forgotten_in_time() {
        let mut state = RtmState::default();
        for number in 0..MAX_JOBS {
            let number = u64::try_from(number).unwrap();
            let entry = Job { number, result: None, is_published: number != 0 };
            state.jobs.insert(format!("j{number}"), entry);
        }
        state.made = u64::try_from(MAX_JOBS).unwrap();
        state.accept(&job("one-more", "g", "i:1"), "c".into(), 9);
        assert_eq!(state.jobs.len(), MAX_JOBS);
        assert!(state.jobs.contains_key("j0"), "its result is still owed");
        assert!(!state.jobs.contains_key("j1"), "the oldest of the others went");
    }
}
