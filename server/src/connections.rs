//! Who holds how many connections, and whose is ended for another's.
//!
//! Attack: a certificate in the wrong hands, or nobody's connections, until nobody else gets one. Of an identity's
//! connections beyond its bound the quietest is ended, which mostly is one whose line was cut before the server has noticed.
//! Where the server has no place left, the quietest is ended of the hospital that holds the most.
//!
//! Attack: whoever asks for bulk and takes nothing keeps in memory what was read for it. Such a connection is ended as a
//! stalled transfer is at the device: by the bytes that it takes. Honest ones go on from the byte where they were.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{self, Frame};
use suture_core::id::HdoId;
use suture_core::limits::{
    MAX_CONNECTIONS_PER_ADDRESS, MAX_CONNECTIONS_PER_DEVICE, MAX_CONNECTIONS_PER_OPERATOR, STALL_BYTES, STALL_WINDOW,
};
use suture_core::principal::Principal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

/// A connection on which something was heard or said within that time is not ended for another's: 1 second.
const BUSY: Duration = Duration::from_secs(1);
/// How often it is looked who takes nothing.
const LOOK: Duration = Duration::from_secs(15);

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// No certificate was shown. See [`Who::nobody`].
    Nobody(IpAddr),
    /// By its certificate.
    Known(Principal),
}

/// With whom it shares where there is too little.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Nobody,
    Manufacturer,
    Hospital(HdoId),
}

impl Who {
    /// Whoever calls from an address and has shown no certificate. Attack: one subscriber's network of IPv6, with more addresses than
    /// there are connections; so of these the first 64 bits count, which one network has.
    pub(crate) fn nobody(from: IpAddr) -> Self {
        Self::Nobody(match from.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
            v4 => v4,
        })
    }

    const fn bound(&self) -> usize {
        match self {
            Self::Nobody(_) => MAX_CONNECTIONS_PER_ADDRESS,
            Self::Known(Principal::Device(..)) => MAX_CONNECTIONS_PER_DEVICE,
            Self::Known(_) => MAX_CONNECTIONS_PER_OPERATOR,
        }
    }

    fn group(&self) -> Group {
        match self {
            Self::Nobody(_) => Group::Nobody,
            Self::Known(principal) => principal.hdo().map_or(Group::Manufacturer, |hdo| Group::Hospital(hdo.clone())),
        }
    }
}

/// All connections.
#[derive(Debug, Clone)]
pub struct Connections {
    table: Arc<Mutex<Table>>,
    /// What time is counted from.
    start: Instant,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

type Table = HashMap<Who, Vec<Arc<Held>>>;

/// What is known of one.
#[derive(Debug, Default)]
pub(crate) struct Held {
    over: CancellationToken,
    /// When something was heard or said last, in milliseconds.
    moved_ms: AtomicU64,
    /// Bytes that the other end has taken.
    taken: AtomicU64,
    /// Bulk answers of which something waits to be taken.
    waiting: AtomicUsize,
    /// Since when and since which byte something waits.
    stands: Mutex<Option<(Duration, u64)>>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    who: Who,
    held: Arc<Held>,
    connections: Connections,
}

impl Connections {
    /// There are none yet.
    pub fn new() -> Self {
        Self { table: Arc::default(), start: Instant::now() }
    }

    /// A connection begins. Where its identity has too many, the quietest of them ends.
    pub(crate) fn enter(&self, who: Who) -> Ticket {
        let held = Arc::new(Held::default());
        held.moved(self.now());
        let mut table = self.table();
        let all = table.entry(who.clone()).or_default();
        if all.len() >= who.bound()
            && let Some(at) = quietest(all)
        {
            all.swap_remove(at).over.cancel();
        }
        all.push(held.clone());
        drop(table);
        Ticket { who, held, connections: self.clone() }
    }

    /// Ends one for whoever comes next: of those who have most, the quietest, unless that is busy too.
    pub(crate) fn make_room(&self) {
        self.make_room_at(self.now());
    }

    fn make_room_at(&self, now: Duration) {
        let mut table = self.table();
        let mut sizes: HashMap<Group, usize> = HashMap::new();
        for (who, all) in table.iter() {
            let size = sizes.entry(who.group()).or_default();
            *size = size.saturating_add(all.len());
        }
        let Some((most, _)) = sizes.into_iter().max_by_key(|(_, size)| *size) else { return };
        let of_most = table.iter_mut().filter(|(who, _)| who.group() == most);
        let quiet =
            of_most.filter_map(|(_, all)| Some((all.get(quietest(all)?)?.moved_at(), all))).min_by_key(|(at, _)| *at);
        if let Some((at, all)) = quiet
            && now.saturating_sub(at) >= BUSY
            && let Some(place) = quietest(all)
        {
            all.swap_remove(place).over.cancel();
        }
    }

    /// Ends those who ask for bulk and take nothing, until `shutdown`.
    pub(crate) async fn keep(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            self.look(self.now());
        }
    }

