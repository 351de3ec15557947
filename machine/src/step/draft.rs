//! A step being drawn up.

use chrono::TimeDelta;

use super::{Context, Step, Verdict};
use crate::audit::{AuditEntry, AuditMark, OperationKind, Outcome};
use crate::effect::{Call, Effect};
use crate::failure::Failure;
use crate::ids::{OperationId, Ticket, UserId};
use crate::message::{
    AudienceKind, Intent, IntentPayload, LobbyEvent, Message, NotificationType, Producer,
};
use crate::record::{Lease, Life, Pending, Runtime, Work};
use crate::time::Timestamp;

/// The next record with the effects, messages and marks that belong to it.
pub(super) struct Draft<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) next: Runtime,
    effects: Vec<Effect>,
    messages: Vec<Message>,
    audit: Vec<AuditEntry>,
}

impl<'a> Draft<'a> {
    /// Starts from the present record.
    pub(super) fn of(before: &Runtime, cx: &'a Context<'a>) -> Self {
        Self::new(before.clone(), cx)
    }

    /// Starts from a record that is not there yet.
    pub(super) fn new(next: Runtime, cx: &'a Context<'a>) -> Self {
        Self { cx, next, effects: vec![], messages: vec![], audit: vec![] }
    }

    /// INVARIANT `revision_grows_by_one`: here, and nowhere else.
    pub(super) fn commit(mut self) -> Verdict {
        self.next.revision += 1;
        self.next.updated_at = self.cx.now;
        let next = Some(self.next);
        Verdict::Commit(Box::new(Step {
            next,
            effects: self.effects,
            messages: self.messages,
            audit: self.audit,
        }))
    }

    /// Rolls a registration back: the record and its mappings go, the audit stays.
    pub(super) fn delete(self) -> Verdict {
        Verdict::Commit(Box::new(Step {
            next: None,
            effects: vec![],
            messages: vec![],
            audit: self.audit,
        }))
    }

    /// Opens this event's operation.
    pub(super) fn open(&mut self, kind: OperationKind) -> OperationId {
        self.open_for(kind, None, None)
    }

    /// Opens this event's operation, which is to generate the next turn: for an occurrence of the
    /// schedule, or in the place of one.
    pub(super) fn open_turn(
        &mut self,
        kind: OperationKind,
        tick: Option<Timestamp>,
    ) -> OperationId {
        let turn = self.next.current_turn.checked_add(1);
        self.open_for(kind, turn, tick)
    }

    fn open_for(
        &mut self,
        kind: OperationKind,
        turn: Option<u32>,
        tick: Option<Timestamp>,
    ) -> OperationId {
        let operation = self.cx.operation;
        self.audit.push(AuditEntry { operation, mark: AuditMark::Opened { kind, turn, tick } });
        operation
    }

    /// Closes an operation that was opened before.
    pub(super) fn close(&mut self, operation: OperationId, outcome: Outcome) {
        self.audit.push(AuditEntry { operation, mark: AuditMark::Closed(outcome) });
    }

    /// Notes an operation that is over with this commit.
    pub(super) fn note(&mut self, kind: OperationKind, outcome: Outcome) {
        let mark = AuditMark::Instant { kind, outcome };
        self.audit.push(AuditEntry { operation: self.cx.operation, mark });
    }

    /// Fences off whatever is under way: no reply to it will count.
    pub(super) fn fence(&mut self) {
        self.next.attempt += 1;
    }

    /// Asks a neighbour after the commit, under a new attempt number.
    pub(super) fn ask(&mut self, call: Call, lease: TimeDelta) -> (u64, Lease) {
        self.fence();
        let attempt = self.next.attempt;
        let ticket = Ticket { incarnation: self.next.incarnation, attempt };
        self.effects.push(Effect { game_id: self.next.game_id.clone(), ticket, call });
        let expires_at = self.cx.now + lease;
        (attempt, Lease { owner: self.cx.instance.clone(), expires_at })
    }

