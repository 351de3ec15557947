//! Bad behaviour on request, counted and not drawn: the same plan and the same requests give the
//! same failures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Longest latency a plan can ask for.
const MAX_LATENCY_MS: u64 = 600_000;

/// The operations of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `adminInitGame`
    Init,
    /// `adminGetGameStatus`
    Status,
    /// `adminGenerateTurn`
    Turn,
    /// `adminBanishRace`
    Banish,
    /// `executeCommand`
    Command,
    /// `putOrder`
    Order,
    /// `getReport`
    Report,
    /// `healthz`
    Healthz,
}

impl Operation {
    fn answers_state(self) -> bool {
        matches!(self, Self::Init | Self::Status | Self::Turn)
    }
}

/// What to do wrong from now on. Each `*_next` counts down with each well-formed request it
/// spoils; where several are set, hanging goes first, then failing, dropping, dripping, garbage,
/// lies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// The operations spoiled; empty: every one but `healthz`.
    pub only: Vec<Operation>,
    /// Wait before acting.
    pub latency_before_ms: u64,
    /// Wait between acting and answering.
    pub latency_after_ms: u64,
    /// Requests that are never answered; the connection stays open.
    pub hang_next: u32,
    /// Requests answered with [`Plan::fail_status`].
    pub fail_next: u32,
    /// 400 to 599; 0 stands for 500.
    pub fail_status: u16,
    /// Whether a hanging or failing request is carried out all the same.
    pub act_first: bool,
    /// Requests carried out whose connection is then dropped without an answer.
    pub drop_next: u32,
    /// Requests carried out and answered in drops.
    pub drip_next: u32,
    /// The pause before each of the drops, of which an answer has 64 at most.
    pub drip_ms: u64,
    /// Requests carried out and answered with something that is not JSON.
    pub garbage_next: u32,
    /// State answers whose turn is wrong.
    pub lie_next: u32,
    /// By how much it is wrong.
    pub lie_turn_by: i32,
}

impl Plan {
    /// Refuses values out of bounds.
    pub fn check(&self) -> Result<(), String> {
        if self.latency_before_ms.max(self.latency_after_ms).max(self.drip_ms) > MAX_LATENCY_MS {
            return Err(format!("a latency or a pause is at most {MAX_LATENCY_MS} ms"));
        }
        if self.fail_status != 0 && !(400..=599).contains(&self.fail_status) {
            return Err("`fail_status` is 400 to 599".to_owned());
        }
        Ok(())
    }

    fn covers(&self, operation: Operation) -> bool {
        if self.only.is_empty() {
            operation != Operation::Healthz
        } else {
            self.only.contains(&operation)
        }
    }
}

/// The shared handle on an engine's [`Plan`].
#[derive(Debug, Clone, Default)]
pub struct Misbehaviour(Arc<Mutex<Plan>>);

impl Misbehaviour {
    /// Replaces the plan.
    pub fn set(&self, plan: Plan) {
        *self.lock() = plan;
    }

    /// Behaves from now on.
    pub fn clear(&self) {
        self.set(Plan::default());
    }

    /// The plan as it stands, with what is left on its counters.
    pub fn plan(&self) -> Plan {
        self.lock().clone()
    }

    /// What to do to one request. Counts down.
    pub(super) fn take(&self, operation: Operation) -> Spell {
        let mut plan = self.lock();
        if !plan.covers(operation) {
            return Spell::default();
        }
        let trick = if count_down(&mut plan.hang_next) {
            Some(Trick::Hang { act: plan.act_first })
        } else if count_down(&mut plan.fail_next) {
            let status = if plan.fail_status == 0 { 500 } else { plan.fail_status };
            Some(Trick::Fail { status, act: plan.act_first })
        } else if count_down(&mut plan.drop_next) {
            Some(Trick::Drop)
        } else if count_down(&mut plan.drip_next) {
            Some(Trick::Drip { every: Duration::from_millis(plan.drip_ms) })
        } else if count_down(&mut plan.garbage_next) {
            Some(Trick::Garbage)
        } else if operation.answers_state() && count_down(&mut plan.lie_next) {
            Some(Trick::Lie { turn_by: plan.lie_turn_by })
        } else {
            None
        };
        Spell {
            before: Duration::from_millis(plan.latency_before_ms),
            after: Duration::from_millis(plan.latency_after_ms),
            trick,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(super) struct Spell {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) trick: Option<Trick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trick {
    Hang { act: bool },
    Fail { status: u16, act: bool },
    Drop,
    Drip { every: Duration },
    Garbage,
    Lie { turn_by: i32 },
}

impl Trick {
    /// Whether the request is carried out.
    pub(super) fn acts(self) -> bool {
        match self {
            Self::Hang { act } | Self::Fail { act, .. } => act,
            Self::Drop | Self::Drip { .. } | Self::Garbage | Self::Lie { .. } => true,
        }
    }
}

fn count_down(counter: &mut u32) -> bool {
    let due = *counter > 0;
    *counter = counter.saturating_sub(1);
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_count_down_in_their_order() {
        let handle = Misbehaviour::default();
        handle.set(Plan {
            hang_next: 1,
            fail_next: 1,
            drop_next: 1,
            drip_next: 1,
            drip_ms: 5,
            garbage_next: 1,
            lie_next: 1,
            lie_turn_by: 2,
            ..Plan::default()
        });
        assert_eq!(handle.take(Operation::Healthz).trick, None);
        assert_eq!(handle.take(Operation::Turn).trick, Some(Trick::Hang { act: false }));
        let failing = Trick::Fail { status: 500, act: false };
        assert_eq!(handle.take(Operation::Turn).trick, Some(failing));
        assert_eq!(handle.take(Operation::Turn).trick, Some(Trick::Drop));
        let dripping = Trick::Drip { every: Duration::from_millis(5) };
        assert_eq!(handle.take(Operation::Turn).trick, Some(dripping));
        assert_eq!(handle.take(Operation::Turn).trick, Some(Trick::Garbage));
        assert_eq!(handle.take(Operation::Command).trick, None);
        assert_eq!(handle.take(Operation::Status).trick, Some(Trick::Lie { turn_by: 2 }));
        assert_eq!(handle.take(Operation::Status).trick, None);
    }

    #[test]
    fn a_plan_can_be_about_some_operations_only() {
        let handle = Misbehaviour::default();
        handle.set(Plan { only: vec![Operation::Turn], fail_next: 1, ..Plan::default() });
        assert_eq!(handle.take(Operation::Status).trick, None);
        assert!(handle.take(Operation::Turn).trick.is_some());
    }

    #[test]
    fn plans_are_bounded() {
        assert!(Plan::default().check().is_ok());
        assert!(Plan { latency_after_ms: 600_001, ..Plan::default() }.check().is_err());
        assert!(Plan { drip_ms: 600_001, ..Plan::default() }.check().is_err());
        assert!(Plan { fail_status: 200, ..Plan::default() }.check().is_err());
    }
}
