//! One task queue, as text and as JSON.

use serde_json::{Value, json};

use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::domain::state::TaskStatus;
use crate::store::{KnownQueue, PendingTask};

/// How many characters of an instruction are shown.
const SHOWN: usize = 100;

/// Returns a queue as text, with a heading.
pub fn queue_text(queue: &KnownQueue) -> String {
    let name = queue.custom_id.as_deref().unwrap_or("(no custom_id)");
    let mut text = format!(
        "{} · {} · {}, task {} of {}\n",
        printable(&queue.run),
        printable(name),
        queue.state,
        queue.current_task,
        queue.tasks.len()
    );
    if !queue.planned {
        text += "  not planned yet\n";
    }
    text + &tasks_text(&queue.tasks)
}

/// Returns the lines of the tasks.
pub fn tasks_text(tasks: &[(PendingTask, TaskStatus)]) -> String {
    let mut text = String::new();
    for (task, status) in tasks {
        let said = if task.description.is_empty() {
            &task.input
        } else {
            &task.description
        };
        let said = shortened(&said.split_whitespace().collect::<Vec<_>>().join(" "), SHOWN);
        let line = format!(
            "  {}  {:<14}  {:<9}  {}",
            task.task_id,
            task.action,
            status.shown(),
            printable(&said)
        );
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// Returns the queue in the form of the service's `GET /novachat/queue/{user_id}/{session_id}`.
pub fn queue_json(queue: &KnownQueue) -> Value {
    json!({
        "run": queue.run,
        "custom_id": queue.custom_id,
        "status": queue.state,
        "total_tasks": queue.tasks.len(),
        "current_index": queue.current_task,
        "tasks": tasks_json(&queue.tasks),
    })
}

/// Returns the tasks alone.
pub fn tasks_json(tasks: &[(PendingTask, TaskStatus)]) -> Vec<Value> {
    tasks
        .iter()
        .map(|(task, status)| {
            json!({
                "id": task.task_id,
                "action": task.action,
                "description": task.description,
                "input": task.input,
                "status": status.shown(),
            })
        })
        .collect()
}
