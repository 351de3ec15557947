//! What can happen next.

use machine::Timer;

use crate::event::Request;

/// One thing that happens. `gm` is a process, 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Somebody asks process `gm` for something.
    Ask(u8, Request, Fate),
    /// Process `gm` finds that a timer has struck.
    Strike(u8, Timer, Fate),
    /// An answer reaches the process that waits for it.
    Hear {
        /// Which answer.
        reply: usize,
        /// Whether the same answer comes once more, later.
        again: bool,
        /// What becomes of the commit.
        fate: Fate,
    },
    /// Process `gm` reads the next health report.
    HearHealth(u8, Fate),
    /// Process `gm`, just restarted, fences off a question of its predecessor.
    TakeUp(u8, Fate),
    /// Process `gm` commits what it decided.
    Commit(u8, Fate),
    /// Process `gm` repeats, under its name, a commit whose answer was lost.
    Repeat(u8),
    /// A commit whose sender believes it lost arrives after all.
    FirstTryArrives(u8),
    /// A commit whose sender is gone arrives after all.
    LateCommitArrives,
    /// A call reaches its neighbour and is answered.
    Arrive(usize, Answering),
    /// The caller's time is over before the call arrives; the call is still on its way.
    GiveUp(usize),
    /// The answer is lost; the caller's time runs out.
    LoseReply(usize),
    /// A process dies.
    Crash(u8),
    /// A process of that name starts.
    Restart(u8),
    /// The engine's container dies.
    EngineDown,
    /// The engine's container comes back.
    EngineUp,
    /// An hour passes, and with it the instant of a regular turn.
    HourPasses,
    /// The debounce window ends.
    WindowEnds,
    /// The health consumer saves its offset.
    SaveOffset,
    /// The health consumer's offset is lost: it begins with the oldest report.
    ReplayHealth,
    /// The relay appends the next message to the stream.
    Append(AppendFate),
    /// The relay marks what it appended.
    Mark,
    /// The relay looks for a lost tail, and gives the stream one missing message again.
    CheckTail,
    /// The stream loses its newest entries, this many.
    LoseTail(u8),
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is not made yet: others may come in between.
    Later,
    /// It is made and answered.
    Answered,
    /// It is made, and the answer is lost.
    DoneUnanswered,
    /// It is lost, or late.
    NotDone,
}

/// How a neighbour takes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answering {
    /// As it should.
    Honestly,
    /// The engine tells of a turn one ahead.
    Ahead,
    /// The engine tells that the game is over.
    Over,
    /// The engine tells of a race nobody plays.
    Stranger,
    /// Runtime Manager refuses.
    Refusing,
    /// Runtime Manager does it and does not answer.
    InSilence,
}

/// What becomes of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendFate {
    /// It is made and answered.
    Answered,
    /// It is made, and the answer is lost.
    DoneUnanswered,
    /// It is lost.
    NotDone,
}
