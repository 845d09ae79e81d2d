//! Builds the trace of a request from its history in the store.
//!
//! ```text
//! invoke_agent nova3                    the request
//! ├─ plan supervisor
//! │   └─ chat m                         a call
//! ├─ invoke_agent facts                 a task
//! │   ├─ execute_tool web_search        its search
//! │   │   └─ execute_tool jina
//! │   ├─ invoke_agent facts             a part, beside the other parts
//! │   └─ chat m                         failed tries are spans too
//! └─ …
//! ```
//!
//! The tree has what every process did, also before a crash. It is built when the request ends, and it is sent as a whole or
//! not at all, so that no span has a parent that is not there.

use std::collections::HashMap;

use super::captured::CapturedCall;
use super::genai as key;
use super::ids::{QueueIds, SpanId, TraceId};
use super::model_span::call_span;
use super::routes::RouteNames;
use super::span::{SpanRole, SpanValue, TraceSpan};
use super::texts::TextRules;
use crate::domain::failure::Failure;
use crate::domain::outcome::Provenance;
use crate::domain::state::{Status, TaskStatus};
use crate::domain::task::{TaskKind, TaskNo};
use crate::domain::usage::{Cost, Usage};
use crate::store::{CallHistory, QueueHistory, TaskHistory};

/// The most spans of a trace. The first failed calls are left out of a larger one.
const MOST_SPANS: usize = 2000;

/// The trace of a request.
#[derive(Debug, Clone)]
pub(super) struct TraceTree {
    pub(super) trace: TraceId,
    /// The span of the request first, each span behind its parent.
    pub(super) spans: Vec<TraceSpan>,
    /// The `custom_id` of the request, or the name of its run.
    pub(super) name: String,
}

/// The data that all spans of a trace share.
pub(super) struct TreeContext<'a> {
    pub(super) ids: QueueIds,
    pub(super) routes: &'a RouteNames,
    pub(super) texts: TextRules,
    pub(super) captured: &'a [CapturedCall],
}

/// Builds the trace.
pub(super) fn tree(
    history: &QueueHistory,
    captured: &[CapturedCall],
    routes: &RouteNames,
    texts: TextRules,
) -> TraceTree {
    let context = TreeContext {
        ids: QueueIds::new(&history.seed, history.queue_id),
        routes,
        texts,
        captured,
    };
    let root = context.ids.request();
    let calls = kept(&history.calls);
    let left_out = history.calls.len() - calls.len();
    let mut below: HashMap<SpanId, Vec<TraceSpan>> = HashMap::new();
    let spans_of_tasks: HashMap<(TaskNo, i64), SpanId> = history
        .tasks
        .iter()
        .map(|task| {
            let place = (task.task, task.version);
            (place, context.ids.task(task.task, task.version))
        })
        .collect();
    for (call, same) in &calls {
        let parent = spans_of_tasks.get(&(call.task, call.version)).copied();
        let parent = parent.unwrap_or(root);
        let span = call_span(&context, call, *same, parent);
        below.entry(parent).or_default().push(span);
    }
    // Subtasks have higher numbers than their tasks, so each task comes after its subtasks here.
    for task in history.tasks.iter().rev() {
        let id = context.ids.task(task.task, task.version);
        let children = below.get(&id).map_or(&[][..], Vec::as_slice);
        if let Some(mut span) = task_span(&context, task, id, children) {
            let parent = parent_of(task, history).map(|place| spans_of_tasks[&place]);
            let parent = parent.unwrap_or(root);
            span.parent = Some(parent);
            below.entry(parent).or_default().push(span);
        }
    }
    let children = below.get(&root).map_or(&[][..], Vec::as_slice);
    let mut request = request_span(&context, history, root, children);
    if left_out > 0 {
        request.set(key::LEFT_OUT, i64::try_from(left_out).unwrap_or(i64::MAX));
    }
    let mut spans = Vec::new();
    in_order(request, &mut below, &mut spans);
    TraceTree {
        trace: context.ids.trace(),
        spans,
        name: history.custom_id.clone().unwrap_or_else(|| history.run.clone()),
    }
}

