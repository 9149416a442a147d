//! What each bundle is to a vulnerability, or to a component.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Claim, Part, Source, Status, Subject, Versions};
use crate::digest::Digest;
use crate::id::ProductId;
use crate::version::{Release, Version};

/// What is asked: what a vulnerability is to the bundles, or which of them carry a component. Both: whoever asks says that the
/// vulnerability is in that component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The vulnerability's id.
    pub vulnerability: Option<String>,
    /// The component.
    pub component: Option<Wanted>,
}

/// A component that is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its package URL without version, qualifiers and subpath.
    pub package: Option<String>,
    /// Its name, where no package URL is known.
    pub name: Option<String>,
    /// Which versions of it.
    pub versions: Versions,
}

impl Wanted {
    /// Whether a component is meant.
    pub fn means(&self, part: &Part) -> bool {
        let Self { package, name, versions } = self;
        let subject =
            Subject { package: package.clone(), name: name.clone(), versions: versions.clone(), ..Subject::default() };
        subject.means(part, &[], false)
    }
}

/// A bundle, with what of it matters to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The product.
    pub product: ProductId,
    /// Its place in the product's order.
    pub release: Release,
    /// Its version, for people.
    pub version: Version,
    /// Its identity.
    pub manifest: Digest,
    /// The catalog's path of its manifest.
    pub path: String,
    /// Whether it may be installed: it is neither withdrawn nor unlisted.
    pub installable: bool,
    /// Whether it has an SBOM, and that was read: only then is what it does not list not in it.
    pub listed: bool,
    /// The package URL, and the name, by which its SBOM means the bundle itself, where it does.
    pub itself: Option<Part>,
    /// Serial numbers of its SBOMs.
    pub serials: Vec<String>,
    /// Those of its components that anything of the question may mean.
    pub parts: Vec<Part>,
}

impl Bundle {
    /// Whether a statement's subject means it as a whole. A manufacturer's documents name it as `pkg:generic/<product>`, or as
    /// its SBOM does, or by the product's id.
    fn is_meant_by(&self, subject: &Subject, own: bool) -> bool {
        if let Some(itself) = &self.itself
            && subject.means(&Part { version: self.version.to_string(), ..itself.clone() }, &self.serials, own)
        {
            return true;
        }
        let named = Part {
            package: Some(format!("pkg:generic/{}", self.product)),
            name: self.product.to_string(),
            version: self.version.to_string(),
            reference: None,
        };
        subject.means(&named, &[], false)
    }
}

/// What a bundle is to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is said of it, and it has no SBOM that could be read.
    Unknown,
    /// Nothing is said of it.
    Unstated,
    /// It does not carry the component.
    Absent,
    /// The manufacturer says: not affected.
    NotAffected,
    /// The manufacturer says: fixed.
    Fixed,
    /// The manufacturer says: not known yet.
    UnderInvestigation,
    /// It carries the component; the manufacturer says nothing of the vulnerability.
    Carried,
    /// The manufacturer says: affected.
    Affected,
}

impl Verdict {
    /// All, the worst last.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Unstated,
        Self::Absent,
        Self::NotAffected,
        Self::Fixed,
        Self::UnderInvestigation,
        Self::Carried,
        Self::Affected,
    ];

    /// The name on the wire and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unstated => "unstated",
            Self::Absent => "absent",
            Self::NotAffected => "not_affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
            Self::Carried => "carried",
            Self::Affected => "affected",
        }
    }

    /// The verdict of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == name)
    }

    /// Whether devices that run it count as exposed. What is under investigation may be.
    pub const fn is_exposed(self) -> bool {
        matches!(self, Self::UnderInvestigation | Self::Carried | Self::Affected)
    }

    /// Whether it is known to be free of what is asked for.
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Absent | Self::NotAffected | Self::Fixed)
    }
}

impl From<Status> for Verdict {
    fn from(status: Status) -> Self {
        match status {
            Status::NotAffected => Self::NotAffected,
            Status::Fixed => Self::Fixed,
            Status::UnderInvestigation => Self::UnderInvestigation,
            Status::Affected => Self::Affected,
        }
    }
}

/// A statement that a newer one speaks against, or one of the same document and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overruled {
    /// Where it stands.
    pub source: Source,
    /// What it says.
    pub status: Status,
}

/// What is found of one bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is to the question.
    pub verdict: Verdict,
    /// The statement that decides, where one does.
    pub by: Option<(Source, Claim)>,
    /// The components that are meant: those that were asked for, and those that the statements speak of.
    pub parts: Vec<Part>,
    /// Statements that contradict the one that decides.
    pub overruled: Vec<Overruled>,
}

/// What is found of all bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of each bundle, in their order.
    pub findings: Vec<Finding>,
    /// Of each product the releases that may be installed, are free of it, and come after one that is exposed; ascending.
    pub fixes: BTreeMap<ProductId, Vec<Release>>,
}

impl Answer {
    /// The releases that end it on a device that runs this one.
    pub fn fixes_for(&self, product: &ProductId, running: Release) -> impl Iterator<Item = Release> {
        self.fixes.get(product).into_iter().flatten().copied().filter(move |fix| *fix > running)
    }
}

