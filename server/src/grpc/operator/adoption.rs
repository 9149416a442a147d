//! How far a bundle is at the hospitals, for its manufacturer: counts, and what a hospital has said of it.

use suture_core::id::ProductId;
use suture_core::limits::MAX_ADOPTIONS_PER_CALL;
use suture_core::version::Release;
use suture_proto::{parse, v1};

use super::super::{Api, Refusal};
use crate::store::adoption::{Adoption, Asked};

impl Api {
    pub(super) async fn adoption(&self, request: v1::GetAdoptionRequest) -> Result<v1::GetAdoptionResponse, Refusal> {
        let v1::GetAdoptionRequest { product, release, after, limit } = request;
        let (product, release): (ProductId, _) = (parse("product", &product)?, Release(release));
        let after = (!after.is_empty()).then(|| parse("after", &after)).transpose()?;
        let limit = if limit == 0 { MAX_ADOPTIONS_PER_CALL } else { limit.min(MAX_ADOPTIONS_PER_CALL) };
        let now = self.app.now();
        let mut found = self.app.store().hospitals_with(&product, after.as_ref(), limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut tx = self.app.store().read().await?;
        let (version, manifest_sha256) = tx.bundle_manifest(&product, release).await?.ok_or_else(|| {
            Refusal::not_found(format!("the catalog lists no {product} release {release}: `suturectl bundle list`"))
        })?;
        let asked = Asked { product, release, manifest_sha256 };
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let mut hospitals = Vec::with_capacity(found.len());
        for (hdo, name) in found {
            let Adoption { devices, confirmed, under_way, late, failed, open_rollouts, decided, last_heard } =
                tx.adoption(&hdo, &asked, now).await?;
            let (choice, review) =
                decided.map(|(choice, review)| (choice.as_str().to_owned(), review)).unwrap_or_default();
            hospitals.push(v1::Adoption {
                hdo: hdo.to_string(),
                name,
                devices: count(devices),
                confirmed: count(confirmed),
                under_way: count(under_way),
                late: count(late),
                failed: count(failed),
                open_rollouts: count(open_rollouts),
                choice,
                review,
                last_heard_ms: last_heard.map_or(0, |at| at.as_millisecond()),
            });
        }
        let manifest_sha256 = asked.manifest_sha256.as_bytes().to_vec().into();
        Ok(v1::GetAdoptionResponse { version: version.to_string(), manifest_sha256, hospitals, more })
    }
}
