//! What the report says of who does what, and of the risks that the hospital has found and what it does about them.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::clock::{day_of, format_utc};
use suture_core::id::{HdoId, ProductId};
use suture_core::life::Stage;
use suture_core::responsibility::{Source, table};
use suture_core::risk::{Assessment, Member};

use super::html::Page;
use crate::evidence::words::{self, Pair, Said};
use crate::evidence::{Evidence, Subject};

fn products(evidence: &Evidence) -> BTreeSet<&ProductId> {
    let subjects = evidence.released.bundles.iter().filter(|bundle| bundle.is_subject);
    subjects.map(|bundle| &bundle.manifest.product).collect()
}

/// Who does what, as agreed on the day of making; and all that was proposed.
pub(super) fn responsibilities(page: &mut Page, evidence: &Evidence) {
    let products = products(evidence);
    let day = day_of(evidence.about.made);
    if products.is_empty() {
        return;
    }
    page.section("Who does what");
    let mut hospitals: BTreeSet<(&HdoId, &ProductId)> = BTreeSet::new();
    match &evidence.about.hdo {
        Some(hdo) => hospitals.extend(products.iter().map(|product| (hdo, *product))),
        None => hospitals.extend(evidence.agreements.iter().map(|pair| {
            let agreement = &pair.agreement.word;
            (&agreement.hdo, &agreement.product)
        })),
    }
    if hospitals.is_empty() {
        page.paragraph("All as is usual (IMDRF N60 and N70, Health-ISAC): nothing else is agreed with any hospital.");
    }
    for (hdo, product) in hospitals {
        let holds = words::holds(&evidence.agreements, hdo, product, day);
        let stage = evidence.released.lives.get(product).map(|life| life.standing(None, day).stage);
        page.part(&format!("{product} at {hdo} on {day}"));
        page.paragraph(&match holds {
            Some(pair) => format!(
                "By agreement {} since {}, marked *; all else as is usual (IMDRF N60 and N70, Health-ISAC). shared-X: both do it, \
                 and X leads.",
                pair.agreement.word.number, pair.agreement.word.from
            ),
            None => "All as is usual (IMDRF N60 and N70, Health-ISAC): no agreement of both sides holds. shared-X: both do it, and \
                     X leads."
                .to_owned(),
        });
        let mark = |of: Stage| if stage == Some(of) { format!("{of} (now)") } else { of.to_string() };
        let [development, support, limited, ended] = Stage::ALL.map(mark);
        let rows = table(holds.map(|pair| &*pair.agreement.word)).into_iter().map(|(task, row)| {
            let cell = |stage: Stage| {
                let Some(cell) = row.get(&stage) else { return String::new() };
                let star = if cell.source == Source::Usual { "" } else { " *" };
                let note = if cell.note.is_empty() { String::new() } else { format!(": {}", cell.note) };
                format!("{}{star}{note}", cell.holder)
            };
            let [a, b, c, d] = Stage::ALL.map(cell);
            [task.to_string(), a, b, c, d]
        });
        page.table("Tasks by stage", ["task", &development, &support, &limited, &ended], rows);
    }
    let wanted = |pair: &&Pair| products.contains(&pair.agreement.word.product);
    let rows = evidence.agreements.iter().filter(wanted).map(|pair| agreement(evidence, pair, day));
    let headings = [
        "agreement",
        "from",
        "until",
        "why",
        "proposed by",
        "manufacturer's signature",
        "agreed to by",
        "hospital's signature",
        "state",
    ];
    page.table("All that was proposed", headings, rows);
}

fn agreement(evidence: &Evidence, pair: &Pair, day: jiff::civil::Date) -> [String; 9] {
    let a = &pair.agreement.word;
    let holds = words::holds(&evidence.agreements, &a.hdo, &a.product, day);
    let state = match (&pair.consent, holds.is_some_and(|held| held.agreement.word.number == a.number)) {
        (_, true) => "in force",
        (Some(_), false) if !pair.is_agreed() => "NOT AGREED: by a key that no root here names",
        (Some(_), false) => "agreed, and not in force on that day",
        (None, false) => "proposed",
    };
    let consent = pair.consent.as_ref();
    [
        format!("{} {} {}", a.hdo, a.product, a.number),
        a.from.to_string(),
        a.until.map(|day| day.to_string()).unwrap_or_default(),
        a.reason.clone(),
        format!("{} {}", a.name, format_utc(a.proposed_at)),
        pair.agreement.rests_on().to_owned(),
        consent.map(|c| format!("{} {}", c.word.name, format_utc(c.word.consented_at))).unwrap_or_default(),
        consent.map(|c| c.rests_on().to_owned()).unwrap_or_default(),
        state.to_owned(),
    ]
}

/// Whether an assessment is about what the evidence is about.
fn concerns(evidence: &Evidence, products: &BTreeSet<&ProductId>, assessment: &Assessment) -> bool {
    let group = &assessment.group;
    match &evidence.about.subject {
        Subject::Device(id) => match evidence.rosters.device(id) {
            Some(device) => group.holds(&Member::from(device)),
            None => group.devices.contains(id) || products.contains(&group.product),
        },
        Subject::Rollout(_) | Subject::Product { .. } => products.contains(&group.product),
    }
}

/// The register of risk, as far as it is about this.
pub(super) fn risks(page: &mut Page, evidence: &Evidence) {
    let products = products(evidence);
    let about: Vec<&Said<Assessment>> =
        evidence.risks.iter().filter(|said| concerns(evidence, &products, &said.word)).collect();
    if about.is_empty() {
        return;
    }
    let day = day_of(evidence.about.made);
    let newest: BTreeSet<u64> = words::newest(&evidence.risks).map(|said| said.word.number).collect();
    let served: BTreeMap<&str, &str> =
        evidence.served.recorded.iter().map(|row| (row.path.as_str(), row.by.as_str())).collect();
    page.section("Risks that the hospital has found, and what it does about them");
    let rows = about.into_iter().map(|said| {
        let a = &said.word;
        let state = if !newest.contains(&a.number) {
            "replaced by a later one".to_owned()
        } else if a.expires < day {
            format!("OVERDUE: it held until {}", a.expires)
        } else {
            format!("holds until {}", a.expires)
        };
        [
            a.number.to_string(),
            a.group.to_string(),
            a.hazard.clone(),
            format!("{}, {}, {}", a.likelihood, a.severity, a.exploitability),
            format!("{}: {}", a.treatment, a.reason),
            a.compensating.join("; "),
            a.reviewer.clone(),
            state,
            format!("{} {}", a.name, format_utc(a.assessed_at)),
            said.rests_on().to_owned(),
            served.get(words::risk(a.number).as_str()).copied().unwrap_or_default().to_owned(),
        ]
    });
    let headings = [
        "number",
        "devices",
        "hazard",
        "likelihood, severity, exploitability",
        "what is done, and why",
        "compensating controls",
        "reviewer",
        "state",
        "said by",
        "signature",
        "recorded by (server)",
    ];
    page.table("IMDRF N70, HICP 9.6: the whole register is in risks/", headings, rows);
}
