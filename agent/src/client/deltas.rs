//! Deltas, as the server offers and sends them.

use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use suture_core::digest::Digest;
use suture_core::limits::FRAME_BYTES;
use suture_proto::v1;
use tokio::time::Instant;

use super::documents::next;
use super::throttle::slowly;
use super::{CALL_TIMEOUT, Client, ClientError, LEAST_RATE, timely};

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

/// A delta on its way.
struct Coming {
    stream: tonic::Streaming<v1::FetchDeltaResponse>,
    /// Bytes that came.
    came: u64,
    /// How long they were waited for.
    waited: Duration,
}

fn bytes(digest: &Digest) -> Bytes {
    digest.as_bytes().to_vec().into()
}

impl Deltas for Client {
    async fn offer(&mut self, new: &Digest, held: &[Digest]) -> Result<DeltaOffer, ClientError> {
        let request = v1::GetDeltaRequest { new_sha256: bytes(new), old_sha256: held.iter().map(bytes).collect() };
        let answer = timely("the delta's head", self.inner.get_delta(self.traffic.asks(request))).await?;
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
        const CALL: &str = "the delta";
        let range = |r: &Range<u64>| v1::ByteRange { first: r.start, count: r.end.saturating_sub(r.start) };
        let request = v1::FetchDeltaRequest {
            old_sha256: bytes(old),
            new_sha256: bytes(new),
            head_sha256: bytes(head),
            ranges: ranges.iter().map(range).collect(),
        };
        let stream = loop {
            match timely(CALL, self.inner.fetch_delta(self.traffic.asks(request.clone()))).await {
                Ok(stream) => break stream,
                Err(answer) => self.line.wait(answer).await?,
            }
        };
        let coming = Coming { stream, came: 0, waited: Duration::ZERO };
        let pieces = Box::pin(futures::stream::try_unfold(coming, async |mut coming| {
            let begun = Instant::now();
            let Some(v1::FetchDeltaResponse { data }) = next(CALL, &mut coming.stream).await? else { return Ok(None) };
            coming.waited = coming.waited.saturating_add(begun.elapsed());
            coming.came = coming.came.saturating_add(data.len() as u64);
            // Attack: pieces of nothing without end, or one that is kept whole in memory.
            if data.is_empty() || data.len() > FRAME_BYTES {
                let text = format!("a piece of it has {} bytes", data.len());
                return Err(ClientError::Senseless { call: CALL, text });
            }
            // Attack: slow retrieval. What the device takes to apply what came is no fault of the server's.
            if coming.waited > CALL_TIMEOUT.saturating_add(Duration::from_secs(coming.came / LEAST_RATE)) {
                return Err(ClientError::Timeout { call: CALL });
            }
            Ok(Some((data, coming)))
        }));
        Ok(slowly(pieces, self.throttle.clone(), Bytes::len))
    }
}
