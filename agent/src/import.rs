//! Offline import: both repositories and the stop orders of a stick, by the same rules as a server's.
//!
//! Attacks stopped here: a stale stick (by version, and by time against the later of the clock and what signatures prove), a
//! stick of another hospital, and whatever a server could try. A stop order counts from a stick that is refused otherwise
//! too: it speaks for itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use jiff::Timestamp;
use serde::Deserialize;
use suture_core::approval::{StopError, VerifiedStop, path};
use suture_core::id::HdoId;
use suture_core::json;
use suture_core::limits::{MAX_ROOT_BYTES, MAX_TARGETS_BYTES};
use suture_core::phase::{Code, Reason};
use suture_core::report::Seen;
use suture_core::trust::{News, Repository};

use crate::client::{ClientError, Which};
use crate::documents::documents;
use crate::durable::{self, DurableError};
use crate::identity::Device;
use crate::inbox::{self, InboxError};
use crate::stick::Stick;
use crate::trust_store::{RefreshError, TrustStore};

/// `stick.json`.
const MAX_LABEL_BYTES: u64 = 4 << 10;

/// What a stick says of itself: no authority, and a plain word where somebody has taken the wrong one.
#[derive(Debug, Deserialize)]
struct Label {
    #[serde(rename = "_type")]
    kind: String,
    format: u32,
    hdo: HdoId,
}

/// Both of a device's repositories.
#[derive(Debug, Clone, Copy)]
pub struct Stores<'a> {
    /// The manufacturer's.
    pub catalog: &'a TrustStore,
    /// The hospital's.
    pub approvals: &'a TrustStore,
}

/// Why a stick was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read, or is no stick.
    #[error(transparent)]
    Stick(#[from] ClientError),
    /// The directory is no stick.
    #[error("{0} is no stick that `suturectl stick write` has written: {1}")]
    NoStick(String, &'static str),
    /// It was written for another hospital.
    #[error("the stick was written for hospital {theirs}, and this device belongs to {ours}")]
    OtherHospital {
        /// For whom.
        theirs: HdoId,
        /// Whose the device is.
        ours: HdoId,
    },
    /// An order that was handed over by itself is refused.
    #[error("the order is refused")]
    Order(#[from] StopError),
    /// A repository on it is refused: stale, forged, or damaged.
    #[error("the stick is refused ({}): {}", .0.code, .0.text)]
    Refused(Reason),
    /// The device's own disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// It could not be handed over.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The device has no root to verify by.
    #[error(
        "this device has not refreshed the hospital's approvals yet; let it reach the server, or import a stick first"
    )]
    NoRoot,
    /// The device's own root cannot be read.
    #[error(transparent)]
    Root(#[from] RefreshError),
}

impl ImportError {
    /// Whether it is the stick that is refused, and not the device that failed.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoStick(..) | Self::OtherHospital { .. } | Self::Order(_) | Self::Refused(_))
    }

    /// Whether it may go better the next time: a disk has failed, and not what was read from it. Everything else is final,
    /// but for [`ImportError::NoRoot`], which is over with the first refresh.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Stick(ClientError::Unread { .. }) | Self::Durable(DurableError::Io { .. }) | Self::Root(_))
    }
}

/// What a stick brought.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The catalog after it.
    pub catalog: Seen,
    /// The approvals after it.
    pub approvals: Seen,
    /// Whether it was newer than what the device held, or brought a delegated role's file that the device lacked.
    pub news: bool,
    /// What approvals name and the catalog does not say, because a delegated role's file is refused, and why.
    pub unfound: Vec<String>,
}

/// A stick's orders that verify, and those that do not, by file.
pub type Sorted = (Vec<VerifiedStop>, Vec<(String, StopError)>);

/// A stick that was looked at, without changing anything.
#[derive(Debug)]
pub struct Examined {
    /// What it would bring, or why it is refused.
    pub outcome: Result<Imported, ImportError>,
    /// Its stop orders and lifts that verify.
    pub stops: Vec<VerifiedStop>,
    /// Those that do not, by file, and why.
    pub refused: Vec<(String, StopError)>,
    /// All that was read of it, by path in the stick.
    files: BTreeMap<String, Vec<u8>>,
}

/// Refreshes both stores from a stick and keeps the documents of this device. `now` is judged by as in any refresh.
///
/// # Errors
///
/// The stick is refused or cannot be read, or the disk failed. What was stored before still counts.
pub async fn import(
    stores: Stores<'_>,
    stick: &mut Stick,
    device: &Device,
    now: Timestamp,
) -> Result<Imported, ImportError> {
    let taken = take(stores, stick, device, now).await;
    // Whatever came of what the disk did not give: it may come to something else when it is read again.
    match stick.unread() {
        Some(unread) => Err(unread.into()),
        None => taken,
    }
}

async fn take(stores: Stores<'_>, stick: &mut Stick, device: &Device, now: Timestamp) -> Result<Imported, ImportError> {
    let held = || -> Result<_, RefreshError> { Ok((stores.catalog.held()?, stores.approvals.held()?)) };
    let before = held().map_err(refused)?;
    let mut catalog = stores.catalog.refresh(stick, News::default(), now).await.map_err(refused)?;
    let approvals = stores.approvals.refresh(stick, News::default(), now).await.map_err(refused)?;
    let gathered = documents(stores.approvals, stick, &approvals, device).await;
    let gathered = gathered.map_err(ImportError::Refused)?;
    // A stick that lacks what it lists is damaged: whoever stands at the device learns it now, and not when the slot is
    // over.
    if let Some(reason) = gathered.approvals.iter().find_map(|share| share.opened.unknown()) {
        return Err(ImportError::Refused(reason.clone()));
    }
    // What the catalog lists through others. Where one of them is refused, what it lists waits, and nothing else.
    let paths = gathered.approvals.iter().flat_map(|share| &share.terms.steps).map(|step| step.path.as_str()).collect();
    let sought = stores.catalog.find(stick, &mut catalog, paths, now).await;
    if approvals.target(path::SERVICE).is_some() {
        stores.approvals.document(stick, &approvals, path::SERVICE).await.map_err(refused)?;
    }
    let news = sought.news || held().map_err(refused)? != before;
    let unfound = sought.unfound.iter().map(|(path, reason)| format!("{path}: {reason}")).collect();
    let seen = Repository::seen;
    Ok(Imported { catalog: seen(&catalog), approvals: seen(&approvals), news, unfound })
}

