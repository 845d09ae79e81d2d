//! Wakes the exporters.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes every exporter when a request may have finished.
#[derive(Debug, Default)]
pub(in crate::engine) struct Wakes(Vec<Arc<Notify>>);

impl Wakes {
    pub(in crate::engine) fn add(&mut self) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        self.0.push(Arc::clone(&wake));
        wake
    }

    pub(in crate::engine) fn all(&self) {
        self.0.iter().for_each(|wake| wake.notify_one());
    }
}
