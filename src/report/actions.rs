//! The record of what was done to a run.

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::standing::table_of;
use crate::clock;
use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::store::RecordedAction;

/// The actions that the table shows; JSON has more.
const SHOWN: usize = 5;

/// The most characters of the flags in the table.
const FLAG_CHARS: usize = 60;

/// Returns an action as JSON.
pub(super) fn action_json(known: &RecordedAction) -> Value {
    let action = &known.action;
    json!({
        "command": action.command, "flags": action.flags, "user": action.actor.user, "host": action.actor.host,
        "folder": action.actor.folder, "pid": action.actor.pid, "version": action.actor.version,
        "began_at": clock::rfc3339(known.began_at), "ended_at": known.ended_at.and_then(clock::rfc3339),
        "ending": known.ending,
    })
}

/// Returns the newest actions as a table. An action without an end goes on, or its process crashed.
pub(super) fn action_table(actions: &[RecordedAction]) -> Table {
    let mut rows = table_of(&["began", "command", "by", "in", "end", "flags"]);
    for known in actions.iter().take(SHOWN) {
        let action = &known.action;
        let flags = printable(&action.flags.join(" "));
        rows.add_row([
            clock::rfc3339(known.began_at).unwrap_or_default(),
            printable(&action.command),
            printable(&format!("{}@{}", action.actor.user, action.actor.host)),
            printable(&action.actor.folder),
            printable(known.ending.as_deref().unwrap_or("–")),
            shortened(&flags, FLAG_CHARS),
        ]);
    }
    for column in rows.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Left);
    }
    rows
}
