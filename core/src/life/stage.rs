//! Stages and the dates that begin them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::clock::day_or_none;

/// How far a product's life is (IMDRF N70, figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is not generally available yet.
    Development,
    /// The manufacturer supports all of it.
    Support,
    /// From the end of life on: it is sold no more, and not everything in it can be patched.
    LimitedSupport,
    /// From the end of support on: the hospital carries the risk.
    EndOfSupport,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Development, Self::Support, Self::LimitedSupport, Self::EndOfSupport];

    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Support => "support",
            Self::LimitedSupport => "limited-support",
            Self::EndOfSupport => "end-of-support",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or("a stage is `development`, `support`, `limited-support` or `end-of-support`")
    }
}

/// Each the first day of what it names, in UTC; none: not announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// From this day on it is available.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day_or_none")]
    pub general_availability: Option<Date>,
    /// From this day on it cannot be ordered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day_or_none")]
    pub end_of_sales: Option<Date>,
    /// From this day on its support is limited.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day_or_none")]
    pub end_of_life: Option<Date>,
    /// From this day on it has no support.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "day_or_none")]
    pub end_of_support: Option<Date>,
}

impl Dates {
    /// The stage on a day.
    pub fn stage(&self, day: Date) -> Stage {
        let reached = |date: Option<Date>| date.is_some_and(|date| date <= day);
        if reached(self.end_of_support) {
            Stage::EndOfSupport
        } else if reached(self.end_of_life) {
            Stage::LimitedSupport
        } else if reached(self.general_availability) {
            Stage::Support
        } else {
            Stage::Development
        }
    }

    /// These dates of a part, where `whole` are those of what it is a part of: each end the earlier of the two, and nothing
    /// after the end of all support, or before it is available.
    pub fn within(self, whole: Self) -> Self {
        let earlier = |own: Option<Date>, whole: Option<Date>| match (own, whole) {
            (Some(own), Some(whole)) => Some(own.min(whole)),
            (own, whole) => own.or(whole),
        };
        let end_of_support = earlier(self.end_of_support, whole.end_of_support);
        let by_then = |date: Option<Date>| date.map(|date| end_of_support.map_or(date, |end| date.min(end)));
        let end_of_sales = by_then(earlier(self.end_of_sales, whole.end_of_sales));
        let end_of_life = by_then(earlier(self.end_of_life, whole.end_of_life));
        let ends = [end_of_sales, end_of_life, end_of_support].into_iter().flatten();
        let available = self.general_availability.or(whole.general_availability);
        let general_availability = available.map(|date| ends.fold(date, Date::min));
        Self { general_availability, end_of_sales, end_of_life, end_of_support }
    }

    /// The two ends that are announced years ahead, each with its name.
    pub(super) fn ends(&self) -> [(&'static str, Option<Date>); 2] {
        [("end of life", self.end_of_life), ("end of support", self.end_of_support)]
    }

    /// All, each with its name.
    pub(super) fn named(&self) -> [(&'static str, Option<Date>); 4] {
        let [life, support] = self.ends();
        [("general availability", self.general_availability), ("end of sales", self.end_of_sales), life, support]
    }
}
