//! The port of the ledger, which estimates, reports and the bill read.

use async_trait::async_trait;

use super::{RunId, StoreError, UsageQuery, UsageRow};
use crate::domain::outcome::{Attempt, Provenance};
use crate::domain::task::TaskNo;
use crate::domain::usage::{TextSizes, Usage};

/// The ledger of calls of all runs.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Returns at most `limit` calls of any run, those of the newest requests first. The calls of a request that is no
    /// longer stored are left out.
    async fn recent_calls(&self, limit: usize) -> Result<Vec<RecentCall>, StoreError>;

    /// Returns the sums of all calls that the filter lets through, in groups, sorted by their keys. No more groups are
    /// returned than the query allows. It takes as long as reading the ledger.
    async fn usage(&self, wanted: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Returns the calls of at most `queues` requests of the run, those after `after` in the order of their numbers.
    /// The calls of one request stand together, in the order in which they were written. Requests outside of the present
    /// input are included, because their calls were paid.
    async fn calls(&self, run: RunId, after: i64, queues: usize) -> Result<CallPage, StoreError>;
}

/// A page of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPage {
    /// The calls.
    pub rows: Vec<LedgerCall>,
    /// The last request of the page, at which the next one begins; `None` if no request is left.
    pub after: Option<i64>,
}

/// A call of a run, with its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCall {
    /// Its queue.
    pub queue_id: i64,
    /// Its task.
    pub task: TaskNo,
    /// The version of its task: a retry and a redo begin a new one.
    pub version: i64,
    /// The action of its task; `supervisor` for planning.
    pub action: String,
    /// The user of its request.
    pub user_id: String,
    /// The call. `used` says whether its answer is the result of its task.
    pub attempt: Attempt,
}

/// A call in the ledger, with its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentCall {
    /// Its queue.
    pub queue_id: i64,
    /// Its task.
    pub task: TaskNo,
    /// The action of the task; `supervisor` for planning.
    pub action: String,
    /// The number of planned tasks of the queue; `None` before they are planned.
    pub tasks: Option<u64>,
    /// Its route; `search:NAME` for a search provider.
    pub route: String,
    /// Its model.
    pub model: String,
    /// Whether its answer is the result of its task.
    pub used: bool,
    /// Its counted tokens.
    pub usage: Usage,
    /// Milliseconds from sending to the end.
    pub duration_ms: u64,
    /// The sizes of the texts of its task.
    pub sizes: TextSizes,
}

/// Returns the sizes in the stored bookkeeping of a task. A task that is not settled has none.
pub(super) fn sizes(making: Option<&str>) -> TextSizes {
    let making: Option<Provenance> = making.and_then(|text| serde_json::from_str(text).ok());
    making.map(|making| making.sizes).unwrap_or_default()
}
