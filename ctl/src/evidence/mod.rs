//! Evidence: one folder with all that an auditor or a regulator's reviewer asks for, which verifies by itself.
//!
//! Who asks, and for what: 21 CFR 11.10 (b) wants complete copies of records in a form that people and programs read, 11.50 the
//! signer's name, time and meaning, 11.70 the signature tied to its record. FDA's premarket guidance (section VI.B) wants the
//! rate at which patches are delivered, its postmarket guidance (2016, V.B) customers told within 30 days and a fix distributed
//! within 60. HICP 9.6 wants decision, deployment and deferral on record.
//!
//! # The folder
//!
//! ```text
//! README.md               what is what, for whoever opens it first
//! index.html              the report, for people
//! index.json              every file: length, SHA-256, what it is, what it rests on; and when all of it was made
//! signature.json          who vouches for the index; missing where its maker has no key
//! catalog/                the manufacturer's signed metadata from the pinned root on, and the manifests that they list
//! approvals/              the hospital's: metadata (older versions back to the one that lists an approval), approvals, their
//!                         slots, gates, notes, documents for people, the rosters with the devices' report keys
//! statements/ID/KEY.json  who signed an approval, as what, what it means, why, when
//! stops/ID.json           an order beside the repository
//! plans/SHA256.json       what was planned and approved
//! decisions/N.json        bundles declined or deferred, signed
//! documents/PRODUCT/REL/  what travels with a bundle: SBOM, VEX, notes
//! audit/                  entries of the server's record that concern it, each proven to stand under a signed checkpoint
//! letters/HDO/SIDE/N.json notices, reports of suspicion and their acknowledgements, each series from its first letter on
//! risks/N.json            the hospital's register of risk, from its first assessment on
//! agreements/HDO/PRODUCT/ who does what, as the manufacturer proposed it, and the hospital's consent
//! hospitals/HDO/          in a manufacturer's: the roots of the hospitals that it writes to
//! reports.jsonl           what devices have signed of themselves, with their signatures
//! served/                 what the server says and nobody has signed
//! facts/                  drawn from all that: outcome of each device, deviations, timings, exposure, notices
//! ```
//!
//! Files are called as the server and a stick call them, so a file of `catalog/` or `approvals/` bears its SHA-256 in its name.
//!
//! # What it is worth
//!
//! Everything but `served/` is signed, or pinned by something that is: [`Evidence::read`] verifies each file from the roots in
//! the folder on, by the same code as a device, and a folder with a file that does not verify is not made. What the report says
//! of a device rests on reports that the device has signed with the key that a signed roster has for it; what the server says
//! beside that stands in columns of its own. Whether the two roots are the right ones no folder can say, nor whether the key is
//! the one of the server's audit record: `evidence verify` prints all three, compares them with what its home knows, and says
//! what whoever reads it has to compare over another channel.
//!
//! `facts/`, the report, the README and the index are functions of the other files and of the time of making, which stands in
//! the index. So [`verify`] draws them up again and compares: nobody can change a conclusion and leave what it rests on.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a server that invents an approval, a statement, a report, a stop order | their signatures, [`approval`], [`reports`] |
//! | one that shows an approval which was never in force | a version of the targets metadata lists it, and the present one descends from that |
//! | somebody who edits a conclusion, or its page | facts and page are drawn up again |
//! | somebody who removes, adds or swaps a file | the index, and the index is drawn up again; where it is signed, [`seal`] |
//! | text of a device or a person that acts in a browser | `page` escapes all of it, and the page has no script and loads nothing |
//! | a notice left out, swapped or made up | each letter is signed and names the one before it, [`letters`] |
//! | a risk accepted, or a duty agreed, that nobody has | each word is signed and names the one before it, [`words`] |
//! | a vulnerability left out, or a statement on it | the documents that the catalog pins are judged again, [`bundles`] |
//! | an audit entry that was made up, or altered since | its path to the checkpoint, [`audit`] |
//! | a whole audit record that was made up | its key is not the one that the reader's home knows, or was told |
//! | a folder without end | [`suture_core::limits`], `MAX_EVIDENCE_*` |

pub mod approval;
pub mod audit;
pub mod bundles;
pub mod decisions;
pub mod facts;
pub mod folder;
pub mod index;
pub mod kind;
pub mod letters;
pub mod page;
pub mod partners;
pub mod reports;
pub mod repository;
pub mod seal;
pub mod served;
pub mod verdict;
pub mod whole;
pub mod words;

pub use folder::Files;
pub use index::{About, Index, Subject};
pub use verdict::{Problem, Verdict, draw_up, verify};
pub use whole::Evidence;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
