//! A hospital's risk register: what risk it has found in a group of devices, and what it does about it, until when.
//!
//! IMDRF N70 has the hospital assess the risk of its legacy devices again and again, and carry it from the end of support on;
//! auditors (HICP 9.6) ask for the record of what was deferred and what protects meanwhile. Nothing here is authority for
//! a device. The server and `rollout approve` ask it for one thing: past the end of support nothing new is rolled out
//! without a signed acceptance of the risk that names product, release and devices and has not expired ([`uncovered`]).
//! A way back to an earlier release is exempt: it must always be open.

mod assessment;
mod grade;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;

pub use self::assessment::{Assessment, Group, Member};
pub use self::grade::{Exploitability, Likelihood, Severity, Treatment};

use crate::digest::Digest;
use crate::id::ProductId;
use crate::limits::{RISK_ENDED_MONTHS, RISK_ENDING_MONTHS, RISK_ENDING_YEARS, RISK_MONTHS};
use crate::version::Release;
use crate::word::Word;

/// For how many months an assessment of that day holds at most: a year, half a year once support ends within two years, a
/// quarter once it has ended.
pub fn months(end_of_support: Option<Date>, day: Date) -> i32 {
    let Some(end) = end_of_support else { return RISK_MONTHS };
    let near = day.checked_add(RISK_ENDING_YEARS.years()).unwrap_or(Date::MAX);
    if end <= day {
        RISK_ENDED_MONTHS
    } else if end <= near {
        RISK_ENDING_MONTHS
    } else {
        RISK_MONTHS
    }
}

/// The last day on which an assessment of that day holds.
pub fn last_day(end_of_support: Option<Date>, day: Date) -> Date {
    day.checked_add(months(end_of_support, day).months()).unwrap_or(Date::MAX)
}

/// The newest assessment of each group, of a whole register in ascending order. A later one takes the place of an earlier
/// one of the same group, whatever it says, and even once it has expired.
pub fn newest<'a>(register: impl IntoIterator<Item = &'a Word<Assessment>>) -> Vec<&'a Word<Assessment>> {
    let mut groups: BTreeMap<Digest, &Word<Assessment>> = BTreeMap::new();
    for word in register {
        groups.insert(word.group.digest(), word);
    }
    let mut newest: Vec<_> = groups.into_values().collect();
    newest.sort_by_key(|word| word.number);
    newest
}

/// The devices for which no acceptance in force covers a release, in the order in which they came. `assessments` are the
/// newest of each group that are signed by a key of the hospital's.
pub fn uncovered<'a, 'm>(
    assessments: impl IntoIterator<Item = &'a Assessment>,
    (product, release): (&ProductId, Release),
    devices: impl IntoIterator<Item = Member<'m>>,
    day: Date,
) -> Vec<Member<'m>> {
    let accepted: Vec<&Group> = assessments
        .into_iter()
        .filter(|a| a.treatment == Treatment::Acceptance && day <= a.expires)
        .map(|a| &a.group)
        .filter(|group| group.product == *product && group.names(release))
        .collect();
    let is_uncovered = |device: &Member<'m>| !accepted.iter().any(|group| group.holds(device));
    devices.into_iter().filter(is_uncovered).collect()
}
