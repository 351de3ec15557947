//! States and actions in words, and a way through them as a story.

use std::fmt::{self, Write as _};

use machine::Timer;
use stateright::Path;

use crate::action::{Action, Answering, AppendFate, Fate};
use crate::event::{Ev, Fault, Kind, Report, Request, Said, Tk};
use crate::record::{Admin, NEVER, Phase, Question, Rec, Stage};
use crate::rule::Rule;
use crate::state::{Call, Engine, PHANTOM, Relay, Reply, Seen, State, Task, TaskStage};

/// A way from the beginning, as a story: who did what, and what became of the record.
pub fn story(path: &Path<State, Action>) -> String {
    let steps = path.clone().into_vec();
    let mut told = String::new();
    for (number, pair) in (1..).zip(steps.windows(2)) {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        let _ = writeln!(told, "{number:3}. {}", in_context(before, *action));
        tell_changes(&mut told, before, after);
    }
    told
}

fn tell_changes(told: &mut String, before: &State, after: &State) {
    if before.record != after.record {
        let was = before.record.map_or_else(|| "no record".into(), |rec| rec.to_string());
        let is = after.record.map_or_else(|| "no record".into(), |rec| rec.to_string());
        let _ = writeln!(told, "       record  {was}\n            -> {is}");
    }
    if before.engine != after.engine {
        let _ = writeln!(told, "       engine  {} -> {}", before.engine, after.engine);
    }
    if before.outbox.stream != after.outbox.stream {
        let entries: Vec<String> = after.outbox.entries().map(entry).collect();
        let _ = writeln!(told, "       stream  [{}]", entries.join(" "));
    }
    if before.mapped != after.mapped {
        let is = if after.mapped { "mapped" } else { "not mapped" };
        let _ = writeln!(told, "       players are {is}");
    }
}

