//! How many calls of one identity are under way at once, and what those of one organisation hold in memory.
//!
//! Attack: one stolen certificate, by which thousands of calls are begun whose requests come drop by drop, whose answers nobody
//! takes, or that watch a rollout of ten thousand devices. Each holds what it asks for in memory, and all of them what the
//! server has. So of each identity so many calls are answered at once; the next one waits for its turn with nothing of it read,
//! and is refused once it has waited long. Those who watch have a bound of their own, so that they keep nobody from
//! calling. What is sent in bulk is not counted here: it is paced, and never whole in memory.
//!
//! Attack: a hospital that admits thousands of operators and devices of its own making, each of which keeps within its bound. So
//! what all of an organisation's calls hold of requests and answers is counted in bytes as they come and go, and whatever would
//! be too much for it alone is refused, whichever call it is.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{self, Frame, SizeHint};
use suture_core::event::Kind as Event;
use suture_core::id::HdoId;
use suture_core::limits::{MAX_CALLS_PER_IDENTITY, MAX_MESSAGES_IN_MEMORY, MAX_WATCHES_PER_IDENTITY};
use suture_core::principal::Principal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

use crate::events::refused::marked;

/// How long a call waits for those before it: half of what clients wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Identities that are remembered before those of them are forgotten that call no more.
const REMEMBERED: usize = 1_024;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Request and answer are in memory as a whole.
    Whole,
    /// Open for as long as there may be news.
    Watch,
}

impl Kind {
    /// Of a call; none where it is not counted.
    fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next().unwrap_or_default() {
            "FetchChunks" | "FetchDelta" | "UploadChunks" => None,
            "WatchRollout" | "Watch" => Some(Self::Watch),
            _ => Some(Self::Whole),
        }
    }

    const fn most(self) -> usize {
        match self {
            Self::Whole => MAX_CALLS_PER_IDENTITY,
            Self::Watch => MAX_WATCHES_PER_IDENTITY,
        }
    }
}

/// All calls that are under way. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    table: Arc<Mutex<Table>>,
    /// What the calls of each hospital hold, and of the manufacturer; never more of them than there are.
    memory: Arc<Mutex<HashMap<Option<HdoId>, Arc<AtomicU64>>>>,
    patience: Duration,
    most: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self { table: Arc::default(), memory: Arc::default(), patience: PATIENCE, most: MAX_MESSAGES_IN_MEMORY }
    }
}

type Table = HashMap<(Principal, Kind), Weak<Semaphore>>;

/// A call's place among those of its identity, and what it holds in memory. Both are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    share: Arc<Share>,
}

impl Place {
    /// The same request, its bytes counted as they come, until [`Place::answered`].
    pub(crate) fn said(&self, inner: Body) -> Body {
        Body::new(Said { inner, share: self.share.clone() })
    }

    /// The request is read and done with.
    pub(crate) fn answered(&self) {
        self.share.give();
    }
}

/// What a call holds of what its organisation may.
#[derive(Debug)]
struct Share {
    /// Of all its organisation's calls.
    all: Arc<AtomicU64>,
    most: u64,
    held: AtomicU64,
}

impl Share {
    fn take(&self, bytes: usize) -> Result<(), Status> {
        let bytes = bytes as u64;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.most);
        if self.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            let most = self.most;
            let text =
                format!("the calls of your organisation hold {most} bytes of the server's memory; try again later");
            tracing::warn!("the calls of one organisation hold {most} bytes, and one of them is refused");
            return Err(Status::resource_exhausted(text));
        }
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    fn give(&self) {
        self.all.fetch_sub(self.held.swap(0, Ordering::AcqRel), Ordering::AcqRel);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give();
    }
}

impl Calls {
    /// A place for a call; none where it needs none. It is given back when it is dropped.
    pub(crate) async fn enter(&self, principal: &Principal, path: &str) -> Result<Option<Place>, Status> {
        let Some(kind) = Kind::of(path) else { return Ok(None) };
        let places = self.places(principal, kind);
        let permit = match kind {
            Kind::Whole => tokio::time::timeout(self.patience, places.acquire_owned()).await.ok().and_then(Result::ok),
            Kind::Watch => places.try_acquire_owned().ok(),
        };
        let share = || Arc::new(Share { all: self.memory(principal), most: self.most, held: AtomicU64::new(0) });
        permit.map(|permit| Some(Place { _permit: permit, share: share() })).ok_or_else(|| {
            let text = format!(
                "{principal} has {} such calls under way; end some of them, and if they are not yours have the certificate revoked",
                kind.most()
            );
            marked(Event::LimitReached, Status::resource_exhausted(text))
        })
    }

    fn memory(&self, principal: &Principal) -> Arc<AtomicU64> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entry(principal.hdo().cloned()).or_default().clone()
    }

    fn places(&self, principal: &Principal, kind: Kind) -> Arc<Semaphore> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (principal.clone(), kind);
        if let Some(places) = table.get(&key).and_then(Weak::upgrade) {
            return places;
        }
        if table.len() >= REMEMBERED {
            table.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(kind.most()));
        table.insert(key, Arc::downgrade(&places));
        places
    }
}

/// A request that is counted.
struct Said {
    inner: Body,
    share: Arc<Share>,
}