/// Answers a question about bundles, by all statements in force about their products that name the vulnerability.
pub fn answer(question: &Question, bundles: &[Bundle], claims: &BTreeMap<ProductId, Vec<(Source, Claim)>>) -> Answer {
    let none = Vec::new();
    let findings: Vec<Finding> =
        bundles.iter().map(|b| find(question, b, claims.get(&b.product).unwrap_or(&none))).collect();
    let mut first: BTreeMap<&ProductId, Release> = BTreeMap::new();
    for (bundle, _) in bundles.iter().zip(&findings).filter(|(_, f)| f.verdict.is_exposed()) {
        first.entry(&bundle.product).and_modify(|r| *r = bundle.release.min(*r)).or_insert(bundle.release);
    }
    let mut fixes: BTreeMap<ProductId, Vec<Release>> = BTreeMap::new();
    for (bundle, finding) in bundles.iter().zip(&findings) {
        let after = first.get(&bundle.product).is_some_and(|first| bundle.release > *first);
        if after && bundle.installable && finding.verdict.is_free() {
            fixes.entry(bundle.product.clone()).or_default().push(bundle.release);
        }
    }
    fixes.values_mut().for_each(|releases| releases.sort_unstable());
    Answer { findings, fixes }
}

/// One statement as far as it concerns a bundle.
#[derive(Clone, Copy)]
struct Said<'a> {
    source: &'a Source,
    claim: &'a Claim,
    /// Where it stands among all.
    place: usize,
}

impl Said<'_> {
    /// The last one counts. Where nothing says which of two was said later, that is the worse one.
    fn order(&self) -> ((Release, u64), Option<Timestamp>, Status, usize) {
        (self.source.order(), self.claim.at, self.claim.status, self.place)
    }

    fn overruled(&self) -> Overruled {
        Overruled { source: self.source.clone(), status: self.claim.status }
    }
}

/// The one that counts. Of the others those that say otherwise are overruled; that a thing was being investigated is no
/// contradiction to what came of it.
fn newest<'a>(said: &[Said<'a>], overruled: &mut Vec<Overruled>) -> Option<Said<'a>> {
    let newest = *said.iter().max_by_key(|s| s.order())?;
    let otherwise = |s: &&Said<'_>| ![newest.claim.status, Status::UnderInvestigation].contains(&s.claim.status);
    overruled.extend(said.iter().filter(otherwise).map(Said::overruled));
    Some(newest)
}

/// All that is said of one bundle.
#[derive(Default)]
struct Heard<'a> {
    /// Of the bundle as a whole.
    whole: Vec<Said<'a>>,
    /// Of its components.
    of_parts: BTreeMap<usize, Vec<Said<'a>>>,
    /// Components that are asked for, or that another release is affected through.
    suspects: BTreeSet<usize>,
    /// Whether a component is looked for at all.
    by_component: bool,
}

impl<'a> Heard<'a> {
    fn of(question: &Question, bundle: &Bundle, claims: &'a [(Source, Claim)]) -> Self {
        let mut heard = Self { by_component: question.component.is_some(), ..Self::default() };
        let parts = || bundle.parts.iter().enumerate();
        if let Some(wanted) = &question.component {
            heard.suspects.extend(parts().filter(|(_, part)| wanted.means(part)).map(|(i, _)| i));
        }
        let Some(vulnerability) = &question.vulnerability else { return heard };
        for (place, (source, claim)) in claims.iter().enumerate().filter(|(_, (_, c))| c.names(vulnerability)) {
            let (said, own) = (Said { source, claim, place }, source.path == bundle.path);
            let whole =
                if claim.about.is_empty() { own } else { claim.about.iter().any(|s| bundle.is_meant_by(s, own)) };
            if whole {
                heard.whole.push(said);
            }
            let affected = claim.status == Status::Affected;
            heard.by_component |= affected && claim.about.iter().any(|s| s.package.is_some());
            for (i, part) in parts() {
                if claim.about.iter().any(|s| s.means(part, &bundle.serials, own)) {
                    if own || source.is_published() {
                        heard.of_parts.entry(i).or_default().push(said);
                    } else if affected {
                        heard.suspects.insert(i);
                    }
                }
            }
        }
        heard
    }
}

fn find(question: &Question, bundle: &Bundle, claims: &[(Source, Claim)]) -> Finding {
    let Heard { whole, of_parts, suspects, by_component } = Heard::of(question, bundle, claims);
    let mut overruled = Vec::new();
    let whole = newest(&whole, &mut overruled);
    let mut counting: Vec<Said<'_>> = whole.into_iter().collect();
    let mut meant: BTreeSet<usize> = suspects.clone();
    for (part, said) in &of_parts {
        let Some(said) = newest(said, &mut overruled) else { continue };
        meant.insert(*part);
        match whole {
            Some(whole) if said.source.order() < whole.source.order() => {
                if ![whole.claim.status, Status::UnderInvestigation].contains(&said.claim.status) {
                    overruled.push(said.overruled());
                }
            }
            _ => counting.push(said),
        }
    }
    let worst = counting.iter().max_by_key(|s| (s.claim.status, s.order()));
    // A word on the whole bundle, or on the component itself, is an answer to the suspicion.
    let suspected = whole.is_none() && suspects.iter().any(|part| !of_parts.contains_key(part));
    let stated = worst.map(|said| Verdict::from(said.claim.status));
    let unstated = match (bundle.listed, by_component) {
        (false, _) => Verdict::Unknown,
        (true, true) => Verdict::Absent,
        (true, false) => Verdict::Unstated,
    };
    let verdict = match stated {
        Some(stated) if suspected => stated.max(Verdict::Carried),
        Some(stated) => stated,
        None if suspected => Verdict::Carried,
        None => unstated,
    };
    let by = worst.filter(|_| stated == Some(verdict)).map(|said| (said.source.clone(), said.claim.clone()));
    let parts = meant.into_iter().filter_map(|i| bundle.parts.get(i).cloned()).collect();
    overruled.sort_by(|a, b| (b.source.order(), &b.source.path).cmp(&(a.source.order(), &a.source.path)));
    overruled.dedup();
    Finding { verdict, by, parts, overruled }
}

#[cfg(test)]
mod tests;