/// An action, with the names of what it is about.
pub fn in_context(s: &State, action: Action) -> String {
    let who = |gm: u8| format!("GM {}", gm + 1);
    match action {
        Action::Hear { reply, again, fate } => match s.replies.get(reply) {
            Some(reply) => {
                let more = if again { " (the same answer will come once more)" } else { "" };
                format!("{} hears {reply}{more}{}", who(reply.to), tail(fate))
            }
            None => action.to_string(),
        },
        Action::Arrive(at, answering) => match s.calls.get(at) {
            Some(call) => format!("{call} arrives{}", manner(answering)),
            None => action.to_string(),
        },
        Action::GiveUp(at) => match s.calls.get(at) {
            Some(call) => format!("time runs out for {call}, which is still on its way"),
            None => action.to_string(),
        },
        Action::LoseReply(at) => match s.replies.get(at) {
            Some(reply) => format!("{reply} is lost; time runs out for {}", who(reply.to)),
            None => action.to_string(),
        },
        Action::HearHealth(gm, fate) => {
            let next = s.health.reports.get(usize::from(s.health.read)).copied().flatten();
            let report = next.map_or_else(String::new, |report| report.to_string());
            format!("{} reads {report}{}", who(gm), tail(fate))
        }
        Action::TakeUp(gm, fate) => {
            let ticket = s.gms[usize::from(gm)].todo[0].unwrap_or(Tk::Dead);
            format!("{} says that the asker of {ticket} is gone{}", who(gm), tail(fate))
        }
        Action::Commit(gm, _) | Action::Repeat(gm) | Action::FirstTryArrives(gm) => {
            let task = s.gms[usize::from(gm)].task;
            task.map_or_else(|| action.to_string(), |task| format!("{action}: {}", task.ev))
        }
        Action::Crash(gm) => {
            let task = s.gms[usize::from(gm)].task;
            task.map_or_else(|| action.to_string(), |task| format!("{action}, in {task}"))
        }
        Action::LateCommitArrives => {
            s.late.map_or_else(|| action.to_string(), |late| format!("{action}: {}", late.ev))
        }
        Action::Ask(..)
        | Action::Strike(..)
        | Action::Restart(_)
        | Action::EngineDown
        | Action::EngineUp
        | Action::HourPasses
        | Action::WindowEnds
        | Action::SaveOffset
        | Action::ReplayHealth
        | Action::Append(_)
        | Action::Mark
        | Action::CheckTail
        | Action::LoseTail(_) => action.to_string(),
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |gm: &u8| format!("GM {}", gm + 1);
        match self {
            Self::Ask(gm, request, fate) => {
                write!(f, "{} is asked: {request:?}{}", who(gm), tail(*fate))
            }
            Self::Strike(gm, timer, fate) => {
                write!(f, "{} finds {}{}", who(gm), timer_name(*timer), tail(*fate))
            }
            Self::Hear { reply, again, fate } => {
                let more = if *again { ", and it will come again" } else { "" };
                write!(f, "answer {reply} is heard{more}{}", tail(*fate))
            }
            Self::HearHealth(gm, fate) => {
                write!(f, "{} reads the next health report{}", who(gm), tail(*fate))
            }
            Self::TakeUp(gm, fate) => {
                write!(f, "{} takes up its predecessor's question{}", who(gm), tail(*fate))
            }
            Self::Commit(gm, fate) => match fate {
                Fate::Answered | Fate::Later => write!(f, "{} commits", who(gm)),
                Fate::DoneUnanswered | Fate::NotDone => {
                    write!(f, "{} commits{}", who(gm), tail(*fate))
                }
            },
            Self::Repeat(gm) => write!(f, "{} repeats its commit under its name", who(gm)),
            Self::FirstTryArrives(gm) => {
                write!(f, "the commit that {} believes lost arrives", who(gm))
            }
            Self::LateCommitArrives => write!(f, "the commit of a dead process arrives"),
            Self::Arrive(call, answering) => write!(f, "call {call} arrives{}", manner(*answering)),
            Self::GiveUp(call) => write!(f, "time runs out for call {call}, still on its way"),
            Self::LoseReply(reply) => write!(f, "answer {reply} is lost, and time runs out"),
            Self::Crash(gm) => write!(f, "{} crashes", who(gm)),
            Self::Restart(gm) => write!(f, "{} starts again", who(gm)),
            Self::EngineDown => f.write_str("the engine's container dies"),
            Self::EngineUp => f.write_str("the engine's container comes back"),
            Self::HourPasses => f.write_str("an hour passes"),
            Self::WindowEnds => f.write_str("the debounce window ends"),
            Self::SaveOffset => f.write_str("the health consumer saves its offset"),
            Self::ReplayHealth => f.write_str("the health consumer begins anew"),
            Self::Append(AppendFate::Answered) => f.write_str("the relay appends"),
            Self::Append(AppendFate::DoneUnanswered) => {
                f.write_str("the relay appends, and the answer is lost")
            }
            Self::Append(AppendFate::NotDone) => f.write_str("the relay's append is lost"),
            Self::Mark => f.write_str("the relay marks a message as published"),
            Self::CheckTail => f.write_str("the relay looks for a lost tail"),
            Self::LoseTail(lost) => write!(f, "the stream loses its newest {lost}"),
        }
    }
}

fn tail(fate: Fate) -> &'static str {
    match fate {
        Fate::Answered => "",
        Fate::Later => ", loads and decides",
        Fate::DoneUnanswered => "; the commit is made and its answer lost",
        Fate::NotDone => "; the commit is lost on its way, or late",
    }
}

fn manner(answering: Answering) -> &'static str {
    match answering {
        Answering::Honestly => "",
        Answering::Ahead => "; the engine says it is one turn ahead",
        Answering::Over => "; the engine says its game is over",
        Answering::Stranger => "; the engine tells of a race nobody plays",
        Answering::Refusing => "; Runtime Manager refuses",
        Answering::InSilence => "; Runtime Manager does it and does not answer",
    }
}

