//! What the report says of a product's life: support, and what vulnerabilities are open before and after.

use suture_core::clock::day_of;

use super::html::Page;
use crate::evidence::Evidence;
use crate::evidence::facts::Facts;
use crate::evidence::facts::exposure::{Ran, few};

/// Stage and dates of each bundle on the day on which the evidence was made, and statements about vulnerabilities.
pub(super) fn support(page: &mut Page, evidence: &Evidence) {
    let released = &evidence.released;
    if released.lives.is_empty() && released.vex.is_empty() {
        return;
    }
    page.section("Support, and what is said of vulnerabilities");
    let day = day_of(evidence.about.made);
    let rows = released.bundles.iter().filter(|bundle| bundle.is_subject).filter_map(|bundle| {
        let m = &bundle.manifest;
        let standing = released.lives.get(&m.product)?.standing(Some(m.release), day);
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
    let rows = released.vex.iter().map(|(path, vex)| {
        let statements = vex.as_ref().map_or_else(|| "cannot be read".to_owned(), |v| v.statements.len().to_string());
        [path.clone(), statements]
    });
    page.table("Statements about vulnerabilities beside the bundles, signed", ["file", "statements"], rows);
}

/// Open vulnerabilities of each bundle, what each way from one to another ended, and what each device ran before and after.
pub(super) fn exposure(page: &mut Page, facts: &Facts) {
    let exposure = &facts.exposure;
    if exposure.releases.is_empty() {
        return;
    }
    page.section("Open vulnerabilities, before and after");
    page.paragraph(
        "Judged from the SBOMs and statements that the signed catalog pins, which are in this folder; what a device runs is by its \
         signed reports. A vulnerability counts as ended only where the later bundle is known to be free of it. \
         facts/exposure.json has all of it.",
    );
    let rows = exposure.releases.iter().map(|r| {
        let open: Vec<String> = r.open.iter().map(|v| format!("{} ({})", v.id, v.verdict)).collect();
        let carried = match (&r.problem, r.has_sbom) {
            (Some(problem), _) => problem.clone(),
            (None, true) => "by its SBOM".to_owned(),
            (None, false) => "not known: it has no SBOM".to_owned(),
        };
        let count = r.open.len().saturating_add(r.more);
        [format!("{} {} (release {})", r.product, r.version, r.release), count.to_string(), few(&open), carried]
    });
    page.table("Each bundle", ["bundle", "open", "which", "what it carries"], rows);
    let rows = exposure.ways.iter().map(|w| {
        let way = format!("{} release {} to {}", w.product, w.from, w.to);
        [way, w.devices.to_string(), few(&w.ended), few(&w.still), few(&w.new), few(&w.unclear)]
    });
    let headings = ["from and to", "devices", "ended", "still open", "new", "unclear"];
    page.table("What the updates did", headings, rows);
    let rows = exposure.devices.iter().map(|moved| {
        let ran = |ran: &Option<Ran>| {
            let text = ran.as_ref().map(|ran| format!("release {} (report {})", ran.release, ran.report));
            text.unwrap_or_else(|| "nothing signed".to_owned())
        };
        [
            moved.device.to_string(),
            moved.rollout.to_string(),
            ran(&moved.before),
            Ran::open_text(moved.before.as_ref()),
            ran(&moved.after),
            Ran::open_text(moved.after.as_ref()),
        ]
    });
    let headings = ["device", "rollout", "before (signed)", "open", "after (signed)", "open"];
    page.table("Each device", headings, rows);
}
