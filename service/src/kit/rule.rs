//! What a rule is, and the rules that hold for every neighbour.

use serde::Serialize;

/// How much Game Master depends on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Without it Game Master fails, or is not safe.
    Must,
    /// Game Master copes, somebody else may not.
    Should,
}

impl Level {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
        }
    }
}

/// One thing a neighbour promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name: stable, for scripts.
    pub id: &'static str,
    /// How much depends on it.
    pub level: Level,
    /// What has to hold.
    pub holds: &'static str,
    /// Why Game Master needs it.
    pub why: &'static str,
}

/// Makes a table of rules: a constant for each, and `ALL` in the order they are reported in.
macro_rules! rules {
    ($($name:ident: $level:ident $id:literal, $holds:literal, $why:literal;)*) => {
        $(pub(in crate::kit) const $name: $crate::kit::rule::Rule = $crate::kit::rule::Rule {
            id: $id,
            level: $crate::kit::rule::Level::$level,
            holds: $holds,
            why: $why,
        };)*
        /// Every rule of the table.
        pub(in crate::kit) const ALL: &[$crate::kit::rule::Rule] = &[$($name),*];
    };
}
pub(in crate::kit) use rules;

/// The rules of every HTTP answer, whoever gives it.
pub(in crate::kit) mod http {
    super::rules! {
        ANSWERED: Must "http.answered",
            "Every call gets a whole HTTP response.",
            "A call whose answer is lost may have been carried out: Game Master has to find out, \
             or to give up.";
        IN_TIME: Must "http.in_time",
            "Every call is answered within the time Game Master waits.",
            "A late answer counts as none, and the turn as failed until the engine was asked.";
        SIZE: Must "http.size",
            "No answer is longer than Game Master reads (4 MiB).",
            "A longer one is not read: the call has failed.";
        NO_REDIRECT: Must "http.no_redirect",
            "No call is answered with a redirect.",
            "Game Master follows none: it must not be led to other addresses.";
        PLAIN: Must "http.plain",
            "No answer is compressed or encoded in another way.",
            "Game Master does not ask for it and does not decode it.";
        JSON: Must "http.json",
            "The body of every answer of success is JSON.",
            "Anything else is a violation of the protocol, and the call has failed.";
        CONTENT_TYPE: Should "http.content_type",
            "Every body says that it is application/json.",
            "Game Master reads it all the same; proxies and other clients may not.";
        KEEP_ALIVE: Should "http.keep_alive",
            "A connection serves more than one call.",
            "Game Master keeps connections; a new one for each call costs every player time.";
        UNKNOWN_PATH: Should "http.unknown_path",
            "A path that does not exist is answered with 4xx.",
            "Who answers everything with success hides that an address is wrong.";
        ENVELOPE: Should "error.envelope",
            "A refusal carries {\"error\":{\"code\",\"message\"}}.",
            "The message is what players and operators are told; without it they learn only the \
             status.";
    }
}