fn timer_name(timer: Timer) -> &'static str {
    match timer {
        Timer::Tick => "a turn due",
        Timer::WorkLease => "the lease of the question to the engine run out",
        Timer::PendingLease => {
            "the lease of the question to Runtime Manager, or the drain, run out"
        }
        Timer::Retry => "an unwell engine to be asked again",
        Timer::Summary => "a health summary to be told",
    }
}

impl fmt::Display for Tk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live { incarnation, attempt } => write!(f, "{incarnation}@{attempt}"),
            Self::Dead => f.write_str("@fenced"),
            Self::Foreign => f.write_str("@earlier-life"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Turn(_) => f.write_str("turn"),
            Self::Probe => f.write_str("probe"),
            Self::Stop => f.write_str("stop"),
            Self::Patch => f.write_str("patch"),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { turn, over, stranger } => {
                let over = if *over { ", over" } else { "" };
                let stranger = if *stranger { ", of strangers" } else { "" };
                write!(f, "turn {turn}{over}{stranger}")
            }
            Self::Tempting => f.write_str("whatever"),
            Self::No(Fault::Validation) => f.write_str("4xx"),
            Self::No(Fault::Unreachable) => f.write_str("no answer"),
            Self::No(Fault::TurnConflict) => f.write_str("not at that turn"),
            Self::No(Fault::AlreadyInitialised) => f.write_str("initialised before"),
            Self::Done(container) => write!(f, "done, container {container}"),
            Self::NotDone { refused: true } => f.write_str("refused"),
            Self::NotDone { refused: false } => f.write_str("no answer"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, kind, from } = self;
        let expected = match kind {
            Kind::Turn(expected) => format!(" (engine at {expected})"),
            Kind::Init | Kind::Probe | Kind::Stop | Kind::Patch => String::new(),
        };
        match from {
            Some(gm) => write!(f, "{kind}{expected} {ticket} of GM {}", gm + 1),
            None => write!(f, "{kind}{expected} of nobody any more"),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticket, kind, said, to: _ } = self;
        write!(f, "the answer to {kind} {ticket}: {said}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, container, summary } = self;
        write!(f, "report {number}: container {container} is {}", summary.as_str())
    }
}

impl fmt::Display for Ev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(life) => write!(f, "register life {life}"),
            Self::Force => write!(f, "{:?}", Request::Force),
            Self::Stop => write!(f, "{:?}", Request::Stop),
            Self::Patch => write!(f, "{:?}", Request::Patch),
            Self::Reconcile => write!(f, "{:?}", Request::Reconcile),
            Self::Strike(timer) => f.write_str(timer_name(*timer)),
            Self::Health(report) => write!(f, "{report}"),
            Self::Abandoned(ticket) => write!(f, "the asker of {ticket} is gone"),
            Self::Answer(ticket, kind, said) => write!(f, "the answer to {kind} {ticket}: {said}"),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ev, seen, stage } = self;
        let seen = match seen {
            Seen::Absent => "on no record",
            Seen::Current => "on the record as it is",
            Seen::Outdated | Seen::Old(_) => "on a record that was replaced",
        };
        let stage = match stage {
            TaskStage::Decided => "decided",
            TaskStage::Unknown => "committed with no answer, not there",
            TaskStage::Done(_) => "committed with no answer, there",
        };
        write!(f, "{ev} ({stage} {seen})")
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{} of GM {}", self.attempt, self.owner + 1)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, gone, initialised, turn, container } = self;
        let state = match (gone, up, initialised) {
            (true, ..) => "taken down",
            (false, false, _) => "down",
            (false, true, false) => "fresh",
            (false, true, true) => "up",
        };
        write!(f, "{state} at turn {turn} in container {container}")
    }
}

