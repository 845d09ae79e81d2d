//! One finished request as one line of output.
//!
//! The same stored rows always give the same bytes: `verify` and the rebuilding of a file rely on it.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::batch_line::BatchLine;
use super::failure::{Class, Failure};
use super::outcome::{Fallback, Finished, PartRecord, PlanOrigin, PlanRecord, Provenance, TaskRecord};
use super::source_line::{SearchSummaryLine, SourceLine};
use super::state::TaskStatus;
use super::usage::{Cost, Usage};

/// Formats a time for result lines. The caller passes it in, because the ground floor has no calendar.
pub type ShowTime = fn(i64) -> Option<String>;

/// Writes the line of `finished`, with its newline, behind the present content of `out`.
pub fn write(
    run: &str,
    finished: &Finished,
    time: ShowTime,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    // A large result must not be copied when the line grows.
    out.reserve(size(finished));
    if finished.is_completion {
        serde_json::to_writer(&mut *out, &BatchLine::of(finished))?;
    } else {
        serde_json::to_writer(&mut *out, &ResultFields::of(run, finished, time))?;
    }
    out.push(b'\n');
    Ok(())
}

/// Estimates the length of the line. The estimate is too high unless names and failures are long.
fn size(finished: &Finished) -> usize {
    let result = |task: &TaskRecord| task.result.as_ref().map_or(0, |raw| raw.get().len());
    let results: usize = finished.tasks.iter().map(result).sum();
    // The result of the last task occurs twice in the line.
    let output = finished.tasks.last().map_or(0, result);
    let twice = if finished.is_completion { 0 } else { output };
    results + twice + 1024 * (finished.tasks.len() + 1)
}

/// The result of a flat line or an envelope.
#[derive(Serialize)]
struct ResultFields<'a> {
    v: u8,
    run: &'a str,
    custom_id: Option<&'a str>,
    index: u64,
    user_id: &'a str,
    session_id: Option<&'a str>,
    ok: bool,
    status: &'static str,
    output: Option<&'a RawValue>,
    #[serde(serialize_with = "tasks")]
    tasks: (&'a [TaskRecord], ShowTime),
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanOf>,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    wasted_usd: Option<f64>,
    warnings: Vec<&'a str>,
    error: Option<ErrorOf<'a>>,
    created_at: Option<String>,
    completed_at: Option<String>,
    metadata: Metadata<'a>,
}

impl<'a> ResultFields<'a> {
    fn of(run: &'a str, finished: &'a Finished, time: ShowTime) -> Self {
        let plan = finished.plan.as_ref();
        let makings = || all_makings(finished);
        let mut warnings: Vec<&str> = finished.warnings.iter().map(String::as_str).collect();
        for warning in makings().flat_map(|making| &making.warnings) {
            if !warnings.contains(&warning.as_str()) {
                warnings.push(warning);
            }
        }
        let counted = finished.tasks.iter().all(|task| usage_of(task).is_some())
            && plan.is_none_or(|plan| plan_usage(plan).is_some());
        let cost = cost(finished);
        let wasted = makings().map(|making| making.wasted).fold(Cost::ZERO, Cost::plus);
        let last = finished
            .tasks
            .iter()
            .rev()
            .find(|task| task.status == TaskStatus::Completed);
        Self {
            v: 1,
            run,
            custom_id: finished.custom_id.as_deref(),
            index: finished.index,
            user_id: &finished.user_id,
            session_id: finished.session_id.as_deref(),
            ok: finished.status.is_ok(),
            status: finished.status.as_str(),
            output: last.and_then(|task| task.result.as_deref()),
            tasks: (&finished.tasks, time),
            plan: plan.map(PlanOf::new),
            usage: counted.then(|| {
                makings()
                    .map(|making| making.usage)
                    .fold(Usage::default(), Usage::plus)
            }),
            cost_usd: cost.map(Cost::usd),
            wasted_usd: cost.map(|_| wasted.usd()),
            warnings,
            error: finished
                .failure
                .as_ref()
                .map(|failure| ErrorOf::new(failure, finished.line)),
            created_at: time(finished.created_at),
            completed_at: time(finished.completed_at),
            metadata: Metadata(finished.metadata.as_deref()),
        }
    }
}

/// `metadata` as it came; an empty object if the line had none.
struct Metadata<'a>(Option<&'a RawValue>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(raw) => raw.serialize(serializer),
            None => serializer.collect_map(std::iter::empty::<((), ())>()),
        }
    }
}

#[derive(Serialize)]
struct ErrorOf<'a> {
    class: Class,
    message: &'a str,
    line: Option<u64>,
    task_id: Option<&'a str>,
    route: Option<&'a str>,
    status_code: Option<u16>,
    retryable: bool,
    causes: &'a [String],
}

impl<'a> ErrorOf<'a> {
    /// The line number comes from the present input: a bad line may have moved since it was stored.
    fn new(failure: &'a Failure, line: u64) -> Self {
        Self {
            class: failure.class,
            message: &failure.message,
            line: failure.line.map(|_| line),
            task_id: failure.task_id.as_deref(),
            route: failure.route.as_deref(),
            status_code: failure.status_code,
            retryable: failure.retryable,
            causes: &failure.causes,
        }
    }
}

/// The planning step.
#[derive(Serialize)]
struct PlanOf {
    origin: Option<PlanOrigin>,
    attempts: u32,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    duration_ms: u64,
}

