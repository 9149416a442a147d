//! Signed files, whole, each within its bound.

use std::time::Duration;

use suture_proto::v1;

use super::{CALL_TIMEOUT, Client, ClientError, Files, LEAST_RATE, Which, timely};
use crate::traffic::Traffic;

impl From<Which> for v1::Repository {
    fn from(which: Which) -> Self {
        use v1::repository::Which as W;
        // Empty: the device's own hospital.
        let which = match which {
            Which::Catalog => W::Catalog(true),
            Which::Approvals => W::Approvals(String::new()),
        };
        Self { which: Some(which) }
    }
}

impl Files for Client {
    async fn metadata(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ClientError> {
        const CALL: &str = "the metadata";
        let request = v1::GetMetadataRequest { repository: Some(of.into()), name: name.to_owned() };
        match timely(CALL, self.inner.get_metadata(self.traffic.asks(request))).await.map(|m| self.traffic.hears(m)) {
            Ok(v1::GetMetadataResponse { content }) if content.len() as u64 > max_bytes => {
                Err(ClientError::TooLong { call: CALL, limit: max_bytes })
            }
            Ok(v1::GetMetadataResponse { content }) => Ok(Some(content.into())),
            Err(ClientError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn target(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Vec<u8>, ClientError> {
        const CALL: &str = "the document";
        let request = v1::GetTargetRequest { repository: Some(of.into()), name: name.to_owned() };
        let stream = timely(CALL, self.inner.get_target(self.traffic.asks(request))).await?;
        whole(CALL, stream, &self.traffic, max_bytes).await
    }
}

/// All pieces of a document of at most `max_bytes`.
pub(super) async fn whole(
    call: &'static str,
    mut stream: tonic::Streaming<v1::GetTargetResponse>,
    traffic: &Traffic,
    max_bytes: u64,
) -> Result<Vec<u8>, ClientError> {
    let whole = async {
        let mut bytes = Vec::new();
        while let Some(part) = next(call, &mut stream).await? {
            let v1::GetTargetResponse { content } = traffic.hears(part);
            if content.is_empty() {
                return Err(ClientError::Senseless { call, text: "a piece of it is empty".to_owned() });
            }
            bytes.extend_from_slice(&content);
            if bytes.len() as u64 > max_bytes {
                return Err(ClientError::TooLong { call, limit: max_bytes });
            }
        }
        Ok(bytes)
    };
    // Attack: slow retrieval. A byte now and then must not hold the device up for ever.
    let patience = CALL_TIMEOUT.saturating_add(Duration::from_secs(max_bytes / LEAST_RATE));
    tokio::time::timeout(patience, whole).await.unwrap_or(Err(ClientError::Timeout { call }))
}

pub(super) async fn next<T>(call: &'static str, stream: &mut tonic::Streaming<T>) -> Result<Option<T>, ClientError> {
    match tokio::time::timeout(CALL_TIMEOUT, stream.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(ClientError::of(call, &status)),
        Err(_) => Err(ClientError::Timeout { call }),
    }
}
