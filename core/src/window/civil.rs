//! Local dates and times as calendars write them: one form each, so that one calendar has one spelling.

use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

const DATE: &str = "%Y-%m-%d";
const TIME: &str = "%H:%M:%S";
const DATE_TIME: &str = "%Y-%m-%dT%H:%M:%S";

macro_rules! form {
    ($(#[$doc:meta])* $module:ident, $type:ty, $form:expr, $example:literal) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&value.strftime($form))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let text = String::deserialize(d)?;
                let value = <$type>::strptime($form, &text).ok();
                value
                    .filter(|v| v.strftime($form).to_string() == text)
                    .ok_or_else(|| D::Error::custom(format!("{text:?} is not written like {}", $example)))
            }
        }
    };
}

form!(
    /// A local date.
    date, Date, DATE, "2026-12-24"
);
form!(
    /// A time of the day.
    time, Time, TIME, "02:00:00"
);
form!(
    /// A local date and time.
    date_time, DateTime, DATE_TIME, "2026-11-24T17:00:00"
);
