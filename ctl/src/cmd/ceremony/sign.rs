//! `sign` and `show`: an envelope, judged by what this home has verified itself.
//!
//! Nothing is signed on anybody's word. The envelope must follow from what this home has just verified with its own pinned
//! root; what it adds is read from the very bytes that are signed; and an approval is signed only if its plan, computed again
//! here from what both sides have signed, comes to just that approval.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use suture_core::approval::{OperatorDocument, SignedDocument as _, path};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::limits::MAX_ROOT_BYTES;
use suture_core::sign::{PublicKey, Signer};
use suture_core::trust::{Proposal, Role, Targets, Want};

use super::keys::Ground;
use crate::client::Client;
use crate::cmd::rollout;
use crate::context::Context;
use crate::envelope::{self, Change, Envelope};
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::hospital::{Desk, refused};
use crate::keys::KeyName;
use crate::print::grouped;
use crate::repository::{self, InForce, Signatures, Waiting};
use crate::trust_store::{TrustStore, Which};

/// Arguments of `sign`.
#[derive(Debug, Clone, clap::Args)]
pub struct SignArgs {
    /// The envelope; the signature is added to it
    file: PathBuf,
    /// The key to sign with; may be given several times [default: `root` for a new root, else `targets`]
    #[arg(long, value_name = "KEY")]
    key: Vec<KeyName>,
    /// Sign without asking; what it changes is shown all the same
    #[arg(long)]
    yes: bool,
    /// Do not publish it, even if this is the last signature
    #[arg(long)]
    no_publish: bool,
}

/// An envelope as this home sees it.
struct Look {
    envelope: Envelope,
    proposal: Proposal,
    ground: Option<Ground>,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Shown {
    repository: &'static str,
    /// What all signers sign, and can compare: SHA-256 of the signed parts.
    root_signed_sha256: Option<Digest>,
    targets_signed_sha256: Option<Digest>,
    changes: Vec<Change>,
    signatures: Vec<Signatures>,
}

#[derive(Serialize)]
struct Published {
    published: bool,
    repository: &'static str,
    root_version: u64,
    targets_version: u64,
    changes: Vec<Change>,
}

/// `show`.
pub(super) async fn show(context: &mut Context<'_>, which: Which, file: &Path) -> Outcome {
    let mut client = context.connect().await?;
    let look = Look::at(context, &mut client, which, Envelope::open(file)?).await?;
    let shown = look.shown();
    context.print.result(&shown, Shown::to_text)
}

/// `sign`.
pub(super) async fn sign(context: &mut Context<'_>, which: Which, args: SignArgs) -> Outcome {
    let mut client = context.connect().await?;
    let mut look = Look::at(context, &mut client, which, Envelope::open(&args.file)?).await?;
    context.print.note(&look.shown().to_text());
    let names = match (args.key.is_empty(), look.envelope.root.is_some()) {
        (false, _) => args.key,
        (true, true) => vec![KeyName::root()],
        (true, false) => vec![KeyName::targets()],
    };
    agree(&names, args.yes)?;
    for name in &names {
        let key = context.key(name)?;
        look.add(name, &*key)?;
    }
    let wants = look.wants();
    // Kept before it is published: the signature must not be lost with the connection.
    look.envelope.replace(&args.file)?;
    if args.no_publish || wants.iter().any(|want| want.missing() > 0) {
        return Waiting::of(&look.envelope, &wants, args.file).print(context);
    }
    let Look { envelope, changes, .. } = look;
    let after = repository::publish(context, &mut client, envelope).await?;
    let published = Published {
        published: true,
        repository: which.as_str(),
        root_version: after.root().version(),
        targets_version: after.targets_metadata().version(),
        changes,
    };
    context.print.result(&published, |p| {
        format!(
            "signed and published: root {} and targets {} of the {} are in force",
            p.root_version, p.targets_version, p.repository
        )
    })
}

/// Asks whether what was shown is to be signed.
fn agree(names: &[KeyName], yes: bool) -> Outcome {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("nothing was signed: there is no terminal to ask at")
            .next("read what it changes, above or by `show`; then add --yes"));
    }
    let names: Vec<&str> = names.iter().map(KeyName::as_str).collect();
    let mut terminal = std::io::stderr();
    let asked = write!(terminal, "Sign this with {}? Type yes: ", names.join(" and ")).and_then(|()| terminal.flush());
    asked.or_fail(|| "cannot ask at the terminal".to_owned())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).or_fail(|| "cannot read the answer".to_owned())?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("nothing was signed, as you wished")) }
}

