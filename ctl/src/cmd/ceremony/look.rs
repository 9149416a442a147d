//! An envelope, judged by what this home has verified itself.
//!
//! Nothing is signed on anybody's word. The envelope must follow from what this home has just verified with its own pinned
//! root; what it adds is read from the very bytes that are signed; and an approval is signed only if its plan, computed
//! again here from what both sides have signed, comes to just that approval.

use std::collections::BTreeSet;

use serde::Serialize;
use suture_core::approval::{Meaning, OperatorDocument, SignedDocument as _, path};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::legible::indented;
use suture_core::limits::MAX_ROOT_BYTES;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::{Delegated, Proposal, Role, Root, Targets, Want};

use super::keys::Ground;
use crate::client::Client;
use crate::cmd::rollout;
use crate::context::Context;
use crate::envelope::{self, Change, Envelope, Stated};
use crate::failure::{Exit, Failure, Outcome};
use crate::hospital::statements::{self, Words};
use crate::hospital::{self, Desk, refused};
use crate::keys::KeyName;
use crate::print::{count, grouped};
use crate::repository::{InForce, Signatures};
use crate::trust_store::{TrustStore, Which};

/// An envelope as this home sees it.
pub(super) struct Look {
    pub(super) envelope: Envelope,
    pub(super) proposal: Proposal,
    ground: Option<Ground>,
    pub(super) changes: Vec<Change>,
    /// Approvals that it begins, and what their signers say.
    pub(super) stated: Stated,
    /// What it was not compared with, and why.
    not_compared: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Shown {
    repository: &'static str,
    /// What all signers sign, and can compare: SHA-256 of the signed parts.
    root_signed_sha256: Option<Digest>,
    targets_signed_sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Delegated::is_empty")]
    delegated_signed_sha256: Delegated<Digest>,
    changes: Vec<Change>,
    /// What it was not compared with, and why; empty where the server was asked.
    not_compared: Vec<String>,
    signatures: Vec<Signatures>,
}

impl Look {
    /// Verifies an envelope against what this home knows, refreshed.
    pub(super) async fn at(
        context: &mut Context<'_>,
        client: &mut Client,
        which: Which,
        envelope: Envelope,
    ) -> Outcome<Self> {
        ours(context, which, &envelope)?;
        let ground = ground(context, client, which).await?;
        let roles = match (&ground, which) {
            (Some(Ground::Whole(base)), Which::Catalog) => {
                TrustStore::of(&context.home, which).delegated(Some(client), base).await?.into_files()
            }
            _ => Delegated::new(),
        };
        let mut look = Self::on(context, envelope, ground, &roles)?;
        if which == Which::Approvals
            && look.in_force_targets().is_some()
            && let Some(targets) = &look.proposal.targets
        {
            let changes = approvals(context, &look.envelope, &look.proposal, targets).await?;
            look.changes.extend(changes);
        }
        look.list();
        Ok(look)
    }

    /// Compares an envelope with what this home has kept, without the server; says what could not be compared.
    pub(super) async fn offline(context: &Context<'_>, which: Which, envelope: Envelope) -> Outcome<Self> {
        ours(context, which, &envelope)?;
        let store = TrustStore::of(&context.home, which);
        let mut not_compared = Vec::new();
        let (ground, roles) = match Ground::kept(&store, context.now())? {
            Some(Ground::Whole(base)) => {
                let roles = store.delegated(None, &base).await?.into_files();
                (Some(Ground::Whole(base)), roles)
            }
            ground => (ground, Delegated::new()),
        };
        not_compared.push(match ground.as_ref().map(|ground| (ground.root(), ground.targets())) {
            None => format!("what is in force: this home trusts no {} yet", which.as_str()),
            Some((root, targets)) => {
                let targets = targets.map_or_else(String::new, |targets| {
                    let signed = targets.signed_at().map(format_utc).unwrap_or_default();
                    format!(" and targets {}, made {signed}", targets.version())
                });
                let root = root.version();
                format!("what was put in force after root {root}{targets}, which this home verified last")
            }
        });
        let mut look = Self::on(context, envelope, ground, &roles)?;
        if which == Which::Approvals
            && let Some(Ground::Whole(base)) = &look.ground
            && let Some(targets) = &look.proposal.targets
        {
            match hospital::kept_documents(context, base, targets, &look.envelope.files).await {
                Ok((before, after)) => {
                    look.changes.extend(envelope::documents(&before, &after));
                    look.changes.extend(envelope::opened(&before, &after, &look.envelope.files)?);
                    let new = after.approvals.iter().filter(|a| before.approval(&a.terms.id).is_none());
                    not_compared.extend(new.map(|a| {
                        format!("the plan of {}: it takes the catalog and the server to compute it again", a.terms.id)
                    }));
                }
                Err(failure) => {
                    let why = [&failure.message].into_iter().chain(&failure.causes).cloned().collect::<Vec<_>>();
                    not_compared.push(format!("the hospital's documents one by one: {}", why.join(": ")));
                }
            }
        }
        look.not_compared = not_compared;
        look.list();
        Ok(look)
    }

