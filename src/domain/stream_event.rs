//! The events of a run as the service's stream events, one JSON line each.
//!
//! The lines are made from settled rows only. So the same rows always give the same bytes, and a crash cannot undo an
//! event that was written.

mod data;

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use data::{ErrorData, EventItem, Note, PlanStep, SentenceData};

use super::failure::Class;
use super::request::{Action, content_type};
use super::result_line::ShowTime;
use super::sentences::sentences;
use super::state::Status;

/// How many ids the lines of one event may take; more than a text has pieces.
const IDS_OF_EVENT: i64 = 1000;

/// An event of a request, with the request's fields for its lines.
#[derive(Debug, Clone)]
pub struct SettledEvent {
    /// The number of the event, from 1; unique in the run.
    pub event_no: i64,
    /// Unix milliseconds at which it was settled.
    pub settled_at: i64,
    /// The `custom_id` of the line.
    pub custom_id: Option<String>,
    /// The user.
    pub user_id: String,
    /// The session, if it has one.
    pub session_id: Option<String>,
    /// How many tasks the request has.
    pub total_tasks: usize,
    /// The event itself.
    pub what: Happening,
}

/// The kinds of events of a request.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Its tasks are known.
    Planned {
        /// The tasks in order.
        steps: Vec<StepRow>,
    },
    /// A task has a result.
    Completed {
        /// `task001` and so on.
        task_id: String,
        /// The action of the task.
        action: String,
        /// The stored result: an array of item objects, each with an `id`.
        result: Box<RawValue>,
    },
    /// A task, or the request before any task, failed for good.
    Failed {
        /// The task that failed, if one did.
        task_id: Option<String>,
        /// The action of the task.
        action: Option<String>,
        /// The error class.
        class: Class,
        /// One sentence for a person.
        message: String,
    },
    /// The request stopped for a person to choose.
    Paused {
        /// The last task that settled.
        after: String,
        /// The action of the next pending task.
        next: Option<String>,
    },
    /// The request is finished.
    Ended {
        /// Its status.
        status: Status,
    },
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// `task001` and so on.
    pub task_id: String,
    /// The action.
    pub action: String,
    /// One sentence about the task for a person.
    pub description: String,
    /// The instruction of the task.
    pub input: String,
}

/// Writes the lines of `event`, each with its newline, behind the present content of `out`.
///
/// Returns an error only if the stored result is not a list of items with ids; `out` is then unchanged.
pub fn write(
    run: &str,
    event: &SettledEvent,
    time: ShowTime,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let before = out.len();
    let frame = EventFrame {
        run,
        event,
        timestamp: time(event.settled_at),
    };
    let written = lines(&frame, out);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn lines(frame: &EventFrame<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match &frame.event.what {
        Happening::Planned { steps } => {
            let steps: Vec<_> = (1..).zip(steps).map(PlanStep::of).collect();
            line(frame, &Head::plan(), 0, &steps, out)
        }
        Happening::Completed {
            task_id,
            action,
            result,
        } => completed(frame, task_id, action, result, out),
        Happening::Failed {
            task_id,
            action,
            class,
            message,
        } => {
            let head = Head::failed(task_id.as_deref(), action.as_deref());
            let class = *class;
            line(frame, &head, 0, &[ErrorData { class, message }], out)
        }
        Happening::Paused { after, next } => {
            let head = Head::system(Some(after));
            let content = match next {
                Some(action) => format!("paused after {after}; next: {action}"),
                None => format!("paused after {after}"),
            };
            line(frame, &head, 0, &[Note::of(Status::Paused, &content)], out)
        }
        Happening::Ended { status } => {
            let note = Note::of(*status, status.as_str());
            line(frame, &Head::system(None), 0, &[note], out)
        }
    }
}

fn completed(
    frame: &EventFrame<'_>,
    task_id: &str,
    action: &str,
    result: &RawValue,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let items: Vec<EventItem<'_>> = serde_json::from_str(result.get())?;
    let head = Head::completed(task_id, action, &items);
    // Only a single item has fewer pieces than the event has ids.
    if let [answer] = &items[..]
        && action == Action::ANSWER.as_str()
        && let Some(text) = answer.text("content")
        && !text.is_empty()
    {
        return answered(frame, &head, answer, &text, out);
    }
    line(frame, &head, 0, &items, out)
}

fn answered(
    frame: &EventFrame<'_>,
    head: &Head<'_>,
    answer: &EventItem<'_>,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    for (nth, content) in (0..).zip(sentences(text)) {
        let piece = SentenceData {
            id: &answer.id,
            content,
            kind: answer.kind(),
        };
        line(frame, head, nth, &[piece], out)?;
    }
    Ok(())
}

