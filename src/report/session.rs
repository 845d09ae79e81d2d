//! A session and its items, as text, JSON and CSV.

use serde_json::{Value, json};

use super::cells::add_csv;
use super::queue::{queue_json, queue_text};
use crate::agent::text_of;
use crate::clock;
use crate::domain::ids::shortened;
use crate::domain::printable::printable;
use crate::store::{Round, SessionRecord, StoredItem};

/// How many characters of a query are shown in a list.
const SHOWN: usize = 80;

/// Returns a session as text for people.
pub fn session_text(record: &SessionRecord) -> String {
    let mut text = String::new();
    if let Some(queue) = &record.queue {
        text += &queue_text(queue);
    }
    if !record.pending.is_empty() {
        let actions: Vec<&str> = record.pending.iter().map(|task| task.action.as_str()).collect();
        text += &format!(
            "pending tasks, for the next request that continues: {}\n",
            actions.join(", ")
        );
    }
    text += &format!("\nrounds: {}\n", record.rounds.len());
    for round in &record.rounds {
        text += &round_text(round);
    }
    text += &format!("\nitems: {}\n", record.items.len());
    for item in &record.items {
        let first = shortened(text_of(&item.body).lines().next().unwrap_or_default(), SHOWN);
        text += &format!("  {:<16}  {}\n", item.id, printable(&first));
    }
    text
}

fn round_text(round: &Round) -> String {
    let query = shortened(round.query.as_deref().unwrap_or("(no query)"), SHOWN);
    let made: Vec<&str> = round.output.iter().map(|item| item.id.as_str()).collect();
    let line = format!(
        "  {:>3}  {:<9}  {}  → {}",
        round.number,
        round.status,
        printable(&query.split_whitespace().collect::<Vec<_>>().join(" ")),
        made.join(" ")
    );
    format!("{}\n", line.trim_end())
}

/// Returns a session as JSON for programs.
pub fn session_json(user: &str, session: &str, record: &SessionRecord) -> Value {
    let rounds: Vec<Value> = record
        .rounds
        .iter()
        .map(|round| {
            json!({
                "round": round.number,
                "run": round.run,
                "custom_id": round.custom_id,
                "status": round.status,
                "query": round.query,
                "output": round.output.iter().map(item_json).collect::<Vec<_>>(),
                "completed_at": clock::rfc3339(round.completed_at),
            })
        })
        .collect();
    let pending: Vec<Value> = record
        .pending
        .iter()
        .map(|task| json!({"action": task.action, "description": task.description, "input": task.input}))
        .collect();
    json!({
        "user_id": user,
        "session_id": session,
        "queue": record.queue.as_ref().map(queue_json),
        "pending": pending,
        "rounds": rounds,
        "items": items_json(&record.items),
    })
}

/// Returns items as one JSON list.
pub fn items_json(items: &[StoredItem]) -> Vec<Value> {
    items.iter().map(item_json).collect()
}

fn item_json(item: &StoredItem) -> Value {
    let mut body = item.body.clone();
    body.insert("id".to_owned(), Value::from(item.id.as_str()));
    Value::Object(body)
}

/// Returns items as text, each under its id.
pub fn items_text(items: &[StoredItem]) -> String {
    let mut text = String::new();
    for item in items {
        text += &format!("## {}\n\n{}\n\n", item.id, printable(&text_of(&item.body)));
    }
    text
}

/// Returns items as CSV (RFC 4180): id, type, title, content, then everything else as JSON.
pub fn csv(items: &[StoredItem]) -> Result<Vec<u8>, csv::Error> {
    let mut out = Vec::new();
    add_csv(
        &["id", "type", "title", "content", "other"].map(str::to_owned),
        &mut out,
    )?;
    for item in items {
        let mut rest = item.body.clone();
        let mut text = |key: &str| match rest.remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (title, content) = (text("title"), text("content"));
        let kind = item.id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let other = Value::Object(rest).to_string();
        add_csv(&[item.id.clone(), kind, title, content, other], &mut out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula() {
        let body = json!({"title": "=1+1", "content": "a,\"b\"\nc", "tags": ["x"]});
        let items = [StoredItem {
            id: "xhs_post1".to_owned(),
            body: body.as_object().unwrap().clone(),
        }];
        assert_eq!(
            String::from_utf8(csv(&items).unwrap()).unwrap(),
            "id,type,title,content,other\r\nxhs_post1,xhs_post,'=1+1,\"a,\"\"b\"\"\nc\",\"{\"\"tags\"\":[\"\"x\"\"]}\"\r\n"
        );
    }
}
