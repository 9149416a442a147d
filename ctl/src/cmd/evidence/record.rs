//! Entries of the audit record, found by reading all of it that this operator may read, each then proven.

use suture_core::audit::{Entry, Head, Leaf, Reading};
use suture_core::limits::MAX_EVIDENCE_ENTRIES;
use suture_proto::v1;

use super::gather::Gathering;
use crate::cmd::audit;
use crate::evidence::Subject;
use crate::evidence::audit::{CHECKPOINT, ENTRIES, KEY, Line, Names, to_bytes};
use crate::failure::{Failure, Outcome};
use crate::witness;

/// Takes the entries that concern what was gathered. The record is read whole: that no entry is held back is shown by the
/// checkpoint to which it leads, which is the one that this home holds the server to.
pub(super) async fn gather(gathering: &mut Gathering<'_, '_>) -> Outcome {
    let names = names(gathering);
    let kept = witness::follow(gathering.context, &mut gathering.client).await?;
    let checkpoint = witness::checkpoint(&kept)?;
    let head = checkpoint.head();
    let mut reading = Reading::from_start(kept.verified.unwrap_or_else(Head::empty));
    let (mut found, mut gone) = (Vec::new(), 0_u64);
    audit::each(&mut gathering.client, head.size, |leaf| {
        match reading.take(&leaf)? {
            Some(entry) if names.concern(&entry) => found.push(entry.seq),
            Some(_) => {}
            None => gone += 1,
        }
        Ok(())
    })
    .await?;
    reading.finish(&head)?;
    if found.len() > MAX_EVIDENCE_ENTRIES {
        return Err(Failure::new(format!("{} entries concern it, more than {MAX_EVIDENCE_ENTRIES}", found.len()))
            .next("ask for less: one rollout, or one device; `suturectl audit export` has all"));
    }
    let mut lines = Vec::with_capacity(found.len());
    for seq in found {
        lines.push(prove(gathering, seq, &head).await?);
    }
    let (size, count) = (head.size, lines.len());
    gathering.note(&format!(
        "audit: {count} of {size} entries concern it; {gone} concern others, or are kept no longer, and were read by digest"
    ));
    gathering.put(KEY.to_owned(), format!("{}\n", kept.witness.key).into_bytes())?;
    gathering.put(CHECKPOINT.to_owned(), checkpoint.note().as_bytes().to_vec())?;
    gathering.put(ENTRIES.to_owned(), to_bytes(&lines)?)
}

async fn prove(gathering: &mut Gathering<'_, '_>, seq: u64, head: &Head) -> Outcome<Line> {
    let request = v1::ProveAuditRequest { seq, size: head.size };
    let v1::ProveAuditResponse { entry, path } = gathering.client.prove_audit(request).await?;
    let missing = || Failure::untrusted(format!("the server shows no entry {seq} of its audit record"));
    let leaf = Leaf::try_from(entry.ok_or_else(missing)?)?;
    let payload = leaf.payload.filter(|_| leaf.seq == seq).ok_or_else(missing)?;
    Entry::parse(seq, &payload)?;
    Ok(Line {
        seq,
        payload: String::from_utf8(payload).map_err(|_| missing())?,
        path: suture_proto::hashes("path", &path)?,
    })
}

/// Rollouts, bundles and, where the evidence is about one, the device.
fn names(gathering: &Gathering<'_, '_>) -> Names {
    let mut names = Names::default();
    for rollout in &gathering.served.rollouts {
        names.add(&rollout.id);
    }
    for bundle in &gathering.served.bundles {
        names.add(format!("{}@{}", bundle.product, bundle.release));
        names.add(suture_core::manifest::manifest_path(&bundle.product, bundle.release));
    }
    match &gathering.about.subject {
        Subject::Device(id) => names.add(id),
        Subject::Product { product, .. } => names.add(product),
        Subject::Rollout(_) => {}
    }
    names
}
