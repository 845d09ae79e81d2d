//! The values of the port of redos.

/// A finished request of which some tasks are made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedoneQueue {
    /// The number of its queue.
    pub queue_id: i64,
    /// Planned tasks, in their order: those that are made anew, and all tasks that depend on them.
    pub tasks: Vec<RedoneTask>,
}

/// A planned task that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedoneTask {
    /// Its index, from 0.
    pub index: usize,
    /// The indexes of the planned tasks that it needs.
    pub needs: Vec<usize>,
}

/// The warning in the result line of a request whose redo failed.
pub(super) const KEPT: &str = "a redo failed, so this is the earlier result: ";
