//! Chunk indexes that the server tells by others.

use bytes::Bytes;
use suture_core::digest::Digest;
use suture_proto::v1;

use super::documents::whole;
use super::{Client, ClientError, timely};

/// Where indexes come from that are told by others.
pub trait Indexes: Send {
    /// An index, told by one of `held`, in at most `max_bytes`.
    fn index(
        &mut self,
        index: &Digest,
        held: &[Digest],
        max_bytes: u64,
    ) -> impl Future<Output = Result<Vec<u8>, ClientError>> + Send;
}

fn bytes(digest: &Digest) -> Bytes {
    digest.as_bytes().to_vec().into()
}

impl Indexes for Client {
    async fn index(&mut self, index: &Digest, held: &[Digest], max_bytes: u64) -> Result<Vec<u8>, ClientError> {
        const CALL: &str = "the index";
        let request = v1::GetIndexRequest { index_sha256: bytes(index), held_sha256: held.iter().map(bytes).collect() };
        let stream = timely(CALL, self.inner.get_index(self.traffic.asks(request))).await?;
        whole(CALL, stream, &self.traffic, max_bytes).await
    }
}