/// Writes the `nth` line of its event, from 0.
fn line<D: Serialize>(
    frame: &EventFrame<'_>,
    head: &Head<'_>,
    nth: i64,
    data: &D,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    let first = frame.event.event_no.saturating_mul(IDS_OF_EVENT);
    let line = EventLine {
        event_type: head.event_type,
        agent_source: &head.agent_source,
        timestamp: frame.timestamp.as_deref(),
        payload: Payload {
            id: first.saturating_add(nth),
            content_type: &head.content_type,
            data,
            metadata: EventMetadata { frame, head },
        },
    };
    serde_json::to_writer(&mut *out, &line)?;
    // Strings hold no raw line ends: these stand between the tokens of a stored value, where a space means the same.
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
    Ok(())
}

/// The common fields of all lines of an event.
struct EventFrame<'a> {
    run: &'a str,
    event: &'a SettledEvent,
    timestamp: Option<String>,
}

/// The fields of a line that describe its data.
struct Head<'a> {
    event_type: &'static str,
    agent_source: Cow<'static, str>,
    content_type: Cow<'static, str>,
    /// The metadata key with the number of items, and that number.
    count: Option<(String, usize)>,
    task_id: Option<&'a str>,
}

impl<'a> Head<'a> {
    const fn plan() -> Self {
        Self {
            event_type: "llm_chunk",
            agent_source: Cow::Borrowed("nova3_supervisor"),
            content_type: Cow::Borrowed("plan_step"),
            count: None,
            task_id: None,
        }
    }

    fn completed(task_id: &'a str, action: &str, items: &[EventItem<'_>]) -> Self {
        let kind = items.first().map_or(action, EventItem::kind);
        Self {
            agent_source: format!("{action}_agent").into(),
            content_type: content_type(action, kind),
            count: Some((format!("{kind}_count"), items.len())),
            task_id: Some(task_id),
            ..Self::plan()
        }
    }

    fn failed(task_id: Option<&'a str>, action: Option<&str>) -> Self {
        let planning = Self::plan();
        Self {
            event_type: "error",
            agent_source: action.map_or(planning.agent_source, |action| format!("{action}_agent").into()),
            content_type: action.map_or(planning.content_type, |action| content_type(action, action)),
            count: None,
            task_id,
        }
    }

    const fn system(task_id: Option<&'a str>) -> Self {
        Self {
            event_type: "system",
            agent_source: Cow::Borrowed("Nova3"),
            content_type: Cow::Borrowed("system"),
            count: None,
            task_id,
        }
    }
}

#[derive(Serialize)]
struct EventLine<'a, D> {
    event_type: &'static str,
    agent_source: &'a str,
    timestamp: Option<&'a str>,
    payload: Payload<'a, D>,
}

#[derive(Serialize)]
struct Payload<'a, D> {
    id: i64,
    content_type: &'a str,
    data: &'a D,
    metadata: EventMetadata<'a>,
}

struct EventMetadata<'a> {
    frame: &'a EventFrame<'a>,
    head: &'a Head<'a>,
}

impl Serialize for EventMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.frame.event;
        let mut map = serializer.serialize_map(None)?;
        if let Some((key, count)) = &self.head.count {
            map.serialize_entry(key, count)?;
        }
        map.serialize_entry("total_tasks", &event.total_tasks)?;
        map.serialize_entry("run", self.frame.run)?;
        map.serialize_entry("custom_id", &event.custom_id)?;
        map.serialize_entry("user_id", &event.user_id)?;
        map.serialize_entry("session_id", &event.session_id)?;
        map.serialize_entry("task_id", &self.head.task_id)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
