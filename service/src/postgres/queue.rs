//! Group commit: whoever commits at the same time shares a round trip and an fsync.
//!
//! Commits wait in one bounded queue. Each lane takes what is there, up to a batch, sends it as one
//! statement, and hands every member its own answer. While all lanes are busy the queue fills, and
//! so batches grow with the load and no commit ever waits for company.
//!
//! A batch is one transaction. The members do not know of each other: whatever one of them can come
//! to by itself (a conflict, a missing version) is its answer and no error. An error rolls back the
//! batch; its members are then tried one by one, so that only the one to blame fails.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use machine::GameId;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use super::error::Fault;
use super::{GRACE, PostgresSettings, execute, rows};
use crate::ports::{CommitError, Committed, Entropy, StoreError};

/// A batch is closed when it is longer than this.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// How many commits may wait.
const MAX_WAITING: usize = 1_024;
/// How often a commit is tried that loses against others (40001, 40P01).
const MAX_TRIES: u32 = 4;
/// The pause after the first such loss, in milliseconds; doubled each time, and drawn by lot.
const PAUSE_MS: u64 = 10;

const COMMIT: &str = "SELECT gamemaster.commit_all($1::text::jsonb)";

type Answer = Result<Committed, CommitError>;

struct Job {
    game: GameId,
    document: Box<RawValue>,
    /// Past it nobody waits any more: what was not sent by then is not sent.
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// The queue and its lanes, which end when it is dropped.
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    wait: Duration,
    answered_within: Duration,
}

impl Queue {
    pub(super) fn start(
        pool: Pool,
        settings: &PostgresSettings,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..settings.commit_lanes.max(1) {
            let lane = Lane {
                waiting: Arc::clone(&waiting),
                pool: pool.clone(),
                batch: settings.commit_batch.max(1),
                statement_timeout: settings.statement_timeout,
                entropy: Arc::clone(&entropy),
                connection: None,
            };
            tokio::spawn(lane.run());
        }
        let connection = settings.wait_timeout + settings.connect_timeout * 2;
        // What was sent just before its deadline has been answered by then: a connection got, a
        // statement prepared and another run.
        let sent = connection + (settings.statement_timeout + GRACE) * 2;
        Self { jobs, wait: settings.wait_timeout, answered_within: sent }
    }

    /// Commits, together with whoever else does. A caller who goes away leaves the commit to its
    /// fate: nothing is left open by that.
    pub(super) async fn commit(&self, game: GameId, document: Box<RawValue>) -> Answer {
        let refused = |why: &str| Err(CommitError::Determinate(StoreError(why.into())));
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + self.wait;
        let job = Job { game, document, deadline, answer };
        match tokio::time::timeout_at(deadline, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return refused("the store is closed"),
            Err(_) => return refused("too many commits wait"),
        }
        let unknown = |why: &str| Err(CommitError::Indeterminate(StoreError(why.into())));
        match tokio::time::timeout_at(deadline + self.answered_within, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unknown("the commit was lost"),
            Err(_) => unknown("the server does not answer"),
        }
    }
}

struct Lane {
    waiting: Arc<Mutex<mpsc::Receiver<Job>>>,
    pool: Pool,
    /// The most commits of one batch.
    batch: usize,
    statement_timeout: Duration,
    entropy: Arc<dyn Entropy>,
    /// Kept while there is work, which spares the check of a connection from the pool.
    connection: Option<Object>,
}

impl Lane {
    async fn run(mut self) {
        let mut taken = Vec::with_capacity(self.batch);
        loop {
            // Whoever holds the queue waits for work: there is none for this lane either.
            let idle = self.waiting.try_lock().map_or(true, |waiting| waiting.is_empty());
            if idle {
                self.connection = None;
            }
            if self.waiting.lock().await.recv_many(&mut taken, self.batch).await == 0 {
                return;
            }
            // By game: two batches that meet in the same rows never wait for each other in a circle.
            taken.sort_by(|a, b| a.game.cmp(&b.game));
            let mut batch = vec![];
            let mut bytes = 0;
            for job in taken.drain(..) {
                bytes += job.document.get().len();
                batch.push(job);
                if bytes > MAX_BATCH_BYTES {
                    self.commit(std::mem::take(&mut batch)).await;
                    bytes = 0;
                }
            }
            self.commit(batch).await;
        }
    }

