//! What many devices want at once and is costly to load: loaded once for all of them, and kept within a bound.
//!
//! Attack: devices that ask for ever other things, to push out what a rollout needs, or to have its devices wait in line.
//! What is kept is bounded in bytes, the latest used stays, and nobody waits for what another wants.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Mutex as Turn;

/// Values by key.
pub(super) struct Loads<K, V> {
    kept: Mutex<Kept<K, V>>,
    /// Whose turn it is to load, for each key that somebody waits for.
    turns: Mutex<HashMap<K, Weak<Turn<()>>>>,
    /// What may be kept.
    bytes: usize,
}

/// The latest used first.
struct Kept<K, V> {
    values: VecDeque<(K, V, usize)>,
    bytes: usize,
}

impl<K: Copy + Eq + Hash, V: Clone> Loads<K, V> {
    /// Keeps so many bytes at most.
    pub(super) fn new(bytes: usize) -> Self {
        Self { kept: Mutex::new(Kept { values: VecDeque::new(), bytes: 0 }), turns: Mutex::default(), bytes }
    }

    /// The value, if it is there.
    pub(super) fn recall(&self, key: &K) -> Option<V> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.values.iter().position(|(known, ..)| known == key)?;
        let found = kept.values.remove(at)?;
        let value = found.1.clone();
        kept.values.push_front(found);
        Some(value)
    }

    /// The value, which `load` yields with its bytes where it is not there. One loads it for all who want it; where that
    /// fails, or is given up, the next one does.
    pub(super) async fn get<E>(&self, key: K, load: impl Future<Output = Result<(V, usize), E>>) -> Result<V, E> {
        if let Some(value) = self.recall(&key) {
            return Ok(value);
        }
        let turn = self.turn(key);
        let _turn = turn.lock().await;
        if let Some(value) = self.recall(&key) {
            return Ok(value);
        }
        let (value, bytes) = load.await?;
        self.keep(key, value.clone(), bytes);
        Ok(value)
    }

    /// Keeps a value no longer.
    pub(super) fn forget(&self, key: &K) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.values.iter().position(|(known, ..)| known == key)
            && let Some((.., bytes)) = kept.values.remove(at)
        {
            kept.bytes = kept.bytes.saturating_sub(bytes);
        }
    }

    /// Keeps none of them any longer.
    pub(super) fn forget_all(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.values, kept.bytes) = (VecDeque::new(), 0);
    }

    fn turn(&self, key: K) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }

    fn keep(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(size_of::<(K, V, usize)>());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values.push_front((key, value, bytes));
        kept.bytes = kept.bytes.saturating_add(bytes);
        while kept.bytes > self.bytes
            && let Some((.., bytes)) = kept.values.pop_back()
        {
            kept.bytes = kept.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_loads_for_all_who_want_the_same_and_nobody_waits_for_another() {
        let loads = Loads::<u8, u8>::new(1_000);
        let (begun, opened) = (AtomicUsize::new(0), tokio::sync::Semaphore::new(0));
        let load = async || {
            loads
                .get(1, async {
                    begun.fetch_add(1, Ordering::Relaxed);
                    opened.acquire().await.unwrap().forget();
                    Ok::<_, ()>((7, 1))
                })
                .await
        };
        let mut all = std::pin::pin!(futures::future::join_all((0..100).map(|_| load())));
        assert_eq!(all.as_mut().now_or_never(), None);
        // It stands still, and another is loaded at once.
        assert_eq!(loads.get(2, async { Ok::<_, ()>((9, 1)) }).now_or_never(), Some(Ok(9)));
        opened.add_permits(1);
        assert_eq!(all.await, vec![Ok(7); 100]);
        assert_eq!(begun.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_failed_or_was_given_up_is_loaded_by_the_next() {
        let loads = Loads::<u8, u8>::new(1_000);
        assert_eq!(loads.get(1, async { Err("no") }).await, Err("no"));
        assert_eq!(loads.get(1, std::future::pending::<Result<_, ()>>()).now_or_never(), None);
        assert_eq!(loads.get(1, async { Ok::<_, ()>((7, 1)) }).now_or_never(), Some(Ok(7)));
        assert_eq!(loads.recall(&1), Some(7));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_in_bytes_and_the_latest_used_stays() {
        let each = 100 + size_of::<(u8, u8, usize)>();
        let loads = Loads::<u8, u8>::new(3 * each);
        for key in 0..10 {
            loads.get(key, async { Ok::<_, ()>((key, 100)) }).await.unwrap();
            assert_eq!(loads.recall(&0), Some(0), "it is used again and again");
            assert!(loads.kept.lock().unwrap().bytes <= 3 * each);
        }
        let there: Vec<u8> = (0..10).filter(|key| loads.recall(key).is_some()).collect();
        assert_eq!(there, [0, 8, 9]);
        // What is larger than all that may be kept is loaded and not kept.
        assert_eq!(loads.get(11, async { Ok::<_, ()>((11, 4 * each)) }).await, Ok(11));
        assert_eq!((loads.recall(&11), loads.kept.lock().unwrap().bytes), (None, 0));
    }
}