    fn look(&self, now: Duration) {
        let window = STALL_WINDOW.unsigned_abs();
        for (who, held) in self.table().iter().flat_map(|(who, all)| all.iter().map(move |held| (who, held))) {
            let mut stands = held.stands.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = held.taken.load(Ordering::Relaxed);
            if held.waiting.load(Ordering::Relaxed) == 0 {
                *stands = None;
                continue;
            }
            let (since, from) = *stands.get_or_insert((now, taken));
            if taken.saturating_sub(from) >= STALL_BYTES {
                *stands = Some((now, taken));
            } else if now.saturating_sub(since) >= window {
                tracing::info!(?who, "a connection is ended: it takes nothing of what it has asked for");
                held.over.cancel();
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which was heard of least lately, by its place.
fn quietest(all: &[Arc<Held>]) -> Option<usize> {
    all.iter().enumerate().min_by_key(|(_, held)| held.moved_at()).map(|(at, _)| at)
}

impl Held {
    fn moved(&self, now: Duration) {
        self.moved_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn moved_at(&self) -> Duration {
        Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }
}

impl Ticket {
    /// What its calls know of it.
    pub(crate) fn held(&self) -> Arc<Held> {
        self.held.clone()
    }

    /// Cancelled when the connection is to end.
    pub(crate) fn over(&self) -> CancellationToken {
        self.held.over.clone()
    }

    /// Something was heard.
    pub(crate) fn heard(&self) {
        self.held.moved(self.connections.now());
    }

    /// So much was taken.
    pub(crate) fn taken(&self, bytes: usize) {
        self.held.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        self.heard();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        if let Some(all) = table.get_mut(&self.who) {
            all.retain(|other| !Arc::ptr_eq(other, &self.held));
            if all.is_empty() {
                table.remove(&self.who);
            }
        }
    }
}

/// A bulk answer, of which it is known whether something waits for the other end.
pub(crate) struct Awaited {
    inner: Body,
    held: Arc<Held>,
    is_waiting: bool,
}

impl Awaited {
    pub(crate) const fn new(inner: Body, held: Arc<Held>) -> Self {
        Self { inner, held, is_waiting: false }
    }

    fn wait(&mut self, waits: bool) {
        if waits && !self.is_waiting {
            self.held.waiting.fetch_add(1, Ordering::Relaxed);
        } else if !waits && self.is_waiting {
            self.held.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.is_waiting = waits;
    }
}

impl body::Body for Awaited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // Asked for more, it has nothing that waits for the other end: what is not there yet is the server's to bring.
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let waits = matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        self.wait(waits);
        polled
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.wait(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(hdo: &str, n: usize) -> Who {
        Who::Known(Principal::Device(hdo.parse().unwrap(), format!("pump-{n}").parse().unwrap()))
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn ended(tickets: &[Ticket]) -> Vec<usize> {
        tickets.iter().enumerate().filter(|(_, t)| t.over().is_cancelled()).map(|(n, _)| n).collect()
    }

    #[tokio::test]
    async fn of_an_identity_s_connections_beyond_its_bound_the_quietest_ends() {
        let connections = Connections::new();
        let mut tickets: Vec<_> =
            (0..MAX_CONNECTIONS_PER_DEVICE).map(|_| connections.enter(device("riverside", 1))).collect();
        for (n, ticket) in tickets.iter().enumerate() {
            ticket.held.moved(secs(if n == 2 { 5 } else { 10 }));
        }
        let others = [connections.enter(device("riverside", 2)), connections.enter(device("hill", 1))];
        assert_eq!(ended(&tickets), [0; 0]);
        tickets.push(connections.enter(device("riverside", 1)));
        assert_eq!((ended(&tickets), ended(&others)), (vec![2], vec![]));
        // One that is given back leaves its place.
        tickets.remove(0);
        tickets.push(connections.enter(device("riverside", 1)));
        assert_eq!(ended(&tickets), [1]);
        drop((tickets, others));
        assert!(connections.table().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_does() {
        let of = |text: &str| Who::nobody(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[tokio::test]
    async fn where_no_place_is_left_the_hospital_with_most_gives_its_quietest_that_is_not_busy() {
        let connections = Connections::new();
        let nobody = Who::Nobody([10, 0, 0, 1].into());
        let few: Vec<_> = (0..3).map(|_| connections.enter(nobody.clone())).collect();
        let many: Vec<_> = (0..4).map(|n| connections.enter(device("riverside", n))).collect();
        few.iter().for_each(|ticket| ticket.held.moved(secs(1)));
        many.iter().zip([9, 7, 8, 9]).for_each(|(ticket, at)| ticket.held.moved(secs(at)));
        connections.make_room_at(secs(7));
        assert_eq!(ended(&many), [0; 0], "all are busy");
        connections.make_room_at(secs(8));
        assert_eq!((ended(&many), ended(&few)), (vec![1], vec![]));
        // Now both have as many; then nobody has most.
        drop(many);
        connections.make_room_at(secs(20));
        assert_eq!(ended(&few).len(), 1);
    }

    #[tokio::test]
    async fn who_asks_for_bulk_and_takes_nothing_is_ended_and_a_thin_line_is_not() {
        let connections = Connections::new();
        let tickets: Vec<_> = (0..4).map(|n| connections.enter(device("riverside", n))).collect();
        // The first has nothing that waits; the second is at 1 KiB/s, the third below; the fourth takes all at last.
        let bodies: Vec<_> = tickets.iter().map(|t| Awaited::new(Body::empty(), t.held())).collect();
        let mut bodies: Vec<_> = bodies.into_iter().skip(1).collect();
        bodies.iter_mut().for_each(|body| body.wait(true));
        for at in (0..=600).step_by(15) {
            connections.look(secs(at));
            tickets[1].taken(15 << 10);
            tickets[2].taken(900);
            if at == 45 {
                bodies[2].wait(false);
            }
        }
        assert_eq!(ended(&tickets), [2]);
        drop(bodies);
        assert!(tickets.iter().all(|ticket| ticket.held.waiting.load(Ordering::Relaxed) == 0));
    }
}
