//! The content of the store, read by the tests' own statements, never from the program's output.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use crate::support::evidence::quoted;

/// A store that is only read.
pub(crate) struct Store(Connection);

/// A step of a queue: its queue, and its task's index or -1 for planning.
pub(crate) type StepKey = (i64, i64);

/// An item as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) session: String,
    pub(crate) kind: String,
    pub(crate) number: u64,
    /// A JSON object.
    pub(crate) body: String,
    /// The queue that made it.
    pub(crate) queue: i64,
    /// The task that made it.
    pub(crate) task: usize,
}

impl Item {
    /// Its id, as texts refer to it.
    pub(crate) fn id(&self) -> String {
        format!("{}{}", self.kind, self.number)
    }
}

impl Store {
    /// Opens the store. `None` while it is missing or empty.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let store = Self(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?);
        let tables = store.rows("SELECT name FROM sqlite_master WHERE name='nova3_plans'", |row| {
            row.get::<_, String>(0)
        });
        (!tables.is_empty()).then_some(store)
    }

    fn rows<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let mut query = self.0.prepare(sql).expect("the statement fits the store");
        let rows = query.query_map([], read).expect("the store can be read");
        rows.collect::<Result<_, _>>().expect("the row is as expected")
    }

    /// Returns the queues that are leased.
    pub(crate) fn leased(&self) -> BTreeSet<i64> {
        let rows = self.rows("SELECT queue_id FROM nova3_queues WHERE leased > 0", |row| {
            row.get(0)
        });
        rows.into_iter().collect()
    }

    /// Returns the digests of the answers that are results of tasks, or tasks of plans.
    pub(crate) fn answers(&self) -> BTreeSet<String> {
        let texts = self.rows(
            "SELECT coalesce(result, '') FROM nova3_tasks WHERE status='completed' UNION ALL SELECT input FROM nova3_tasks",
            |row| row.get::<_, String>(0),
        );
        texts
            .iter()
            .flat_map(|text| quoted(text).map(str::to_owned))
            .collect()
    }

    /// Returns for each settled step the calls in the ledger and those that were used. A queue with a number of tasks
    /// has its plan, and a completed task its result.
    pub(crate) fn settled(&self) -> BTreeMap<StepKey, (usize, usize)> {
        let rows = self.rows(
            "WITH steps AS (
               SELECT queue_id, -1 AS task_index FROM nova3_queues WHERE task_count IS NOT NULL
               UNION SELECT queue_id, task_index FROM nova3_tasks WHERE status='completed' AND kind NOT IN('join','search'))
             SELECT s.queue_id, s.task_index, count(a.attempt_id), coalesce(sum(a.used), 0)
             FROM steps s LEFT JOIN nova3_attempts a USING(queue_id, task_index) GROUP BY 1, 2",
            |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))),
        );
        rows.into_iter().collect()
    }

    /// Returns all items of all sessions, in order.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.rows(
            "SELECT session_id, kind, number, body, queue_id, task_index FROM nova3_items
             ORDER BY user_id, session_id, kind, number",
            |row| {
                Ok(Item {
                    session: row.get(0)?,
                    kind: row.get(1)?,
                    number: row.get(2)?,
                    body: row.get(3)?,
                    queue: row.get(4)?,
                    task: row.get(5)?,
                })
            },
        )
    }

    /// Returns the state of each request.
    pub(crate) fn states(&self) -> BTreeMap<String, String> {
        let rows = self.rows("SELECT custom_id, state FROM nova3_queues", |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        rows.into_iter().collect()
    }

    /// Returns the queue of each request.
    pub(crate) fn queues(&self) -> BTreeMap<String, i64> {
        let rows = self.rows("SELECT custom_id, queue_id FROM nova3_queues", |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        rows.into_iter().collect()
    }

    /// Returns what SQLite finds wrong with the file. `ok` means no damage.
    pub(crate) fn damage(&self) -> Vec<String> {
        self.rows("PRAGMA integrity_check", |row| row.get(0))
    }
}