    /// Asks the engine on behalf of an operation.
    pub(super) fn work(&mut self, operation: OperationId, call: Call, lease: TimeDelta) -> Work {
        let (attempt, lease) = self.ask(call, lease);
        Work { attempt, operation, lease }
    }

    /// Asks the engine where it stands.
    pub(super) fn probe(&mut self, operation: OperationId) -> Work {
        let endpoint = self.next.engine.endpoint.clone();
        self.work(operation, Call::Probe { endpoint }, self.cx.policy.probe_lease)
    }

    /// Asks the engine for the next turn.
    pub(super) fn generate(&mut self, operation: OperationId) -> Work {
        let endpoint = self.next.engine.endpoint.clone();
        let expected_turn = self.next.current_turn;
        let call = Call::Turn { endpoint, expected_turn };
        self.work(operation, call, self.cx.policy.turn_lease)
    }

    /// Ends the question under way, where there is one, with what its operation is to be told.
    pub(super) fn abandon(&mut self, work: Option<&Work>, outcome: Outcome) {
        if let Some(work) = work {
            self.close(work.operation, outcome);
            self.fence();
        }
    }

    /// Replaces what is pending.
    pub(super) fn set_pending(&mut self, value: Option<Pending>) {
        match &mut self.next.life {
            Life::Starting { pending, .. }
            | Life::Running { pending, .. }
            | Life::Generating { pending, .. }
            | Life::Failed { pending, .. }
            | Life::Unreachable { pending, .. } => *pending = value,
            Life::Stopped { .. } | Life::Finished { .. } => {}
        }
    }

    /// Publishes the record as it now stands. To be called once the draft is complete.
    pub(super) fn snapshot(&mut self) {
        self.next.health.published = Some(self.next.health.summary);
        self.messages.push(Message::Lobby(LobbyEvent::RuntimeSnapshotUpdate {
            game_id: self.next.game_id.clone(),
            current_turn: self.next.current_turn,
            runtime_status: self.next.status(),
            engine_health_summary: self.next.health.summary,
            player_turn_stats: self.next.player_turn_stats.clone(),
            occurred_at_ms: self.cx.now.timestamp_millis(),
        }));
    }

    /// Publishes the end of the game.
    pub(super) fn game_finished(&mut self) {
        self.messages.push(Message::Lobby(LobbyEvent::GameFinished {
            game_id: self.next.game_id.clone(),
            final_turn_number: self.next.current_turn,
            runtime_status: self.next.status(),
            player_turn_stats: self.next.player_turn_stats.clone(),
            finished_at_ms: self.cx.now.timestamp_millis(),
        }));
    }

    /// Has somebody notified. The key names the incarnation too: a game registered again starts
    /// its turns again, and its players are to hear of them.
    pub(super) fn intend(
        &mut self,
        notification_type: NotificationType,
        turn: u32,
        failure: Option<&Failure>,
    ) {
        let (audience_kind, recipient_user_ids) = match notification_type {
            NotificationType::TurnReady | NotificationType::Finished => {
                let players: Vec<UserId> =
                    self.next.roster.members().iter().map(|m| m.user_id.clone()).collect();
                (AudienceKind::User, players)
            }
            NotificationType::GenerationFailed => (AudienceKind::AdminEmail, vec![]),
        };
        let game_id = self.next.game_id.clone();
        let incarnation = self.next.incarnation;
        self.messages.push(Message::Intent(Intent {
            notification_type,
            producer: Producer::GameMaster,
            audience_kind,
            recipient_user_ids,
            idempotency_key: format!(
                "{}:{game_id}:{incarnation}:{turn}",
                notification_type.as_str()
            ),
            occurred_at_ms: self.cx.now.timestamp_millis(),
            payload: IntentPayload {
                game_id,
                turn,
                error_code: failure.map(|f| f.code.as_str().into()),
                error_message: failure.map(|f| f.message.clone()),
            },
        }));
    }
}
