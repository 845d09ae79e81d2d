//! The crash mark: tells the store whether the process works on a request or the request only waits.

use async_trait::async_trait;

/// The crash mark of one lease. A crash of the process counts against its request only while the mark is set.
#[async_trait]
pub trait Marks: Send + Sync {
    /// Clears the mark: the request waits for its turn or for the answer. Returns whether the request may be sent: the
    /// change is then durable. A request under a lost lease may not be sent.
    async fn waits(&self) -> bool;

    /// Sets the mark: the process works on the request. The change is durable on return, unless the lease is lost or
    /// the store fails. Called before any byte of the answer is read.
    async fn works(&self);
}
