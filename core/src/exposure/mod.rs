//! Which devices carry what, and which are exposed to a vulnerability: the rules by which it is said. Pure.
//!
//! A bundle's SBOM says what is in it, as [`Part`]s. A manufacturer's VEX statements, in a bundle's own documents or published
//! later beside the bundles, say what a vulnerability does to it, as [`Claim`]s. [`answer`] makes of both what each bundle's
//! [`Verdict`] is and which bundles end it; [`why`] says why a device that runs an exposed one still does.
//!
//! What a statement counts for:
//!
//! * one in a bundle's own documents speaks for that bundle: for the whole of it, or for what its SBOM lists. For another
//!   release of the product it speaks only where it names that as such, by product and version: whether a component can be
//!   attacked depends on what is built around it;
//! * one that was published later, `vex/<product>/<id>.json` in the catalog, speaks for every release of the product that is
//!   what it names, or carries it;
//! * of two about the same thing the one of the later document counts ([`Source`]); within one document the later by its time.
//!   What a newer one overrules is kept and shown;
//! * one about a bundle as a whole overrules older ones about its components. Of those that are left the worst counts.
//!
//! The statuses are those of the minimum requirements for VEX (CISA, April 2023), which `OpenVEX`, `CSAF` and `CycloneDX` share.
//!
//! Nothing of this asks the server: `suturectl` computes it again from the documents, which the signed catalog pins.

mod claim;
mod entry;
mod judge;
mod range;
mod read;
pub mod why;

pub use self::claim::{Claim, Part, Source, Subject, Versions};
pub use self::entry::{VexEntry, VexStatus, vex_at};
pub use self::judge::{Answer, Bundle, Finding, Overruled, Question, Verdict, Wanted, answer};
pub use self::range::{Range, RangeError, Scheme};
pub use self::read::{Contents, stated};

pub use crate::document::Status;
