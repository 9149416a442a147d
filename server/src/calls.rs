//! How many calls of one identity are under way at once.
//!
//! Attack: one stolen certificate, by which thousands of calls are begun whose requests come drop by drop, whose answers nobody
//! takes, or that watch a rollout of ten thousand devices. Each holds what it asks for in memory, and all of them what the
//! server has. So of each identity so many calls are answered at once; the next one waits for its turn with nothing of it read,
//! and is refused once it has waited long. Those who watch have a bound of their own, so that they keep nobody from
//! calling. What is sent in bulk is not counted here: it is paced, and never whole in memory.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{self, Frame, SizeHint};
use suture_core::event::Kind as Event;
use suture_core::limits::{MAX_CALLS_PER_IDENTITY, MAX_WATCHES_PER_IDENTITY};
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
    patience: Duration,
}

impl Default for Calls {
    fn default() -> Self {
        Self { table: Arc::default(), patience: PATIENCE }
    }
}

type Table = HashMap<(Principal, Kind), Weak<Semaphore>>;

impl Calls {
    /// A place for a call; none where it needs none. It is given back when it is dropped.
    pub(crate) async fn enter(
        &self,
        principal: &Principal,
        path: &str,
    ) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let Some(kind) = Kind::of(path) else { return Ok(None) };
        let places = self.places(principal, kind);
        let place = match kind {
            Kind::Whole => tokio::time::timeout(self.patience, places.acquire_owned()).await.ok().and_then(Result::ok),
            Kind::Watch => places.try_acquire_owned().ok(),
        };
        place.map(Some).ok_or_else(|| {
            let text = format!(
                "{principal} has {} such calls under way; end some of them, and if they are not yours have the certificate revoked",
                kind.most()
            );
            marked(Event::LimitReached, Status::resource_exhausted(text))
        })
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

/// An answer that holds its call's place until it has gone.
pub(crate) struct Placed {
    inner: Body,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    pub(crate) const fn new(inner: Body, place: OwnedSemaphorePermit) -> Self {
        Self { inner, _place: place }
    }
}

impl body::Body for Placed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
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
