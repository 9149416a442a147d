//! What each path of the folder stands for, and what a file there rests on.

use suture_core::id::{ApprovalId, ProductId};
use suture_core::sign::PublicKey;
use suture_core::version::Release;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// For whoever opens the folder.
    Readme,
    /// The page.
    Page,
    /// A root of a repository.
    Root,
    /// Other metadata of a repository.
    Metadata,
    /// A manifest.
    Manifest,
    /// Another file that the catalog lists.
    CatalogTarget,
    /// A file that the hospital's approvals list or pin.
    Approved,
    /// A signer's statement.
    Statement(ApprovalId, PublicKey),
    /// A stop order or a lift.
    Stop(ApprovalId),
    /// A plan.
    Plan,
    /// A signed decision.
    Decision(u64),
    /// A document of a bundle.
    Document(ProductId, Release, String),
    /// A letter of one side to the other.
    Letter,
    /// A root of a hospital that the manufacturer writes to.
    Partner,
    /// An assessment of risk.
    Risk(u64),
    /// Who does what, as the manufacturer proposed it, or the hospital's consent.
    Agreement,
    /// The audit record's key, checkpoint or entries.
    Record,
    /// The devices' reports.
    Reports,
    /// Who vouches for the index.
    Seal,
    /// The server's word.
    Served,
    /// Drawn from the others.
    Fact,
}

impl Kind {
    /// What a path stands for; none where the folder has no such file.
    pub fn of(path: &str) -> Option<Self> {
        let json = |name: &str| name.strip_suffix(".json").map(str::to_owned);
        match path {
            "README.md" => return Some(Self::Readme),
            "index.html" => return Some(Self::Page),
            super::seal::PATH => return Some(Self::Seal),
            "reports.jsonl" => return Some(Self::Reports),
            super::audit::KEY | super::audit::CHECKPOINT | super::audit::ENTRIES => return Some(Self::Record),
            _ => {}
        }
        let (directory, name) = path.split_once('/')?;
        if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return None;
        }
        match directory {
            "catalog" | "approvals" => Some(match (directory, name.contains('/')) {
                (_, false) if name.ends_with(".root.json") => Self::Root,
                (_, false) => Self::Metadata,
                ("catalog", _) if name.starts_with("bundles/") => Self::Manifest,
                ("catalog", _) => Self::CatalogTarget,
                _ => Self::Approved,
            }),
            "statements" => suture_core::approval::path::statement_of(path).map(|(id, key)| Self::Statement(id, key)),
            "stops" => json(name)?.parse().ok().map(Self::Stop),
            "plans" => json(name)?.parse::<suture_core::digest::Digest>().ok().map(|_| Self::Plan),
            "letters" => super::letters::of_path(path).map(|_| Self::Letter),
            "hospitals" => super::partners::of_path(path).map(|_| Self::Partner),
            "risks" => json(name)?.parse().ok().filter(|n| path == super::words::risk(*n)).map(Self::Risk),
            "agreements" => super::words::agreed_at(path).map(|_| Self::Agreement),
            "decisions" => json(name)?.parse().ok().filter(|n| path == decision(*n)).map(Self::Decision),
            "documents" => {
                let mut parts = name.splitn(3, '/');
                let product = parts.next()?.parse().ok()?;
                let release = parts.next()?.parse().ok().map(Release)?;
                let file = parts.next().filter(|file| !file.contains('/'))?;
                Some(Self::Document(product, release, file.to_owned()))
            }
            "served" => Some(Self::Served),
            "facts" if !name.contains('/') => Some(Self::Fact),
            _ => None,
        }
    }

    /// Whether it is drawn from the other files.
    pub fn is_drawn(&self) -> bool {
        matches!(self, Self::Readme | Self::Page | Self::Fact)
    }

    /// What it is, for people.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Readme => "what is what",
            Self::Page => "the report",
            Self::Root => "a root: whose signatures count",
            Self::Metadata => "signed metadata of a repository",
            Self::Manifest => "a bundle's manifest",
            Self::CatalogTarget => "a file that the manufacturer has signed",
            Self::Approved => "a file that the hospital has signed",
            Self::Statement(..) => "a signer's name, role, meaning, reason and time",
            Self::Stop(_) => "a stop order, or its lifting",
            Self::Plan => "a plan",
            Self::Decision(_) => "a decision not to install, or not yet",
            Self::Document(..) => "a document of a bundle",
            Self::Letter => "a notice, a report of suspicion, or its acknowledgement",
            Self::Partner => "a root of a hospital: whose signatures count there",
            Self::Risk(_) => "an assessment of risk, or its acceptance",
            Self::Agreement => "who does what, as both sides agreed",
            Self::Record => "the server's audit record, as far as it concerns this",
            Self::Reports => "reports of devices, with their signatures",
            Self::Seal => "who vouches for the index",
            Self::Served => "what the server says",
            Self::Fact => "drawn from the other files",
        }
    }

    /// What it rests on, for people.
    pub fn rests_on(&self) -> &'static str {
        match self {
            Self::Readme | Self::Page | Self::Fact => "the other files; drawn up again by `suturectl evidence verify`",
            Self::Root => "the root before it; the first by its fingerprint, which people compare",
            Self::Metadata => "the signatures of keys that the root names",
            Self::Manifest => "the catalog's signed metadata, or an approval",
            Self::CatalogTarget => "the catalog's signed metadata",
            Self::Approved => "the approvals' signed metadata, directly or through another file that they pin",
            Self::Statement(..) => "the signature of the key that it names, one of the hospital's approvers",
            Self::Stop(_) => "the signature of one of the hospital's approvers, a lift of as many as approve",
            Self::Plan => "the digest in a signed approval",
            Self::Decision(_) => "the signature of the key that it names, one of the hospital's approvers",
            Self::Document(..) => "the digest in a manifest",
            Self::Letter => "the signature of the key that it names, and the letter after it, which names it",
            Self::Partner => "the root before it; the first as the hospital has shown it, by its fingerprint",
            Self::Risk(_) | Self::Agreement => {
                "the signature of the key that it names, and the one after it, which names it; without a key the server's word"
            }
            Self::Record => "the checkpoint, which the server has signed with a key that people compare",
            Self::Reports => "the devices' signatures, by the keys on the hospital's signed rosters",
            Self::Seal => "the signature of the key that it names, one of the party's",
            Self::Served => "the server's word alone",
        }
    }
}

