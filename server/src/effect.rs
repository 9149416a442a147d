//! What a publication changes in the rows: the catalog's bundles, the hospital's rosters and rollouts.
//!
//! It looks at everything that is listed now and repeats what is there already, so that a publication that was cut off,
//! or a row that was lost, is made good by the next one. Rows are for orchestration and for people; devices read the
//! signed files alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::approval::path::{self, Listed, Registered};
use suture_core::approval::{
    Approval, DocumentError, GateNote, Gates, Head, OperatorDocument, Pinned, Register, Roster, RosterDevice, Service,
    SignedDocument, StopError, Terms, VerifiedStop,
};
use suture_core::digest::Digest;
use suture_core::exposure::vex_at;
use suture_core::id::HdoId;
use suture_core::life;
use suture_core::limits::MAX_HOSPITAL_DEVICES;
use suture_core::manifest::{Manifest, ManifestError};
use suture_core::principal::Principal;
use suture_core::rollout::WaveSet;
use suture_core::trust::{CatalogEntry, Root, Status, Target, Targets, TrustError, Verified, served_target_name};
use suture_core::version::Version;
use suture_proto::Repository;

use crate::delta;
use crate::exposure::published::{Shelf, TakeVexError};
use crate::life::TakeLifeError;
use crate::risk::{self, Unaccepted};
use crate::rollout::{RolloutError, begin, order};
use crate::statement::{NewApproval, Signers, StateError};
use crate::store::bundles::Bundle;
use crate::store::repository::Readers;
use crate::store::{StoreError, Tx};

