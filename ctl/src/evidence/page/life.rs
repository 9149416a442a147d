//! What the report says of a product's life: support, vulnerabilities, and what the two sides have written to one another.

use suture_core::clock::{day_of, format_utc};
use suture_core::notice::Said;

use super::html::Page;
use crate::evidence::Evidence;

/// Stage and dates of each bundle on the day on which the evidence was made, and statements about vulnerabilities.
pub(super) fn support(page: &mut Page, evidence: &Evidence) {
    if evidence.lives.is_empty() && evidence.vex.is_empty() {
        return;
    }
    page.section("Support and vulnerabilities");
    let day = day_of(evidence.about.made);
    let rows = evidence.bundles.iter().filter_map(|bundle| {
        let m = &bundle.manifest;
        let standing = evidence.lives.get(&m.product)?.standing(Some(m.release), day);
        let date = |date: Option<jiff::civil::Date>| date.map(|d| d.to_string()).unwrap_or_default();
        Some([
            format!("{} release {}", m.product, m.release),
            standing.stage.to_string(),
            date(standing.dates.end_of_life),
            date(standing.dates.end_of_support),
            standing.not_covered.join("; "),
        ])
    });
    let headings = ["bundle", "stage on the day of making", "end of life", "end of support", "no longer covered"];
    page.table("Life cycle (IMDRF N70), signed by the manufacturer", headings, rows);
    let rows = evidence.vex.iter().map(|(path, vex)| {
        let statements = vex.as_ref().map_or_else(|| "cannot be read".to_owned(), |v| v.statements.len().to_string());
        [path.clone(), statements]
    });
    page.table("Statements about vulnerabilities beside the bundles, signed", ["file", "statements"], rows);
}

/// Notices, reports of suspicion and how they were answered.
pub(super) fn letters(page: &mut Page, evidence: &Evidence) {
    let letters = &evidence.letters;
    let told = letters.all.iter().filter(|(letter, _)| !matches!(letter.said, Said::Acknowledgement(_)));
    let rows = told.map(|(letter, is_listed)| {
        let (subject, severity) = match &letter.said {
            Said::Notice(notice) => (notice.subject.clone(), notice.severity.to_string()),
            Said::Suspicion(suspicion) => (suspicion.text.clone(), suspicion.severity.to_string()),
            Said::Acknowledgement(_) => (String::new(), String::new()),
        };
        let answer = letters.answer(letter).map_or_else(String::new, |answer| match &answer.said {
            Said::Acknowledgement(words) => {
                format!("{} {}: {}", answer.name, format_utc(answer.written_at), words.text)
            }
            Said::Notice(_) | Said::Suspicion(_) => String::new(),
        });
        [
            format!("{} {}", letter.from, letter.number),
            letter.said.kind().to_owned(),
            severity,
            subject,
            format!("{} {}", letter.name, format_utc(letter.written_at)),
            if *is_listed { "verified" } else { "NO ROOT HERE NAMES ITS KEY" }.to_owned(),
            answer,
        ]
    });
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    page.section("Notices and reports of suspicion");
    let headings = ["letter", "kind", "severity", "subject", "written by", "signature", "acknowledged, signed"];
    page.table("Each series whole from its first letter on", headings, rows);
}
