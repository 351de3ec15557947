//! What the server says where it does not do what it is asked.

/// An error, as the server sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// SQLSTATE.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The commit is refused for good: the schema's own code.
    pub(super) fn for_good(message: impl Into<String>) -> Self {
        Self::new("GM001", message)
    }

    /// Somebody else was faster; done again, it finds what they did.
    pub(super) fn claim_taken_meanwhile() -> Self {
        Self::new("40001", "the claim was taken meanwhile")
    }

    pub(super) fn check_violation(what: &str) -> Self {
        Self::new("23514", format!("a row violates a check constraint: {what}"))
    }

    pub(super) fn read_only(command: &str) -> Self {
        Self::new("25006", format!("cannot execute {command} in a read-only transaction"))
    }

    pub(super) fn lock_timeout() -> Self {
        Self::new("55P03", "canceling statement due to lock timeout")
    }

    pub(super) fn statement_timeout() -> Self {
        Self::new("57014", "canceling statement due to statement timeout")
    }

    pub(super) fn deadlock() -> Self {
        Self::new("40P01", "deadlock detected")
    }

    pub(super) fn serialization_failure() -> Self {
        Self::new("40001", "could not serialize access due to concurrent update")
    }

    pub(super) fn terminated() -> Self {
        Self::new("57P01", "terminating connection due to administrator command")
    }

    /// What only another program than ours would send.
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::new("08P01", message)
    }
}
