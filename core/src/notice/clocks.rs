//! By when what is due.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use super::{Kind, Severity};
use crate::limits::{DISTRIBUTED_WITHIN_DAYS, MAX_REPEATS, REPEAT_AFTER, TOLD_WITHIN_DAYS};

/// The clocks of FDA's postmarket guidance (2016, V.B) for a risk that is not controlled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Clocks {
    /// The last day on which customers are told in time.
    #[serde(serialize_with = "crate::clock::day::serialize")]
    pub told_by: Date,
    /// The last day on which what ends the risk is distributed in time.
    #[serde(serialize_with = "crate::clock::day::serialize")]
    pub distributed_by: Date,
}

impl Clocks {
    /// From the day on which the manufacturer has learned of the risk.
    pub fn from(learned: Date) -> Self {
        let day = |days: i64| learned.checked_add(days.days()).unwrap_or(Date::MAX);
        Self { told_by: day(TOLD_WITHIN_DAYS), distributed_by: day(DISTRIBUTED_WITHIN_DAYS) }
    }
}

/// In how many days a notice is to be answered where its writer says nothing else: well within the 30 days in which
/// customers have to be told.
pub const fn answer_days(kind: Kind, severity: Severity) -> i64 {
    match (kind, severity) {
        (Kind::EndOfLife | Kind::EndOfSupport | Kind::ComponentEndOfSupport | Kind::Decommissioning, _) => 30,
        (_, Severity::Critical) => 3,
        (_, Severity::High) => 7,
        (_, _) => 14,
    }
}

/// When a letter that nobody has answered is repeated next, after so many repetitions: at its deadline, then after every
/// [`REPEAT_AFTER`]; none once that was often enough.
pub fn repeat_due(answer_by: Timestamp, repeats: u32) -> Option<Timestamp> {
    let wait = REPEAT_AFTER.checked_mul(i32::try_from(repeats).ok()?)?;
    if repeats < MAX_REPEATS { answer_by.checked_add(wait).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_from_the_day_on_which_it_was_learned() {
        let clocks = Clocks::from("2026-11-24".parse().unwrap());
        assert_eq!(clocks.told_by.to_string(), "2026-12-24");
        assert_eq!(clocks.distributed_by.to_string(), "2027-01-23");
    }

    #[test]
    fn the_worse_it_is_the_sooner_it_is_answered_and_always_before_customers_must_know() {
        for kind in Kind::ALL {
            let days: Vec<i64> = Severity::ALL.into_iter().map(|s| answer_days(kind, s)).collect();
            assert!(days.is_sorted_by(|a, b| a >= b), "{kind}: {days:?}");
            assert!(days.iter().all(|d| (1..=TOLD_WITHIN_DAYS).contains(d)), "{kind}: {days:?}");
        }
    }

    #[test]
    fn it_is_repeated_at_the_deadline_and_then_weekly_four_times_in_all() {
        let by: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let due: Vec<Option<String>> = (0..5).map(|n| repeat_due(by, n).map(|at| at.to_string())).collect();
        let want = ["2026-12-01T12:00:00Z", "2026-12-08T12:00:00Z", "2026-12-15T12:00:00Z", "2026-12-22T12:00:00Z"];
        assert_eq!(due[..4], want.map(|at| Some(at.to_owned())));
        assert_eq!(due[4], None);
    }
}
