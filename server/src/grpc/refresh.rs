//! The news of both repositories in one answer, for devices and operators alike.

use suture_core::principal::Principal;
use suture_core::trust::Held;
use suture_proto::{Repository, v1};
use tonic::Code;

use super::{Api, Refusal};
use crate::clearance;
use crate::refresh::{self, MAX_NEWS_BYTES, News, NewsError};

impl Api {
    /// What a caller lacks. Approvals are its own hospital's.
    pub(super) async fn news(
        &self,
        principal: &Principal,
        request: v1::RefreshRequest,
    ) -> Result<v1::RefreshResponse, Refusal> {
        let v1::RefreshRequest { catalog, approvals } = request;
        let parse = |held: Option<v1::HeldMetadata>| held.as_ref().map(Held::try_from).transpose();
        let (catalog, approvals): (Option<Held>, Option<Held>) = (parse(catalog)?, parse(approvals)?);
        let mut tx = self.app.store().read().await?;
        let mut room = MAX_NEWS_BYTES;
        let altered = |error: &NewsError| {
            if let NewsError::Store(error) = error {
                self.app.events().tell_altered(error, self.app.now());
            }
        };
        let mut answer = v1::RefreshResponse::default();
        if let Some(held) = catalog {
            let news = refresh::news(&mut tx, &Repository::Catalog.to_string(), &held, &mut room).await;
            answer.catalog = Some(message(news.inspect_err(altered)?));
        }
        if let Some(held) = approvals {
            let hdo = principal.hdo().cloned().ok_or_else(|| {
                Refusal::new(Code::PermissionDenied, "approvals: only a hospital's devices and operators have any")
            })?;
            let name = Repository::Approvals(hdo).to_string();
            let news = refresh::news(&mut tx, &name, &held, &mut room).await;
            answer.approvals = Some(message(news.inspect_err(altered)?));
            if let Principal::Device(hdo, id) = principal {
                let stops = tx.stops_of(hdo, id, self.app.now()).await?;
                answer.stops = stops.into_iter().map(Into::into).collect();
                answer.clearance = clearance::awaited(&mut tx, hdo, id).await?.unwrap_or_default().into();
            }
        }
        Ok(answer)
    }
}

fn message(news: News) -> v1::RepositoryNews {
    let News { files, newest_root, timestamp_stands } = news;
    let file = |(name, content): (String, Vec<u8>)| v1::MetadataFile { name, content: content.into() };
    v1::RepositoryNews {
        files: files.into_iter().map(file).collect(),
        root_version: newest_root.unwrap_or(0),
        timestamp_stands,
    }
}
