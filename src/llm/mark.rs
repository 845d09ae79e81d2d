//! Telling the store when the process works on a request, and when the request only waits.

use async_trait::async_trait;

/// The crash mark of one lease. A crash of the process counts against its request only while the mark is set.
#[async_trait]
pub trait Marks: Send + Sync {
    /// That the request waits is durable: for its turn to call, or for the answer. Answers whether it may be sent; it may
    /// not under a lease that is lost.
    async fn waits(&self) -> bool;

    /// That the process works on the request is durable. Called before a byte of its answer is looked at.
    async fn works(&self);
}
