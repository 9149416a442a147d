//! The agent's start: everything that is on disk, read, by one agent at a time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use suture_core::clock::Clock as _;
use suture_core::phase::{Code, Reason};
use tokio_util::sync::CancellationToken;

use super::rhythm::Rhythm;
use super::{Agent, AgentError, RETRY_FIRST, RETRY_MOST, Surroundings, UNASKED, local, look, own, service};
use crate::backoff::Backoff;
use crate::client::{Manners, Which};
use crate::config::Settings;
use crate::departure;
use crate::durable::{self, DurableError};
use crate::face::Errands;
use crate::floor::Floors;
use crate::identity::Identity;
use crate::inbox::Inbox;
use crate::install::Installer;
use crate::integrity::Watch;
use crate::interlock::Interlock;
use crate::journal::{Journal, JournalError};
use crate::lease::Lease;
use crate::lock;
use crate::outbox::Outbox;
use crate::record::Record;
use crate::sightings::Sightings;
use crate::stops::Stops;
use crate::tls_clock::TlsClock;
use crate::took;
use crate::trust_store::TrustStore;

impl Agent {
    /// Opens everything that is on disk; makes no call yet.
    pub fn open(settings: Settings, around: Surroundings) -> Result<Self, AgentError> {
        durable::make_dir(&settings.state_dir)?;
        let lock = lock(&settings)?;
        departure::finish(&settings.state_dir)?;
        let identity = Identity::open(&settings.state_dir)?;
        identity.mend();
        let ways = identity.ways()?;
        let floors = look::floors(&settings);
        let proven = floors.as_ref().map_or(Timestamp::UNIX_EPOCH, Floors::time);
        let tls_clock = TlsClock::new(around.clock.clone(), proven.max(identity.issued()));
        let manners = Manners::new(settings.fetch.max_rate, around.random.clone());
        let client = service::client(&identity, &ways, (tls_clock.clone(), around.proxy.clone()), &manners)?;
        let outbox = Outbox::open(&settings.state_dir.join("outbox"))?;
        let sightings = Sightings::open(&settings.state_dir);
        let mut journal = unsettled(&settings, &outbox)?;
        // Accident: a disk that takes nothing at the very start. The device says so all the same, and begins nothing.
        let settled = journal.settle().map_err(AgentError::from);
        let store = |which, root| TrustStore::open(&settings.state_dir, which, root);
        let device = identity.device();
        let record = Record::open(&settings.state_dir, device.audit_key.clone(), device.trust_domain.clone())?;
        let catalog = store(Which::Catalog, device.catalog_root_sha256)?;
        let approvals = store(Which::Approvals, device.approvals_root_sha256)?;
        // What it verified before it was started is what it has seen: a fork comes to light by that.
        let seen = |store: &TrustStore| store.offline(tls_clock.now()).ok().map(|repository| repository.seen());
        let seen = (seen(&catalog), seen(&approvals));
        let stop = CancellationToken::new();
        let mut agent = Self {
            catalog,
            approvals,
            floors,
            tls_clock,
            installer: Installer::new(&settings).ending(stop.clone()),
            running: Err(Reason::new(Code::RunningUnknown, UNASKED)),
            runs: Arc::default(),
            installs: None,
            interlock: Interlock::new(settings.interlock.as_ref(), &settings.state_dir),
            counters: Arc::default(),
            retry: Backoff::new(RETRY_FIRST, RETRY_MOST).ok_or(AgentError::Backoff)?,
            rhythm: Rhythm::new(settings.poll).ok_or(AgentError::Backoff)?,
            stop,
            pulse: Arc::default(),
            watch: Watch::new(settings.integrity),
            resumed: false,
            asks_once_more: true,
            counted: false,
            unsaid: 0,
            reverted: None,
            heard: None,
            unheard: None,
            is_stranger: false,
            tidings: None,
            heard_stops: Vec::new(),
            stops: Stops::open(&settings.state_dir)?,
            answers: Vec::new(),
            inbox: Inbox::open(&settings.state_dir)?,
            errands: Errands::new(),
            logged: local::logged(&settings.state_dir),
            lease: Lease::open(&settings.state_dir)?,
            took: took::Memory::open(&settings.state_dir),
            own: own::Own::new(&settings),
            record,
            shown: None,
            seen,
            unwritten: Arc::default(),
            fails: false,
            leaves: false,
            _lock: lock,
            settings,
            around,
            identity,
            ways,
            client,
            manners,
            ask_again: None,
            damage: super::act::Damage::default(),
            journal,
            outbox,
            put_off: false,
            sightings,
        };
        if let Err(e) = &settled {
            agent.found(e);
        }
        Ok(agent)
    }
}

