//! What vulnerabilities are open in a bundle: those by which devices that run it are exposed.

use std::fmt;

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::exposure::{Question, answer};
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

impl Known {
    /// What is open in the bundle of that manifest; none where the catalog does not list it.
    pub fn open(&self, manifest: &Digest) -> Option<Open> {
        let bundle = self.bundles.iter().find(|bundle| bundle.manifest == *manifest)?;
        let mut found = Vec::new();
        for id in self.vulnerabilities(&bundle.product) {
            let question = Question { vulnerability: Some(id.clone()), component: None };
            for finding in answer(&question, std::slice::from_ref(bundle), &self.claims).findings {
                if finding.verdict.is_exposed() {
                    found.push((finding.verdict, id.clone(), finding.by.map(|(source, _)| source.path)));
                }
            }
        }
        found.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
        let more = found.len().saturating_sub(MAX_SHOWN_VULNERABILITIES);
        let shown = found.into_iter().take(MAX_SHOWN_VULNERABILITIES);
        let vulnerabilities = shown
            .map(|(verdict, id, said_in)| Vulnerability { id, verdict: verdict.as_str().to_owned(), said_in })
            .collect();
        Some(Open { vulnerabilities, more })
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
    use std::collections::BTreeMap;

    use suture_core::exposure::{Bundle, Claim, Part, Source, Status, Subject};
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
