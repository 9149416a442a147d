//! What the report says of the server's audit record, and of the roots that all of it rests on.

use suture_core::clock::format_utc;

use super::html::Page;
use crate::evidence::Evidence;
use crate::evidence::facts::text;
use crate::evidence::repository::Repository;

pub(super) fn record(page: &mut Page, evidence: &Evidence) {
    let Some(record) = &evidence.record else { return };
    page.section("The server's audit record");
    page.paragraph(&format!(
        "Entries that concern this, each proven to stand among the {} that the checkpoint with the root {} stands for. The record \
         is known by the key {}.",
        record.head.size, record.head.root, record.key
    ));
    let rows = record.entries.iter().map(|e| {
        let detail =
            if e.detail.is_empty() { String::new() } else { serde_json::Value::Object(e.detail.clone()).to_string() };
        [e.seq.to_string(), format_utc(e.at), e.actor.clone(), e.action.clone(), e.subject.clone(), detail]
    });
    page.table("By the server's clock", ["entry", "at", "who", "did", "to", "with"], rows);
}

pub(super) fn trust(page: &mut Page, evidence: &Evidence) {
    page.section("What all of this rests on");
    page.paragraph(
        "Whether these roots are the right ones this page cannot say, nor whether the audit record's key is: compare their \
         fingerprints with the manufacturer and the hospital over another channel, and the key with `suturectl audit key`. `suturectl evidence verify DIR` verifies every file again from them on, without a server.",
    );
    let row = |name: &str, repository: &Repository| {
        let (first, last) = (repository.roots.first().map_or(0, |r| r.version()), repository.base.root().version());
        [
            name.to_owned(),
            repository.pinned().to_string(),
            format!("{first} to {last}"),
            repository.base.targets_metadata().version().to_string(),
            text(repository.base.targets_metadata().signed_at()),
        ]
    };
    let repositories =
        [("catalog (manufacturer)", Some(&evidence.catalog)), ("approvals (hospital)", evidence.approvals.as_ref())];
    let rows = repositories.into_iter().filter_map(|(name, repository)| Some(row(name, repository?)));
    page.table(
        "Signed repositories",
        ["repository", "fingerprint of the pinned root (SHA-256)", "roots", "targets version", "signed at"],
        rows,
    );
    page.table(
        "Hospitals, by the first root that each has shown",
        ["hospital", "fingerprint (SHA-256)"],
        evidence.partners.first().map(|(hdo, root)| [hdo.to_string(), root.to_string()]),
    );
}
