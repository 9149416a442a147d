//! How many calls of one identity are under way at once, and what those of one organisation hold in memory.
//!
//! Attack: one stolen certificate, by which thousands of calls are begun whose requests come drop by drop, whose answers nobody
//! takes, or that watch a rollout of ten thousand devices. Each holds what it asks for in memory, and all of them what the
//! server has. So of each identity so many calls are answered at once; the next one waits for its turn with nothing of it read,
//! and is refused once it has waited long. Those who watch have a bound of their own, so that they keep nobody from
//! calling. Of a call that sends in bulk only what it asks for is counted here: what it sends is paced, and never whole in
//! memory.
//!
//! Attack: a hospital that admits thousands of operators and devices of its own making, each of which keeps within its bound. So
//! what all of an organisation's calls hold of requests and answers is counted in bytes as they come and go, and whatever would
//! be too much for it alone is refused, whichever call it is. An answer that is sent piece by piece and lies in memory as a whole
//! counts as a whole until its end ([`Holds`]), and so does what somebody who watches has been told.

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

/// How long a call waits for those before it: half of what a device waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Identities that are remembered before those of them are forgotten that call no more.
const REMEMBERED: usize = 1_024;

/// What one who watches a rollout has the server remember of it: 10,000 devices with a sentence each, and as much on its way out.
const WATCH_BYTES: u64 = 16 << 20;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Request and answer are in memory as a whole.
    Whole,
    /// The request is in memory as a whole, the answer never.
    Bulk,
    /// Open for as long as there may be news.
    Watch,
}

impl Kind {
    /// Of a call; none where it is not counted: of uploads there are few at a time, and each holds one message and one pack.
    fn of(path: &str) -> Option<Self> {
        match name(path) {
            "UploadChunks" => None,
            "FetchChunks" | "FetchDelta" => Some(Self::Bulk),
            WATCH_ROLLOUT | "Watch" => Some(Self::Watch),
            _ => Some(Self::Whole),
        }
    }

    const fn most(self) -> usize {
        match self {
            Self::Whole | Self::Bulk => MAX_CALLS_PER_IDENTITY,
            Self::Watch => MAX_WATCHES_PER_IDENTITY,
        }
    }
}

const WATCH_ROLLOUT: &str = "WatchRollout";

/// The call in a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// So many bytes an answer holds in memory until its end, beside the frame that is on its way. Its handler says so among the
/// answer's extensions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Holds(pub(crate) u64);

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
    kind: Kind,
    _permit: OwnedSemaphorePermit,
    /// What comes and goes.
    share: Arc<Share>,
    /// What is held until the end.
    standing: Share,
}

impl Place {
    /// The same request, its bytes counted as they come, until [`Place::answered`].
    pub(crate) fn said(&self, inner: Body) -> Body {
        Body::new(Said { inner, share: self.share.clone() })
    }

    /// The request is read and done with, and the answer holds so much. None where the rest is bulk, which has no place.
    ///
    /// # Errors
    ///
    /// The organisation's calls hold too much, and nothing is answered.
    pub(crate) fn answered(self, Holds(bytes): Holds) -> Result<Option<Self>, Status> {
        self.share.give();
        self.standing.take(bytes).map_err(refused)?;
        Ok((self.kind != Kind::Bulk).then_some(self))
    }
}