    /// What does not take the server: whether it follows, and what becomes of keys, ends and the catalog's bundles.
    fn on(
        context: &Context<'_>,
        envelope: Envelope,
        ground: Option<Ground>,
        roles: &Delegated<Vec<u8>>,
    ) -> Outcome<Self> {
        let which = envelope.which;
        let in_force = ground.as_ref().and_then(Ground::in_force);
        let proposal = match envelope.propose_after(in_force, roles, context.now()) {
            Ok(proposal) => proposal,
            Err(failure) => return Err(moved(which, &envelope, in_force, failure)),
        };
        let mut changes = envelope::metadata(in_force, &proposal);
        let before = in_force.and_then(|(_, targets)| targets).map(|targets| &**targets);
        match which {
            Which::Catalog => {
                nothing_beside(envelope.unlisted(&proposal), &[])?;
                changes.extend(envelope::delegated(before, roles, &proposal, &envelope.files)?);
                if let Some(targets) = &proposal.targets {
                    changes.extend(envelope::catalog(before, targets, &envelope.files)?);
                }
            }
            // The first ones of a hospital list nothing yet.
            Which::Approvals if before.is_none() && proposal.targets.is_some() => {
                nothing_beside(envelope.files.keys().map(String::as_str).collect(), &[])?;
            }
            Which::Approvals => {}
        }
        let stated = match which {
            Which::Catalog => Stated::default(),
            Which::Approvals => Stated::read(&envelope, &proposal, in_force)?,
        };
        Ok(Self { envelope, proposal, ground, changes, stated, not_compared: Vec::new() })
    }

    /// Tells what its signers say, and of every path that is listed otherwise, whatever it stands for.
    fn list(&mut self) {
        self.changes.extend(self.stated.changes());
        if let Some(targets) = &self.proposal.targets {
            let listed = envelope::listed(self.in_force_targets(), targets);
            self.changes.extend(listed);
        }
    }

    fn in_force_targets(&self) -> Option<&Targets> {
        Some(&**self.ground.as_ref()?.targets()?)
    }

    pub(super) fn wants(&self) -> Vec<Want> {
        self.proposal.wants(self.ground.as_ref().and_then(Ground::in_force))
    }

    pub(super) fn shown(&self) -> Shown {
        Shown {
            repository: self.envelope.which.as_str(),
            root_signed_sha256: self.proposal.root.as_ref().map(|root| root.signed_sha256()),
            targets_signed_sha256: self.proposal.targets.as_ref().map(|targets| targets.signed_sha256()),
            delegated_signed_sha256: self
                .proposal
                .delegated
                .iter()
                .map(|(role, file)| (role.clone(), file.signed_sha256()))
                .collect(),
            changes: self.changes.clone(),
            not_compared: self.not_compared.clone(),
            signatures: self.wants().iter().map(Signatures::from).collect(),
        }
    }

    /// The root by which it will count.
    fn newest_root(&self) -> Option<&Root> {
        let in_force = self.ground.as_ref().map(|ground| &**ground.root());
        self.proposal.root.as_deref().or(in_force)
    }

    /// Whether a key is one that signs the targets here; refused where they are a hospital's, whatever it is that they change,
    /// and the root says that the key is somebody else's.
    pub(super) fn signs_targets(&self, context: &Context<'_>, key: &PublicKey) -> Outcome<bool> {
        let signs = self.newest_root().is_some_and(|root| root.authority(Role::Targets).keys().any(|k| k == key));
        match self.newest_root() {
            Some(root) if signs && self.envelope.hdo.is_some() => {
                statements::may_use(context, root, key).map(|()| true)
            }
            _ => Ok(signs),
        }
    }

    /// Puts beside the signature of a key what its holder says of each approval that is new.
    pub(super) fn state(&mut self, words: &Words, key: &dyn Signer, now: jiff::Timestamp) -> Outcome {
        let Some(hdo) = self.envelope.hdo.clone() else { return Ok(()) };
        for (id, head) in self.stated.new.clone() {
            if let Some(other) = self
                .stated
                .statements
                .iter()
                .find(|s| s.approval == id && s.name == words.name && s.key != key.public())
            {
                return Err(Failure::new(format!(
                    "{} has signed {id} already, with the key {}",
                    words.name, other.key
                ))
                .next("others must sign it: whoever signs twice is one person"));
            }
            let statement = words.state(&hdo, (&id, head), key, now).map_err(refused)?;
            self.envelope.files.insert(statements::place(&statement), statement.bytes().to_vec());
            self.stated.statements.retain(|s| (&s.approval, s.key) != (&id, key.public()));
            self.stated.statements.push(statement);
        }
        Ok(())
    }

