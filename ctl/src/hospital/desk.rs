//! An operator at work: connected, with the hospital's approvals verified and read.

use suture_core::approval::{Pinned, VerifiedStop};
use suture_core::id::HdoId;
use suture_core::trust::{Base, Delegated, Edition, Role, Targets};

use super::{Documents, Edit, Files, ReadError, orders, shelf, statements};
use crate::client::Client;
use crate::context::Context;
use crate::envelope::Envelope;
use crate::failure::{Exit, Failure, Outcome};
use crate::repository::{self, Done, Signing, may_sign};
use crate::trust_store::{Catalog, TrustStore, Which};

/// The hospital's repository, verified a moment ago, and the line to the server.
#[derive(Debug)]
pub struct Desk {
    /// The line to the server.
    pub client: Client,
    /// The hospital.
    pub hdo: HdoId,
    /// Its approvals.
    pub approvals: Base,
    /// What they list.
    pub documents: Documents,
}

impl Desk {
    /// Connects, refreshes the approvals and reads what they list; each file is verified by length and digest.
    pub async fn open(context: &Context<'_>) -> Outcome<Self> {
        let hdo = context.home.server()?.hdo()?;
        let mut client = context.connect().await?;
        let approvals = TrustStore::of(&context.home, Which::Approvals).refresh(&mut client, context.now()).await?;
        Self::read(context, hdo, client, approvals.into()).await
    }

    /// As [`Desk::open`], for signing what does not itself let a device act: approvals that nobody signed in time are
    /// taken, and it is said.
    pub async fn open_base(context: &mut Context<'_>) -> Outcome<Self> {
        Self::open_expecting(context, None).await
    }

    /// As [`Desk::open_base`], where a colleague has named an edition that the approvals must be or descend from.
    pub async fn open_expecting(context: &mut Context<'_>, expected: Option<Edition>) -> Outcome<Self> {
        let hdo = context.home.server()?.hdo()?;
        let mut client = context.connect().await?;
        let approvals = repository::base_expecting(context, &mut client, Which::Approvals, expected).await?;
        Self::read(context, hdo, client, approvals).await
    }

    async fn read(context: &Context<'_>, hdo: HdoId, mut client: Client, approvals: Base) -> Outcome<Self> {
        let targets = approvals.targets_metadata();
        let (files, pins) = gather(context, Some(&mut client), targets, &Files::new()).await?;
        let mut documents = Documents::read(&hdo, targets, &files).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
        orders::learn(context, &mut client, approvals.root(), &hdo, &mut documents).await?;
        shelf::keep_only(&context.home, pins.iter())?;
        Ok(Self { client, hdo, approvals, documents })
    }

    /// The catalog, refreshed and verified, with what its delegated roles list.
    pub async fn catalog(&mut self, context: &Context<'_>) -> Outcome<Catalog> {
        TrustStore::of(&context.home, Which::Catalog).refresh_catalog(&mut self.client, context.now()).await
    }

    /// Signs the version after the one that was verified, with what `change` makes of it. Where that is enough, publishes
    /// it, and the desk shows it from then on; where others must sign too, writes it down for them.
    pub async fn publish(
        &mut self,
        context: &Context<'_>,
        signing: &Signing,
        change: impl FnOnce(&mut Edit<'_>) -> Outcome,
    ) -> Outcome<Done<()>> {
        let key = context.key(&signing.key)?;
        may_sign(self.approvals.root(), Role::Targets, &*key)?;
        statements::may_use(context, self.approvals.root(), &key.public())?;
        let base = self.approvals.targets_metadata();
        let mut edit = Edit::after(self.hdo.clone(), base, &self.documents, context.now());
        change(&mut edit)?;
        let edited = edit.sign(&[&*key]).map_err(refused)?;
        let mut envelope = Envelope::new(context, Which::Approvals)?;
        envelope.targets = Some(edited.targets);
        envelope.files = edited.files;
        let in_force = repository::in_force(&self.approvals);
        let file = signing.envelope.as_deref();
        Ok(match repository::conclude(context, &mut self.client, in_force, &Delegated::new(), envelope, file).await? {
            Done::Published(approvals) => {
                self.approvals = approvals;
                Done::Published(())
            }
            Done::Waiting(waiting) => Done::Waiting(waiting),
        })
    }

    /// What the documents would be by a proposal: its own files, and those that are listed still.
    pub async fn preview(&mut self, context: &Context<'_>, targets: &Targets, new: &Files) -> Outcome<Documents> {
        let gathered = gather(context, Some(&mut self.client), targets, new).await;
        let (files, _) = gathered.map_err(|failure| match failure.exit {
            // The server has what is in force; what is new must have come with the proposal.
            Exit::Refused => Failure::untrusted("a file is new, and did not come along")
                .next("ask whoever sent it for the whole of it")
                .because_of(failure),
            _ => failure,
        })?;
        // An order that is in force already counts, whoever signs here now; another must be signed by itself.
        let judge = |bytes: &[u8]| match self.documents.stops.iter().find(|s| s.bytes() == bytes) {
            Some(known) => Ok(known.clone()),
            None => VerifiedStop::verify(self.approvals.root(), &self.hdo, bytes),
        };
        Documents::read_by(&self.hdo, targets, &files, judge).map_err(|e| Failure::of(Exit::Untrusted, &e))
    }
}

/// The documents as this home has kept them, and as they would be by a proposal, without the server.
pub async fn kept_documents(
    context: &Context<'_>,
    base: &Base,
    targets: &Targets,
    new: &Files,
) -> Outcome<(Documents, Documents)> {
    let hdo = context.home.server()?.hdo()?;
    let untrusted = |e: ReadError| Failure::of(Exit::Untrusted, &e);
    let (files, _) = gather(context, None, base.targets_metadata(), &Files::new()).await?;
    let before = Documents::read(&hdo, base.targets_metadata(), &files).map_err(untrusted)?;
    let (files, _) = gather(context, None, targets, new).await?;
    let judge = |bytes: &[u8]| match before.stops.iter().find(|s| s.bytes() == bytes) {
        Some(known) => Ok(known.clone()),
        None => VerifiedStop::verify(base.root(), &hdo, bytes),
    };
    let after = Documents::read_by(&hdo, targets, &files, judge).map_err(untrusted)?;
    Ok((before, after))
}

/// Everything that is to be read of targets metadata, and what pins it: from `new`, the home, or else the server, if that is
/// to be asked.
async fn gather(
    context: &Context<'_>,
    mut client: Option<&mut Client>,
    targets: &Targets,
    new: &Files,
) -> Outcome<(Files, Vec<Pinned>)> {
    let (mut files, mut pins) = (Files::new(), Vec::new());
    loop {
        let needed = Documents::needed(targets, &files).map_err(|e: ReadError| Failure::of(Exit::Untrusted, &e))?;
        if needed.is_empty() {
            return Ok((files, pins));
        }
        for pinned in needed {
            let bytes = match new.get(&pinned.path) {
                Some(bytes) => bytes.clone(),
                None => shelf::fetch(&context.home, client.as_deref_mut(), &pinned).await?,
            };
            files.insert(pinned.path.clone(), bytes);
            pins.push(pinned);
        }
    }
}

/// A rule of a document that does not hold fails the command.
pub fn refused(error: impl std::error::Error) -> Failure {
    Failure::of(Exit::Failed, &error)
}
