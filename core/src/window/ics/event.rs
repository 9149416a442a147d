//! One event, as far as times go.

use super::IcsError;
use super::line::Property;

/// The properties of a VEVENT.
#[derive(Debug, Default)]
pub(super) struct Event {
    properties: Vec<Property>,
}

impl Event {
    pub(super) fn add(&mut self, property: Property) {
        self.properties.push(property);
    }

    /// The properties of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Property> {
        self.properties.iter().filter(move |p| p.name == name)
    }

    /// The property of a name that stands once at most.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a Property>, IcsError> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(self.error(format!("it has more than one {name}"))) } else { Ok(first) }
    }

    /// What people call it.
    pub(super) fn summary(&self) -> String {
        let named = self.all("SUMMARY").chain(self.all("UID")).map(Property::text).find(|text| !text.is_empty());
        named.unwrap_or_else(|| "without a name".to_owned())
    }

    /// What the file calls it; its instances share it.
    pub(super) fn uid(&self) -> Option<&str> {
        self.all("UID").next().map(|p| p.value.as_str())
    }

    pub(super) fn error(&self, what: impl Into<String>) -> IcsError {
        IcsError::Event { summary: self.summary(), what: what.into() }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.all("STATUS").any(|p| p.value.eq_ignore_ascii_case("CANCELLED"))
    }

    /// Whether it has the category FREEZE.
    pub(super) fn is_freeze(&self) -> bool {
        self.all("CATEGORIES").any(|p| p.value.split(',').any(|c| c.trim().eq_ignore_ascii_case("FREEZE")))
    }
}