/// Opens the journal, by what the outbox and the files beside it know of it.
pub fn journal(settings: &Settings, outbox: &Outbox) -> Result<Journal, JournalError> {
    let mut journal = unsettled(settings, outbox)?;
    journal.settle()?;
    Ok(journal)
}

/// The journal for whoever looks at it, with nothing written: of one that is lost, that the device is held.
///
/// # Errors
///
/// It cannot be read, or what is known of it.
pub fn peek(settings: &Settings) -> Result<Journal, JournalError> {
    unsettled(settings, &Outbox::read(&settings.state_dir.join("outbox"))?)
}

/// The same with nothing written.
fn unsettled(settings: &Settings, outbox: &Outbox) -> Result<Journal, JournalError> {
    let path = journal_path(settings);
    let told = outbox.transition();
    let known = if Journal::is_alone(&path)? { known(&settings.state_dir, outbox)? } else { told };
    Journal::read(&path, (told, known))
}

/// The highest transition that any file knows of, for a device that may have lost its journal; 0 for one that never had one. Each
/// of these files is written after a record of the journal, and never before the first; what is not here may be.
///
/// # Errors
///
/// The disk does not say whether there is such a file.
fn known(state_dir: &Path, outbox: &Outbox) -> Result<u64, DurableError> {
    let logged = local::logged(state_dir).0;
    let mut known = outbox.transition().max(logged).max(u64::from(!outbox.is_empty()));
    for name in USED {
        let file = state_dir.join(name);
        let there = match file.symlink_metadata().map_err(DurableError::io("look for", &file)) {
            Err(DurableError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => false,
            // Accident: a sector that does not say what lies there. Whoever has begun nothing has no such name.
            Err(e) if !e.is_damage() => return Err(e),
            _ => true,
        };
        if there {
            known = known.max(BEGUN);
        }
    }
    Ok(known)
}

/// What only a device leaves that has begun something.
const USED: [&str; 4] = ["took.json", "lease.json", "deferrals.json", "data-copy.json"];

/// The transition that such a device has come to at least: what was offered first is staged by then.
const BEGUN: u64 = 3;

/// The journal's place.
pub fn journal_path(settings: &Settings) -> std::path::PathBuf {
    settings.state_dir.join("journal.json")
}

/// Takes the state directory for this process. Also for those commands that must not run beside the agent.
pub fn lock(settings: &Settings) -> Result<File, AgentError> {
    let path = settings.state_dir.join("lock");
    let file = match File::create(&path) {
        // Accident: a disk that can only be read any more. The device is to say so, and what lies there is locked all the same.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
        made => made,
    };
    let file = file.map_err(DurableError::io("make", &path))?;
    match lock::take(&file).map_err(DurableError::io("lock", &path))? {
        true => Ok(file),
        false => Err(AgentError::Busy(settings.state_dir.display().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_whose_disk_does_not_give_what_it_left_is_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
        assert_eq!(known(dir.path(), &outbox).unwrap(), 0, "nobody has begun anything");
        let took = dir.path().join("took.json");
        durable::lose(&took);
        assert_eq!(known(dir.path(), &outbox).unwrap(), BEGUN);
        std::fs::remove_file(&took).unwrap();
        std::fs::write(&took, b"").unwrap();
        assert_eq!(known(dir.path(), &outbox).unwrap(), BEGUN);
    }
}
