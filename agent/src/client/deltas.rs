//! Deltas, as the server offers and sends them.

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use suture_core::digest::Digest;
use suture_core::limits::MAX_DELTA_OFFER_BYTES;
use suture_proto::v1;

use super::throttle::slowly;
use super::{Client, ClientError, bulk, timely};

/// What the server has for a payload.
#[derive(Debug, Clone, Default)]
pub struct DeltaOffer {
    /// A delta, if there is one.
    pub delta: Option<OfferedDelta>,
    /// When a better one is to be expected.
    pub ask_again: Option<Duration>,
}

/// A delta that the server has.
#[derive(Debug, Clone)]
pub struct OfferedDelta {
    /// Its head, not read yet.
    pub head: Bytes,
    /// For each frame, what its chunks have in stored form, as the server says.
    pub chunk_bytes: Vec<u32>,
}

/// Bytes as they come.
pub type DeltaBytes = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// Where deltas come from.
pub trait Deltas: Send {
    /// What there is that makes the payload `new` from one of `held`, or from nothing.
    fn offer(&mut self, new: &Digest, held: &[Digest]) -> impl Future<Output = Result<DeltaOffer, ClientError>> + Send;

    /// Ranges, ascending, of the bytes behind the head of that digest. `pair` is the old payload and the new one.
    fn delta(
        &mut self,
        pair: (&Digest, &Digest),
        head: &Digest,
        ranges: &[Range<u64>],
    ) -> impl Future<Output = Result<DeltaBytes, ClientError>> + Send;
}

fn bytes(digest: &Digest) -> Bytes {
    digest.as_bytes().to_vec().into()
}

impl Deltas for Client {
    async fn offer(&mut self, new: &Digest, held: &[Digest]) -> Result<DeltaOffer, ClientError> {
        let request = v1::GetDeltaRequest { new_sha256: bytes(new), old_sha256: held.iter().map(bytes).collect() };
        // Attack: a head that fills a message of another kind.
        let mut inner = self.inner.clone().max_decoding_message_size(MAX_DELTA_OFFER_BYTES);
        let answer = timely("the delta's head", inner.get_delta(self.traffic.asks(request))).await?;
        let v1::GetDeltaResponse { delta, ask_again_ms } = self.traffic.hears(answer);
        let offered = |v1::Delta { head, chunk_bytes }: v1::Delta| OfferedDelta { head, chunk_bytes };
        let ask_again = (ask_again_ms > 0).then(|| Duration::from_millis(ask_again_ms.into()));
        Ok(DeltaOffer { delta: delta.map(offered), ask_again })
    }

    async fn delta(
        &mut self,
        (old, new): (&Digest, &Digest),
        head: &Digest,
        ranges: &[Range<u64>],
    ) -> Result<DeltaBytes, ClientError> {
        let range = |r: &Range<u64>| v1::ByteRange { first: r.start, count: r.end.saturating_sub(r.start) };
        let request = v1::FetchDeltaRequest {
            old_sha256: bytes(old),
            new_sha256: bytes(new),
            head_sha256: bytes(head),
            ranges: ranges.iter().map(range).collect(),
        };
        loop {
            match bulk::delta(&self.wire, &self.traffic.asks(request.clone())).await {
                Ok(bytes) => return Ok(slowly(bytes, self.throttle.clone(), Bytes::len)),
                Err(answer) => self.line.wait(answer).await?,
            }
        }
    }
}
