//! What vulnerabilities are open in a bundle: those by which devices that run it are exposed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::exposure::{Claim, Finding, Question, Source, Verdict, answer};
use suture_core::id::ProductId;
use suture_core::limits::MAX_SHOWN_VULNERABILITIES;

use super::{Known, Listed};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;

/// The open vulnerabilities of a bundle, by the documents that the catalog pins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Open {
    /// By id, the worst first.
    pub vulnerabilities: Vec<Vulnerability>,
    /// How many more there are.
    pub more: usize,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vulnerability {
    /// The id by which the statement knows it.
    pub id: String,
    /// `affected`, `carried` or `under_investigation`.
    pub verdict: String,
    /// Where that is said, as the catalog's path; none where it follows from what is carried.
    pub said_in: Option<String>,
}

/// What one is to a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The id by which the statement knows it.
    pub id: String,
    /// What it is.
    pub verdict: Verdict,
    /// Where that is said, as the catalog's path; none where it follows from what is carried.
    pub said_in: Option<String>,
}

impl Known {
    /// What is open in the bundle of that manifest, the worst first and as much as people read; none where the catalog does not
    /// list it.
    pub fn open(&self, manifest: &Digest) -> Option<Open> {
        let mut vulnerabilities = self.all_open(manifest)?;
        let more = vulnerabilities.len().saturating_sub(MAX_SHOWN_VULNERABILITIES);
        vulnerabilities.truncate(MAX_SHOWN_VULNERABILITIES);
        Some(Open { vulnerabilities, more })
    }

    /// All that is open in it, the worst first.
    pub fn all_open(&self, manifest: &Digest) -> Option<Vec<Vulnerability>> {
        let mut found: Vec<Judged> =
            self.judged(manifest)?.into_iter().filter(|judged| judged.verdict.is_exposed()).collect();
        found.sort_by(|a, b| (b.verdict, &a.id).cmp(&(a.verdict, &b.id)));
        let shown =
            |Judged { id, verdict, said_in }| Vulnerability { id, verdict: verdict.as_str().to_owned(), said_in };
        Some(found.into_iter().map(shown).collect())
    }

    /// What each vulnerability of which a statement in force speaks is to the bundle of that manifest, by id.
    pub fn judged(&self, manifest: &Digest) -> Option<Vec<Judged>> {
        let bundle = self.bundles.iter().find(|bundle| bundle.manifest == *manifest)?;
        let product = &bundle.product;
        // Of many statements few speak of one vulnerability, and only those decide.
        let mut by_name: BTreeMap<String, Vec<(Source, Claim)>> = BTreeMap::new();
        for (source, claim) in self.claims.get(product).into_iter().flatten() {
            let names: BTreeSet<String> = claim.vulnerability.iter().map(|name| name.to_ascii_lowercase()).collect();
            for name in names {
                by_name.entry(name).or_default().push((source.clone(), claim.clone()));
            }
        }
        let mut all = Vec::new();
        for id in self.vulnerabilities(product) {
            let claims = by_name.get(&id.to_ascii_lowercase()).cloned().unwrap_or_default();
            let question = Question { vulnerability: Some(id.clone()), component: None };
            let claims = BTreeMap::from([(product.clone(), claims)]);
            let found = answer(&question, std::slice::from_ref(bundle), &claims).findings;
            let of = |finding: Finding| Judged {
                id: id.clone(),
                verdict: finding.verdict,
                said_in: finding.by.map(|(source, _)| source.path),
            };
            all.extend(found.into_iter().map(of));
        }
        Some(all)
    }
}

/// What is open in the bundle of that manifest, read now. Where that cannot be said a note says why: what else is known of a
/// device is shown all the same.
pub async fn open(
    context: &mut Context<'_>,
    client: &mut Client,
    product: &ProductId,
    manifest: &Digest,
) -> Option<Open> {
    match read(context, client, product).await {
        Ok(known) => known.open(manifest),
        Err(failure) => {
            let why = failure.message;
            context.print.note(&format!("note: what vulnerabilities are open in what it runs cannot be said: {why}"));
            None
        }
    }
}

async fn read(context: &Context<'_>, client: &mut Client, product: &ProductId) -> Outcome<Known> {
    let listed = Listed::read(context, client).await?;
    Known::read(context, client, &listed, Some(product)).await
}

/// A line each, as `device show` aligns them.
impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vulnerabilities.is_empty() {
            return f.write_str("no vulnerability is known, by the documents that the catalog pins");
        }
        for (n, Vulnerability { id, verdict, said_in }) in self.vulnerabilities.iter().enumerate() {
            let between = if n > 0 { "\n             " } else { "" };
            write!(f, "{between}{id} {verdict}")?;
            if let Some(path) = said_in {
                write!(f, " ({path})")?;
            }
        }
        if self.more > 0 {
            write!(f, "\n             and {} more", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use suture_core::exposure::{Bundle, Part, Status, Subject};
    use suture_core::version::Release;

    use super::*;

    #[test]
    fn what_is_open_is_listed_the_worst_first_and_no_longer_than_people_read() {
        let part = Part { package: Some("pkg:generic/ssl".to_owned()), name: "ssl".to_owned(), ..Part::default() };
        let bundle = Bundle {
            product: "pump".parse().unwrap(),
            release: Release(1),
            version: "1.0.0".parse().unwrap(),
            manifest: Digest::of(b"m"),
            path: "bundles/pump/1/manifest.json".to_owned(),
            installable: true,
            listed: true,
            itself: None,
            serials: Vec::new(),
            parts: vec![part.clone()],
        };
        let claim = |id: &str, status| {
            let source =
                Source { path: "vex/pump/a.json".to_owned(), document: "a".to_owned(), after: Release(1), number: 1 };
            let about = vec![Subject { package: part.package.clone(), ..Subject::default() }];
            let claim = Claim {
                vulnerability: vec![id.to_owned()],
                about,
                status,
                justification: None,
                impact: None,
                action: None,
                at: None,
            };
            (source, claim)
        };
        let mut claims = vec![
            claim("CVE-1", Status::UnderInvestigation),
            claim("CVE-2", Status::Affected),
            claim("CVE-3", Status::Fixed),
        ];
        let known = |claims: &[(Source, Claim)]| Known {
            bundles: vec![bundle.clone()],
            claims: BTreeMap::from([("pump".parse().unwrap(), claims.to_vec())]),
            problems: BTreeMap::new(),
        };
        let open = known(&claims).open(&Digest::of(b"m")).unwrap();
        let ids: Vec<_> = open.vulnerabilities.iter().map(|v| (v.id.as_str(), v.verdict.as_str())).collect();
        assert_eq!(ids, [("CVE-2", "affected"), ("CVE-1", "under_investigation")]);
        assert_eq!(open.to_string().lines().count(), 2);
        assert!(open.to_string().starts_with("CVE-2 affected (vex/pump/a.json)\n"), "{open}");
        assert_eq!(open.vulnerabilities[0].said_in.as_deref(), Some("vex/pump/a.json"));
        claims.extend((0..MAX_SHOWN_VULNERABILITIES).map(|n| claim(&format!("ACME-{n}"), Status::Affected)));
        assert_eq!(known(&claims).open(&Digest::of(b"m")).unwrap().more, 2);
        assert_eq!(known(&claims).open(&Digest::of(b"another")), None);
    }
}
