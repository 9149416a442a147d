//! A notice as its writer writes it: TOML.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;
use suture_core::clock::{parse_day, parse_utc, whole_second};
use suture_core::digest::Digest;
use suture_core::id::{HardwareId, ProductId};
use suture_core::notice::{Attachment, Cve, Kind, Notice, Severity, SupportChange, answer_days};
use suture_core::version::{Release, ReleaseRange};

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;

/// A specification.
const MAX_SPEC_BYTES: u64 = 256 << 10;
/// A document that belongs to a notice: it travels in one message.
const MAX_ATTACHMENT_BYTES: u64 = 8 << 20;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    kind: Kind,
    product: ProductId,
    #[serde(default)]
    releases: Vec<ReleaseRange>,
    #[serde(default)]
    hardware: Vec<HardwareId>,
    severity: Severity,
    #[serde(default)]
    cves: Vec<Cve>,
    subject: String,
    text: String,
    actions: String,
    #[serde(default)]
    compensating: String,
    fixed_by: Option<u64>,
    support: Option<SupportChange>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    attachment: Vec<Attached>,
    learned: Option<String>,
    acknowledge_by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    path: PathBuf,
    name: Option<String>,
}

/// A notice, and the documents that belong to it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) notice: Notice,
    pub(super) documents: Vec<Vec<u8>>,
}

/// When a notice is to be answered where its writer does not say.
pub(crate) fn due(kind: Kind, severity: Severity, now: Timestamp) -> Timestamp {
    let by = now.checked_add((24 * answer_days(kind, severity)).hours());
    whole_second(by.unwrap_or(Timestamp::MAX))
}

/// Reads the file, and what it names beside it.
pub(super) fn read(path: &Path, now: Timestamp) -> Outcome<Read> {
    let name = path.display();
    let bytes = files::read(path, MAX_SPEC_BYTES)?.ok_or_else(|| Failure::new(format!("there is no {name}")))?;
    let text = String::from_utf8(bytes).or_fail(|| format!("{name} is not text"))?;
    let spec: Spec = toml::from_str(&text)
        .or_fail(|| format!("{name} is no notice; `suturectl notice publish --help` shows one"))?;
    let wrong =
        |field: &str, text: &str, form: &str| Failure::new(format!("{name}: {field} = {text:?} is not like {form}"));
    let learned = match &spec.learned {
        Some(text) => Some(parse_day(text).ok_or_else(|| wrong("learned", text, "2026-11-20"))?),
        None => None,
    };
    let acknowledge_by = match &spec.acknowledge_by {
        Some(text) => parse_utc(text).ok_or_else(|| wrong("acknowledge_by", text, "2026-12-01T12:00:00Z"))?,
        None => due(spec.kind, spec.severity, now),
    };
    let beside = path.parent().unwrap_or(Path::new(""));
    let (mut attachments, mut documents) = (Vec::new(), Vec::new());
    for Attached { path, name } in spec.attachment {
        let place = beside.join(&path);
        let bytes = files::read(&place, MAX_ATTACHMENT_BYTES)?
            .ok_or_else(|| Failure::new(format!("there is no {}", place.display())))?;
        let name = name.unwrap_or_else(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let (length, sha256) = (bytes.len() as u64, Digest::of(&bytes));
        attachments.push(Attachment { name, length, sha256, url: String::new() });
        documents.push(bytes);
    }
    let notice = Notice {
        kind: spec.kind,
        product: spec.product,
        releases: spec.releases,
        hardware: spec.hardware,
        severity: spec.severity,
        cves: spec.cves,
        subject: spec.subject,
        text: spec.text,
        actions: spec.actions,
        compensating: spec.compensating,
        fixed_by: spec.fixed_by.map(Release),
        support: spec.support,
        links: spec.links,
        attachments,
        learned,
        acknowledge_by,
    };
    Ok(Read { notice, documents })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T15:00:00Z".parse().unwrap()
    }

    fn write(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("notice.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_example_of_the_help_is_a_notice_and_is_due_by_its_severity() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), super::super::publish::SPEC);
        let notice = read(&path, now()).unwrap().notice;
        notice.complete().unwrap();
        assert_eq!(notice.acknowledge_by, "2026-12-01T15:00:00Z".parse().unwrap(), "high: within a week");
    }

    #[test]
    fn documents_are_named_by_digest_and_mistakes_by_their_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fsn.pdf"), "pdf").unwrap();
        let more = "acknowledge_by = \"2026-12-24T00:00:00Z\"\n[[attachment]]\npath = \"fsn.pdf\"\n";
        let spec = format!("{}{more}", super::super::publish::SPEC);
        let with = read(&write(dir.path(), &spec), now()).unwrap();
        let attachment = &with.notice.attachments[0];
        assert_eq!((attachment.name.as_str(), attachment.sha256), ("fsn.pdf", Digest::of(b"pdf")));
        assert_eq!(with.documents, [b"pdf"]);
        for (from, to, told) in [
            ("fsn.pdf", "none.pdf", "none.pdf"),
            ("2026-12-24T00:00:00Z", "tomorrow", "acknowledge_by"),
            ("severity = \"high\"", "severity = \"dire\"", "dire"),
            ("actions", "action", "action"),
        ] {
            let failure = read(&write(dir.path(), &spec.replace(from, to)), now()).unwrap_err().to_text();
            assert!(failure.contains(told), "{told}: {failure}");
        }
    }
}
