//! The record of what was changed, as operators ask for it.

use suture_core::principal::Principal;
use suture_core::sign::PublicKey;
use suture_proto::{Invalid, v1};

use super::super::{Api, Refusal};
use super::page::Page;
use crate::audit::log::{Proven, Seen, Shown};
use crate::store::audit::AuditRow;

impl Api {
    pub(super) async fn audit(
        &self,
        principal: &Principal,
        request: v1::ListAuditRequest,
    ) -> Result<v1::ListAuditResponse, Refusal> {
        let v1::ListAuditRequest { after, limit } = request;
        let page = Page::paged(limit);
        let mut rows = self.app.store().read().await?.audit_after(after, page.wanted()).await?;
        let more = page.cut(&mut rows, "entries")?;
        let mut entries: Vec<v1::AuditEntry> = rows.into_iter().map(|row| shown_to(principal, row)).collect();
        let cut = page.fit(&mut entries, "entries")?;
        Ok(v1::ListAuditResponse { entries, more: more || cut })
    }

    pub(super) async fn newest_checkpoint(
        &self,
        request: v1::GetCheckpointRequest,
    ) -> Result<v1::GetCheckpointResponse, Refusal> {
        let v1::GetCheckpointRequest { seen } = request;
        Ok(v1::GetCheckpointResponse { news: Some(self.audit_news(&seen.unwrap_or_default()).await?.0) })
    }

    /// The newest of the record for somebody who remembers that, and whether it is the very same.
    pub(in crate::grpc) async fn audit_news(&self, seen: &v1::AuditSeen) -> Result<(v1::AuditNews, bool), Refusal> {
        let v1::AuditSeen { size, root, key, show } = seen;
        let (root, show): (&[u8], bool) = (root, *show);
        let known = (!key.is_empty()).then(|| PublicKey::from_bytes(key)).transpose();
        let seen = Seen { size: *size, key: known.map_err(|e| Invalid::new("key", e))? };
        let Shown { news, head, key } = self.app.log().shown(seen, self.app.seal()).await?;
        let same_head = head.size == seen.size && head.root.as_bytes().as_slice() == root;
        let stands = !show && same_head && seen.key == Some(key.key);
        Ok((v1::AuditNews { key: key.to_string(), ..v1::AuditNews::from(&news) }, stands))
    }

    pub(super) async fn prove(
        &self,
        principal: &Principal,
        request: v1::ProveAuditRequest,
    ) -> Result<v1::ProveAuditResponse, Refusal> {
        let v1::ProveAuditRequest { seq, size } = request;
        let Some(Proven { row, path }) = self.app.log().prove(seq, size).await? else {
            return Err(Refusal::not_found(format!("the audit record of {size} entries has no entry {seq} here")));
        };
        let path = path.iter().map(|hash| hash.as_bytes().to_vec().into()).collect();
        Ok(v1::ProveAuditResponse { entry: Some(shown_to(principal, row)), path })
    }
}

/// An entry as `principal` may see it: its text where it concerns the caller, otherwise its digest alone.
fn shown_to(principal: &Principal, row: AuditRow) -> v1::AuditEntry {
    let AuditRow { seq, at: _, concerns, payload, payload_sha256, root } = row;
    let pruned = payload.is_none();
    let payload = payload.filter(|_| concerns.includes(principal)).unwrap_or_default().into();
    let bytes = |digest: suture_core::digest::Digest| digest.as_bytes().to_vec().into();
    v1::AuditEntry { seq, payload, root: bytes(root), payload_sha256: bytes(payload_sha256), pruned }
}