impl Look {
    /// Verifies an envelope against what this home knows, refreshed.
    async fn at(context: &mut Context<'_>, client: &mut Client, which: Which, envelope: Envelope) -> Outcome<Self> {
        if (which, &envelope.hdo) != (envelope.which, &Envelope::new(context, which)?.hdo) {
            let whose = envelope.hdo.as_ref().map_or_else(String::new, |hdo| format!(" of {hdo}"));
            return Err(Failure::untrusted(format!(
                "the envelope is of the {}{whose}, not of this home's {}",
                envelope.which.as_str(),
                which.as_str()
            )));
        }
        let ground = ground(context, client, which).await?;
        let in_force = ground.as_ref().and_then(Ground::in_force);
        let proposal = match envelope.propose(in_force, context.now()) {
            Ok(proposal) => proposal,
            Err(failure) => return Err(moved(which, &envelope, in_force, failure)),
        };
        let mut changes = envelope::metadata(in_force, &proposal);
        let before = in_force.and_then(|(_, targets)| targets).map(|targets| &**targets);
        if let Some(targets) = &proposal.targets {
            match which {
                Which::Catalog => {
                    nothing_beside(envelope.unlisted(&proposal), &[])?;
                    changes.extend(envelope::catalog(before, targets, &envelope.files)?);
                }
                Which::Approvals if before.is_some() => {
                    changes.extend(approvals(context, &envelope, &proposal, targets).await?);
                }
                // The first ones of a hospital list nothing yet.
                Which::Approvals => nothing_beside(envelope.files.keys().map(String::as_str).collect(), &[])?,
            }
            changes.extend(envelope::listed(before, targets));
        }
        Ok(Self { envelope, proposal, ground, changes })
    }

    fn wants(&self) -> Vec<Want> {
        self.proposal.wants(self.ground.as_ref().map(Ground::root))
    }

    fn shown(&self) -> Shown {
        Shown {
            repository: self.envelope.which.as_str(),
            root_signed_sha256: self.proposal.root.as_ref().map(|root| root.signed_sha256()),
            targets_signed_sha256: self.proposal.targets.as_ref().map(|targets| targets.signed_sha256()),
            changes: self.changes.clone(),
            signatures: self.wants().iter().map(Signatures::from).collect(),
        }
    }

    /// Signs with a key whatever of the envelope it may sign.
    fn add(&mut self, name: &KeyName, key: &dyn Signer) -> Outcome {
        let public = key.public();
        let wants = self.wants();
        let may = |role: Role| {
            let named = |want: &&Want| want.role == role;
            let listed = |want: &Want| want.open.contains(&public) || want.signed.contains(&public);
            wants.iter().filter(named).any(listed)
        };
        if !may(Role::Root) && !may(Role::Targets) {
            return Err(none_of_them(name, &public));
        }
        if may(Role::Root)
            && let Some(root) = &self.proposal.root
        {
            let signed = root.countersigned(key)?;
            self.envelope.root = Some(signed.bytes().to_vec());
            self.proposal.root = Some(signed);
        }
        if may(Role::Targets)
            && let Some(targets) = &self.proposal.targets
        {
            let signed = targets.countersigned(key)?;
            self.envelope.targets = Some(signed.bytes().to_vec());
            self.proposal.targets = Some(signed);
        }
        Ok(())
    }
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
        for ward in &plan.wards {
            changes.push(Change::new(
                "approval",
                format!("{}: {} devices of ward {}", approval.terms.id, ward.devices.len(), ward.ward),
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
    fn to_text(&self) -> String {
        let Self { repository, root_signed_sha256, targets_signed_sha256, changes, signatures } = self;
        let mut text = format!("this envelope changes the {repository}:\n");
        for change in changes {
            text.push_str(&format!("  {:<10} {}\n", change.about, change.text));
        }
        for (what, digest) in [("root", root_signed_sha256), ("targets", targets_signed_sha256)] {
            if let Some(digest) = digest {
                text.push_str(&format!(
                    "what is signed of the {what}, to compare with the others:\n  {}\n",
                    grouped(&digest.to_string())
                ));
            }
        }
        for signatures in signatures {
            text.push_str(&signatures.to_text());
        }
        text
    }
}