impl fmt::Display for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} life {} turn {}", self.status(), self.incarnation, self.turn)?;
        match self.phase {
            Phase::Starting { verify: true } => f.write_str(", verifying")?,
            Phase::Generating { stage, forced } => {
                let by = if forced { "forced" } else { "regular" };
                let what = match stage {
                    Stage::Turn => "generating",
                    Stage::ProbeThenTurn => "asking, then generating",
                    Stage::ProbeAfterFence => "asking after a fence",
                };
                write!(f, ", {by}, {what}")?;
            }
            Phase::Starting { verify: false }
            | Phase::Running
            | Phase::Failed
            | Phase::Unreachable
            | Phase::Stopped
            | Phase::Finished => {}
        }
        if let Some(work) = self.work {
            write!(f, ", engine asked {work}")?;
        }
        match self.pending {
            Admin::None => {}
            Admin::Draining => f.write_str(", stop draining")?,
            Admin::Stop(question) => write!(f, ", stop asked {question}")?,
            Admin::Patch(question) => write!(f, ", patch asked {question}")?,
        }
        if self.has_clock() {
            match self.next {
                0 => f.write_str(", due")?,
                NEVER.. => f.write_str(", never due")?,
                hours => write!(f, ", due in {hours}")?,
            }
        }
        if let Some(skip) = self.skip {
            write!(f, ", owes a skip of {skip}")?;
        }
        if self.retry {
            f.write_str(", asks again")?;
        }
        if self.tries > 0 {
            write!(f, ", {} tries", self.tries)?;
        }
        if self.container > 0 {
            write!(f, ", container {}", self.container)?;
        }
        write!(f, ", {}", self.health.summary.as_str())
    }
}

impl fmt::Debug for State {
    /// For the Explorer: one line for each part that has something to say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            mapped,
            lives: _,
            gms,
            late,
            calls,
            replies,
            engine,
            health,
            outbox,
            left: _,
            ghost,
        } = self;
        match record {
            Some(rec) => writeln!(f, "record  {rec}")?,
            None => writeln!(f, "record  none")?,
        }
        if *mapped != record.is_some() {
            writeln!(f, "        players are mapped: {mapped}")?;
        }
        writeln!(f, "engine  {engine}")?;
        for (number, gm) in (1..).zip(gms) {
            match (gm.up, gm.task) {
                (true, Some(task)) => writeln!(f, "GM {number}    {task}")?,
                (true, None) => writeln!(f, "GM {number}    idle")?,
                (false, _) => writeln!(f, "GM {number}    not there")?,
            }
        }
        if let Some(late) = late {
            writeln!(f, "late    the commit of {}", late.ev)?;
        }
        for call in calls.iter() {
            writeln!(f, "call    {call}")?;
        }
        for reply in replies.iter() {
            writeln!(f, "answer  {reply}, to GM {}", reply.to + 1)?;
        }
        let unread = health.reports.iter().flatten().skip(health.read.into());
        for report in unread {
            writeln!(f, "unread  {report}")?;
        }
        if outbox.rows > 0 {
            let entries: Vec<String> = outbox.entries().map(entry).collect();
            let relay = match outbox.relay {
                Relay::Idle if outbox.check => ", the relay is to look for a lost tail",
                Relay::Idle => "",
                Relay::Appended(_) => ", one is to be marked",
                Relay::Marked(_) => ", one is marked and to be appended",
            };
            let marked = outbox.marked.count_ones();
            let all = outbox.rows;
            writeln!(f, "stream  [{}] of {all}, {marked} marked{relay}", entries.join(" "))?;
        }
        if !ghost.broken.is_empty() {
            let rules = Rule::ALL.into_iter().filter(|rule| ghost.broken.has(*rule));
            let names: Vec<&str> = rules.map(Rule::name).collect();
            writeln!(f, "BROKEN  {}", names.join(", "))?;
        }
        Ok(())
    }
}

fn entry(row: u8) -> String {
    if row == PHANTOM { "?".into() } else { row.to_string() }
}
