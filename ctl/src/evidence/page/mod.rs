//! `index.html` and `README.md`: the report for people. One file that loads nothing, runs nothing, and prints well.
//!
//! Attack: text of a device, a person or a server that acts in the reader's browser. `html` escapes all text, and is the only
//! place that writes a tag.

mod duties;
mod events;
mod html;
mod letters;
mod life;
mod sections;
mod trust;

use suture_core::clock::format_utc;

use self::html::Page;
use super::facts::Facts;
use super::{Evidence, Subject};

/// The report.
pub fn draw(evidence: &Evidence, facts: &Facts) -> String {
    let about = &evidence.about;
    let mut page = Page::new(&format!("Evidence: {}", about.subject));
    page.paragraph(&format!(
        "Made {} with the certificate of {} from the server {}, by {}. All times are UTC. What rests on a signature is marked \
         signed; what is marked server is the server's word alone.",
        format_utc(about.made),
        about.by,
        about.server,
        about.program
    ));
    sections::summary(&mut page, evidence, facts);
    sections::bundles(&mut page, evidence);
    life::support(&mut page, evidence);
    life::exposure(&mut page, facts);
    sections::approvals(&mut page, evidence);
    sections::timings(&mut page, facts);
    sections::outcomes(&mut page, facts);
    sections::deviations(&mut page, facts);
    sections::decisions(&mut page, evidence);
    sections::adoption(&mut page, evidence);
    letters::notices(&mut page, evidence, facts);
    duties::risks(&mut page, evidence);
    duties::responsibilities(&mut page, evidence);
    events::events(&mut page, evidence);
    trust::record(&mut page, evidence);
    trust::trust(&mut page, evidence);
    page.finish()
}

/// For whoever opens the folder first.
pub fn readme(evidence: &Evidence) -> String {
    let about = &evidence.about;
    let hospital = about.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
    let reports = match &about.subject {
        Subject::Product { .. } if about.hdo.is_none() => "",
        _ => {
            "- `reports.jsonl`: what the devices have signed of themselves, one report a line, each with its signature.\n"
        }
    };
    let approvals = match about.hdo {
        Some(_) => {
            "- `approvals/`: the hospital's signed metadata, approvals, slots, rosters; `statements/` who signed and what it \
             means; `stops/` orders beside them; `plans/` what was planned; `decisions/` what was declined or deferred; `risks/` the \
             register of risk.\n"
        }
        None => "",
    };
    let partners = match about.hdo {
        Some(_) => "",
        None => "- `hospitals/`: the roots of the hospitals that have written, by which their letters are verified.\n",
    };
    format!(
        "# Evidence: {}{hospital}\n\n\
         Open `index.html` for the report. `suturectl evidence verify .` verifies the folder, without a server.\n\n\
         - `index.json`: every file with its length, its SHA-256, what it is and what it rests on; and when all was made.\n\
         - `catalog/`: the manufacturer's signed metadata and manifests. `documents/`: what travels with a bundle.\n\
         - `signature.json`, where it is there: who vouches for the index.\n\
         {approvals}{reports}\
         - `letters/`: notices, reports of suspicion and their acknowledgements. `agreements/`: who does what, as agreed.\n\
         {partners}\
         - `audit/`: entries of the server's record that concern this, each proven to stand under the checkpoint there.\n\
         - `served/`: what the server says and nobody has signed. Security events are its word too, and that there are no \
         others: where a device has seen one, the server says that it has verified the device's signature, which it has not kept.\n\
         - `facts/`: drawn from the other files: the outcome of each device, deviations, timings, open vulnerabilities before \
         and after, how far notices came. `evidence verify` draws them up again.\n\n\
         Everything rests on the root of the catalog, {}{}.{}\n\
         No folder can vouch for what it rests on: compare these digests and keys with the hospital and the manufacturer over \
         another channel.\n",
        about.subject,
        evidence.catalog.pinned(),
        evidence
            .approvals
            .as_ref()
            .map_or_else(String::new, |a| format!(", and that of the approvals, {}", a.pinned())),
        evidence
            .record
            .as_ref()
            .map_or_else(String::new, |r| format!(" The entries in `audit/` rest on the record's key, {}.", r.key)),
    )
}
