//! What a notice says, to however many hospitals: the same content in each one's series.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::support::SupportChange;
use super::{said, within};
use crate::clock::{day_or_none, utc};
use crate::digest::Digest;
use crate::id::{HardwareId, ProductId};
use crate::json::{self, JsonError};
use crate::limits::{MAX_NOTICE_ITEMS, MAX_NOTICE_TEXT_BYTES, MAX_SUBJECT_BYTES, MAX_TEXT_BYTES, MAX_URL_BYTES};
use crate::version::{Release, ReleaseRange};

/// What kind of notice it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A vulnerability, and what to do until there is a patch.
    Advisory,
    /// A patch is there.
    PatchAvailable,
    /// A release must not be used.
    Withdrawal,
    /// The product is sold no longer; support becomes limited.
    EndOfLife,
    /// Support ends.
    EndOfSupport,
    /// A third party ends its support of a component.
    ComponentEndOfSupport,
    /// A risk that remains, and that the hospital bears from now on.
    ResidualRisk,
    /// How the device is taken out of service.
    Decommissioning,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Advisory,
        Self::PatchAvailable,
        Self::Withdrawal,
        Self::EndOfLife,
        Self::EndOfSupport,
        Self::ComponentEndOfSupport,
        Self::ResidualRisk,
        Self::Decommissioning,
    ];

    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Advisory => "advisory",
            Self::PatchAvailable => "patch-available",
            Self::Withdrawal => "withdrawal",
            Self::EndOfLife => "end-of-life",
            Self::EndOfSupport => "end-of-support",
            Self::ComponentEndOfSupport => "component-end-of-support",
            Self::ResidualRisk => "residual-risk",
            Self::Decommissioning => "decommissioning",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How bad it is, as its writer judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nobody need hurry.
    Informational,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// Patients may be harmed.
    Critical,
}

impl Severity {
    /// All of them, ascending.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in documents and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|s| s.as_str() == text);
        known.ok_or("a severity is `informational`, `low`, `medium`, `high` or `critical`")
    }
}

/// A vulnerability by its CVE id, as in `CVE-2026-12345`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cve(String);

impl FromStr for Cve {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |t: &str, most: usize| (4..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        let parts = text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-'));
        match parts {
            Some((year, number)) if digits(year, 4) && digits(number, 19) => Ok(Self(text.to_owned())),
            _ => Err(format!("{:?} is no id like CVE-2026-12345", text.chars().take(32).collect::<String>())),
        }
    }
}

impl TryFrom<String> for Cve {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cve> for String {
    fn from(cve: Cve) -> Self {
        cve.0
    }
}

impl fmt::Display for Cve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document that belongs to it, by its digest: whoever gets it by whatever way can tell that it is the one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What it is called.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// Where it is, `https://`; empty where it comes by another way.
    #[serde(default)]
    pub url: String,
}

/// The content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// What kind it is.
    pub kind: Kind,
    /// The product.
    pub product: ProductId,
    /// Releases that it concerns; none: all.
    #[serde(default)]
    pub releases: Vec<ReleaseRange>,
    /// Hardware revisions that it concerns; none: all.
    #[serde(default)]
    pub hardware: Vec<HardwareId>,
    /// How bad it is.
    pub severity: Severity,
    /// Vulnerabilities that it is about.
    #[serde(default)]
    pub cves: Vec<Cve>,
    /// One line.
    pub subject: String,
    /// What is the matter.
    pub text: String,
    /// What to do.
    pub actions: String,
    /// What protects the devices meanwhile; empty where the kind does not ask for it.
    #[serde(default)]
    pub compensating: String,
    /// The release that ends it, where there is one.
    #[serde(default)]
    pub fixed_by: Option<Release>,
    /// How support changes.
    #[serde(default)]
    pub support: Option<SupportChange>,
    /// Where there is more, each `https://`.
    #[serde(default)]
    pub links: Vec<String>,
    /// Documents.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// The day on which the manufacturer learned of the risk, from which the clocks of 30 and 60 days run.
    #[serde(default, with = "day_or_none")]
    pub learned: Option<Date>,
    /// By when the hospital answers.
    #[serde(with = "utc")]
    pub acknowledge_by: Timestamp,
}

