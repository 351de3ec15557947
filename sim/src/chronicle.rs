//! What happened, line by line: the trace that must be the same in every run of a plan, and the
//! story that is told of a failure.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use crate::board::lock;
use crate::record::Recorder;

/// The lines kept of each game, and of everything that belongs to none.
const MAX_LINES_PER_GAME: usize = 60;

/// A line of the trace.
#[derive(Clone, Debug)]
struct Line {
    number: u64,
    at: String,
    text: String,
    /// How often the same came without anything else of its game in between.
    times: u64,
}

impl Line {
    fn shown(&self) -> String {
        let Self { number: _, at, text, times } = self;
        if *times > 1 { format!("{at}  {text} (×{times})") } else { format!("{at}  {text}") }
    }
}

/// Every line goes into the hash; the latest are kept.
pub struct Chronicle {
    is_printed: bool,
    now_ms: AtomicI64,
    inner: Mutex<Inner>,
    /// What is seen for the page.
    pub recorder: Arc<Recorder>,
}

#[derive(Default)]
struct Inner {
    lines: u64,
    hash: Sha256,
    games: BTreeMap<Option<String>, VecDeque<Line>>,
}

impl Chronicle {
    /// An empty one; `is_printed` lets every line go to standard error too.
    pub fn new(is_printed: bool, recorder: Arc<Recorder>) -> Self {
        Self { is_printed, now_ms: AtomicI64::new(0), inner: Mutex::default(), recorder }
    }

    /// What is no event of the life, and told only to who reads the trace.
    pub fn aside(&self, text: &str) {
        if self.is_printed {
            let ms = self.now_ms();
            // Whoever reads may have gone.
            let _ = writeln!(
                std::io::stderr(),
                "{:<10}{:>4}.{:03}    {text}",
                "log",
                ms / 1000,
                ms % 1000
            );
        }
    }

    /// A line about a game, or about everybody.
    pub fn note(&self, game: Option<&str>, text: &str) {
        let ms = self.now_ms();
        let at = format!("{:>4}.{:03}", ms / 1000, ms % 1000);
        if self.is_printed {
            let name = game.unwrap_or("-");
            // Whoever reads may have gone.
            let _ = writeln!(std::io::stderr(), "{name:<10}{at}  {text}");
        }
        self.recorder.line(game, text);
        let mut inner = lock(&self.inner);
        inner.lines += 1;
        let number = inner.lines;
        inner.hash.update(game.unwrap_or_default());
        inner.hash.update([0]);
        inner.hash.update(&at);
        inner.hash.update(text);
        inner.hash.update([b'\n']);
        let kept = inner.games.entry(game.map(str::to_owned)).or_default();
        if let Some(last) = kept.back_mut().filter(|last| last.text == text) {
            (last.number, last.at) = (number, at);
            last.times += 1;
            return;
        }
        kept.push_back(Line { number, at, text: text.to_owned(), times: 1 });
        if kept.len() > MAX_LINES_PER_GAME {
            kept.pop_front();
        }
    }

    /// What the time is outside of the simulated hosts.
    pub fn set_now(&self, ms: i64) {
        self.now_ms.store(ms, Ordering::Relaxed);
        self.recorder.set_now(u64::try_from(ms).unwrap_or_default());
    }

    /// Simulated milliseconds since the beginning, wherever one asks.
    pub fn now_ms(&self) -> i64 {
        turmoil::sim_elapsed().map_or_else(
            || self.now_ms.load(Ordering::Relaxed),
            |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX),
        )
    }

    /// How many lines there were.
    pub fn lines(&self) -> u64 {
        lock(&self.inner).lines
    }

    /// The hash of all lines so far.
    pub fn hash(&self) -> String {
        let digest = lock(&self.inner).hash.clone().finalize();
        digest.iter().take(12).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The last lines about a game, and those about everybody in between.
    pub fn story(&self, game: Option<&str>) -> Vec<String> {
        let inner = lock(&self.inner);
        let of = |key: Option<&str>| {
            inner.games.get(&key.map(str::to_owned)).into_iter().flatten().cloned()
        };
        let mut lines: Vec<Line> = of(game).collect();
        if game.is_some() {
            let first = lines.first().map_or(0, |line| line.number);
            lines.extend(of(None).filter(|line| line.number >= first));
        }
        lines.sort_by_key(|line| line.number);
        lines.iter().map(Line::shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_of_one_game_and_of_what_befell_all() {
        let chronicle = Chronicle::new(false, Arc::default());
        for (ms, game, text) in [
            (1, Some("a"), "one"),
            (2, Some("b"), "other"),
            (3, None, "*** storm"),
            (1_004, Some("a"), "two"),
            (1_005, Some("a"), "two"),
        ] {
            chronicle.set_now(ms);
            chronicle.note(game, text);
        }
        let story = ["   0.001  one", "   0.003  *** storm", "   1.005  two (×2)"];
        assert_eq!(chronicle.story(Some("a")), story);
        assert_eq!(chronicle.story(None), ["   0.003  *** storm"]);
        assert_eq!(chronicle.lines(), 5);
    }

    #[test]
    fn another_instant_or_game_is_another_hash() {
        let hash = |ms, game| {
            let chronicle = Chronicle::new(false, Arc::default());
            chronicle.set_now(ms);
            chronicle.note(game, "one");
            chronicle.hash()
        };
        assert_eq!(hash(1, Some("a")), hash(1, Some("a")));
        assert_ne!(hash(1, Some("a")), hash(2, Some("a")));
        assert_ne!(hash(1, Some("a")), hash(1, Some("b")));
    }
}
