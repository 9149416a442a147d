//! What the report says, section by section.

use suture_core::clock::format_utc;
use suture_core::phase::Phase;
use suture_core::trust::Status;

use super::html::Page;
use crate::evidence::Evidence;
use crate::evidence::facts::{Facts, Timing, What, text};

fn count(facts: &Facts, what: impl Fn(What) -> bool) -> usize {
    facts.deviations.iter().filter(|d| what(d.what)).count()
}

pub(super) fn summary(page: &mut Page, evidence: &Evidence, facts: &Facts) {
    page.section("Summary");
    let devices = facts.outcomes.len();
    let confirmed = facts.outcomes.iter().filter(|o| o.proven == Some(Phase::Confirmed)).count();
    let rollouts: Vec<String> = evidence.approved.keys().map(ToString::to_string).collect();
    let bundles = evidence.released.bundles.iter().filter(|b| b.is_subject).map(|b| {
        let m = &b.manifest;
        format!("{} {} (release {})", m.product, m.version, m.release)
    });
    page.terms([
        ("Hospital", evidence.about.hdo.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("Bundles", bundles.collect::<Vec<_>>().join(", ")),
        ("Rollouts", rollouts.join(", ")),
        (
            "Devices",
            match devices {
                0 => String::new(),
                _ => format!(
                    "{devices} named by approvals, of which {confirmed} have signed that they run what was approved"
                ),
            },
        ),
        (
            "Reports",
            match evidence.reports.count() {
                0 => String::new(),
                n => format!("{n}, each signed by the key that a signed roster has for its device"),
            },
        ),
        ("Deviations", format!("{}, listed below", facts.deviations.len())),
    ]);
    let forks = count(facts, |what| what == What::Fork);
    let drift = count(facts, |what| what == What::Drift);
    if forks + drift > 0 {
        page.warning(&format!(
            "{forks} forks of a repository and {drift} findings of altered software: see deviations."
        ));
    }
}

pub(super) fn bundles(page: &mut Page, evidence: &Evidence) {
    let bundles = &evidence.released.bundles;
    if bundles.is_empty() {
        return;
    }
    page.section("What was released");
    for bundle in bundles.iter().filter(|bundle| bundle.is_subject) {
        let m = &bundle.manifest;
        page.part(&format!("{} {} (release {})", m.product, m.version, m.release));
        let hardware: Vec<&str> = m.hardware.iter().map(|h| h.as_str()).collect();
        let status = match bundle.status {
            Some(Status::Withdrawn) => format!("withdrawn: {}", bundle.because.clone().unwrap_or_default()),
            Some(status) => status.as_str().to_owned(),
            None => "no longer listed by the catalog; named by the approval".to_owned(),
        };
        let published = evidence.served.bundle(&m.product, m.release).map(|b| format_utc(b.published));
        page.terms([
            ("Manifest (SHA-256, signed)", bundle.sha256.to_string()),
            ("Status (signed)", status),
            ("Class (signed)", format!("{:?}", m.class)),
            ("Hardware (signed)", hardware.join(", ")),
            (
                "Installed by (signed)",
                format!(
                    "{}, at most {} s and {} s back",
                    m.install.kind, m.install.budget_secs, m.install.revert_budget_secs
                ),
            ),
            ("Published (server)", published.unwrap_or_default()),
        ]);
        page.table(
            "Payloads (signed)",
            ["name", "bytes", "SHA-256"],
            m.payloads.iter().map(|p| [p.name.to_string(), p.length.to_string(), p.sha256.to_string()]),
        );
        page.table(
            "Documents (signed)",
            ["name", "kind", "bytes", "SHA-256", "in this folder"],
            m.documents.iter().map(|d| {
                let here = if let Some((_, short)) = bundle.documents.iter().find(|(here, _)| here == d) {
                    format!("yes; {short}")
                } else {
                    "no".to_owned()
                };
                [d.name.clone(), format!("{:?}", d.kind), d.length.to_string(), d.sha256.to_string(), here]
            }),
        );
        page.table(
            "Updates that the manufacturer warns of (signed)",
            ["from release", "what"],
            m.risks.iter().map(|r| [r.from.to_string(), r.to_string()]),
        );
    }
    let rows = bundles.iter().filter(|bundle| !bundle.is_subject).map(|bundle| {
        let m = &bundle.manifest;
        let documents: Vec<String> = bundle.documents.iter().map(|(d, short)| format!("{}: {short}", d.name)).collect();
        [
            format!("{} {} (release {})", m.product, m.version, m.release),
            bundle.sha256.to_string(),
            documents.join("; "),
        ]
    });
    let caption = "Other bundles, which are here for what their documents say of these (signed)";
    page.table(caption, ["bundle", "manifest (SHA-256)", "documents"], rows);
}

pub(super) fn approvals(page: &mut Page, evidence: &Evidence) {
    if evidence.approved.is_empty() {
        return;
    }
    page.section("What was approved, and by whom");
    for (id, approved) in &evidence.approved {
        let terms = &approved.approval.terms;
        page.part(&format!("Rollout {id}"));
        let served = evidence.served.rollout(id);
        let steps: Vec<String> = terms.steps.iter().map(|s| format!("{} release {}", s.product, s.release)).collect();
        let listed = match approved.in_force {
            true => format!("in version {}, which was in force when this was made", approved.listed_in),
            false => format!("in versions up to {}; it has ended and is listed no more", approved.listed_in),
        };
        page.terms([
            ("Installs (signed)", steps.join(", then ")),
            ("Reason (signed)", approved.words.reason.clone()),
            ("Ticket (signed)", approved.words.ticket.clone()),
            ("Approved (signed)", format_utc(terms.created)),
            ("Ends (signed)", format_utc(terms.expires)),
            (
                "Devices and waves (signed)",
                format!(
                    "{} devices in {} waves, at most {} of a ward down at once",
                    approved.approval.devices.len(),
                    terms.waves.len(),
                    terms.ward_cap
                ),
            ),
            ("Listed (signed)", listed),
            ("Approval (SHA-256)", approved.head_sha256.to_string()),
            ("Plan (SHA-256, signed)", approved.words.plan_sha256.to_string()),
            (
                "State (server)",
                served
                    .map(|r| match &r.reason {
                        Some(reason) => format!("{}: {reason}", r.state),
                        None => r.state.clone(),
                    })
                    .unwrap_or_default(),
            ),
            ("Stop order (signed)", approved.stop.as_ref().map(|s| s.to_text()).unwrap_or_default()),
        ]);
        let rows = approved.signers.iter().map(|s| {
            let about = if s.about_what_is_listed { "yes" } else { "NO: about other words than are approved" };
            [
                s.name.to_string(),
                s.role.clone(),
                s.meaning.to_string(),
                s.signed_at.clone(),
                s.reason.clone(),
                s.key.to_string(),
                about.to_owned(),
            ]
        });
        page.table(
            "Signatures (21 CFR 11.50), each verified",
            ["name", "role", "meaning", "signed at", "reason", "key", "about what is listed"],
            rows,
        );
        page.table(
            "Waves opened by signature",
            ["wave", "by", "why"],
            approved
                .notes
                .iter()
                .map(|(wave, note)| [wave.saturating_add(1).to_string(), note.approver.clone(), note.reason.clone()]),
        );
    }
}

fn days(from: Option<jiff::Timestamp>, until: Option<jiff::Timestamp>) -> String {
    let span = from.zip(until).map(|(from, until)| until.duration_since(from).as_secs());
    span.map(|secs| format!("{}.{:02} days", secs / 86_400, (secs.rem_euclid(86_400)) * 100 / 86_400))
        .unwrap_or_default()
}

pub(super) fn timings(page: &mut Page, facts: &Facts) {
    if facts.timings.is_empty() {
        return;
    }
    page.section("How long it took");
    let headings = [
        "rollout",
        "published (server)",
        "approved (signed)",
        "first confirmed (signed)",
        "last confirmed (signed)",
        "published to last",
        "confirmed of named",
        "devices a day",
        "within 30 days",
        "within 60 days",
    ];
    let share = |t: &Timing, days: i64| {
        let of = t.within.iter().find(|w| w.days == days);
        of.map(|w| format!("{} ({}.{} %)", w.confirmed, w.share_thousandths / 10, w.share_thousandths % 10))
            .unwrap_or_default()
    };
    page.table(
        "Times are the devices' and signers' own where signed; days are of UTC",
        headings,
        facts.timings.iter().map(|t| {
            [
                format!("{} ({} release {})", t.rollout, t.product, t.release),
                text(t.published),
                text(t.approved),
                text(t.first_confirmed),
                text(t.last_confirmed),
                days(t.published, t.last_confirmed),
                format!("{} of {}", t.confirmed, t.devices),
                t.per_day_hundredths.map(|n| format!("{}.{:02}", n / 100, n % 100)).unwrap_or_default(),
                share(t, suture_core::limits::TOLD_WITHIN_DAYS),
                share(t, suture_core::limits::DISTRIBUTED_WITHIN_DAYS),
            ]
        }),
    );
}

pub(super) fn outcomes(page: &mut Page, facts: &Facts) {
    if facts.outcomes.is_empty() {
        return;
    }
    page.section("What became of each device");
    let headings = [
        "device",
        "rollout",
        "ward (signed)",
        "wave (signed)",
        "first slot (signed)",
        "outcome (signed)",
        "report",
        "at (device)",
        "runs (signed)",
        "reason (signed)",
        "counts as (server)",
    ];
    page.table(
        "By the devices' own signed reports; facts/outcome.json has every phase of each",
        headings,
        facts.outcomes.iter().map(|o| {
            [
                o.device.to_string(),
                o.rollout.to_string(),
                o.ward.clone(),
                o.wave.to_string(),
                text(o.slots_from),
                o.proven.map_or_else(|| "nothing signed".to_owned(), |p| p.to_string()),
                o.report.map(|n| n.to_string()).unwrap_or_default(),
                text(o.at),
                o.runs.clone().unwrap_or_default(),
                o.reason.clone().unwrap_or_default(),
                o.standing.clone().unwrap_or_default(),
            ]
        }),
    );
}

pub(super) fn deviations(page: &mut Page, facts: &Facts) {
    page.section("Deviations");
    if facts.deviations.is_empty() {
        page.paragraph("None by what is in this folder.");
    }
    let headings = ["what", "device", "rollout", "at", "detail", "rests on"];
    page.table(
        "What did not go as planned, or has to be explained",
        headings,
        facts.deviations.iter().map(|d| {
            [
                d.what.as_str().to_owned(),
                d.device.as_ref().map(ToString::to_string).unwrap_or_default(),
                d.rollout.as_ref().map(ToString::to_string).unwrap_or_default(),
                d.at.clone().unwrap_or_default(),
                d.detail.clone(),
                d.rests_on.clone(),
            ]
        }),
    );
}

pub(super) fn decisions(page: &mut Page, evidence: &Evidence) {
    if evidence.served.decisions.is_empty() {
        return;
    }
    page.section("Declined and deferred");
    let headings =
        ["number", "bundle", "decision", "why", "meanwhile", "looked at again", "by", "at", "signed", "answered by"];
    page.table(
        "HICP 9.6: decisions not to install, or not yet",
        headings,
        evidence.served.decisions.iter().map(|d| {
            let answered = match (&d.rollout, d.later) {
                (Some(rollout), _) => format!("rollout {rollout}"),
                (None, Some(later)) => format!("decision {later}"),
                (None, None) => String::new(),
            };
            [
                d.number.to_string(),
                format!("{} release {}", d.product, d.release),
                d.choice.clone(),
                d.reason.clone(),
                d.compensating.clone(),
                d.review.clone(),
                d.by.clone(),
                format_utc(d.at),
                if evidence.decisions.contains_key(&d.number) { "verified" } else { "no: the server's word" }
                    .to_owned(),
                answered,
            ]
        }),
    );
}

pub(super) fn adoption(page: &mut Page, evidence: &Evidence) {
    if evidence.served.adoption.is_empty() {
        return;
    }
    page.section("How far it is at each hospital");
    let headings = ["hospital", "bundle", "devices", "confirmed", "under way", "late", "failed", "others", "decision"];
    page.table(
        "In counts, by the server's word; no device is named",
        headings,
        evidence.served.adoption.iter().map(|a| {
            [
                a.hdo.to_string(),
                format!("{} release {}", a.product, a.release),
                a.devices.to_string(),
                a.confirmed.to_string(),
                a.under_way.to_string(),
                a.late.to_string(),
                a.failed.to_string(),
                a.others.to_string(),
                a.decision.clone().unwrap_or_default(),
            ]
        }),
    );
}
