//! What may be added to a product's history.
//!
//! - Changes follow one another in time, and each says why.
//! - An end of life or of support is announced two years ahead (N70: "at least 2 years in advance"), or the change says why not.
//! - A date moves later, or away, without a word; earlier it moves with a reason, because hospitals have planned by it.
//! - A range of releases that has dates keeps its bounds: two that overlap would leave a release with two ends.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::{Change, Dates};
use crate::clock::day_of;
use crate::limits::{LIFE_NOTICE_YEARS, MAX_LIFE_CHANGES, MAX_LIFE_NOTES, MAX_TEXT_BYTES};
use crate::version::ReleaseRange;

/// Why a change, or a history, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// A text is missing or too long.
    #[error("{field}: a sentence of 1 to {MAX_TEXT_BYTES} bytes is needed, for the record")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// Too many of something.
    #[error("{what}: more than a history may hold")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// Dates that contradict one another.
    #[error("{0}")]
    Order(&'static str),
    /// An end that is too near.
    #[error(
        "the {what} on {date} is less than {LIFE_NOTICE_YEARS} years ahead, on {first} at the earliest it would not be"
    )]
    ShortNotice {
        /// Which.
        what: &'static str,
        /// When it would be.
        date: Date,
        /// The first day that would do.
        first: Date,
    },
    /// A date that moves towards today.
    #[error("the {what} was {was} and would be {date}, which is earlier: hospitals have planned by it")]
    Earlier {
        /// Which.
        what: &'static str,
        /// What was announced.
        was: Date,
        /// What would be.
        date: Date,
    },
    /// Two ranges that hold the same release.
    #[error("releases {new} overlap releases {known}, which have dates of their own: change those")]
    Overlap {
        /// What is asked for.
        new: ReleaseRange,
        /// What is there.
        known: ReleaseRange,
    },
    /// It is not after the one before it.
    #[error("the change is not after the one before it: look at the clock of this machine")]
    NotLater,
    /// It was not made lately.
    #[error("the change says that it was made at {at}: notice counts from the day on which it is given")]
    NotNow {
        /// When it says that it was made.
        at: Timestamp,
    },
    /// It does not begin with what was said before.
    #[error("the history does not begin with what was said before: nothing that was said is taken back or changed")]
    Rewritten,
}

impl LifeError {
    /// The rule, for whoever reads a whole document.
    pub(super) const fn rule(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a change does not say why, or at too great length",
            Self::TooMany { .. } => "a change lists too much",
            Self::Order(rule) => rule,
            Self::ShortNotice { .. } => "an end is announced less than two years ahead, without a reason",
            Self::Earlier { .. } => "a date moves earlier, without a reason",
            Self::Overlap { .. } => "two ranges of releases overlap",
            Self::NotLater => "its changes are not in the order of time",
            Self::NotNow { .. } => "a change is of another time",
            Self::Rewritten => "it does not begin with what was said before",
        }
    }
}

/// The first rule that a whole history breaks.
pub(super) fn broken(changes: &[Change]) -> Option<LifeError> {
    let mut before: &[Change] = &[];
    for (change, known) in changes.iter().zip(1..) {
        if let Err(error) = admit(before, change) {
            return Some(error);
        }
        before = changes.get(..known).unwrap_or_default();
    }
    None
}

/// Whether a change may follow those before it.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn admit(before: &[Change], change: &Change) -> Result<(), LifeError> {
    if before.len() >= MAX_LIFE_CHANGES {
        return Err(LifeError::TooMany { what: "changes" });
    }
    texts(change)?;
    if before.last().is_some_and(|last| change.at <= last.at) {
        return Err(LifeError::NotLater);
    }
    if let Some(new) = change.releases {
        let known = before.iter().filter_map(|c| c.releases).find(|known| *known != new && known.overlaps(new));
        if let Some(known) = known {
            return Err(LifeError::Overlap { new, known });
        }
    }
    let of_scope = |scope| before.iter().rev().find(|c: &&Change| c.releases == scope).map(|c| c.dates);
    let product = of_scope(None).filter(|_| change.releases.is_some()).unwrap_or_default();
    order(&Dates {
        general_availability: change.dates.general_availability.or(product.general_availability),
        ..change.dates
    })?;
    // What a hospital could read of it until now: of a range that is new, the product's dates.
    let was = of_scope(change.releases).unwrap_or_default().within(product);
    announced(&was, change)
}

fn texts(change: &Change) -> Result<(), LifeError> {
    let said = |field, text: &str| {
        let fits = !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
        if fits { Ok(()) } else { Err(LifeError::Text { field }) }
    };
    let Change { why, short_notice, earlier, components, not_covered, .. } = change;
    said("why", why)?;
    for (field, text) in [("short_notice", short_notice), ("earlier", earlier)] {
        text.as_deref().map_or(Ok(()), |text| said(field, text))?;
    }
    if components.len() > MAX_LIFE_NOTES || not_covered.len() > MAX_LIFE_NOTES {
        return Err(LifeError::TooMany { what: "components and what is not covered" });
    }
    components.iter().try_for_each(|c| said("components", &c.component))?;
    not_covered.iter().try_for_each(|text| said("not_covered", text))
}

/// The dates of a scope contradict one another.
fn order(dates: &Dates) -> Result<(), LifeError> {
    let before = |a: Option<Date>, b: Option<Date>| a.zip(b).is_none_or(|(a, b)| a <= b);
    let available = dates.general_availability;
    let ends = [dates.end_of_sales, dates.end_of_life, dates.end_of_support];
    for (holds, rule) in [
        (available.is_some() || ends.iter().all(Option::is_none), "it names an end, and no general availability"),
        (ends.into_iter().all(|end| before(available, end)), "an end lies before the general availability"),
        (
            before(dates.end_of_life, dates.end_of_support),
            "support ends before the end of life, which begins its last part",
        ),
        (before(dates.end_of_sales, dates.end_of_support), "support ends while it is still sold"),
    ] {
        if !holds {
            return Err(LifeError::Order(rule));
        }
    }
    Ok(())
}

/// Two years ahead, and never earlier than was said, unless the change says why.
fn announced(was: &Dates, change: &Change) -> Result<(), LifeError> {
    let today = day_of(change.at);
    let first = today.checked_add(LIFE_NOTICE_YEARS.years()).unwrap_or(Date::MAX);
    for ((what, before), (_, date)) in was.ends().into_iter().zip(change.dates.ends()) {
        // One that moves later was announced before; its notice has been given.
        let moves_later = before.zip(date).is_some_and(|(before, date)| before <= date);
        if let Some(date) = date.filter(|date| *date < first && !moves_later)
            && change.short_notice.is_none()
        {
            return Err(LifeError::ShortNotice { what, date, first });
        }
    }
    for ((what, before), (_, date)) in was.named().into_iter().zip(change.dates.named()).skip(1) {
        if let (Some(was), Some(date), None) = (before, date, &change.earlier)
            && date < was
        {
            return Err(LifeError::Earlier { what, was, date });
        }
    }
    Ok(())
}
