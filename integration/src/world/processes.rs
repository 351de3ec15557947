//! The life of a world's processes: started, killed, hung, ended in order.

use std::sync::PoisonError;

use super::{Ask, Part, World};
use crate::harness::{Process, until};

impl World {
    pub(super) async fn spawn(&self, part: Part) {
        let start = self.start_of(part);
        let args: Vec<&str> = start.args.iter().map(String::as_str).collect();
        let variables = start.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<(&str, &str)> = variables.collect();
        let started = Process::start_with(&start.program, &args, &variables);
        #[expect(clippy::expect_used, reason = "a test cannot go on without it")]
        let process = started.expect("the program starts");
        let before = self.processes.lock().await.insert(part, process);
        assert!(before.is_none(), "{part} runs already");
    }

    /// Waits until a process answers.
    ///
    /// # Panics
    /// Where it ends instead.
    pub async fn until_ready(&self, part: Part) {
        let path = match part {
            Part::GameMaster(_) => "/readyz",
            Part::Lobby
            | Part::Rtm
            | Part::Gateway
            | Part::Notification
            | Part::Engines
            | Part::Engine
            | Part::Postgres
            | Part::Redis => "/healthz",
        };
        let ask = Ask::new(part.to_string(), self.address(part), None);
        until(&format!("{part} to answer"), async || {
            let mut processes = self.processes.lock().await;
            let ended = processes.get_mut(&part).is_none_or(Process::has_ended);
            assert!(!ended, "{part} has ended");
            drop(processes);
            ask.get(path).await.map(drop)
        })
        .await;
    }

    /// Starts a process that is not there, and waits until it answers.
    pub async fn start_part(&self, part: Part) {
        self.spawn(part).await;
        self.until_ready(part).await;
    }

    /// Starts a process that is not there, and does not wait.
    pub async fn start_part_unready(&self, part: Part) {
        self.spawn(part).await;
    }

    /// Ends a process with SIGKILL.
    #[expect(clippy::expect_used, reason = "a failed expectation of a test")]
    pub async fn kill(&self, part: Part) {
        let output = self.take(part).await.kill().await.expect("it can be killed");
        self.keep(part, output);
    }

    /// Asks a process to end with SIGTERM, and expects that it does, with code 0.
    #[expect(clippy::expect_used, reason = "a failed expectation of a test")]
    pub async fn stop(&self, part: Part) {
        let process = self.take(part).await;
        process.signal("TERM").await.expect("it can be asked");
        let (code, output) = process.wait().await.expect("it ends");
        let told = output.last().cloned();
        self.keep(part, output);
        assert_eq!(code, Some(0), "{part} ends in order: {told:?}");
    }

    /// Ends a process with SIGKILL and starts it again.
    pub async fn restart(&self, part: Part) {
        self.kill(part).await;
        self.start_part(part).await;
    }

    /// Makes a process hang: connections are accepted by the system, and nobody answers.
    pub async fn pause(&self, part: Part) {
        self.signal(part, "STOP").await;
    }

    /// Ends [`Self::pause`].
    pub async fn resume(&self, part: Part) {
        self.signal(part, "CONT").await;
    }

    /// Sends a process a signal, by its short name.
    #[expect(clippy::expect_used, reason = "a failed expectation of a test")]
    pub async fn signal(&self, part: Part, name: &str) {
        let processes = self.processes.lock().await;
        let process = processes.get(&part).expect("it runs");
        process.signal(name).await.expect("it can be signalled");
    }

    #[expect(clippy::expect_used, reason = "a failed expectation of a test")]
    async fn take(&self, part: Part) -> Process {
        self.processes.lock().await.remove(&part).expect("it runs")
    }

    fn keep(&self, part: Part, output: Vec<String>) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.push((part, output));
    }
}