/// The answer to a call that is refused before it has answered anything, where its mark is taken off again.
fn refused(status: Status) -> Status {
    marked(Event::LimitReached, status)
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
    fn take(&self, bytes: u64) -> Result<(), Status> {
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
            Kind::Whole | Kind::Bulk => {
                tokio::time::timeout(self.patience, places.acquire_owned()).await.ok().and_then(Result::ok)
            }
            Kind::Watch => places.try_acquire_owned().ok(),
        };
        let permit = permit.ok_or_else(|| {
            let text = format!(
                "{principal} has {} such calls under way; end some of them, and if they are not yours have the certificate revoked",
                kind.most()
            );
            refused(Status::resource_exhausted(text))
        })?;
        let share = || Share { all: self.memory(principal), most: self.most, held: AtomicU64::new(0) };
        let place = Place { kind, _permit: permit, share: Arc::new(share()), standing: share() };
        if name(path) == WATCH_ROLLOUT {
            place.standing.take(WATCH_BYTES).map_err(refused)?;
        }
        Ok(Some(place))
    }

    fn memory(&self, principal: &Principal) -> Arc<AtomicU64> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entry(principal.hdo().cloned()).or_default().clone()
    }

    /// What the calls of somebody's organisation hold now.
    #[cfg(test)]
    pub(crate) fn held_for(&self, principal: &Principal) -> u64 {
        self.memory(principal).load(Ordering::Acquire)
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
            && let Err(status) = self.share.take(data.len() as u64)
        {
            return Poll::Ready(Some(Err(refused(status))));
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
            Poll::Ready(Some(Ok(frame))) => {
                frame.data_ref().and_then(|data| self.place.share.take(data.len() as u64).err())
            }
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
        assert!(calls.enter(&kim(), "/suture.v1.OperatorService/UploadChunks").await.unwrap().is_none());
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
        let two = two.answered(Holds(0)).unwrap().unwrap();
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

    /// Attack: thousands of requests for chunks, each of 16 MiB and never whole, by one operator's stolen certificate.
    #[tokio::test]
    async fn what_is_asked_for_in_bulk_is_counted_until_it_is_answered() {
        let calls = Calls { most: 100, patience: Duration::ZERO, ..Calls::default() };
        for path in ["/suture.v1.OperatorService/FetchChunks", "/suture.v1.DeviceService/FetchDelta"] {
            let mut asked = Vec::new();
            for _ in 0..MAX_CALLS_PER_IDENTITY {
                asked.push(calls.enter(&kim(), path).await.unwrap().unwrap());
            }
            assert_eq!(calls.enter(&kim(), path).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
            let body = || Body::new(Full::new(Bytes::from(vec![7; 60])).map_err(|e| match e {}));
            assert!(asked[0].said(body()).collect().await.is_ok());
            assert!(asked[1].said(body()).collect().await.is_err(), "the request is counted in bytes too");
            // What is sent has neither a place nor a share.
            assert!(asked.swap_remove(0).answered(Holds(0)).unwrap().is_none());
            assert!(asked[0].said(body()).collect().await.is_ok());
            assert!(calls.enter(&kim(), path).await.unwrap().is_some());
        }
    }

    /// Attack: devices of a hospital's own making that each have whole documents sent and take them by drops.
    #[tokio::test]
    async fn an_answer_that_lies_in_memory_as_a_whole_counts_as_a_whole_until_its_end() {
        let calls = Calls { most: 100, ..Calls::default() };
        let place = async || calls.enter(&kim(), WHOLE).await.unwrap().unwrap();
        let one = place().await.answered(Holds(60)).unwrap().unwrap();
        let body = Body::new(Full::new(Bytes::from(vec![7; 10])).map_err(|e| match e {}));
        let mut answer = Placed::new(body, one);
        assert!(answer.frame().await.unwrap().unwrap().is_data());
        let refused = place().await.answered(Holds(41)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(place().await.answered(Holds(30)).is_ok());
        drop(answer);
        assert!(place().await.answered(Holds(100)).is_ok());
    }

    /// Attack: people of a hospital's own making who each watch a rollout of ten thousand devices as often as they may.
    #[tokio::test]
    async fn whoever_watches_holds_of_an_organisations_memory_what_a_rollout_takes() {
        let calls = Calls { most: 2 * WATCH_BYTES, ..Calls::default() };
        let person = |n: usize| Principal::Operator("riverside".parse().unwrap(), format!("p-{n}").parse().unwrap());
        let one = calls.enter(&person(1), WATCH).await.unwrap();
        let two = calls.enter(&person(2), WATCH).await.unwrap().unwrap().answered(Holds(0)).unwrap();
        assert_eq!(calls.enter(&person(3), WATCH).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        let elsewhere = Principal::Operator("hill".parse().unwrap(), "kim".parse().unwrap());
        assert!(calls.enter(&elsewhere, WATCH).await.is_ok());
        assert!(calls.enter(&person(3), "/grpc.health.v1.Health/Watch").await.is_ok());
        drop(one);
        assert!(calls.enter(&person(3), WATCH).await.is_ok());
        drop(two);
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
