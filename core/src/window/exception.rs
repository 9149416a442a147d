//! What is taken out of a recurrence rule.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use super::text::{TextError, error, parse_date, parse_local};

/// Starts that a rule has and that are not to be; text and JSON form: `2026-12-24`, or `2026-12-24T02:00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Exception {
    /// All on a local date.
    Date(Date),
    /// The one at a local date and time.
    Start(DateTime),
}

impl Exception {
    /// Whether it takes out the start at that local time.
    pub fn takes(&self, start: DateTime) -> bool {
        match self {
            Self::Date(date) => *date == start.date(),
            Self::Start(at) => *at == start,
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(date) => write!(f, "{}", date.strftime("%Y-%m-%d")),
            Self::Start(at) => write!(f, "{}", at.strftime("%Y-%m-%dT%H:%M:%S")),
        }
    }
}

impl FromStr for Exception {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let start = || parse_local(text).ok().map(Self::Start);
        parse_date(text)
            .map(Self::Date)
            .or_else(start)
            .ok_or_else(|| error(text, "a date like 2026-12-24, or one start like 2026-12-24T02:00"))
    }
}

/// Of a signed calendar, where an exception has one spelling.
impl TryFrom<String> for Exception {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        let exception: Self = text.parse()?;
        if exception.to_string() == text {
            Ok(exception)
        } else {
            Err(error(&text, "written like 2026-12-24T02:00:00"))
        }
    }
}

impl From<Exception> for String {
    fn from(exception: Exception) -> Self {
        exception.to_string()
    }
}
