//! Single flight: equal searches at the same moment are sent once.
//!
//! All callers of a search drive the same future. When one caller is cancelled, the others continue. When the last
//! caller is cancelled, the search ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

type FlightFuture<T> = BoxFuture<'static, T>;

/// The searches in flight, by key.
pub(super) struct Flights<K, T: Clone>(Mutex<HashMap<K, WeakShared<FlightFuture<T>>>>);

/// The place of one caller in a flight.
struct Seat<'f, K: Clone + Eq + Hash, T: Clone> {
    flights: &'f Flights<K, T>,
    key: K,
    work: Option<Shared<FlightFuture<T>>>,
}

impl<K, T: Clone> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T: Clone> std::fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flights")
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Flights<K, T> {
    /// Waits for the flight of this key. Starts one if there is none.
    pub(super) async fn join(&self, key: K, begin: impl FnOnce() -> FlightFuture<T> + Send) -> T {
        let mut seat = self.seat(key, begin);
        match &mut seat.work {
            Some(work) => work.await,
            None => std::future::pending().await,
        }
    }

    fn seat(&self, key: K, begin: impl FnOnce() -> FlightFuture<T>) -> Seat<'_, K, T> {
        let mut flights = self.flights();
        let known = flights.get(&key).and_then(WeakShared::upgrade);
        // A finished flight belongs to an earlier search and is not joined.
        let work = known.filter(|work| work.peek().is_none()).unwrap_or_else(|| {
            let work = begin().shared();
            if let Some(weak) = work.downgrade() {
                flights.insert(key.clone(), weak);
            }
            work
        });
        drop(flights);
        Seat {
            flights: self,
            key,
            work: Some(work),
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, WeakShared<FlightFuture<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        // The future is dropped outside the lock, because its destructor may run other code.
        drop(self.work.take());
        let mut flights = self.flights.flights();
        let is_over = flights
            .get(&self.key)
            .is_some_and(|weak| weak.upgrade().is_none_or(|work| work.peek().is_some()));
        if is_over {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[derive(Default)]
    struct Counted {
        flights: Flights<&'static str, u32>,
        begun: Arc<AtomicU32>,
        go: Arc<Notify>,
    }

    impl Counted {
        async fn join(&self, key: &'static str) -> u32 {
            let (begun, go) = (Arc::clone(&self.begun), Arc::clone(&self.go));
            let work = move || {
                async move {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    number
                }
                .boxed()
            };
            self.flights.join(key, work).await
        }
    }

    #[tokio::test]
    async fn equal_searches_run_once_and_leave_no_entry() {
        let counted = Counted::default();
        let mut all = Box::pin(join_all((0..50).map(|_| counted.join("a"))));
        assert!((&mut all).now_or_never().is_none());
        counted.go.notify_one();
        assert_eq!(all.await, [0; 50]);
        counted.go.notify_one();
        assert_eq!(counted.join("a").await, 1);
        assert!(counted.flights.flights().is_empty());
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_stop_the_others() {
        let counted = Counted::default();
        let mut first = Box::pin(counted.join("a"));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(counted.join("a"));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        counted.go.notify_one();
        assert_eq!(second.await, 0);
    }

    #[tokio::test]
    async fn the_search_ends_when_its_last_caller_is_cancelled() {
        let counted = Counted::default();
        let mut only = Box::pin(counted.join("a"));
        assert!((&mut only).now_or_never().is_none());
        drop(only);
        assert_eq!(Arc::strong_count(&counted.begun), 1);
        assert!(counted.flights.flights().is_empty());
    }
}
