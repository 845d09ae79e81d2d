//! The tasks that a redo makes anew, as text and as JSON.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::printable::{counted, printable};
use crate::domain::usage::Cost;
use crate::engine::{RedoEntry, RedoList, RedoReason, TaskToRedo};

/// How the list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListForm {
    /// Sums only.
    Summary,
    /// One line for each task, then the sums.
    Text,
    /// One JSON object for each request.
    Json,
}

/// The sums: tasks by action and reason, and the cost of their present answers.
pub(super) fn listed(run: &str, list: &RedoList) -> String {
    let mut groups: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut known = Cost::ZERO;
    let mut unpriced = 0;
    for task in list.entries.iter().flat_map(|entry| &entry.tasks) {
        *groups.entry((&task.action, kind(&task.reason))).or_default() += 1;
        match task.cost {
            Some(cost) => known = known.plus(cost),
            None => unpriced += 1,
        }
    }
    let requests = list.entries.len() as u64;
    let mut text = format!("run `{run}`: {} to make anew\n", counted(requests, "request"));
    let width = groups.keys().map(|(action, _)| action.chars().count()).max();
    for ((action, reason), tasks) in &groups {
        let action = printable(action);
        let tasks = counted(*tasks, "task");
        text += &format!(
            "  {action:<width$}  {tasks}: {reason}\n",
            width = width.unwrap_or(0)
        );
    }
    if list.unchecked > 0 {
        let requests = counted(list.unchecked, "request");
        text += &format!("  {requests} not checked: an agent or a route is gone\n");
    }
    text += &match (unpriced, known) {
        (0, known) => format!("  their present answers cost ${:.4}\n", known.usd()),
        (_, Cost::ZERO) => {
            "  the cost of their present answers is not known: no price configured\n".to_owned()
        }
        (unpriced, known) => format!(
            "  their present answers cost ${:.4}, without {} of unknown cost\n",
            known.usd(),
            counted(unpriced, "task")
        ),
    };
    text
}

/// One line for each task.
pub(super) fn each(list: &RedoList) -> String {
    let line = |entry: &RedoEntry, task: &TaskToRedo| {
        format!(
            "line {} · {} · {} {}: {}\n",
            entry.line,
            printable(entry.custom_id.as_deref().unwrap_or("(no custom_id)")),
            task.task_id,
            printable(&task.action),
            reason(&task.reason)
        )
    };
    let lines = list
        .entries
        .iter()
        .flat_map(|entry| entry.tasks.iter().map(move |task| line(entry, task)));
    lines.collect()
}

/// One JSON object for each request.
pub(super) fn json(list: &RedoList) -> String {
    let task = |task: &TaskToRedo| {
        let (reason, of) = match &task.reason {
            RedoReason::Asked => ("asked", None),
            RedoReason::Moved(input) => (input.name(), None),
            RedoReason::Replaced(item) => ("replaced", Some(item)),
            RedoReason::Behind(task) => ("behind", Some(task)),
        };
        json!({
            "task_id": task.task_id, "action": task.action, "reason": reason, "of": of,
            "cost_usd": task.cost.map(Cost::usd),
        })
    };
    let line = |entry: &RedoEntry| {
        let tasks: Vec<_> = entry.tasks.iter().map(task).collect();
        format!(
            "{}\n",
            json!({"line": entry.line, "custom_id": entry.custom_id, "tasks": tasks})
        )
    };
    list.entries.iter().map(line).collect()
}

/// The reason of one task.
fn reason(reason: &RedoReason) -> String {
    match reason {
        RedoReason::Replaced(item) => format!("it uses `{item}`, which was replaced"),
        RedoReason::Behind(task) => format!("behind {task}"),
        RedoReason::Asked | RedoReason::Moved(_) => kind(reason).to_owned(),
    }
}

/// The reason of many tasks.
const fn kind(reason: &RedoReason) -> &'static str {
    match reason {
        RedoReason::Asked => "chosen",
        RedoReason::Moved(input) => input.reason(),
        RedoReason::Replaced(_) => "an item that it uses was replaced",
        RedoReason::Behind(_) => "behind a task that is made anew",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::MovedInput;
    use crate::store::RedoneQueue;

    fn list() -> RedoList {
        let task = |id: &str, action: &str, reason: RedoReason, cost: Option<u64>| TaskToRedo {
            task_id: id.to_owned(),
            action: action.to_owned(),
            reason,
            cost: cost.map(Cost),
        };
        let entry = |line: u64| RedoEntry {
            custom_id: Some(format!("r{line}")),
            line,
            queue: RedoneQueue {
                queue_id: 1,
                tasks: Vec::new(),
            },
            tasks: vec![
                task(
                    "task002",
                    "facts",
                    RedoReason::Moved(MovedInput::Agent),
                    Some(500_000_000_000),
                ),
                task(
                    "task003",
                    "xhs_writing",
                    RedoReason::Behind("task002".to_owned()),
                    None,
                ),
            ],
        };
        RedoList {
            entries: vec![entry(1), entry(2)],
            unchecked: 1,
            unknown: Vec::new(),
        }
    }

    #[test]
    fn sums_name_each_action_and_reason() {
        assert_eq!(
            listed("a.jsonl", &list()),
            "run `a.jsonl`: 2 requests to make anew\n  facts        2 tasks: its agent file changed\n  \
             xhs_writing  2 tasks: behind a task that is made anew\n  1 request not checked: an agent or a route is gone\n  \
             their present answers cost $1.0000, without 2 tasks of unknown cost\n"
        );
        assert_eq!(
            each(&list()).lines().next(),
            Some("line 1 · r1 · task002 facts: its agent file changed")
        );
        assert!(json(&list()).starts_with(
            r#"{"custom_id":"r1","line":1,"tasks":[{"action":"facts","cost_usd":0.5,"of":null,"reason":"agent","task_id":"task002"}"#
        ));
    }
}
