//! A report in words.

use std::fmt::Write as _;
use std::process::ExitCode;

use sim::plan::Trouble;
use sim::run::Report;

use super::total::Total;

pub(super) fn exit_code(report: &Report) -> ExitCode {
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// What happened in one life, and how to have it again.
pub(super) fn report(report: &Report, command: &str) -> String {
    let mut text = String::new();
    let Report { seed, profile, store, hash, lines, simulated_ms, .. } = report;
    let seconds = simulated_ms / 1000;
    let (profile, store) = (profile.as_str(), store.as_str());
    let _ = writeln!(
        text,
        "seed {seed} ({profile}, {store}): {seconds} s simulated, {lines} events, trace {hash}"
    );
    let struck: Vec<String> = report
        .struck
        .iter()
        .map(|(name, of)| format!("{name} ×{}", of.get("times").copied().unwrap_or_default()))
        .collect();
    if !struck.is_empty() {
        let _ = writeln!(text, "struck: {}", struck.join(", "));
    }
    if let Some(ms) = report.healed_in_ms {
        let _ = writeln!(text, "everything held; at rest {ms} ms after the last fault");
        return text;
    }
    for broken in &report.broken {
        let game = broken.game.as_deref().map(|game| format!(" in {game}")).unwrap_or_default();
        let _ = writeln!(text, "\nBROKEN: {}{game}, at {} ms", broken.promise, broken.at_ms);
        let _ = writeln!(text, "  {}", broken.how);
    }
    let _ = writeln!(text, "\nwhat came before:");
    for line in &report.story {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "\nagain: {command}");
    text
}

/// What many lives came to.
pub(super) fn total(total: &Total) -> String {
    let mut text = String::new();
    let faults: Vec<String> = Trouble::NAMES
        .iter()
        .map(|name| (name, total.times(name)))
        .filter(|(_, times)| *times > 0)
        .map(|(name, times)| format!("{name} ×{times}"))
        .collect();
    let _ = writeln!(text, "{} faults: {}", total.strikes(), faults.join(", "));
    let checked: Vec<String> =
        total.checked.iter().map(|(what, times)| format!("{times} {what}")).collect();
    let _ = writeln!(text, "checked: {}", checked.join(", "));
    for (profile, span) in &total.spans {
        #[expect(clippy::cast_precision_loss, reason = "shown to one digit")]
        let hours = span.simulated_ms as f64 / 3_600_000.0;
        let (lives, seconds, ratio) = (span.lives, span.took.as_secs_f64(), span.ratio());
        let _ = writeln!(
            text,
            "{profile}: {lives} lives, {hours:.1} h simulated in {seconds:.0} s of lives one by one, \
             {ratio:.0} times as fast as real time"
        );
    }
    let (lives, events, failed) = (total.lives(), total.events, total.broken.len());
    let _ = writeln!(text, "{lives} lives, {events} events, {failed} failed");
    text
}