impl PlanOf {
    fn new(plan: &PlanRecord) -> Self {
        Self {
            origin: plan.origin,
            attempts: plan.making.attempts,
            usage: plan_usage(plan),
            cost_usd: plan.making.cost.map(Cost::usd),
            duration_ms: plan.making.duration_ms,
        }
    }
}

#[derive(Serialize)]
struct TaskOf<'a> {
    task_id: &'a str,
    action: &'a str,
    status: &'static str,
    result: Option<&'a RawValue>,
    route: Option<&'a str>,
    model: Option<&'a str>,
    fallback: Option<&'a Fallback>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<SearchSummaryLine<'a>>,
    sources: Vec<SourceLine<'a>>,
    degraded: bool,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    duration_ms: Option<u64>,
    first_token_ms: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartLine<'a>>,
}

/// A part of a task that has fanned out.
#[derive(Serialize)]
struct PartLine<'a> {
    task_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    status: &'static str,
    route: Option<&'a str>,
    model: Option<&'a str>,
    attempts: u32,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<PartError<'a>>,
}

#[derive(Serialize)]
struct PartError<'a> {
    class: Class,
    message: &'a str,
}

impl<'a> PartLine<'a> {
    fn new(part: &'a PartRecord) -> Self {
        let making = part.making.as_ref();
        Self {
            task_id: &part.task_id,
            subject: part.subject.as_deref(),
            status: part.status.shown(),
            route: making.map(|making| making.route.as_str()),
            model: making.map(|making| making.model.as_str()),
            attempts: making.map_or(0, |making| making.attempts),
            usage: usage(part.status, making),
            cost_usd: making.and_then(|making| making.cost).map(Cost::usd),
            duration_ms: making.map(|making| making.duration_ms),
            error: part.failure.as_ref().map(|failure| PartError {
                class: failure.class,
                message: &failure.message,
            }),
        }
    }
}

/// Returns the cost of a request with its planning; `None` if a route has no price.
pub fn cost(finished: &Finished) -> Option<Cost> {
    all_makings(finished).try_fold(Cost::ZERO, |sum, making| Some(sum.plus(making.cost?)))
}

/// Returns the bookkeeping of a request: that of its plan, then that of its tasks.
fn all_makings(finished: &Finished) -> impl Iterator<Item = &Provenance> {
    let plan = finished.plan.as_ref().map(|plan| &plan.making);
    plan.into_iter().chain(finished.tasks.iter().flat_map(makings_of))
}

/// Returns the bookkeeping of a task: that of its search, then its own.
fn makings_of(task: &TaskRecord) -> impl Iterator<Item = &Provenance> {
    let search = task.search.as_ref().and_then(|search| search.making.as_ref());
    search.into_iter().chain(task.making.as_ref())
}

/// Returns the cost of a task's good answer and of its search; `None` if a route has no price.
pub fn task_cost(task: &TaskRecord) -> Option<Cost> {
    task.making.as_ref()?;
    makings_of(task).try_fold(Cost::ZERO, |sum, making| Some(sum.plus(making.cost?)))
}

/// Returns the tokens of a task's good answer; `None` if its server did not report them. A task without an answer used
/// no tokens.
pub(super) fn usage(status: TaskStatus, making: Option<&Provenance>) -> Option<Usage> {
    let Some(making) = making else {
        return Some(Usage::default());
    };
    let was_answered = status == TaskStatus::Completed && making.attempts > 0;
    counted(was_answered, making.usage)
}

/// Returns the same for a planned task: the sum of its parts, if it has any.
fn usage_of(task: &TaskRecord) -> Option<Usage> {
    if task.parts.is_empty() {
        return usage(task.status, task.making.as_ref());
    }
    let mut parts = task
        .parts
        .iter()
        .map(|part| usage(part.status, part.making.as_ref()));
    parts.try_fold(Usage::default(), |sum, part| Some(sum.plus(part?)))
}

/// Returns the same for the plan, if a model made it.
fn plan_usage(plan: &PlanRecord) -> Option<Usage> {
    let was_answered = plan.origin == Some(PlanOrigin::Model) && plan.making.attempts > 0;
    counted(was_answered, plan.making.usage)
}

fn counted(was_answered: bool, usage: Usage) -> Option<Usage> {
    (!was_answered || usage != Usage::default()).then_some(usage)
}

fn tasks<S: Serializer>(list: &(&[TaskRecord], ShowTime), serializer: S) -> Result<S::Ok, S::Error> {
    let (tasks, time) = *list;
    let mut list = serializer.serialize_seq(Some(tasks.len()))?;
    for task in tasks {
        let making: Option<&Provenance> = task.making.as_ref();
        list.serialize_element(&TaskOf {
            task_id: &task.task_id,
            action: &task.action,
            status: task.status.shown(),
            result: task.result.as_deref(),
            route: making.map(|making| making.route.as_str()),
            model: making.map(|making| making.model.as_str()),
            fallback: making.and_then(|making| making.fallback.as_ref()),
            attempts: making.map_or(0, |making| making.attempts),
            search: task.search.as_ref().map(SearchSummaryLine::new),
            sources: SourceLine::all(task.search.as_ref(), time),
            degraded: makings_of(task).any(|making| making.degraded),
            usage: usage_of(task),
            cost_usd: task_cost(task).map(Cost::usd),
            duration_ms: making.map(|making| making.duration_ms),
            first_token_ms: making.and_then(|making| making.first_token_ms),
            parts: task.parts.iter().map(PartLine::new).collect(),
        })?;
    }
    list.end()
}

#[cfg(test)]
mod tests;
