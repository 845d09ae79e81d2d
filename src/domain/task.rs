//! The tasks of a queue: their numbers, their names and their kinds.
//!
//! ```text
//! plan (-1) ─▶ task001 (0) ─▶ task002 (1) ────▶ …
//!                               ├─ task002.search ─▶ task002 has its sources
//!                               ├─ task002.1 ─┐
//!                               └─ task002.2 ─┴▶ joined by task002
//! ```
//!
//! A planned task can have subtasks: one search, and parts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a task in its queue: -1 for planning, from 0 for planned tasks in order. Subtasks have higher numbers,
/// which contain the number of their planned task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskNo(pub i32);

/// The number of a subtask holds the number of its planned task above these bits. Below them, 0 is its search, and parts
/// are counted from 1.
const PART_BITS: u32 = 8;

impl TaskNo {
    /// Planning.
    pub const PLAN: Self = Self(-1);

    /// Planned tasks have numbers below this one, subtasks from it upwards.
    pub const PLANNED_END: i32 = 1 << 20;

    /// The most parts of a task.
    pub const MOST_PARTS: usize = (1 << PART_BITS) - 1;

    /// The planned task with this index, from 0.
    pub fn planned(index: usize) -> Self {
        Self(i32::try_from(index).map_or(Self::PLANNED_END - 1, |index| index.min(Self::PLANNED_END - 1)))
    }

    /// A part of the planned task with this index. Parts are counted from 1.
    pub fn part(index: usize, part: usize) -> Self {
        let part = i32::try_from(part.min(Self::MOST_PARTS)).unwrap_or(0);
        Self(Self::PLANNED_END + (Self::planned(index).0 << PART_BITS) + part)
    }

    /// The search of the planned task with this index.
    pub fn search(index: usize) -> Self {
        Self::part(index, 0)
    }

    /// Whether it is a subtask of a planned task: its search, or a part.
    pub const fn is_subtask(self) -> bool {
        self.0 >= Self::PLANNED_END
    }

    /// Whether it is the search of a planned task.
    pub const fn is_search(self) -> bool {
        self.is_subtask() && self.part_bits() == 0
    }

    /// Whether it is a part of a planned task.
    pub const fn is_part(self) -> bool {
        self.is_subtask() && self.part_bits() > 0
    }

    const fn part_bits(self) -> i32 {
        (self.0 - Self::PLANNED_END) & ((1 << PART_BITS) - 1)
    }

    /// The index of the planned task that it is, or is a subtask of; `None` for planning.
    pub fn index(self) -> Option<usize> {
        let of = if self.is_subtask() {
            (self.0 - Self::PLANNED_END) >> PART_BITS
        } else {
            self.0
        };
        usize::try_from(of).ok()
    }

    /// The number of the part, from 1; `None` if it is not a part.
    pub fn part_no(self) -> Option<usize> {
        usize::try_from(self.part_bits()).ok().filter(|_| self.is_part())
    }

    /// The range of the part numbers of the planned task with this index: the first one and the last possible one.
    pub fn parts_of(index: usize) -> (i32, i32) {
        (Self::part(index, 1).0, Self::part(index, Self::MOST_PARTS).0)
    }
}

impl From<usize> for TaskNo {
    /// The planned task with this index.
    fn from(index: usize) -> Self {
        Self::planned(index)
    }
}

/// Writes `plan`, `task003`, `task003.search` or `task003.1`.
impl fmt::Display for TaskNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index(), self.part_no()) {
            (None, _) => f.write_str("plan"),
            (Some(index), _) if self.is_search() => write!(f, "task{:03}.search", index + 1),
            (Some(index), None) => write!(f, "task{:03}", index + 1),
            (Some(index), Some(part)) => write!(f, "task{:03}.{part}", index + 1),
        }
    }
}

/// The kind of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// It plans the tasks of its queue.
    Plan,
    /// An agent, or a raw call, does it; a part has this kind too.
    Call,
    /// It joins its parts.
    Join,
    /// It searches for the sources of its planned task.
    Search,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Call, Self::Join, Self::Search];

    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Call => "call",
            Self::Join => "join",
            Self::Search => "search",
        }
    }

    /// Returns the kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_tasks() {
        for (no, id, index, part) in [
            (TaskNo::PLAN, "plan", None, None),
            (TaskNo::planned(0), "task001", Some(0), None),
            (TaskNo::planned(999), "task1000", Some(999), None),
            (TaskNo::part(0, 1), "task001.1", Some(0), Some(1)),
            (TaskNo::part(2, 255), "task003.255", Some(2), Some(255)),
            (TaskNo::search(2), "task003.search", Some(2), None),
        ] {
            assert_eq!(
                (no.to_string().as_str(), no.index(), no.part_no()),
                (id, index, part)
            );
        }
    }

    #[test]
    fn every_number_is_another() {
        let mut numbers = vec![TaskNo::PLAN];
        for index in [0, 1, 2, 9_999] {
            numbers.push(TaskNo::planned(index));
            numbers.push(TaskNo::search(index));
            numbers.extend((1..=TaskNo::MOST_PARTS).map(|part| TaskNo::part(index, part)));
        }
        let count = numbers.len();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        let last = TaskNo::part(1_000_000, 255);
        assert_eq!((last.index(), last.part_no()), (Some(1_000_000), Some(255)));
    }
}
