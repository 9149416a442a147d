//! What is gathered for a folder, and where: each signed file once, from what an interrupted run has left, or from the server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use suture_core::approval::Pinned;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId, ProductId};
use suture_core::limits::{MAX_EVIDENCE_BYTES, MAX_ROWS_PER_CALL};
use suture_core::trust::{Base, Edition};
use suture_proto::v1;

use super::{Place, repository};
use crate::client::Client;
use crate::context::Context;
use crate::evidence::reports::{self, Line};
use crate::evidence::served::{self, Served};
use crate::evidence::{About, Files, folder, kind};
use crate::failure::{Failure, Outcome};
use crate::files::{self, Access};
use crate::lists;
use crate::trust_store::{TrustStore, Which};

/// A folder in the making.
pub(super) struct Gathering<'a, 'c> {
    pub(super) context: &'a mut Context<'c>,
    pub(super) client: Client,
    pub(super) about: About,
    pub(super) files: Files,
    pub(super) served: Served,
    pub(super) catalog: Base,
    /// All that the catalog lists, delegated roles included.
    pub(super) listed: BTreeMap<String, suture_core::trust::Target>,
    pub(super) approvals: Option<Base>,
    /// Versions of the approvals' targets metadata that were read on the way back, and the digest that names the next.
    pub(super) walked: BTreeMap<u64, (Edition, Vec<u8>)>,
    pub(super) lines: Vec<Line>,
    /// Products of the bundles and devices that it is about.
    pub(super) products: BTreeSet<ProductId>,
    /// Devices that it is about.
    pub(super) devices: BTreeSet<DeviceId>,
    partial: PathBuf,
    fetched: u64,
}

impl<'a, 'c> Gathering<'a, 'c> {
    /// Connects, refreshes both repositories and takes their metadata.
    pub(super) async fn begin(context: &'a mut Context<'c>, about: &About, place: &Place) -> Outcome<Self> {
        let partial = folder::partial(&place.output_dir);
        if place.resume && !partial.exists() {
            context.print.note("nothing was left by an interrupted run; beginning anew");
        }
        if !place.resume && partial.exists() {
            let left = partial.display();
            context
                .print
                .note(&format!("clearing {left}, which an interrupted run has left; --resume goes on from there"));
            folder::remove(&partial)?;
        }
        let mut client = context.connect().await?;
        // Evidence is asked for also when nobody has signed in time: what was signed then is what is shown.
        let catalog = TrustStore::of(&context.home, Which::Catalog).refresh_base(&mut client, about.made).await?;
        let approvals = match &about.hdo {
            Some(_) => {
                Some(TrustStore::of(&context.home, Which::Approvals).refresh_base(&mut client, about.made).await?)
            }
            None => None,
        };
        let mut gathering = Self {
            context,
            client,
            about: about.clone(),
            files: Files::new(),
            served: Served::default(),
            listed: BTreeMap::new(),
            walked: BTreeMap::new(),
            lines: Vec::new(),
            products: BTreeSet::new(),
            devices: BTreeSet::new(),
            partial,
            fetched: 0,
            catalog,
            approvals,
        };
        repository::metadata(&mut gathering, Which::Catalog).await?;
        if gathering.approvals.is_some() {
            repository::metadata(&mut gathering, Which::Approvals).await?;
        }
        Ok(gathering)
    }

    /// The hospital whose evidence it is.
    pub(super) fn hdo(&self) -> Outcome<HdoId> {
        self.about.hdo.clone().ok_or_else(|| {
            Failure::new("this is a hospital's evidence, and this home is no hospital's operator's")
                .next("`suturectl evidence product PRODUCT` is a manufacturer's")
        })
    }

    /// What a person sees while it goes on.
    pub(super) fn note(&mut self, text: &str) {
        self.context.print.note(text);
    }

    /// Puts a file into the folder; says where the folder has grown too large.
    pub(super) fn put(&mut self, path: String, bytes: Vec<u8>) -> Outcome {
        self.fetched = self.fetched.saturating_add(bytes.len() as u64);
        self.files.insert(path, bytes);
        if self.fetched > MAX_EVIDENCE_BYTES { folder::bounded(&self.files) } else { Ok(()) }
    }

    /// A target of one repository that was pinned with that length and digest. It is kept beside the folder until that is
    /// whole, so that an interrupted run need not fetch it again.
    pub(super) async fn target(&mut self, which: Which, pinned: &Pinned) -> Outcome<Vec<u8>> {
        let name = pinned.file_name();
        let path = crate::evidence::repository::place(which, &name);
        if let Some(bytes) = self.files.get(&path) {
            return Ok(bytes.clone());
        }
        let kept = self.kept(&path, pinned.length)?.filter(|bytes| pinned.verify(bytes).is_ok());
        let bytes = match kept {
            Some(bytes) => bytes,
            None => {
                let bytes = self.client.target(which, &name, pinned.length).await?;
                pinned.verify(&bytes).map_err(|e| {
                    Failure::untrusted(format!("{path}: the server hands out another file than was signed")).because(&e)
                })?;
                self.keep(&path, &bytes)?;
                bytes
            }
        };
        self.put(path, bytes.clone())?;
        Ok(bytes)
    }

