//! Requests whose failure waits for proof: is it the request's, or the route's?
//!
//! ```text
//!   refused ─▶ held: its slot is free for another request
//!                │
//!                ├─ the route answers another request ──▶ it fails
//!                ├─ enough requests are refused alike ──▶ the route is dead, it stays unfinished
//!                └─ no other request can be begun ──────▶ released: it fails
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// The held requests of a run. The dispatcher looks at their number and releases them.
#[derive(Debug, Clone)]
pub struct Doubts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: AtomicUsize,
    came: Notify,
    released: watch::Sender<u64>,
}

impl Default for Doubts {
    fn default() -> Self {
        Self(Arc::new(Shared {
            held: AtomicUsize::new(0),
            came: Notify::new(),
            released: watch::Sender::new(0),
        }))
    }
}

impl Doubts {
    /// How many requests are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Returns when a request has been held. Cancel-safe.
    pub async fn came(&self) {
        self.0.came.notified().await;
    }

    /// Nothing more will be known of the requests that are held.
    pub fn release(&self) {
        self.0.released.send_modify(|times| *times += 1);
    }

    /// One more is held until this is dropped.
    pub(super) fn hold(&self) -> Held {
        let released = self.0.released.subscribe();
        self.0.held.fetch_add(1, Ordering::Relaxed);
        self.0.came.notify_one();
        Held {
            doubts: self.clone(),
            released,
        }
    }
}

/// A held request.
#[derive(Debug)]
pub(super) struct Held {
    doubts: Doubts,
    released: watch::Receiver<u64>,
}

impl Held {
    /// Returns when it is released. Cancel-safe.
    pub(super) async fn released(&mut self) {
        if self.released.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.doubts.0.held.fetch_sub(1, Ordering::Relaxed);
        self.doubts.0.came.notify_one();
    }
}
