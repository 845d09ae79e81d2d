//! A store of limits in memory, which can be slow, fail, and be read at a later moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nova3::limit::{LimitState, LimitStore, StoredPause};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The states of routes, and when each was stored.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    states: Mutex<HashMap<String, (LimitState, Instant)>>,
    /// How many writes there were.
    puts: AtomicUsize,
    is_stuck: AtomicBool,
    is_failing: AtomicBool,
    released: Notify,
}

/// The store of one route.
#[derive(Debug)]
struct OfRoute(Arc<Memory>, String);

#[async_trait]
impl LimitStore for OfRoute {
    async fn put(&self, state: &LimitState) -> Result<(), String> {
        let Self(memory, route) = self;
        memory.puts.fetch_add(1, Ordering::SeqCst);
        while memory.is_stuck.load(Ordering::SeqCst) {
            memory.released.notified().await;
        }
        if memory.is_failing.load(Ordering::SeqCst) {
            return Err("the disk is full".to_owned());
        }
        memory
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(route.clone(), (state.clone(), Instant::now()));
        Ok(())
    }
}

impl Memory {
    pub(crate) fn of(self: &Arc<Self>, route: &str) -> Arc<dyn LimitStore> {
        Arc::new(OfRoute(Arc::clone(self), route.to_owned()))
    }

    /// Returns the state as a process reads it that opens the store now. The clock of the test runs ahead of the wall
    /// clock, so all times move back by the time since the write.
    pub(crate) fn state(&self, route: &str) -> Option<LimitState> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, at) = states.get(route)?;
        let waited = i64::try_from(at.elapsed().as_nanos()).expect("a short time");
        Some(LimitState {
            arrivals: state.arrivals.map(|at| at - waited),
            largest: state.largest,
            pause: state.pause.clone().map(|pause| StoredPause {
                until: pause.until - waited,
                ..pause
            }),
        })
    }

    pub(crate) fn clear(&self) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn change(&self, route: &str, change: impl FnOnce(&mut LimitState)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut states.get_mut(route).expect("a state").0);
    }

    pub(crate) fn puts(&self) -> usize {
        self.puts.load(Ordering::SeqCst)
    }

    pub(crate) fn stick(&self) {
        self.is_stuck.store(true, Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.is_stuck.store(false, Ordering::SeqCst);
        self.released.notify_waiters();
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.is_failing.store(fails, Ordering::SeqCst);
    }
}
