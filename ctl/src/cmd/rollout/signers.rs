//! Who signed an approval, as what, what it meant, why and when: read from the signers' own signed words.

use serde::Serialize;
use suture_core::approval::{Meaning, VerifiedStatement, path};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, HdoId, OperatorName};
use suture_core::sign::PublicKey;
use suture_core::trust::{Role, Root};
use suture_proto::v1;

use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::Desk;
use crate::print::Table;

/// One signer. The signature is verified by the key that stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Signer {
    name: OperatorName,
    role: String,
    meaning: Meaning,
    reason: String,
    signed_at: String,
    key: PublicKey,
    /// Whether the key is one of those that sign approvals now.
    approver_now: bool,
    /// Whether it is about the approval as it is listed; none where the approvals list it no more.
    about_what_is_listed: Option<bool>,
}

/// Asks for the statements on an approval and verifies each. The server can keep one back, and put none in another's mouth.
pub(super) async fn signers(context: &mut Context<'_>, id: &ApprovalId) -> Outcome<Vec<Signer>> {
    let mut desk = Desk::open_base(context).await?;
    let request = v1::GetStatementsRequest { rollout: id.to_string() };
    let served = desk.client.get_statements(request).await?.statements;
    let head = desk.approvals.targets_metadata().target(&path::approval(id)).map(|target| target.sha256);
    let (signers, unusable) = verified(&desk.hdo, id, desk.approvals.root(), head, &served);
    if unusable > 0 {
        context.print.note(&format!(
            "note: {unusable} of the statements that the server hands out as those of {id} are signed by nobody, or are \
             about something else"
        ));
    }
    Ok(signers)
}

fn verified(
    hdo: &HdoId,
    id: &ApprovalId,
    root: &Root,
    head: Option<Digest>,
    served: &[impl AsRef<[u8]>],
) -> (Vec<Signer>, usize) {
    let approver = |key: &PublicKey| root.authority(Role::Targets).keys().any(|k| k == key);
    let of = |s: VerifiedStatement| Signer {
        name: s.name.clone(),
        role: s.role.clone(),
        meaning: s.meaning,
        reason: s.reason.clone(),
        signed_at: format_utc(s.signed_at),
        key: s.key,
        approver_now: approver(&s.key),
        about_what_is_listed: head.map(|head| s.head_sha256 == head),
    };
    let statements: Vec<_> = served
        .iter()
        .filter_map(|bytes| VerifiedStatement::verify(bytes.as_ref()).ok())
        .filter(|s| (&s.hdo, &s.approval) == (hdo, id))
        .collect();
    let unusable = served.len() - statements.len();
    let mut signers: Vec<_> = statements.into_iter().map(of).collect();
    signers.sort_by(|a, b| (&a.signed_at, &a.name).cmp(&(&b.signed_at, &b.name)));
    (signers, unusable)
}

/// For people.
pub(super) fn table(signers: &[Signer]) -> String {
    if signers.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["  signed by", "as", "says", "at", "why", "signature"]);
    for s in signers {
        let stands = match (s.about_what_is_listed, s.approver_now) {
            (Some(false), _) => "IS ABOUT OTHER WORDS THAN ARE APPROVED",
            (_, false) => "verified; the key signs no approvals now",
            (Some(true), true) => "verified",
            (None, true) => "verified; the approval has ended and is listed no more",
        };
        table.row([
            format!("  {}", s.name),
            s.role.clone(),
            s.meaning.to_string(),
            s.signed_at.clone(),
            s.reason.clone(),
            stands.to_owned(),
        ]);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::{at, id};
    use crate::hospital::statements::Words;
    use suture_core::sign::{LocalKey, Signer as _};
    use suture_core::trust::Verified;
    use suture_core::trust::edit::{RoleDraft, RootDraft, sign_root};

    #[test]
    fn only_what_a_key_has_signed_about_this_approval_is_shown_as_its_word() {
        let key = |seed| LocalKey::from_seed(&zeroize::Zeroizing::new([seed; 32]));
        let (kim, lee) = (key(1), key(2));
        let role = || RoleDraft::single(kim.public());
        let expires = at("2027-11-24T00:00:00Z");
        let draft =
            RootDraft { version: 1, expires, root: role(), targets: role(), snapshot: role(), timestamp: role() };
        let root = Verified::<Root>::pinned(&sign_root(&draft, &[&kim]).unwrap()).unwrap();
        let state = |name: &str, approval: &str, head: &[u8], key: &LocalKey| {
            let words = Words {
                name: name.parse().unwrap(),
                role: "IT security".to_owned(),
                meaning: Meaning::Approved,
                reason: "tested".to_owned(),
            };
            let approval = id(approval);
            let of = (&approval, Digest::of(head));
            words.state(&id("riverside"), of, key, at("2026-11-24T18:00:00Z")).unwrap().bytes().to_vec()
        };
        let mut bent = state("kim", "pump-2", b"head", &kim);
        bent[40] ^= 1;
        let served = [
            state("lee", "pump-2", b"other", &lee),
            state("kim", "pump-2", b"head", &kim),
            state("kim", "pump-3", b"head", &kim),
            bent,
        ];
        let (shown, unusable) = verified(&id("riverside"), &id("pump-2"), &root, Some(Digest::of(b"head")), &served);
        let told: Vec<_> = shown.iter().map(|s| (s.name.as_str(), s.approver_now, s.about_what_is_listed)).collect();
        assert_eq!(told, [("kim", true, Some(true)), ("lee", false, Some(false))]);
        assert_eq!(unusable, 2);
        let text = table(&shown);
        assert!(text.contains("OTHER WORDS") && text.contains("IT security"), "{text}");
    }
}
