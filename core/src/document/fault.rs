//! Why a document was refused, and where in it.

/// What is wrong with a document that others wrote, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if place.is_empty() { "the document" } else { place })]
pub struct DocumentFault {
    /// As in `components[17].purl`; empty for the document itself.
    pub place: String,
    /// What is expected there, or what contradicts what.
    pub problem: String,
}

impl DocumentFault {
    /// A fault in what is being read; whoever reads around it says where that is ([`Self::under`]).
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { place: String::new(), problem: problem.into() }
    }

    /// `expected …, found …`, with a shortened and escaped rendering of what was found.
    pub(super) fn expected(what: &str, found: &str) -> Self {
        let shown: String = found.chars().take(60).collect();
        let cut = if shown.len() < found.len() { "…" } else { "" };
        Self::new(format!("expected {what}, found {shown:?}{cut}"))
    }

    /// The same, one step further out: inside the field of that name, or the item `[7]`.
    pub(super) fn under(mut self, step: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{step}{dot}{}", self.place);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_from_the_outside_in() {
        let fault =
            DocumentFault::expected("a package URL", "pkg;\u{1b}x").under("purl").under("[17]").under("components");
        assert_eq!(fault.to_string(), r#"components[17].purl: expected a package URL, found "pkg;\u{1b}x""#);
        assert_eq!(DocumentFault::new("is empty").to_string(), "the document: is empty");
        let long = DocumentFault::expected("less", &"y".repeat(100)).to_string();
        assert!(long.len() < 120, "{long}");
    }
}