/// A signed decision.
pub fn decision(number: u64) -> String {
    format!("decisions/{number}.json")
}

/// A plan.
pub fn plan(sha256: &suture_core::digest::Digest) -> String {
    format!("plans/{sha256}.json")
}

/// An order beside the repository.
pub fn stop(id: &ApprovalId) -> String {
    format!("stops/{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_in_the_folder_has_no_kind() {
        let digest = suture_core::digest::Digest::of(b"plan");
        for path in [
            "catalog/1.root.json",
            "facts/outcome.csv",
            "served/devices.json",
            "letters/riverside/manufacturer/1.json",
            "risks/7.json",
            "agreements/riverside/pump/1.json",
            "agreements/riverside/pump/1.consent.json",
            "hospitals/riverside/2.root.json",
            &plan(&digest),
            &decision(7),
        ] {
            assert!(Kind::of(path).is_some(), "{path}");
        }
        let document = Kind::of("documents/pump/2/sbom.json");
        assert_eq!(document, Some(Kind::Document("pump".parse().unwrap(), Release(2), "sbom.json".to_owned())));
        for path in [
            "thesis.txt",
            "facts/.hidden",
            "facts/a/b",
            "plans/x.json",
            "decisions/07.json",
            "documents/pump/2/a/b",
            "statements/pump-2/key.json",
            "catalog/",
            "stops/../x.json",
            "risks/07.json",
            "letters/riverside/manufacturer/0x1.json",
            "letters/riverside/nobody/1.json",
            "agreements/riverside/pump/1.signed.json",
            "hospitals/riverside/01.root.json",
        ] {
            assert_eq!(Kind::of(path), None, "{path}");
        }
    }
}