/// The stop orders of a stick, by the hospital's root that the device holds: those that verify and those that do not.
///
/// # Errors
///
/// There is no root, or the stick cannot be read.
pub fn stops(approvals: &TrustStore, stick: &mut Stick, hdo: &HdoId) -> Result<Sorted, ImportError> {
    let found = stick.stops()?;
    if found.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let root = approvals.root()?.ok_or(ImportError::NoRoot)?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, bytes) in found {
        match VerifiedStop::verify(&root, hdo, &bytes) {
            Ok(stop) => good.push(stop),
            Err(e) => bad.push((name, e)),
        }
    }
    Ok((good, bad))
}

/// Looks at a stick as the agent will, on a copy of what the device holds: nothing is changed.
///
/// # Errors
///
/// The directory is no stick, it is another hospital's, or the disk failed.
pub async fn examine(state_dir: &Path, device: &Device, stick: Stick, now: Timestamp) -> Result<Examined, ImportError> {
    let mut stick = stick.recording();
    label(&mut stick, device)?;
    let scratch = inbox::scratch(state_dir)?;
    for which in [Which::Catalog, Which::Approvals] {
        copy(state_dir, scratch.path(), which)?;
    }
    let open = |which, root| TrustStore::open(scratch.path(), which, root);
    let catalog = open(Which::Catalog, device.catalog_root_sha256)?;
    let approvals = open(Which::Approvals, device.approvals_root_sha256)?;
    let outcome = import(Stores { catalog: &catalog, approvals: &approvals }, &mut stick, device, now).await;
    // By the newest root that the stick has proven, which it may have done before it was refused.
    let (stops, refused) = match stops(&approvals, &mut stick, &device.hdo) {
        Err(ImportError::NoRoot) => (Vec::new(), Vec::new()),
        other => other?,
    };
    Ok(Examined { outcome, stops, refused, files: stick.into_read() })
}

impl Examined {
    /// Hands over what was verified: all of it, or the stop orders alone where the rest is refused.
    ///
    /// # Errors
    ///
    /// The disk, or the agent has not taken what came before.
    pub fn hand_over(&self, state_dir: &Path) -> Result<(), InboxError> {
        if self.outcome.is_ok() {
            return inbox::put_stick(state_dir, &self.files);
        }
        self.stops.iter().try_for_each(|stop| inbox::put_stop(state_dir, stop.bytes()))
    }
}

fn label(stick: &mut Stick, device: &Device) -> Result<(), ImportError> {
    let place = stick.place();
    let none = |why| ImportError::NoStick(place.clone(), why);
    let bytes = stick.file("stick.json", MAX_LABEL_BYTES)?.ok_or_else(|| none("it has no stick.json"))?;
    let label: Label = json::from_slice(&bytes).map_err(|_| none("its stick.json cannot be read"))?;
    if label.kind != "suture-stick" || label.format != 1 {
        return Err(none("its stick.json is of another kind, or of a format that this program is too old for"));
    }
    if label.hdo != device.hdo {
        return Err(ImportError::OtherHospital { theirs: label.hdo, ours: device.hdo.clone() });
    }
    Ok(())
}

/// The metadata of one repository: the four files, and those of delegated roles.
fn copy(from: &Path, to: &Path, which: Which) -> Result<(), DurableError> {
    let (from, to) = (TrustStore::directory(from, which), TrustStore::directory(to, which));
    durable::make_dir(&to)?;
    let roles = suture_core::trust::Role::ALL.map(|role| (role.file_name(), role.max_bytes()));
    let beside = TrustStore::BESIDE_ROLES.map(|name| (name, MAX_ROOT_BYTES));
    for (name, limit) in roles.into_iter().chain(beside) {
        if let Some(bytes) = durable::read(&from.join(name), limit)? {
            let path = to.join(name);
            fs::write(&path, bytes).map_err(DurableError::io("write", &path))?;
        }
    }
    let (from, to) = (TrustStore::delegated(&from), TrustStore::delegated(&to));
    durable::make_dir(&to)?;
    let entries = match fs::read_dir(&from) {
        // It has never refreshed.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(DurableError::io("list", &from))?,
    };
    for entry in entries {
        let entry = entry.map_err(DurableError::io("list", &from))?;
        if let Some(bytes) = durable::read(&entry.path(), MAX_TARGETS_BYTES)? {
            let path = to.join(entry.file_name());
            fs::write(&path, bytes).map_err(DurableError::io("write", &path))?;
        }
    }
    Ok(())
}

fn refused(error: RefreshError) -> ImportError {
    match error {
        // Of the device's own disk, or of a stick that cannot be read or lacks something.
        RefreshError::Disk(..) | RefreshError::NoWholeRoot { .. } => ImportError::Root(error),
        error => {
            let Reason { code, text } = error.reason();
            // No network was asked: what could not be had is not on the stick.
            let code = if code == Code::ServerUnreachable { Code::Transfer } else { code };
            ImportError::Refused(Reason { code, text })
        }
    }
}
