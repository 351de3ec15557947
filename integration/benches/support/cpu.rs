//! Processor time of threads, by their names: unlike the time that passes it does not grow because
//! somebody else has the core.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What the threads of these names have used since they were started, in user and kernel mode. The
/// system counts what a packet costs on loopback to whoever sends it.
pub(crate) fn used_by(names: &[&str]) -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let used = threads.map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if !names.contains(&name.trim_end()) {
            return Duration::ZERO;
        }
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    });
    used.sum()
}

/// What the processes have used that this one has started, and those that they have.
pub(crate) fn used_by_children() -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats: Vec<Process> =
        processes.filter_map(|entry| Process::read(&entry.path().join("stat"))).collect();
    let mut family = BTreeSet::from([std::process::id()]);
    // Until nobody is found any more.
    while stats.iter().any(|process| family.contains(&process.parent) && family.insert(process.id))
    {
    }
    let own = std::process::id();
    let ticks = stats.iter().filter(|process| process.id != own && family.contains(&process.id));
    let ticks: u64 = ticks.map(|process| process.ticks).sum();
    Duration::from_millis(ticks * MILLIS_PER_TICK)
}

/// The unit of times in `stat` is a hundredth of a second everywhere.
const MILLIS_PER_TICK: u64 = 10;

struct Process {
    id: u32,
    parent: u32,
    /// With what ended children of it used.
    ticks: u64,
}

impl Process {
    fn read(stat: &Path) -> Option<Self> {
        let text = fs::read_to_string(stat).ok()?;
        // The name may hold anything, and ends with the last parenthesis.
        let (start, rest) = (text.split(' ').next()?, text.rsplit_once(')')?.1);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().filter_map(|n| n.parse::<u64>().ok()).sum();
        Some(Self { id: start.parse().ok()?, parent: fields.get(1)?.parse().ok()?, ticks })
    }
}