/// Moves a span and everything below it into the list, each level by the time of its start.
fn in_order(span: TraceSpan, below: &mut HashMap<SpanId, Vec<TraceSpan>>, spans: &mut Vec<TraceSpan>) {
    let mut children = below.remove(&span.id).unwrap_or_default();
    children.sort_by_key(|child| child.start);
    spans.push(span);
    for child in children {
        in_order(child, below, spans);
    }
}

/// Returns the calls of the trace, each with the number of earlier calls that its id must be told apart from.
fn kept(calls: &[CallHistory]) -> Vec<(&CallHistory, i64)> {
    let mut same: HashMap<(TaskNo, i64, &str, i64), i64> = HashMap::new();
    let mut numbered: Vec<(&CallHistory, i64)> = calls
        .iter()
        .map(|call| {
            let attempt = &call.attempt;
            let count = same
                .entry((call.task, call.version, &attempt.route, attempt.started_at))
                .or_insert(-1);
            *count += 1;
            (call, *count)
        })
        .collect();
    let mut surplus = numbered.len().saturating_sub(MOST_SPANS);
    numbered.retain(|(call, _)| {
        let goes = surplus > 0 && !call.attempt.used;
        surplus -= usize::from(goes);
        !goes
    });
    numbered.truncate(MOST_SPANS);
    numbered
}

/// Returns the task that a subtask belongs to: its last version that is not later than that of the subtask.
fn parent_of(task: &TaskHistory, history: &QueueHistory) -> Option<(TaskNo, i64)> {
    if !task.task.is_subtask() {
        return None;
    }
    let planned = TaskNo::planned(task.task.index()?);
    let versions = history.tasks.iter().filter(|other| other.task == planned);
    let mut versions: Vec<i64> = versions.map(|other| other.version).collect();
    versions.sort_unstable();
    let earlier = versions.iter().rev().find(|version| **version <= task.version);
    Some((planned, *earlier.or(versions.first())?))
}

/// Returns the span of a task, without its parent. A task that has not ended and has no calls has none.
fn task_span(
    context: &TreeContext<'_>,
    task: &TaskHistory,
    id: SpanId,
    children: &[TraceSpan],
) -> Option<TraceSpan> {
    let is_ended = matches!(
        task.status,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Skipped
    );
    let settled = task.completed_at.filter(|_| is_ended);
    let first = children.iter().map(|child| child.start).min();
    let last = children.iter().map(|child| child.end).max();
    let start = first.or(settled)?;
    let (role, operation, name) = match task.kind {
        TaskKind::Plan => (SpanRole::Plan, "plan", "plan supervisor".to_owned()),
        TaskKind::Search => (
            SpanRole::Search,
            "execute_tool",
            "execute_tool web_search".to_owned(),
        ),
        TaskKind::Call | TaskKind::Join => {
            let name = format!("invoke_agent {}", task.action);
            (SpanRole::Agent, "invoke_agent", name)
        }
    };
    let mut span = TraceSpan {
        id,
        parent: None,
        role,
        name,
        start,
        end: last.max(settled).unwrap_or(start).max(start),
        attributes: Vec::new(),
        failure: message(context, task.failure.as_ref()),
    };
    span.set(key::OPERATION, operation);
    if role == SpanRole::Search {
        span.set(key::TOOL_NAME, "web_search");
        span.set(key::TOOL_TYPE, "datastore");
    } else {
        let agent = if role == SpanRole::Plan {
            "supervisor"
        } else {
            &task.action
        };
        span.set(key::AGENT_NAME, agent);
    }
    span.set(key::AGENT_ID, task.task.to_string());
    span.set(key::TASK, task.task.to_string());
    span.set(key::TASK_VERSION, task.version);
    span.set(key::STATUS, task.status.as_str());
    if !task.needs.is_empty() {
        let needs = task.needs.iter().map(ToString::to_string).collect();
        span.set(key::TASK_NEEDS, SpanValue::Texts(needs));
    }
    if let Some(failure) = &task.failure {
        span.set(key::ERROR_TYPE, failure.class.as_str());
    }
    if let Some(making) = &task.making {
        provenance(&mut span, context, making);
    }
    let (input, result) = if role == SpanRole::Search {
        (key::TOOL_ARGUMENTS, key::TOOL_RESULT)
    } else {
        (key::INPUT_VALUE, key::OUTPUT_VALUE)
    };
    span.set_some(
        input,
        task.input.as_deref().and_then(|text| context.texts.input(text)),
    );
    span.set_some(
        result,
        task.result.as_deref().and_then(|text| context.texts.output(text)),
    );
    Some(span)
}