/// A notice that lacks what its kind must say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a notice of the kind {kind} for {product} must say more: {}", .missing.join("; "))]
pub struct Incomplete {
    /// Its kind.
    pub kind: Kind,
    /// Its product.
    pub product: ProductId,
    /// Everything that is missing.
    pub missing: Vec<&'static str>,
}

impl Notice {
    /// Whether it says all that its kind must say. For an end of life or of support that is IMDRF N70's list: device, operating
    /// system, deployed version, components, date of service change, remaining maintenance, compensating controls, options
    /// of upgrade. For a vulnerability it is what FDA's postmarket guidance wants customers told: what to do meanwhile.
    ///
    /// # Errors
    ///
    /// All that is missing.
    pub fn complete(&self) -> Result<(), Incomplete> {
        use Kind::{
            Advisory, ComponentEndOfSupport, EndOfLife, EndOfSupport, PatchAvailable, ResidualRisk, Withdrawal,
        };
        let kind = self.kind;
        let ends = matches!(kind, EndOfLife | EndOfSupport);
        let support = ends || kind == ComponentEndOfSupport;
        let wanted = [
            (ends || kind == Withdrawal, !self.releases.is_empty(), "releases: which versions it concerns"),
            (
                support || matches!(kind, Advisory | ResidualRisk),
                said(&self.compensating, MAX_NOTICE_TEXT_BYTES),
                "compensating: what protects the devices meanwhile",
            ),
            (kind == PatchAvailable, self.fixed_by.is_some(), "fixed_by: the release that is the patch"),
            (support, self.support.is_some(), "support.service_change: the day on which the service changes"),
        ];
        let mut missing: Vec<&'static str> =
            wanted.into_iter().filter(|(asked, there, _)| *asked && !there).map(|(_, _, what)| what).collect();
        if support {
            let of_a_component = kind == ComponentEndOfSupport;
            match &self.support {
                Some(change) => missing.extend(change.missing(of_a_component)),
                None if of_a_component => missing.push("support.components"),
                None => missing.extend(["support.operating_system", "support.maintenance", "support.upgrades"]),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Incomplete { kind, product: self.product.clone(), missing }) }
    }

    /// The first rule that does not hold, whatever its kind.
    pub(super) fn broken_rule(&self) -> Option<&'static str> {
        let link = |url: &String| {
            let host = url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
            host && url.len() <= MAX_URL_BYTES && !url.chars().any(|c| c.is_control() || c == ' ')
        };
        let attachment = |a: &Attachment| said(&a.name, MAX_TEXT_BYTES) && (a.url.is_empty() || link(&a.url));
        let lists =
            [self.releases.len(), self.hardware.len(), self.cves.len(), self.links.len(), self.attachments.len()];
        let rules = [
            (
                said(&self.subject, MAX_SUBJECT_BYTES) && !self.subject.contains('\n'),
                "its subject is not one line of at most 200 bytes",
            ),
            (said(&self.text, MAX_NOTICE_TEXT_BYTES), "its text is empty or too long"),
            (
                said(&self.actions, MAX_NOTICE_TEXT_BYTES),
                "it does not say what to do (actions), or at too great length",
            ),
            (
                within(&self.compensating, MAX_NOTICE_TEXT_BYTES),
                "what protects the devices meanwhile is said at too great length",
            ),
            (lists.iter().all(|n| *n <= MAX_NOTICE_ITEMS), "one of its lists is too long"),
            (self.cves.iter().collect::<BTreeSet<_>>().len() == self.cves.len(), "it names a CVE twice"),
            (self.links.iter().all(link), "a link is not https://, or too long"),
            (self.attachments.iter().all(attachment), "an attachment has no name, or a link that is not https://"),
        ];
        crate::approval::first_broken(&rules).or_else(|| self.support.as_ref().and_then(SupportChange::broken_rule))
    }

    /// What the same content has in common in all hospitals' series: its SHA-256.
    ///
    /// # Errors
    ///
    /// It cannot be written as canonical JSON.
    pub fn id(&self) -> Result<Digest, JsonError> {
        Ok(Digest::of(&json::to_canonical(self)?))
    }
}