    /// A document that a manifest pins.
    pub(super) async fn document(&mut self, path: String, document: &suture_core::manifest::Document) -> Outcome {
        if self.files.contains_key(&path) {
            return Ok(());
        }
        let is_it = |bytes: &Vec<u8>| Digest::of(bytes) == document.sha256;
        let bytes = match self.kept(&path, document.length)?.filter(is_it) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.client.document(&document.sha256, document.length).await?;
                self.keep(&path, &bytes)?;
                bytes
            }
        };
        self.put(path, bytes)
    }

    /// A file that an interrupted run has left.
    pub(super) fn kept(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        Ok(files::read(&self.partial.join(path), limit).ok().flatten())
    }

    /// Keeps a file for a run that follows an interrupted one.
    pub(super) fn keep(&self, path: &str, bytes: &[u8]) -> Outcome {
        let path = self.partial.join(path);
        files::create_private_directory(path.parent().unwrap_or(Path::new(".")))?;
        Ok(files::write(&path, bytes, Access::Public)?)
    }

    /// Reports by the server's order, all pages of them.
    pub(super) async fn reports(&mut self, device: &str, rollout: &str) -> Outcome {
        let mut after: Option<v1::ReportPlace> = None;
        loop {
            let request = v1::ListReportsRequest {
                device: device.to_owned(),
                rollout: rollout.to_owned(),
                after: after.clone(),
                limit: MAX_ROWS_PER_CALL,
            };
            let v1::ListReportsResponse { reports, more, through } = self.client.list_reports(request).await?;
            for report in reports {
                self.lines.push(Line::of(report)?);
            }
            let bytes: u64 = self.lines.iter().map(|l| l.payload.len() as u64).sum();
            if !more || through.is_none() {
                return Ok(());
            }
            if through == after || bytes > MAX_EVIDENCE_BYTES {
                return Err(Failure::untrusted("the server's list of reports does not come to an end"));
            }
            after = through;
        }
    }

    /// What the server says of the bundles that `counts` names.
    pub(super) async fn bundles(&mut self, counts: impl Fn(&v1::Bundle) -> bool) -> Outcome {
        for bundle in lists::bundles(&mut self.client).await?.into_iter().filter(counts) {
            self.served.bundles.push(served::Bundle {
                product: suture_proto::parse("product", &bundle.product)?,
                release: suture_core::version::Release(bundle.release),
                version: suture_proto::parse("version", &bundle.version)?,
                published: served::at(bundle.published_ms)?,
            });
        }
        Ok(())
    }

    /// What the server has found of forks at the devices that `counts` names.
    pub(super) async fn forks(&mut self, counts: impl Fn(&str) -> bool) -> Outcome {
        let v1::ListForksResponse { forks } = self.client.list_forks(v1::ListForksRequest {}).await?;
        for fork in forks.iter().filter(|fork| counts(&fork.device)) {
            self.served.forks.push(served::Fork::of(fork)?);
        }
        Ok(())
    }

    /// What the server says of a device.
    pub(super) async fn device(&mut self, id: &DeviceId) -> Outcome {
        let request = v1::GetDeviceRequest { id: id.to_string() };
        let device = self.client.get_device(request).await?.device;
        let device = device.ok_or_else(|| {
            Failure::new(format!("the server tells nothing of {id}"))
                .next("`suturectl device list` names those that it knows")
        })?;
        self.products.extend(device.record.as_ref().and_then(|record| record.product.parse::<ProductId>().ok()));
        self.devices.insert(id.clone());
        self.served.devices.push(served::Device::of(&device)?);
        Ok(())
    }

    /// The hospital's decisions that `counts` names, newest first, page by page; the signed ones as they were signed.
    pub(super) async fn decisions(&mut self, counts: impl Fn(&v1::Decision) -> bool) -> Outcome {
        let mut before = 0;
        loop {
            let request = v1::ListDecisionsRequest { all: true, before, limit: MAX_ROWS_PER_CALL };
            let v1::ListDecisionsResponse { decisions, more } = self.client.list_decisions(request).await?;
            let last = decisions.last().map_or(0, |d| d.number);
            for decision in decisions.into_iter().filter(&counts) {
                if !decision.signed.is_empty() {
                    self.put(kind::decision(decision.number), decision.signed.to_vec())?;
                }
                self.served.decisions.push(said(decision)?);
            }
            if !more {
                return Ok(());
            }
            if last == 0 || (before != 0 && last >= before) {
                return Err(Failure::untrusted("the server's list of decisions does not come to an end"));
            }
            before = last;
        }
    }

    /// All that was gathered.
    pub(super) fn finish(self) -> Outcome<Files> {
        let Self { mut files, served, lines, .. } = self;
        served.write(&mut files)?;
        if !lines.is_empty() {
            files.insert(reports::PATH.to_owned(), reports::to_bytes(lines)?);
        }
        folder::bounded(&files)?;
        Ok(files)
    }
}

fn said(d: v1::Decision) -> Outcome<served::Decision> {
    Ok(served::Decision {
        number: d.number,
        product: suture_proto::parse("product", &d.product)?,
        release: suture_core::version::Release(d.release),
        rollout: (!d.rollout.is_empty()).then(|| suture_proto::parse("rollout", &d.rollout)).transpose()?,
        later: (d.later > 0).then_some(d.later),
        signed: !d.signed.is_empty(),
        at: served::at(d.decided_ms)?,
        choice: d.choice,
        reason: d.reason,
        compensating: d.compensating,
        review: d.review,
        by: d.decided_by,
    })
}

/// The pin of a target.
pub(super) fn pin(path: &str, target: &suture_core::trust::Target) -> Pinned {
    Pinned { path: path.to_owned(), length: target.length, sha256: target.sha256 }
}

/// The pin of a file that an approval's step names.
pub(super) fn pin_of(path: &str, length: u64, sha256: Digest) -> Pinned {
    Pinned { path: path.to_owned(), length, sha256 }
}
