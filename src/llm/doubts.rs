//! Requests whose failure waits for proof: is the request at fault, or the route?
//!
//! ```text
//!   refused ─▶ held: its slot is free for another request
//!                │
//!                ├─ the route answers another request ──────────▶ the request fails
//!                ├─ enough requests get the same refusal ───────▶ the route is dead, the request stays unfinished
//!                └─ no other request can start ─▶ released ─────▶ the request fails, or its refusal latches the route
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// The held requests of a run. The dispatcher reads their number and releases them.
#[derive(Debug, Clone)]
pub struct Doubts(Arc<DoubtState>);

#[derive(Debug)]
struct DoubtState {
    held: AtomicUsize,
    came: Notify,
    released: watch::Sender<u64>,
}

impl Default for Doubts {
    fn default() -> Self {
        Self(Arc::new(DoubtState {
            held: AtomicUsize::new(0),
            came: Notify::new(),
            released: watch::Sender::new(0),
        }))
    }
}

impl Doubts {
    /// Returns how many requests are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Returns when a request has been held or is no longer held. Cancel-safe.
    pub async fn came(&self) {
        self.0.came.notified().await;
    }

    /// Releases all held requests, because no more proof will arrive.
    pub fn release(&self) {
        self.0.released.send_modify(|times| *times += 1);
    }

    /// Holds one more request until the returned value is dropped.
    pub(super) fn hold(&self) -> HeldRequest {
        let released = self.0.released.subscribe();
        self.0.held.fetch_add(1, Ordering::Relaxed);
        self.0.came.notify_one();
        HeldRequest {
            doubts: self.clone(),
            released,
        }
    }
}

/// A held request.
#[derive(Debug)]
pub(super) struct HeldRequest {
    doubts: Doubts,
    released: watch::Receiver<u64>,
}

impl HeldRequest {
    /// Returns when the request is released. Cancel-safe.
    pub(super) async fn released(&mut self) {
        if self.released.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.doubts.0.held.fetch_sub(1, Ordering::Relaxed);
        self.doubts.0.came.notify_one();
    }
}
