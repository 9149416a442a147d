//! What manufacturer and hospitals write to one another: taken, kept, repeated where nobody answers, and delivered.
//!
//! The server is no authority over a letter: each side verifies what the other has signed ([`suture_core::notice`]). What is
//! refused here is refused so that a mistake is seen by its maker, and so that a stolen certificate alone says nothing in a
//! hospital's or the manufacturer's name. The server keeps, beside each letter, how far it has come: that a program of the other
//! side has verified it, that a person has opened it, and how it was answered. IMDRF N70 wants notices to be active, so what
//! is not answered by its deadline is repeated, to further contacts too.

pub(crate) mod address;
pub(crate) mod courier;
pub(crate) mod line;
mod schedule;
pub(crate) mod secret;
pub(crate) mod sender;
pub(crate) mod take;
pub(crate) mod webhook;

use suture_core::notice::Side;
use suture_core::principal::Principal;

/// On which side an operator is; none where the caller is none.
pub(crate) fn side(principal: &Principal) -> Option<Side> {
    match principal {
        Principal::Mdm(_) => Some(Side::Manufacturer),
        Principal::Operator(..) => Some(Side::Hospital),
        Principal::Server | Principal::Device(..) => None,
    }
}

#[cfg(test)]
mod tests;
