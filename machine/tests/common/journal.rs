//! The operation log as a store keeps it, made of the marks of each commit.

use machine::explain::LogLine;
use machine::{AuditMark, OperationId, Runtime, Step, Timestamp};

/// The lines in the order in which they were opened.
#[derive(Default)]
pub(crate) struct Journal {
    lines: Vec<(OperationId, LogLine)>,
}

impl Journal {
    /// Takes the marks of a commit down.
    pub(crate) fn write(&mut self, step: &Step, now: Timestamp) {
        let status = step.next.as_ref().map(Runtime::status);
        for entry in &step.audit {
            let opened = |kind, turn, tick| LogLine {
                kind,
                turn,
                tick,
                outcome: None,
                status,
                started_at: now,
                finished_at: None,
            };
            match &entry.mark {
                AuditMark::Opened { kind, turn, tick } => {
                    self.lines.push((entry.operation, opened(*kind, *turn, *tick)));
                }
                AuditMark::Closed(outcome) => {
                    let open = self.lines.iter_mut().rev().find(|(op, _)| *op == entry.operation);
                    let (_, line) = open.expect("what is closed was opened");
                    line.outcome = Some(outcome.clone());
                    line.finished_at = Some(now);
                    line.status = status;
                }
                AuditMark::Instant { kind, outcome } => {
                    let outcome = Some(outcome.clone());
                    let line =
                        LogLine { outcome, finished_at: Some(now), ..opened(*kind, None, None) };
                    self.lines.push((entry.operation, line));
                }
            }
        }
    }

    /// The newest first, `limit` at most.
    pub(crate) fn newest(&self, limit: usize) -> Vec<LogLine> {
        self.lines.iter().rev().take(limit).map(|(_, line)| line.clone()).collect()
    }
}
