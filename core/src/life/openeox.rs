//! The same dates in the words of OpenEoX (OASIS, OpenEoX Core Schema 1.0, Committee Specification Draft 01).
//!
//! | Suture (first day of what begins) | OpenEoX (last day of what ends) |
//! | --- | --- |
//! | general availability | `general_availability`, the same day; none where something ends on that day |
//! | end of sales | `end_of_sales`, the day before |
//! | end of life: not everything is patched any more | `end_of_security_support`, the day before |
//! | end of support: nothing is | `end_of_life`, the day before |
//!
//! The names cross: OpenEoX calls the last day of any support the end of life, IMDRF N70 the first day of limited support.
//! A date that is not announced is `tba`. The mandatory tests of its section 7.1 hold: nothing lies before the general
//! availability or after `end_of_life`, and where `end_of_life` has a date nothing else is `tba`.

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;

use super::{Dates, Life};
use crate::clock::format_utc;
use crate::version::Release;

/// What the schema of Core 1.0 calls itself.
pub const SCHEMA: &str = "https://docs.oasis-open.org/openeox/v1.0/schema/core.json";

/// A date that is not announced.
const TBA: &str = "tba";

/// OpenEoX Core Information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Core {
    /// [`SCHEMA`].
    #[serde(rename = "$schema")]
    pub schema: &'static str,
    /// The last day with any support.
    pub end_of_life: String,
    /// The last day on which it could be ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_of_sales: Option<String>,
    /// The last day on which all of it is patched.
    pub end_of_security_support: String,
    /// The first day on which it was available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub general_availability: Option<String>,
    /// When the manufacturer changed it last.
    pub last_updated: String,
}

impl Core {
    /// Of a release, or with none of the product as such.
    pub fn of(life: &Life, release: Option<Release>) -> Self {
        let Dates { general_availability, end_of_sales, end_of_life, end_of_support } = life.dates(release);
        // Its last day would lie before the first: of such a part there is no day to tell.
        let ends = [end_of_sales, end_of_life, end_of_support];
        let available = general_availability.filter(|date| ends.iter().flatten().all(|end| date < end));
        let last = |date: Option<Date>| date.map(last_day_before);
        let end = last(end_of_support);
        let or_tba = |text: Option<String>| text.unwrap_or_else(|| TBA.to_owned());
        Self {
            schema: SCHEMA,
            // Where only the end of all support is announced, patches end with it.
            end_of_security_support: or_tba(last(end_of_life).or_else(|| end.clone())),
            end_of_life: or_tba(end),
            end_of_sales: last(end_of_sales),
            general_availability: available.map(|date| format!("{date}T00:00:00Z")),
            last_updated: life.newest().map_or_else(|| TBA.to_owned(), |change| format_utc(change.at)),
        }
    }
}

/// The last second before a day begins.
fn last_day_before(date: Date) -> String {
    let last = date.checked_sub(1.day()).unwrap_or(Date::MIN);
    format!("{last}T23:59:59Z")
}
