//! The names of what must hold.

/// What must hold; the names are those of the lifecycle's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is told in `about`")]
pub enum Rule {
    RevisionGrowsByOne,
    OnlyListedTransitions,
    NoTurnTwice,
    NoTurnGeneratedTwice,
    FencedReplyChangesNothing,
    FinishedIsFinal,
    StoppedIsFinal,
    GameFinishedIsLast,
    MessagesFollowCommits,
    ForceSkipsExactlyOneTick,
    NoTickWhilePending,
    StopDrains,
    OneQuestionCounts,
    NoOrphans,
    HealthEventsOnceInOrder,
    HealthOfThisContainer,
    RunningRecordHasNextTick,
    EveryReferenceResolves,
    WriteAhead,
    NeverStuck,
    EverythingResolves,
    ModelIsLargeEnough,
}

impl Rule {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 22] = [
        Self::RevisionGrowsByOne,
        Self::OnlyListedTransitions,
        Self::NoTurnTwice,
        Self::NoTurnGeneratedTwice,
        Self::FencedReplyChangesNothing,
        Self::FinishedIsFinal,
        Self::StoppedIsFinal,
        Self::GameFinishedIsLast,
        Self::MessagesFollowCommits,
        Self::ForceSkipsExactlyOneTick,
        Self::NoTickWhilePending,
        Self::StopDrains,
        Self::OneQuestionCounts,
        Self::NoOrphans,
        Self::HealthEventsOnceInOrder,
        Self::HealthOfThisContainer,
        Self::RunningRecordHasNextTick,
        Self::EveryReferenceResolves,
        Self::WriteAhead,
        Self::NeverStuck,
        Self::EverythingResolves,
        Self::ModelIsLargeEnough,
    ];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RevisionGrowsByOne => "revision_grows_by_one",
            Self::OnlyListedTransitions => "only_listed_transitions",
            Self::NoTurnTwice => "no_turn_twice",
            Self::NoTurnGeneratedTwice => "no_turn_generated_twice",
            Self::FencedReplyChangesNothing => "fenced_reply_changes_nothing",
            Self::FinishedIsFinal => "finished_is_final",
            Self::StoppedIsFinal => "stopped_is_final",
            Self::GameFinishedIsLast => "game_finished_is_last",
            Self::MessagesFollowCommits => "messages_follow_commits",
            Self::ForceSkipsExactlyOneTick => "force_skips_exactly_one_tick",
            Self::NoTickWhilePending => "no_tick_while_pending",
            Self::StopDrains => "stop_drains",
            Self::OneQuestionCounts => "one_question_counts",
            Self::NoOrphans => "no_orphans",
            Self::HealthEventsOnceInOrder => "health_events_once_in_order",
            Self::HealthOfThisContainer => "health_of_this_container",
            Self::RunningRecordHasNextTick => "running_record_has_next_tick",
            Self::EveryReferenceResolves => "every_reference_resolves",
            Self::WriteAhead => "write_ahead",
            Self::NeverStuck => "never_stuck",
            Self::EverythingResolves => "everything_resolves",
            Self::ModelIsLargeEnough => "model_is_large_enough",
        }
    }

    /// In words.
    pub const fn about(self) -> &'static str {
        match self {
            Self::RevisionGrowsByOne => "a commit replaces the very record it was decided on",
            Self::OnlyListedTransitions => "the status changes only as the table says",
            Self::NoTurnTwice => "the recorded turn grows by one, never back",
            Self::NoTurnGeneratedTwice => "the engine is at the recorded turn or one ahead",
            Self::FencedReplyChangesNothing => "only the answer that is waited for counts",
            Self::FinishedIsFinal => "nothing changes a finished record",
            Self::StoppedIsFinal => "nothing but its health changes a stopped record",
            Self::GameFinishedIsLast => "game_finished is told once, and nothing after it",
            Self::MessagesFollowCommits => "the stream is the commit order, nothing else",
            Self::ForceSkipsExactlyOneTick => "a forced turn replaces one regular turn",
            Self::NoTickWhilePending => "no turn is begun while an admin operation is pending",
            Self::StopDrains => "a stop lets a running turn end before it takes the engine down",
            Self::OneQuestionCounts => "one engine call at a time can change game and record",
            Self::NoOrphans => "players are mapped exactly while there is a runtime",
            Self::HealthEventsOnceInOrder => "a health event counts once, in order",
            Self::HealthOfThisContainer => "a health event counts for its own container",
            Self::RunningRecordHasNextTick => "a running game knows when its next turn is due",
            Self::EveryReferenceResolves => "standings name players of the game",
            Self::WriteAhead => "no call is made that no commit stands behind",
            Self::NeverStuck => "something will wake every record that waits",
            Self::EverythingResolves => "once faults stop, everything comes to its end",
            Self::ModelIsLargeEnough => "the model never has to drop a call or a message",
        }
    }
}

/// A set of broken rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Broken(u32);

impl Broken {
    /// Whether none is broken.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is.
    pub fn has(self, rule: Rule) -> bool {
        self.0 & bit(rule) != 0
    }

    /// Adds one where `broken`.
    pub fn note(&mut self, rule: Rule, broken: bool) {
        if broken {
            self.0 |= bit(rule);
        }
    }

    /// Adds others.
    pub fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// What of it concerns one rule.
    pub fn only(self, rule: Rule) -> Self {
        Self(self.0 & bit(rule))
    }
}

const fn bit(rule: Rule) -> u32 {
    1 << rule as u32
}
