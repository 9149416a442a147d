//! Who has a place for an upload: few at a time, and of one identity not all.
//!
//! Attack: a manufacturer's stolen certificate, by which every place is held for good by a message now and then, so that no
//! patch is published any more.

use std::sync::{Arc, Mutex, PoisonError};

use suture_core::principal::Principal;

use super::TransferError;

/// Uploads at a time; each holds a pack in memory.
pub(super) const UPLOADS: usize = 4;
/// Those of one identity: one that is under way, and one that goes on after a line was cut, whose end nobody has noticed yet.
pub(super) const UPLOADS_PER_IDENTITY: usize = 2;

/// Whose uploads are under way. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Spots {
    under_way: Arc<Mutex<Vec<Principal>>>,
}

/// A place for an upload, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Spot {
    spots: Spots,
    of: Principal,
}

impl Spots {
    /// A place for an upload of that identity.
    pub(super) fn enter(&self, of: &Principal) -> Result<Spot, TransferError> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.iter().filter(|other| *other == of).count() >= UPLOADS_PER_IDENTITY {
            return Err(TransferError::Own { of: of.clone() });
        }
        if under_way.len() >= UPLOADS {
            return Err(TransferError::Busy);
        }
        under_way.push(of.clone());
        Ok(Spot { spots: self.clone(), of: of.clone() })
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.under_way.lock().unwrap().len()
    }
}

impl Drop for Spot {
    fn drop(&mut self) {
        let mut under_way = self.spots.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = under_way.iter().position(|other| *other == self.of) {
            under_way.swap_remove(at);
        }
    }
}