impl body::Body for Said {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Err(status) = self.share.take(data.len())
        {
            return Poll::Ready(Some(Err(marked(Event::LimitReached, status))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer that holds its call's place until it has gone, and counts what of it is in memory.
pub(crate) struct Placed {
    inner: Body,
    place: Place,
    is_over: bool,
}

impl Placed {
    pub(crate) const fn new(inner: Body, place: Place) -> Self {
        Self { inner, place, is_over: false }
    }
}

impl body::Body for Placed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        // Asked for more, it has sent what it gave before.
        self.place.share.give();
        let refused = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().and_then(|data| self.place.share.take(data.len()).err()),
            _ => None,
        };
        let Some(status) = refused else { return polled };
        // What it would have answered is let go here.
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    const WHOLE: &str = "/suture.v1.OperatorService/ListReports";
    const WATCH: &str = "/suture.v1.OperatorService/WatchRollout";

    fn kim() -> Principal {
        Principal::Operator("riverside".parse().unwrap(), "kim".parse().unwrap())
    }

    #[tokio::test]
    async fn a_stolen_certificate_has_so_many_calls_at_once_and_keeps_nobody_else_from_calling() {
        let calls = Calls::default();
        let mut held = Vec::new();
        for _ in 0..MAX_CALLS_PER_IDENTITY {
            held.push(calls.enter(&kim(), WHOLE).await.unwrap().unwrap());
        }
        // The next one waits, and has its turn once another has gone.
        let turn = tokio::spawn({
            let calls = calls.clone();
            async move { calls.enter(&kim(), WHOLE).await.map(|place| place.is_some()) }
        });
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!turn.is_finished());
        held.pop();
        assert!(turn.await.unwrap().unwrap());
        held.push(calls.enter(&kim(), WHOLE).await.unwrap().unwrap());
        let impatient = Calls { patience: Duration::ZERO, ..calls.clone() };
        let refused = impatient.enter(&kim(), WHOLE).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let sam = Principal::Operator("riverside".parse().unwrap(), "sam".parse().unwrap());
        assert!(calls.enter(&sam, WHOLE).await.unwrap().is_some());

        let mut watches = Vec::new();
        for _ in 0..MAX_WATCHES_PER_IDENTITY {
            watches.push(calls.enter(&kim(), WATCH).await.unwrap().unwrap());
        }
        assert!(calls.enter(&kim(), WATCH).await.is_err(), "and that at once");
        assert!(calls.enter(&kim(), "/suture.v1.OperatorService/FetchChunks").await.unwrap().is_none());
    }

    /// Attack: devices and operators of a hospital's own making, each with no more calls than it may.
    #[tokio::test]
    async fn a_hospital_with_however_many_identities_fills_no_memory_and_keeps_no_other_from_calling() {
        let calls = Calls { most: 100, ..Calls::default() };
        let body = |bytes: usize| Body::new(Full::new(Bytes::from(vec![7; bytes])).map_err(|e| match e {}));
        let whole = async |body: Body| body.collect().await.map(|whole| (whole.trailers().cloned(), whole.to_bytes()));
        let riverside =
            |n: usize| Principal::Device("riverside".parse().unwrap(), format!("pump-{n}").parse().unwrap());
        let place = async |n: usize| calls.enter(&riverside(n), WHOLE).await.unwrap().unwrap();
        // A request is held until it is answered.
        let (one, two) = (place(1).await, place(2).await);
        assert!(whole(one.said(body(60))).await.is_ok());
        let refused = whole(two.said(body(41))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(whole(two.said(body(40))).await.is_ok());
        two.answered();
        // An answer is held until the next of it is asked for; one that finds no room is not sent.
        let (trailers, bytes) = whole(Body::new(Placed::new(body(41), place(3).await))).await.unwrap();
        assert_eq!((trailers.unwrap().get("grpc-status").unwrap().as_bytes(), bytes.len()), (&b"8"[..], 0));
        let (trailers, bytes) = whole(Body::new(Placed::new(body(40), place(3).await))).await.unwrap();
        assert_eq!((trailers, bytes.len()), (None, 40));
        let mut waits = Placed::new(body(40), two);
        assert!(waits.frame().await.unwrap().unwrap().is_data());
        assert!(whole(place(4).await.said(body(1))).await.is_err());
        // Another hospital has its own.
        let other = calls.enter(&Principal::Device("hill".parse().unwrap(), "pump-1".parse().unwrap()), WHOLE).await;
        assert!(whole(other.unwrap().unwrap().said(body(100))).await.is_ok());
        drop(waits);
        assert!(whole(place(4).await.said(body(40))).await.is_ok());
        drop(one);
        assert!(calls.memory.lock().unwrap().values().all(|held| held.load(Ordering::Acquire) == 0));
    }

    #[tokio::test]
    async fn whoever_calls_no_more_is_forgotten() {
        let calls = Calls::default();
        let held = calls.enter(&kim(), WHOLE).await.unwrap();
        for n in 0..3 * REMEMBERED {
            let device = Principal::Device("riverside".parse().unwrap(), format!("pump-{n}").parse().unwrap());
            drop(calls.enter(&device, WHOLE).await.unwrap());
        }
        assert!(calls.table.lock().unwrap().len() <= REMEMBERED);
        assert!(calls.table.lock().unwrap().values().any(|places| places.strong_count() > 0));
        drop(held);
    }
}