    async fn commit(&mut self, batch: Vec<Job>) {
        let batch = in_time(batch);
        if batch.len() > 1 {
            match self.send(&batch).await {
                Ok(answers) => {
                    for (job, answer) in batch.into_iter().zip(answers) {
                        let _ = job.answer.send(answer);
                    }
                    return;
                }
                Err(Fault::Unknown(text)) => {
                    for job in batch {
                        let _ = job.answer.send(Err(Fault::Unknown(text.clone()).into()));
                    }
                    return;
                }
                Err(Fault::Refused(_) | Fault::Again(_)) => {}
            }
        }
        for job in batch {
            self.commit_alone(job).await;
        }
    }

    async fn commit_alone(&mut self, job: Job) {
        let mut tries = 0;
        let mut batch = vec![job];
        loop {
            batch = in_time(batch);
            if batch.is_empty() {
                return;
            }
            tries += 1;
            let answer = match self.send(&batch).await {
                Ok(answers) => answers.into_iter().next(),
                Err(Fault::Again(_)) if tries < MAX_TRIES => {
                    self.pause(tries).await;
                    continue;
                }
                Err(fault) => Some(Err(fault.into())),
            };
            if let (Some(job), Some(answer)) = (batch.pop(), answer) {
                let _ = job.answer.send(answer);
            }
            return;
        }
    }

    /// Sends a batch: an answer for each member, or the error of all.
    async fn send(&mut self, batch: &[Job]) -> Result<Vec<Answer>, Fault> {
        let held = self.connection.take().filter(|client| !client.is_closed());
        let client = match held {
            Some(client) => client,
            None => match self.pool.get().await {
                Ok(client) => client,
                Err(error) => {
                    let fault = Fault::no_connection(&error);
                    return Ok(batch.iter().map(|_| Err(fault.clone().into())).collect());
                }
            },
        };
        let documents: Vec<&RawValue> = batch.iter().map(|job| &*job.document).collect();
        let text = serde_json::to_string(&documents)
            .map_err(|e| Fault::Refused(format!("it cannot be sent: {e}")))?;
        let (rows, client) = execute(client, COMMIT, &[&text], self.statement_timeout).await?;
        self.connection = Some(client);
        if rows.len() != batch.len() {
            return Err(Fault::Unknown("the server gave another number of answers".into()));
        }
        Ok(rows.iter().map(|row| answer(&rows::column::<String>(row, 0))).collect())
    }

    /// Those who lost against each other do not come back at the same time.
    async fn pause(&self, tries: u32) {
        let cap = PAUSE_MS << tries;
        // The low half: the high one of a version 7 identifier is the time.
        let (_, lot) = self.entropy.uuid().as_u64_pair();
        tokio::time::sleep(Duration::from_millis(lot % cap + 1)).await;
    }
}

fn answer(text: &Result<String, StoreError>) -> Answer {
    match text.as_deref() {
        Ok("applied") => Ok(Committed::Applied),
        Ok("conflict") => Ok(Committed::Conflict),
        Ok("unknown_version") => Ok(Committed::UnknownVersion),
        Ok(_) | Err(_) => {
            let text = "the server gave an answer that is none".to_owned();
            Err(CommitError::Indeterminate(StoreError(text)))
        }
    }
}

/// Those whose callers still wait. The others are told, if they listen, that nothing was sent.
fn in_time(batch: Vec<Job>) -> Vec<Job> {
    let now = Instant::now();
    let mut left = Vec::with_capacity(batch.len());
    for job in batch {
        if job.deadline < now {
            let late = StoreError("the commit could not be sent in time".into());
            let _ = job.answer.send(Err(CommitError::Determinate(late)));
        } else if !job.answer.is_closed() {
            left.push(job);
        }
    }
    left
}
