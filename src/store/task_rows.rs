//! Builds the tasks of a result line from their rows, for both engines.

use crate::domain::outcome::{PartRecord, SearchTaskRecord, TaskRecord};
use crate::domain::task::TaskNo;

/// Rows in the order of their numbers: planned tasks, then the subtasks of each.
#[derive(Debug, Default)]
pub(super) struct TaskRows {
    tasks: Vec<TaskRecord>,
    parts: Vec<(usize, PartRecord)>,
}

impl TaskRows {
    pub(super) fn add(&mut self, task: TaskRecord) {
        self.tasks.push(task);
    }

    pub(super) fn add_part(&mut self, no: TaskNo, part: PartRecord) {
        self.parts.extend(no.index().map(|index| (index, part)));
    }

    /// Adds the search of a planned task. The texts of its sources are dropped, because result lines do not show them.
    pub(super) fn add_search(&mut self, no: TaskNo, mut search: SearchTaskRecord) {
        for source in search.found.iter_mut().flat_map(|found| &mut found.sources) {
            source.text = String::new();
        }
        if let Some(task) = no.index().and_then(|index| self.tasks.get_mut(index)) {
            task.search = Some(search);
        }
    }

    /// Returns each planned task with its parts.
    pub(super) fn into_records(self) -> Vec<TaskRecord> {
        let mut parts = self.parts.into_iter().peekable();
        let with_parts = |(index, task): (usize, TaskRecord)| {
            let mut own = Vec::new();
            while let Some((_, part)) = parts.next_if(|(of, _)| *of == index) {
                own.push(part);
            }
            if own.is_empty() {
                task
            } else {
                task.with_parts(own)
            }
        };
        self.tasks.into_iter().enumerate().map(with_parts).collect()
    }
}

/// Returns the planned tasks among the needed ones, by index. A task that has subtasks needs those too.
pub(super) fn needed(needs: Vec<i32>) -> Vec<usize> {
    let planned = needs.into_iter().map(TaskNo).filter(|task| !task.is_subtask());
    planned.filter_map(TaskNo::index).collect()
}