/// The message of a failure, which may quote texts.
fn message(context: &TreeContext<'_>, failure: Option<&Failure>) -> Option<String> {
    failure.map(|failure| context.texts.message(&failure.message, failure.class.as_str()))
}

/// Adds how a task was made.
fn provenance(span: &mut TraceSpan, context: &TreeContext<'_>, making: &Provenance) {
    span.set(key::ATTEMPTS, i64::from(making.attempts));
    if !making.route.is_empty() {
        span.set(key::ROUTE, making.route.as_str());
    }
    span.set_some(key::COST, making.cost.map(Cost::usd));
    span.set(key::WASTED, making.wasted.usd());
    if let Some(fallback) = &making.fallback {
        span.set(key::FALLBACK_FROM, fallback.from.as_str());
        span.set_some(key::FALLBACK_REASON, context.texts.output(&fallback.reason));
    }
    if making.degraded {
        span.set(key::DEGRADED, true);
    }
    if !making.warnings.is_empty() {
        let count = i64::try_from(making.warnings.len()).unwrap_or(i64::MAX);
        span.set(key::WARNING_COUNT, count);
        let texts: Option<Vec<String>> = making
            .warnings
            .iter()
            .map(|text| context.texts.output(text))
            .collect();
        span.set_some(key::WARNINGS, texts.map(SpanValue::Texts));
    }
}

/// Returns the span of the request.
fn request_span(
    context: &TreeContext<'_>,
    history: &QueueHistory,
    id: SpanId,
    children: &[TraceSpan],
) -> TraceSpan {
    let end = children.iter().map(|child| child.end).max();
    let end = end.max(history.completed_at).unwrap_or(history.created_at);
    // The wait for the first task is not part of the span: a large input waits for hours.
    let start = children.iter().map(|child| child.start).min();
    let start = start.unwrap_or(end);
    let mut span = TraceSpan {
        id,
        parent: None,
        role: SpanRole::Request,
        name: "invoke_agent nova3".to_owned(),
        start,
        end: end.max(start),
        attributes: Vec::new(),
        failure: message(context, history.failure.as_ref()),
    };
    span.set(key::OPERATION, "invoke_agent");
    span.set(key::AGENT_NAME, "nova3");
    span.set(key::RUN, history.run.as_str());
    span.set_some(key::CUSTOM_ID, history.custom_id.as_deref());
    span.set(key::QUEUE, history.queue_id);
    span.set(key::USER_ID, history.user_id.as_str());
    if let Some(session) = &history.session_id {
        span.set(key::SESSION_ID, session.as_str());
        span.set(key::CONVERSATION, format!("{}/{session}", history.user_id));
    }
    span.set_some(key::STATUS, history.status.map(Status::as_str));
    if let Some(failure) = &history.failure {
        span.set(key::ERROR_TYPE, failure.class.as_str());
    }
    span.set(key::WAITED, (start - history.created_at).max(0));
    let attempts = || history.calls.iter().map(|call| &call.attempt);
    span.set(
        key::ATTEMPTS,
        i64::try_from(attempts().count()).unwrap_or(i64::MAX),
    );
    let cost = attempts()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    span.set(key::COST, cost.usd());
    let unused = attempts()
        .filter(|attempt| !attempt.used)
        .filter_map(|attempt| attempt.cost);
    span.set(key::WASTED, unused.fold(Cost::ZERO, Cost::plus).usd());
    let usage = attempts()
        .map(|attempt| attempt.usage)
        .fold(Usage::default(), Usage::plus);
    span.set(key::USAGE_INPUT, usage.input_tokens);
    span.set(key::USAGE_OUTPUT, usage.output_tokens);
    span.set_some(
        key::INPUT_VALUE,
        history
            .request
            .as_deref()
            .and_then(|text| context.texts.input(text)),
    );
    let last = history.tasks.iter().rev().find(|task| {
        task.status == TaskStatus::Completed && !task.task.is_subtask() && task.kind != TaskKind::Plan
    });
    let result = last.and_then(|task| task.result.as_deref());
    span.set_some(
        key::OUTPUT_VALUE,
        result.and_then(|text| context.texts.output(text)),
    );
    span
}
