//! Statements that the manufacturer publishes beside the bundles, taken when the catalog lists them.
//!
//! Their order is the manufacturer's, signed as a number: of two documents of a product the higher one was said later. A number
//! that was used, or is lower than one in force, is refused here, where its maker sees it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::document::{DocumentFault, Vex};
use suture_core::exposure::{VexEntry, vex_at};
use suture_core::id::ProductId;
use suture_core::limits::MAX_VEX_BYTES;
use suture_core::trust::{CatalogEntry, Target};
use suture_core::version::Release;

use super::index::sourced;
use crate::store::{StoreError, Tx};

/// Why published statements were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeVexError {
    /// What the catalog says of it is missing, of another shape, or of another document.
    #[error("its `custom` part does not say what document it is")]
    Entry,
    /// Longer than any.
    #[error("it has more than {MAX_VEX_BYTES} bytes")]
    TooLong,
    /// It cannot be read.
    #[error("it cannot be read")]
    Document(#[from] DocumentFault),
    /// It is in another format than the catalog says.
    #[error("it is {found}, and the catalog says {said:?}")]
    Format {
        /// What it is.
        found: &'static str,
        /// What is said.
        said: String,
    },
    /// Its number is not the next one.
    #[error("its number {number} is not above {highest}, which the product's statements have reached; sign it anew")]
    Number {
        /// Its own.
        number: u64,
        /// The highest before.
        highest: u64,
    },
    /// It names a release as its product's newest that there is not.
    #[error("it says that release {after} is the product's newest, which is {newest}")]
    After {
        /// What it says.
        after: Release,
        /// What is listed.
        newest: Release,
    },
    /// The database failed.
    #[error("its rows failed")]
    Store(#[from] StoreError),
}

/// What a catalog lists, as far as statements must fit it.
pub(crate) struct Shelf {
    /// The newest release of each product.
    newest: BTreeMap<ProductId, Release>,
    /// The highest number that each product's statements had before this publication.
    highest: BTreeMap<ProductId, u64>,
}

impl Shelf {
    /// Of all that is listed now, and of what was before.
    pub(crate) async fn of(tx: &mut Tx, listed: &BTreeMap<String, Target>) -> Result<Self, StoreError> {
        let mut newest: BTreeMap<ProductId, Release> = BTreeMap::new();
        for entry in listed.iter().filter(|(path, _)| vex_at(path).is_none()).filter_map(|(_, t)| CatalogEntry::of(t)) {
            let release = newest.entry(entry.product).or_insert(Release(0));
            *release = entry.release.max(*release);
        }
        Ok(Self { newest, highest: tx.vex_numbers().await? })
    }

    /// Whether what is listed under a path was taken before, as it is.
    pub(crate) async fn knows(tx: &mut Tx, path: &str, target: &Target) -> Result<bool, StoreError> {
        let Some(entry) = VexEntry::of(path, target) else { return Ok(false) };
        let known = tx.vex(path).await?;
        Ok(known.is_some_and(|known| known.is_read && known.is(&entry, target)))
    }

    /// Takes what is listed under a path and was not known. `bytes` are the document's.
    pub(crate) async fn take(
        &self,
        tx: &mut Tx,
        path: &str,
        target: &Target,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), TakeVexError> {
        let entry = VexEntry::of(path, target).ok_or(TakeVexError::Entry)?;
        let known = tx.vex(path).await?;
        if bytes.len() as u64 > MAX_VEX_BYTES {
            return Err(TakeVexError::TooLong);
        }
        // What is taken back keeps its number; what is said anew has the next one.
        let said_anew =
            known.as_ref().is_none_or(|known| known.sha256 != target.sha256 || known.number != entry.number);
        let highest = self.highest.get(&entry.product).copied().unwrap_or(0);
        if said_anew && entry.number <= highest {
            return Err(TakeVexError::Number { number: entry.number, highest });
        }
        let newest = self.newest.get(&entry.product).copied().unwrap_or(Release(0));
        if said_anew && entry.after > newest {
            return Err(TakeVexError::After { after: entry.after, newest });
        }
        let vex = Vex::parse(bytes)?;
        if vex.format.as_str() != entry.format {
            return Err(TakeVexError::Format { found: vex.format.as_str(), said: entry.format });
        }
        tx.put_vex(path, &entry, &target.sha256, &sourced(&entry, &vex), now).await?;
        Ok(())
    }
}
