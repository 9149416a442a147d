//! What the report says of notices and reports of suspicion.

use suture_core::clock::format_utc;

use super::html::Page;
use crate::evidence::Evidence;
use crate::evidence::facts::notice::step;
use crate::evidence::facts::{Facts, Notice, text};

/// How far one came, in one cell.
fn answered(notice: &Notice) -> String {
    match (&notice.acknowledged, notice.answer_by) {
        (Some(a), _) => {
            let how = if a.signed { "signed" } else { "server: by certificate alone" };
            format!("{} {}: {} ({how})", a.by, format_utc(a.at), a.text)
        }
        (None, Some(by)) if notice.overdue => {
            format!("OVERDUE since {}, repeated {} times (server)", format_utc(by), notice.repeats)
        }
        (None, Some(by)) => format!("asked for by {} (server)", format_utc(by)),
        (None, None) => String::new(),
    }
}

/// All of them, and how they were answered.
pub(super) fn notices(page: &mut Page, evidence: &Evidence, facts: &Facts) {
    if facts.notices.is_empty() {
        return;
    }
    page.section("Notices and reports of suspicion");
    let of_hospital = evidence.about.hdo.is_some();
    let rows = facts.notices.iter().map(|n| {
        let letter =
            if of_hospital { format!("{} {}", n.from, n.number) } else { format!("{} {} {}", n.hdo, n.from, n.number) };
        [
            letter,
            n.kind.clone(),
            n.severity.clone(),
            n.subject.clone(),
            format!("{} {}", n.written_by, format_utc(n.written_at)),
            n.signature().to_owned(),
            text(n.published),
            step(n.delivered.as_ref()),
            step(n.read.as_ref()),
            answered(n),
        ]
    });
    let caption = match of_hospital {
        true => "About the products of this evidence; each series is in the folder whole from its first letter on",
        false => "About the product, with every hospital that was written to or has written",
    };
    let headings = [
        "letter",
        "kind (signed)",
        "severity (signed)",
        "subject (signed)",
        "written (signed)",
        "signature",
        "published (server)",
        "delivered (server)",
        "read (server)",
        "acknowledged",
    ];
    page.table(caption, headings, rows);
}