    /// Refuses to publish an approval that all have only reviewed.
    pub(super) fn is_approved(&self) -> Outcome {
        let approved = |id| self.stated.statements.iter().any(|s| s.approval == id && s.meaning == Meaning::Approved);
        match self.stated.new.iter().find(|(id, _)| !approved(id.clone())) {
            Some((id, _)) => Err(Failure::new(format!(
                "all who have signed {id} have reviewed it, and none has approved it"
            ))
            .next(
                "it is signed and kept; somebody who approves it must sign too, or sign again with --meaning approved",
            )),
            None => Ok(()),
        }
    }

    /// Signs with a key whatever of the envelope it may sign.
    pub(super) fn add(&mut self, name: &KeyName, key: &dyn Signer) -> Outcome {
        let public = key.public();
        let wants = self.wants();
        let mine = wants.iter().filter(|want| want.open.contains(&public) || want.signed.contains(&public));
        let mine: BTreeSet<_> = mine.map(|want| (want.role, want.delegated.as_deref())).collect();
        if mine.is_empty() {
            return Err(none_of_them(name, &public));
        }
        if mine.contains(&(Role::Root, None))
            && let Some(root) = &self.proposal.root
        {
            let signed = root.countersigned(key)?;
            self.envelope.root = Some(signed.bytes().to_vec());
            self.proposal.root = Some(signed);
        }
        if mine.contains(&(Role::Targets, None))
            && let Some(targets) = &self.proposal.targets
        {
            let signed = targets.countersigned(key)?;
            self.envelope.targets = Some(signed.bytes().to_vec());
            self.proposal.targets = Some(signed);
        }
        for (role, file) in &mut self.proposal.delegated {
            if mine.contains(&(Role::Targets, Some(role.as_str()))) {
                *file = file.countersigned(key)?;
                self.envelope.delegated.insert(role.clone(), file.bytes().to_vec());
            }
        }
        Ok(())
    }
}

/// Refuses an envelope of another repository than this home's.
fn ours(context: &Context<'_>, which: Which, envelope: &Envelope) -> Outcome {
    if (which, &envelope.hdo) == (envelope.which, &Envelope::new(context, which)?.hdo) {
        return Ok(());
    }
    let whose = envelope.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
    Err(Failure::untrusted(format!(
        "the envelope is of the {}{whose}, not of this home's {}",
        envelope.which.as_str(),
        which.as_str()
    )))
}

fn none_of_them(name: &KeyName, public: &PublicKey) -> Failure {
    Failure::new(format!("the key {name} ({public}) is none of those that may sign this envelope"))
        .next("`show` lists the keys that may; --key KEY names one of this home's")
}

/// What the envelope must follow; nothing where the repository is to begin.
async fn ground(context: &mut Context<'_>, client: &mut Client, which: Which) -> Outcome<Option<Ground>> {
    if TrustStore::of(&context.home, which).is_pinned()? {
        return Ok(Some(Ground::find(context, client, which).await?));
    }
    let served = client.metadata(which, &Role::Root.served_name(1), MAX_ROOT_BYTES).await?;
    if served.is_none() {
        return Ok(None);
    }
    let name = which.as_str();
    Err(Failure::untrusted(format!("the server has a {name} that this home does not trust yet"))
        .next(format!("hear the root's fingerprint from its owner, then `suturectl {name} trust FINGERPRINT`")))
}

/// Where the base has moved meanwhile, says what moved and how to go on.
fn moved(which: Which, envelope: &Envelope, in_force: InForce<'_>, failure: Failure) -> Failure {
    let Some((root, targets)) = in_force else { return failure };
    let mut now = format!("root {}, which ends {}", root.version(), format_utc(root.expires()));
    if let Some(targets) = targets {
        let signed = targets.signed_at().map(format_utc).unwrap_or_default();
        now.push_str(&format!(", and targets {} ({}), made {signed}", targets.version(), targets.digest().short()));
    }
    let mut failure = failure;
    failure.causes.push(format!("in force are {now}"));
    // What is listed there otherwise than here is what somebody else has changed, or what this envelope would.
    let proposed = envelope.targets.as_deref().map(suture_core::trust::Proposed::<Targets>::read);
    if let (Some(targets), Some(Ok(proposed))) = (targets, proposed) {
        let differences = envelope::listed(Some(targets), &proposed);
        failure.causes.extend(differences.iter().take(16).map(|c| format!("against what is in force, {}", c.text)));
    }
    if failure.exit == Exit::Untrusted && failure.next.is_none() {
        failure = failure.next(format!(
            "if it has been published already, nothing is left to do (`suturectl {} status`); else make the change again \
             with the command that made it, on what is in force now, and send the new envelope round",
            which.as_str()
        ));
    }
    failure
}

/// Refuses files that nothing in the envelope stands for.
fn nothing_beside(unlisted: BTreeSet<&str>, pinned: &[String]) -> Outcome {
    match unlisted.into_iter().find(|path| !pinned.iter().any(|p| p == path)) {
        Some(path) => Err(Failure::untrusted(format!("the envelope holds {path}, which nothing in it lists"))
            .next("ask whoever made it for another")),
        None => Ok(()),
    }
}

/// What a hospital's documents become. Approvals that are new are computed again.
async fn approvals(
    context: &mut Context<'_>,
    envelope: &Envelope,
    proposal: &Proposal,
    targets: &Targets,
) -> Outcome<Vec<Change>> {
    let mut desk = Desk::open_base(context).await?;
    let after = desk.preview(context, targets, &envelope.files).await?;
    let mut pinned = Vec::new();
    for path in envelope.unlisted(proposal) {
        if path::statement_of(path).is_some() {
            // Judged when the envelope was opened.
            pinned.push(path.to_owned());
            continue;
        }
        if let (Some(pin), Some(bytes)) = (after.pinned(path), envelope.files.get(path)) {
            pin.verify(bytes).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
            pinned.push(path.to_owned());
        }
    }
    nothing_beside(envelope.unlisted(proposal), &pinned)?;
    let mut changes = envelope::documents(&desk.documents, &after);
    changes.extend(envelope::opened(&desk.documents, &after, &envelope.files)?);
    for approval in &after.approvals {
        match desk.documents.approval(&approval.terms.id) {
            Some(before) if before == approval => continue,
            Some(_) => {
                return Err(Failure::untrusted(format!("the envelope changes the approval {}", approval.terms.id))
                    .next("an approval is never changed: another one takes its place"));
            }
            None => {}
        }
        let pinned = &approval.terms.operator_document;
        let bytes =
            envelope.files.get(&path::operator_document(&approval.terms.id)).map(Vec::as_slice).unwrap_or_default();
        if pinned.path != path::operator_document(&approval.terms.id) || Digest::of(bytes) != pinned.sha256 {
            return Err(Failure::untrusted(format!(
                "the envelope does not hold the document for people that the approval {} pins",
                approval.terms.id
            )));
        }
        let operator = OperatorDocument::parse(bytes).map_err(refused)?;
        let plan = rollout::computed_again(context, &mut desk, approval, &operator).await?;
        changes.push(Change::new(
            "approval",
            format!(
                "{}: computed again here, it comes to the same; {} says {:?}: {:?}{}",
                approval.terms.id,
                operator.approver,
                operator.meaning,
                operator.reason,
                if operator.ticket.is_empty() { String::new() } else { format!(", ticket {:?}", operator.ticket) },
            ),
        ));
        for line in rollout::agreed(&plan) {
            changes.push(Change::new("approval", format!("{}: {line}", approval.terms.id)));
        }
        for ward in &plan.wards {
            changes.push(Change::new(
                "approval",
                format!("{}: {} of ward {}", approval.terms.id, count(ward.devices.len(), "device"), ward.ward),
            ));
        }
        for blocked in &plan.blocked {
            changes.push(Change::new(
                "approval",
                format!("{}: leaves out {} ({})", approval.terms.id, blocked.id, blocked.reason),
            ));
        }
    }
    Ok(changes)
}

impl Shown {
    /// For people.
    pub(super) fn to_text(&self) -> String {
        let Self {
            repository,
            root_signed_sha256,
            targets_signed_sha256,
            delegated_signed_sha256,
            changes,
            not_compared,
            signatures,
        } = self;
        let mut text = format!("this envelope changes the {repository}:\n");
        for change in changes {
            text.push_str(&format!("  {:<10} {}\n", change.about, indented(&change.text, 13)));
        }
        for what in not_compared {
            text.push_str(&format!("NOT compared with {what}\n"));
        }
        let top = [("root", root_signed_sha256), ("targets", targets_signed_sha256)];
        let top = top.into_iter().filter_map(|(what, digest)| Some((what, digest.as_ref()?)));
        for (what, digest) in top.chain(delegated_signed_sha256.iter().map(|(role, digest)| (role.as_str(), digest))) {
            text.push_str(&format!(
                "what is signed of the {what}, to compare with the others:\n  {}\n",
                grouped(&digest.to_string())
            ));
        }
        for signatures in signatures {
            text.push_str(&signatures.to_text());
        }
        text
    }
}
