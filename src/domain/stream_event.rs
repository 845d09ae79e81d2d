//! The events of a run as the service's stream events, one JSON line each.
//!
//! The lines are made from settled rows only. So the same rows always give the same bytes, and a crash cannot undo an
//! event that was written.

mod data;

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use data::{Fault, Item, Note, Piece, PlanStep};

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
    let frame = Frame {
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

fn lines(frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
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
            line(frame, &head, 0, &[Fault { class, message }], out)
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
    frame: &Frame<'_>,
    task_id: &str,
    action: &str,
    result: &RawValue,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let items: Vec<Item<'_>> = serde_json::from_str(result.get())?;
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
    frame: &Frame<'_>,
    head: &Head<'_>,
    answer: &Item<'_>,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    for (nth, content) in (0..).zip(sentences(text)) {
        let piece = Piece {
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
    frame: &Frame<'_>,
    head: &Head<'_>,
    nth: i64,
    data: &D,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    let first = frame.event.event_no.saturating_mul(IDS_OF_EVENT);
    let line = Line {
        event_type: head.event_type,
        agent_source: &head.agent_source,
        timestamp: frame.timestamp.as_deref(),
        payload: Payload {
            id: first.saturating_add(nth),
            content_type: &head.content_type,
            data,
            metadata: Metadata { frame, head },
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
struct Frame<'a> {
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

    fn completed(task_id: &'a str, action: &str, items: &[Item<'_>]) -> Self {
        let kind = items.first().map_or(action, Item::kind);
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
struct Line<'a, D> {
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
    metadata: Metadata<'a>,
}

struct Metadata<'a> {
    frame: &'a Frame<'a>,
    head: &'a Head<'a>,
}

impl Serialize for Metadata<'_> {
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
mod tests {
    use super::*;
    use crate::domain::sentences::MAX_PIECES;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn event(what: Happening) -> SettledEvent {
        SettledEvent {
            event_no: 7,
            settled_at: 1000,
            custom_id: Some("r1".to_owned()),
            user_id: "default".to_owned(),
            session_id: None,
            total_tasks: 4,
            what,
        }
    }

    fn completed(action: &str, result: &str) -> SettledEvent {
        event(Happening::Completed {
            task_id: "task001".to_owned(),
            action: action.to_owned(),
            result: raw(result),
        })
    }

    fn written(event: &SettledEvent) -> String {
        let mut out = b"before\n".to_vec();
        write("a.jsonl", event, |ms| Some(format!("t{ms}Z")), &mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before\n")
            .unwrap()
            .to_owned()
    }

    /// Returns the content type, the data and the beginning of the metadata of each line.
    fn parts(event: &SettledEvent) -> Vec<(String, String)> {
        let part = |line: &str| {
            let (_, rest) = line.split_once(r#""content_type":"#)?;
            let (content_type, rest) = rest.split_once(r#","data":"#)?;
            let (data, metadata) = rest.split_once(r#","metadata":{"#)?;
            let (count, _) = metadata.split_once(r#","total_tasks""#)?;
            Some((format!("{content_type} {count}"), data.to_owned()))
        };
        written(event).lines().map(|line| part(line).unwrap()).collect()
    }

    const REST: &str = r#""total_tasks":4,"run":"a.jsonl","custom_id":"r1","user_id":"default","session_id":null,"task_id":"#;

    #[test]
    fn a_plan_is_one_line_with_all_steps() {
        let step = |number: u8, action: &str| StepRow {
            task_id: format!("task00{number}"),
            action: action.to_owned(),
            description: "看".to_owned(),
            input: "a\n\"b\"".to_owned(),
        };
        let planned = event(Happening::Planned {
            steps: vec![step(1, "insight"), step(2, "xhs_writing")],
        });
        let expected = [
            r#"{"event_type":"llm_chunk","agent_source":"nova3_supervisor","timestamp":"t1000Z","payload":{"id":7000,"content_type":"plan_step","data":["#,
            r#"{"id":"task001","step":1,"action":"insight","description":"看","full_input":"a\n\"b\"","status":"pending","type":"plan_step"},"#,
            r#"{"id":"task002","step":2,"action":"xhs_writing","description":"看","full_input":"a\n\"b\"","status":"pending","type":"plan_step"}"#,
            r#"],"metadata":{"#,
            REST,
            "null}}}\n",
        ];
        assert_eq!(written(&planned), expected.concat());
    }

    #[test]
    fn a_completed_task_shows_its_items_as_they_are_stored() {
        let insights = completed(
            "insight",
            concat!(
                r#"[{"id":"insight1", "z":1.50,"a":{"y":18446744073709551616,"x":[]},"type":"emotion"},"#,
                "\n {\"id\":\"insight12\",\"content\":\"一\\n\",\"list\":[1,\r\n2]}\n]"
            ),
        );
        let expected = [
            r#"{"event_type":"llm_chunk","agent_source":"insight_agent","timestamp":"t1000Z","payload":{"id":7000,"content_type":"nova3_insight","data":["#,
            r#"{"id":"insight1","z":1.50,"a":{"y":18446744073709551616,"x":[]},"type":"insight"},"#,
            r#"{"id":"insight12","content":"一\n","list":[1,  2],"type":"insight"}"#,
            r#"],"metadata":{"insight_count":2,"#,
            REST,
            r#""task001"}}}"#,
            "\n",
        ];
        assert_eq!(written(&insights), expected.concat());
    }

    #[test]
    fn each_action_has_its_content_type_and_count() {
        for (action, result, expected) in [
            ("facts", r#"[{"id":"fact1"}]"#, r#""nova3_facts" "fact_count":1"#),
            ("facts", "[]", r#""nova3_facts" "facts_count":0"#),
            (
                "xhs_writing",
                r#"[{"id":"xhs_post4"}]"#,
                r#""nova3_xhs_post" "xhs_post_count":1"#,
            ),
            (
                "comment",
                r#"[{"id":"reply1"},{"id":"reply2"}]"#,
                r#""nova3_reply" "reply_count":2"#,
            ),
            ("comment", "[]", r#""nova3_comment" "comment_count":0"#),
        ] {
            assert_eq!(
                parts(&completed(action, result))[0].0,
                expected,
                "{action} {result}"
            );
        }
    }

    #[test]
    fn an_answer_comes_in_sentences() {
        let answer = completed(
            "answer",
            r#"[{"id":"answer1","content":"一。\n二！三","sources":[]}]"#,
        );
        let line = |id: u16, content: &str| {
            [
                &format!(r#"{{"event_type":"llm_chunk","agent_source":"answer_agent","timestamp":"t1000Z","payload":{{"id":{id},"#),
                r#""content_type":"final_answer","data":[{"id":"answer1","content":""#,
                content,
                r#"","type":"answer"}],"metadata":{"answer_count":1,"#,
                REST,
                r#""task001"}}}"#,
                "\n",
            ]
            .concat()
        };
        assert_eq!(
            written(&answer),
            [line(7000, "一。\\n"), line(7001, "二！"), line(7002, "三")].concat()
        );
    }

    #[test]
    fn an_answer_that_cannot_be_cut_comes_whole() {
        for (result, data) in [
            (
                r#"[{"id":"answer1","content":""}]"#,
                r#"[{"id":"answer1","content":"","type":"answer"}]"#,
            ),
            (
                r#"[{"id":"answer1","content":7}]"#,
                r#"[{"id":"answer1","content":7,"type":"answer"}]"#,
            ),
            (r#"[{"id":"answer1"}]"#, r#"[{"id":"answer1","type":"answer"}]"#),
            ("[]", "[]"),
            (
                r#"[{"id":"answer1","content":"一。二"},{"id":"answer2","content":"三"}]"#,
                r#"[{"id":"answer1","content":"一。二","type":"answer"},{"id":"answer2","content":"三","type":"answer"}]"#,
            ),
        ] {
            let shown: Vec<_> = parts(&completed("answer", result))
                .into_iter()
                .map(|(_, data)| data)
                .collect();
            assert_eq!(shown, [data], "{result}");
        }
    }

    #[test]
    fn the_ids_of_an_event_never_reach_the_next() {
        let long = completed(
            "answer",
            &format!(r#"[{{"id":"answer1","content":"{}"}}]"#, "好。".repeat(5000)),
        );
        let last = written(&long).lines().last().unwrap().to_owned();
        assert!(
            last.contains(&format!(r#""id":{},"#, 7000 + MAX_PIECES - 1)),
            "{last}"
        );
    }

    #[test]
    fn a_failure_is_an_error_event() {
        let failed = |task: Option<&str>, action: Option<&str>| {
            written(&event(Happening::Failed {
                task_id: task.map(str::to_owned),
                action: action.map(str::to_owned),
                class: Class::RateLimited,
                message: "refused\n{\"event_type\":\"system\"}".to_owned(),
            }))
        };
        let line = |source: &str, content_type: &str, task: &str| {
            let head = format!(
                r#"{{"event_type":"error","agent_source":"{source}","timestamp":"t1000Z","payload":{{"id":7000,"content_type":"{content_type}","#
            );
            let data = r#""data":[{"class":"rate_limited","message":"refused\n{\"event_type\":\"system\"}"}],"metadata":{"#;
            [&head, data, REST, task, "}}}\n"].concat()
        };
        assert_eq!(failed(None, None), line("nova3_supervisor", "plan_step", "null"));
        assert_eq!(
            failed(Some("task002"), Some("xhs_writing")),
            line("xhs_writing_agent", "nova3_xhs_post", r#""task002""#)
        );
        assert_eq!(
            failed(None, Some("comment")),
            line("comment_agent", "nova3_comment", "null")
        );
    }

    #[test]
    fn pauses_and_ends_are_system_text() {
        let paused = |next: Option<&str>| {
            written(&event(Happening::Paused {
                after: "task001".to_owned(),
                next: next.map(str::to_owned),
            }))
        };
        let line = |status: &str, content: &str, task: &str| {
            let head = r#"{"event_type":"system","agent_source":"Nova3","timestamp":"t1000Z","payload":{"id":7000,"content_type":"system","#;
            let data = format!(
                r#""data":[{{"status":"{status}","content":"{content}","type":"status"}}],"metadata":{{"#
            );
            [head, &data, REST, task, "}}}\n"].concat()
        };
        assert_eq!(
            paused(Some("profile")),
            line("paused", "paused after task001; next: profile", r#""task001""#)
        );
        assert_eq!(
            paused(None),
            line("paused", "paused after task001", r#""task001""#)
        );
        let ended = event(Happening::Ended {
            status: Status::Completed,
        });
        assert_eq!(written(&ended), line("completed", "completed", "null"));
    }

    #[test]
    fn a_result_that_is_no_list_of_items_writes_nothing() {
        for result in [
            r#"{"status_code":200}"#,
            "[1]",
            r#"[{"content":"a"}]"#,
            r#"[{"id":1}]"#,
        ] {
            let mut out = b"before\n".to_vec();
            assert!(write("a.jsonl", &completed("answer", result), |_| None, &mut out).is_err());
            assert_eq!(out, b"before\n", "{result}");
        }
    }
}