/// Why a publication that was verified cannot take effect. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    /// A catalog target without the manufacturer's word on what it is.
    #[error("{0}: its `custom` part does not say what bundle it is")]
    NoEntry(String),
    /// A manifest that cannot be read.
    #[error("{path}")]
    Manifest { path: String, source: ManifestError },
    /// A manifest that says otherwise than the catalog.
    #[error("{0}: the manifest and the catalog's `custom` part contradict one another")]
    Contradiction(String),
    /// A bundle, one of whose indexes or documents is not here.
    #[error("{path}: it names {sha256}, which is not on the server; `suturectl bundle publish` sends the whole bundle")]
    NotUploaded { path: String, sha256: Digest },
    /// A product's life that is not taken.
    #[error("{path}")]
    Life { path: String, source: TakeLifeError },
    /// Statements about vulnerabilities that are not taken.
    #[error("{path}")]
    Vex { path: String, source: TakeVexError },
    /// A rollout past the end of support whose risk nobody has accepted.
    #[error(transparent)]
    Unaccepted(#[from] Unaccepted),
    /// A document of the approvals repository that cannot be read.
    #[error("{path}")]
    Document { path: String, source: DocumentError },
    /// A stop order that is refused.
    #[error("{path}")]
    Stop { path: String, source: StopError },
    /// A document of the approvals repository that is of another hospital, or not where it belongs.
    #[error("{0}: it is of another hospital, its id is not the one in its path, or what it belongs to is not listed")]
    Misplaced(String),
    /// More devices than a hospital may have.
    #[error("{0} devices would be on the hospital's rosters, and {MAX_HOSPITAL_DEVICES} may be")]
    TooManyDevices(u64),
    /// A directory that devices do not know.
    #[error("{0}: approvals repositories list approvals/, gates/, stops/, service.json and register.json")]
    UnknownPath(String),
    /// A file that was sent along and that nothing names.
    #[error(
        "{0}: it was sent along, and neither the targets metadata nor the register nor a head of an approval lists it"
    )]
    Unlisted(String),
    /// An approval with the id of one that is there, and another content.
    #[error("{0}: an approval of that id exists; what is signed under an id is never changed, sign it under another")]
    Changed(String),
    /// A gates document that is gone, or closes a wave.
    #[error("{0}: what was signed open is closed by a stop order and in no other way: `suturectl rollout stop`")]
    ClosedAgain(String),
    /// A file that is listed and not stored.
    #[error("{0}: it is listed, was not sent along and is not here")]
    Missing(String),
    /// Who signed an approval, and why, is not said as it must be.
    #[error("an approval is not signed as it must be")]
    Stated(#[from] StateError),
    /// The targets metadata in force cannot be read.
    #[error("the signatures on the approvals cannot be read")]
    Trust(#[from] TrustError),
    /// A rollout could not be begun or ended.
    #[error("a rollout could not be changed")]
    Rollout(#[from] RolloutError),
    /// The database failed.
    #[error("the publication's rows could not be written")]
    Store(#[from] StoreError),
}

/// Everything that a repository lists now, with the bytes of what is read.
pub(crate) struct Listing<'a> {
    /// The repository.
    pub(crate) repository: &'a Repository,
    /// Its root in force.
    pub(crate) root: &'a Verified<Root>,
    /// Its targets metadata, new or as before.
    pub(crate) targets: &'a Verified<Targets>,
    /// All that it lists, itself and through roles that it delegates to.
    pub(crate) listed: &'a BTreeMap<String, Target>,
    /// Files that were sent along and that the targets metadata do not list, by path.
    pub(crate) sent: BTreeMap<String, Vec<u8>>,
    /// Who published.
    pub(crate) actor: &'a Principal,
    /// When.
    pub(crate) now: Timestamp,
    /// From how many earlier releases deltas are prepared; 0: none are.
    pub(crate) delta_sources: usize,
}

impl Listing<'_> {
    /// Brings the rows in line.
    pub(crate) async fn take_effect(mut self, tx: &mut Tx) -> Result<(), EffectError> {
        match self.repository {
            Repository::Catalog => self.bundles(tx).await?,
            Repository::Approvals(hdo) => self.approvals(tx, hdo).await?,
        }
        match self.sent.pop_first() {
            Some((path, _)) => Err(EffectError::Unlisted(path)),
            None => Ok(()),
        }
    }

    async fn bytes(&self, tx: &mut Tx, path: &str) -> Result<Vec<u8>, EffectError> {
        let target = self.listed.get(path).ok_or_else(|| EffectError::Missing(path.to_owned()))?;
        let bytes = tx.target_file(&self.repository.to_string(), &served_target_name(path, &target.sha256)).await?;
        bytes.ok_or_else(|| EffectError::Missing(path.to_owned()))
    }

    async fn document<T: SignedDocument>(&self, tx: &mut Tx, path: &str) -> Result<T, EffectError> {
        let bytes = self.bytes(tx, path).await?;
        T::parse(&bytes).map_err(|source| EffectError::Document { path: path.to_owned(), source })
    }

    async fn bundles(&self, tx: &mut Tx) -> Result<(), EffectError> {
        let mut offered = Vec::new();
        let shelf = Shelf::of(tx, self.listed).await?;
        for (path, target) in self.listed {
            if vex_at(path).is_some() {
                if Shelf::knows(tx, path, target).await? {
                    continue;
                }
                let bytes = self.bytes(tx, path).await?;
                let taken = shelf.take(tx, path, target, &bytes, self.now).await;
                taken.map_err(|source| EffectError::Vex { path: path.clone(), source })?;
                continue;
            }
            if let Some(product) = life::product_of(path) {
                let bytes = self.bytes(tx, path).await?;
                let taken = crate::life::take(tx, &product, &bytes, self.actor, self.now).await;
                taken.map_err(|source| EffectError::Life { path: path.clone(), source })?;
                continue;
            }
            let entry = CatalogEntry::of(target).ok_or_else(|| EffectError::NoEntry(path.clone()))?;
            let bytes = self.bytes(tx, path).await?;
            let manifest =
                Manifest::parse(&bytes).map_err(|source| EffectError::Manifest { path: path.clone(), source })?;
            let equal = manifest.product == entry.product
                && manifest.release == entry.release
                && manifest.version == entry.version
                && manifest.hardware == entry.hardware
                && manifest.requires.min_release == entry.min_release
                && manifest.path() == *path;
            if !equal {
                return Err(EffectError::Contradiction(path.clone()));
            }
            let before = tx.bundle_manifest(&entry.product, entry.release).await?;
            if before.is_none_or(|(_, sha256)| sha256 != target.sha256) {
                let indexes: Vec<_> = manifest.payloads.iter().map(|payload| payload.index_sha256).collect();
                let documents: Vec<_> = manifest.documents.iter().map(|document| document.sha256).collect();
                if let Some(sha256) = tx.lacking(&indexes, &documents).await?.pop() {
                    return Err(EffectError::NotUploaded { path: path.clone(), sha256 });
                }
            }
            tx.put_bundle(&Bundle {
                payload_length: manifest.total_length(),
                product: entry.product,
                release: entry.release,
                version: entry.version,
                path: path.clone(),
                manifest_sha256: target.sha256,
                status: entry.status.as_str().to_owned(),
                published: self.now,
            })
            .await?;
            tx.put_payloads(&manifest).await?;
            if entry.status != Status::Withdrawn {
                offered.push(manifest);
            }
        }
        tx.unlist_bundles(self.listed).await?;
        tx.unlist_vex(self.listed).await?;
        order::halt_withdrawn(tx, self.now).await?;
        tx.drop_deltas(self.now).await?;
        if self.delta_sources > 0 {
            for pair in delta::pairs(&offered, self.delta_sources) {
                tx.want_delta(&pair, None, self.now).await?;
            }
        }
        Ok(())
    }

    async fn approvals(&mut self, tx: &mut Tx, hdo: &HdoId) -> Result<(), EffectError> {
        let mut heads = Vec::new();
        let mut stops = Vec::new();
        let mut gates = BTreeMap::new();
        let mut register = Register::new(hdo.clone(), Vec::new());
        for (path, target) in self.targets.targets() {
            let placed = match Listed::of(path) {
                Some(Listed::Approval(id)) => {
                    let head: Head = self.document(tx, path).await?;
                    let ours = head.terms.hdo == *hdo && head.terms.id == id;
                    heads.push((head, target.sha256));
                    ours
                }
                Some(Listed::Gates(id)) => {
                    // Read beside the head of its approval, below.
                    gates.insert(id, self.bytes(tx, path).await?);
                    true
                }
                Some(Listed::Stop(id)) => {
                    let bytes = self.bytes(tx, path).await?;
                    let stop = VerifiedStop::listed(self.targets, hdo, &bytes)
                        .map_err(|source| EffectError::Stop { path: path.to_owned(), source })?;
                    let ours = stop.approval == id;
                    stops.push(stop);
                    ours
                }
                Some(Listed::Service) => {
                    let service: Service = self.document(tx, path).await?;
                    service.hdo == *hdo
                }
                Some(Listed::Register) => {
                    register = self.document(tx, path).await?;
                    register.hdo == *hdo
                }
                None => return Err(EffectError::UnknownPath(path.to_owned())),
            };
            if !placed {
                return Err(EffectError::Misplaced(path.to_owned()));
            }
        }
        self.registered(tx, hdo, &register).await?;
        heads.sort_by(|(a, _), (b, _)| (a.terms.created, &a.terms.id).cmp(&(b.terms.created, &b.terms.id)));
        for (head, sha256) in heads {
            let opened = gates.remove(&head.terms.id);
            let opened = opened.map(|bytes| Gates::read(&head.terms, sha256, &bytes)).transpose();
            let opened =
                opened.map_err(|source| EffectError::Document { path: path::gates(&head.terms.id), source })?;
            let terms = head.terms.clone();
            self.approval(tx, head, sha256, &register).await?;
            self.gates(tx, &terms, opened.as_ref(), &register).await?;
        }
        if let Some((id, _)) = gates.pop_first() {
            return Err(EffectError::Misplaced(path::gates(&id)));
        }
        for stop in &stops {
            order::stop(tx, hdo, stop, self.actor, self.now).await?;
        }
        tx.drop_stops(hdo, self.now).await?;
        tx.judge_stops(hdo, self.root).await?;
        Ok(())
    }

    /// Keeps what the register lists; of the rosters, those that are new are read and those that are gone forgotten.
    async fn registered(&mut self, tx: &mut Tx, hdo: &HdoId, register: &Register) -> Result<(), EffectError> {
        let mut rosters = BTreeMap::new();
        for file in &register.files {
            self.keep(tx, file, Readers::Operators).await?;
            if let Some(Registered::Roster(part)) = Registered::of(&file.path) {
                rosters.insert(file.file_name(), (file, part));
            }
        }
        let known = tx.rosters(hdo).await?;
        for name in known.iter().filter(|name| !rosters.contains_key(*name)) {
            tx.remove_roster(hdo, name).await?;
        }
        for (name, (file, part)) in rosters.into_iter().filter(|(name, _)| !known.contains(name)) {
            let roster: Roster = self.pinned(tx, file).await?;
            if roster.hdo != *hdo || roster.part != part {
                return Err(EffectError::Misplaced(file.path.clone()));
            }
            let devices: Vec<_> = roster.devices.into_iter().map(|d| (d.id, d.report_key, d.ward)).collect();
            tx.add_roster(hdo, &name, &devices).await?;
        }
        // Attack: rosters of millions, which are in memory together where an approval is judged by them.
        match tx.rostered(hdo).await? {
            many if many > MAX_HOSPITAL_DEVICES as u64 => Err(EffectError::TooManyDevices(many)),
            _ => Ok(()),
        }
    }

    /// Begins an approval's rollout, if it is new; its shards are read and kept once, then.
    async fn approval(
        &mut self,
        tx: &mut Tx,
        head: Head,
        sha256: Digest,
        register: &Register,
    ) -> Result<(), EffectError> {
        let Terms { id, hdo, operator_document, .. } = &head.terms;
        let path = path::approval(id);
        if register.file(&operator_document.path) != Some(operator_document) {
            return Err(EffectError::Misplaced(operator_document.path.clone()));
        }
        if let Some(rollout) = tx.rollout(hdo, id).await? {
            let same = rollout.approval_sha256 == sha256;
            return if same { Ok(()) } else { Err(EffectError::Changed(path)) };
        }
        let notes: OperatorDocument = self.pinned(tx, operator_document).await?;
        let mut shards = Vec::with_capacity(head.shards.len());
        for (part, pinned) in head.shards() {
            self.keep(tx, &pinned, Readers::Part(part)).await?;
            shards.push(self.pinned_bytes(tx, &pinned).await?);
        }
        let approval = head.whole(&shards).map_err(|source| EffectError::Document { path, source })?;
        if let Some(ended) = risk::is_needed(tx, &approval, self.now).await? {
            let roster = self.roster(tx, register).await?;
            let refused = risk::refused(tx, self.root, (&approval, ended), &roster, self.now).await?;
            refused.map_or(Ok(()), Err)?;
        }
        let version = self.version(tx, &approval).await?;
        begin::begin(tx, &approval, sha256, &notes, version, self.actor, self.now).await?;
        let signers = Signers::of(self.root, self.targets)?;
        let Terms { id, hdo, .. } = &approval.terms;
        let new = NewApproval { hdo, id, head_sha256: sha256, signers: &signers };
        Ok(new.take_statements(tx, &mut self.sent, self.actor, self.now).await?)
    }

    /// All devices of the hospital's rosters.
    async fn roster(&self, tx: &mut Tx, register: &Register) -> Result<Vec<RosterDevice>, EffectError> {
        let mut devices = Vec::new();
        for file in
            register.files.iter().filter(|file| matches!(Registered::of(&file.path), Some(Registered::Roster(_))))
        {
            devices.extend(self.pinned::<Roster>(tx, file).await?.devices);
        }
        Ok(devices)
    }

    /// Opens the waves that the hospital has opened by its signature since. None is closed again by such a document.
    async fn gates(
        &self,
        tx: &mut Tx,
        terms: &Terms,
        opened: Option<&Gates>,
        register: &Register,
    ) -> Result<(), EffectError> {
        let gated = WaveSet::gated(&terms.waves);
        if gated.is_empty() {
            return Ok(());
        }
        let Some(rollout) = tx.rollout(&terms.hdo, &terms.id).await? else { return Ok(()) };
        if !gated.without(rollout.unsigned).without(WaveSet::opened(opened)).is_empty() {
            return Err(EffectError::ClosedAgain(path::gates(&terms.id)));
        }
        for open in opened.into_iter().flat_map(|gates| &gates.open) {
            if register.file(&open.note.path) != Some(&open.note) {
                return Err(EffectError::Misplaced(open.note.path.clone()));
            }
            if rollout.unsigned.holds(open.wave) {
                let note: GateNote = self.pinned(tx, &open.note).await?;
                if (&note.approval, note.wave) != (&terms.id, open.wave) {
                    return Err(EffectError::Misplaced(open.note.path.clone()));
                }
                order::open(tx, &terms.hdo, &note, self.actor, self.now).await?;
            }
        }
        Ok(())
    }

    /// Stores a file that a listed document pins, if it was sent along; else it must be here.
    async fn keep(&mut self, tx: &mut Tx, pinned: &Pinned, readers: Readers) -> Result<(), EffectError> {
        let (repository, name) = (self.repository.to_string(), pinned.file_name());
        if let Some(bytes) = self.sent.remove(&pinned.path) {
            let differs = |source| EffectError::Document { path: pinned.path.clone(), source };
            pinned.verify(&bytes).map_err(differs)?;
            tx.put_target_file(&repository, &name, &bytes, readers, self.now).await?;
        } else if !tx.has_target_file(&repository, &name).await? {
            return Err(EffectError::Missing(pinned.path.clone()));
        }
        Ok(())
    }

    async fn pinned_bytes(&self, tx: &mut Tx, pinned: &Pinned) -> Result<Vec<u8>, EffectError> {
        let bytes = tx.target_file(&self.repository.to_string(), &pinned.file_name()).await?;
        bytes.ok_or_else(|| EffectError::Missing(pinned.path.clone()))
    }

    async fn pinned<T: SignedDocument>(&self, tx: &mut Tx, pinned: &Pinned) -> Result<T, EffectError> {
        let bytes = self.pinned_bytes(tx, pinned).await?;
        T::parse(&bytes).map_err(|source| EffectError::Document { path: pinned.path.clone(), source })
    }

    /// What people call the release that an approval leads to; the release's number where the catalog has none.
    async fn version(&self, tx: &mut Tx, approval: &Approval) -> Result<Version, EffectError> {
        let named = match approval.terms.steps.last() {
            Some(step) => tx.bundle_version(&step.product, step.release).await?,
            None => None,
        };
        let number = || approval.terms.steps.last().map_or(0, |s| s.release.0).to_string().parse();
        match named {
            Some(version) => Ok(version),
            None => number().map_err(|_| EffectError::UnknownPath(approval.terms.id.to_string())),
        }
    }
}
