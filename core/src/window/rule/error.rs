//! Why a text is no recurrence rule, and why a rule cannot be expanded.

use crate::limits::MAX_RULE_STEPS;

/// Why a text is no recurrence rule, or yields no starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is longer than a rule may be.
    #[error("a recurrence rule has at most {} bytes", crate::limits::MAX_RULE_BYTES)]
    TooLong,
    /// A part is not `NAME=VALUE`, has a name that RFC 5545 does not know, or stands twice.
    #[error("{part:?} is no part of a recurrence rule, or stands twice; one is written like FREQ=WEEKLY;BYDAY=SA,SU")]
    Part {
        /// The part.
        part: String,
    },
    /// A part's value is not what it may be.
    #[error("{part:?} is not {expected}")]
    Value {
        /// The part.
        part: String,
        /// What is understood, with an example.
        expected: &'static str,
    },
    /// It has no FREQ.
    #[error("the rule has no FREQ, as in FREQ=WEEKLY")]
    NoFrequency,
    /// It is to end in two ways.
    #[error("the rule has both COUNT and UNTIL; RFC 5545 allows one of them")]
    TwoEnds,
    /// Its parts do not go together.
    #[error("the rule cannot be used: {0}")]
    Rule(&'static str),
    /// Finding its starts takes too long.
    #[error(
        "the rule {rule} takes more than {MAX_RULE_STEPS} steps to expand; use a longer FREQ with BYHOUR and BYMINUTE, or a later start"
    )]
    Endless {
        /// The rule.
        rule: String,
    },
}
