//! Beyond TUF: what an owner's keys sign is not signed earlier than what they have signed before.
//!
//! TUF holds older targets off by the versions that the snapshot pins, and 5.3.11 forgets those where the online keys change.
//! Attack: whoever holds the new online keys as well, and plays targets again that the owner has since replaced, of the
//! repository or of one role that it delegates to: without a withdrawal, or with an approval more. When a file was signed
//! stands under the owner's own signatures, so a client that keeps the last one of each role knows an older one.

use jiff::Timestamp as Instant;

use super::{Authority, Role, Targets, TrustError, Verified};

/// When the last metadata of one targets role were signed that a client has taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Earlier {
    version: u64,
    signed_at: Instant,
}

impl Earlier {
    /// Of the bytes that were taken; nothing where they do not say, or nobody who speaks for the role today has signed them.
    /// One who does suffices, since they were taken for the threshold of their day: a signer who leaves must not open the way
    /// back to what the others have signed before.
    ///
    /// Attack: a thief of the role's keys who signs in a year far ahead, after which nothing of the owner's would be taken. So
    /// it counts as signed no later than `end`, when what lets the role speak ends.
    pub(super) fn of(authority: &Authority, taken: &[u8], end: Instant) -> Option<Self> {
        let taken: Verified<Targets> = Verified::signed_by(&authority.any_one(), taken).ok()?;
        Some(Self { version: taken.version(), signed_at: taken.signed_at()?.min(end) })
    }

    /// Refuses what was signed before it.
    pub(super) fn precedes(self, offered: &Verified<Targets>) -> Result<(), TrustError> {
        match offered.signed_at() {
            Some(at) if at < self.signed_at => {
                Err(TrustError::Rollback { role: Role::Targets, trusted: self.version, offered: offered.version() })
            }
            _ => Ok(()),
        }
    }
}
