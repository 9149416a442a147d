//! How far each notice and each report of suspicion came: written and acknowledged by signature, delivered and read by the
//! server's word.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::utc;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::notice::{Said, Side, VerifiedLetter};

use super::{instant, text};
use crate::evidence::Evidence;
use crate::evidence::letters::{self, Kept};
use crate::evidence::served::{self, Step};

/// One.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The hospital.
    pub hdo: HdoId,
    /// Who wrote it.
    pub from: Side,
    /// Its number in the series.
    pub number: u64,
    /// What kind it is; signed.
    pub kind: String,
    /// The product; signed.
    pub product: ProductId,
    /// How bad it is; signed.
    pub severity: String,
    /// What it says, in a line; signed.
    pub subject: String,
    /// Who wrote it; signed.
    pub written_by: OperatorName,
    /// When, by their clock; signed.
    #[serde(with = "utc")]
    pub written_at: Timestamp,
    /// Whether a root in the folder names the key that signed it.
    pub verified: bool,
    /// When it was there for the other side, by the server's word.
    #[serde(serialize_with = "instant")]
    pub published: Option<Timestamp>,
    /// To whom it was delivered, by the server's word.
    pub delivered: Option<Step>,
    /// Who has opened it, by the server's word.
    pub read: Option<Step>,
    /// How it was answered.
    pub acknowledged: Option<Acknowledged>,
    /// By when an answer was asked for, by the server's word.
    #[serde(serialize_with = "instant")]
    pub answer_by: Option<Timestamp>,
    /// Whether it was late with that when the evidence was made.
    pub overdue: bool,
    /// How often it was repeated, by the server's word.
    pub repeats: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When; by the signer's clock where it is signed.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// What they say to it.
    pub text: String,
    /// Whether it is signed, and that verifies: else it is the server's word, by certificate alone.
    pub signed: bool,
}

/// Those that are about a product of the evidence; where there is none, all.
pub(super) fn notices(evidence: &Evidence) -> Vec<Notice> {
    let subjects = evidence.released.bundles.iter().filter(|bundle| bundle.is_subject);
    let products: BTreeSet<&ProductId> = subjects.map(|bundle| &bundle.manifest.product).collect();
    let place = |l: &served::Letter| (l.hdo.clone(), l.from, l.number);
    let served: BTreeMap<_, _> = evidence.served.letters.iter().map(|letter| (place(letter), letter)).collect();
    let of = |kept: &Kept| {
        let letter = &kept.letter;
        let product = letters::product(letter).filter(|p| products.is_empty() || products.contains(p))?;
        let served = served.get(&(letter.hdo.clone(), letter.from, letter.number)).copied();
        Some(notice(evidence, kept, product, served))
    };
    evidence.letters.all.iter().filter_map(of).collect()
}

fn notice(evidence: &Evidence, kept: &Kept, product: &ProductId, served: Option<&served::Letter>) -> Notice {
    let letter = &kept.letter;
    let (subject, severity) = match &letter.said {
        Said::Notice(notice) => (notice.subject.clone(), notice.severity.to_string()),
        Said::Suspicion(suspicion) => (suspicion.text.clone(), suspicion.severity.to_string()),
        Said::Acknowledgement(_) => (String::new(), String::new()),
    };
    let acknowledged = signed(evidence.letters.answer(letter)).or_else(|| {
        let answer = served?.acknowledged.as_ref()?;
        Some(Acknowledged { by: answer.by.clone(), at: answer.at, text: answer.text.clone(), signed: false })
    });
    Notice {
        hdo: letter.hdo.clone(),
        from: letter.from,
        number: letter.number,
        kind: letter.said.kind().to_owned(),
        product: product.clone(),
        severity,
        subject,
        written_by: letter.name.clone(),
        written_at: letter.written_at,
        verified: kept.is_listed,
        published: served.map(|s| s.published),
        delivered: served.and_then(|s| s.delivered.clone()),
        read: served.and_then(|s| s.read.clone()),
        overdue: acknowledged.is_none() && served.is_some_and(|s| s.is_overdue(evidence.about.made)),
        acknowledged,
        answer_by: served.and_then(|s| s.answer_by),
        repeats: served.map_or(0, |s| s.repeats),
    }
}

fn signed(answer: Option<&VerifiedLetter>) -> Option<Acknowledged> {
    let answer = answer?;
    match &answer.said {
        Said::Acknowledgement(words) => Some(Acknowledged {
            by: answer.name.to_string(),
            at: answer.written_at,
            text: words.text.clone(),
            signed: true,
        }),
        Said::Notice(_) | Said::Suspicion(_) => None,
    }
}

pub(super) const HEADINGS: [&str; 16] = [
    "hospital",
    "from",
    "number",
    "kind (signed)",
    "product (signed)",
    "severity (signed)",
    "subject (signed)",
    "written by (signed)",
    "written at (signed)",
    "signature",
    "published (server)",
    "delivered (server)",
    "read (server)",
    "acknowledged",
    "acknowledged by signature",
    "answer due (server)",
];

/// Who and when, in one cell.
pub fn step(step: Option<&Step>) -> String {
    step.map_or_else(String::new, |step| format!("{} {}", step.by, text(Some(step.at))))
}

impl Notice {
    /// Whether its signature counts, for people.
    pub fn signature(&self) -> &'static str {
        if self.verified { "verified" } else { "NO ROOT HERE NAMES ITS KEY" }
    }

    pub(super) fn cells(&self) -> [String; 16] {
        let a = self.acknowledged.as_ref();
        [
            self.hdo.to_string(),
            self.from.to_string(),
            self.number.to_string(),
            self.kind.clone(),
            self.product.to_string(),
            self.severity.clone(),
            self.subject.clone(),
            self.written_by.to_string(),
            text(Some(self.written_at)),
            self.signature().to_owned(),
            text(self.published),
            step(self.delivered.as_ref()),
            step(self.read.as_ref()),
            a.map(|a| format!("{} {}: {}", a.by, text(Some(a.at)), a.text)).unwrap_or_default(),
            a.map(|a| if a.signed { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
            text(self.answer_by),
        ]
    }
}
