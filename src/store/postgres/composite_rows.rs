//! Rows of the composite types in `schema/postgres/tables/001_tables.sql`. They are the parameters of the functions
//! that settle and release.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fault::JobFault;
use super::rows::int;
use crate::domain::conditions::OnFailure;
use crate::domain::outcome::{Attempt, PlanOrigin, Product};
use crate::domain::task::{TaskKind, TaskNo};
use crate::postgres::{Connection, Database, Param, SentParam, text};
use crate::store::items::{readable, subtask_result};
use crate::store::{
    NewPart, PlanEnd, PlanSettlement, Planned, ReleasedLease, Settlement, SettlementEnd, Then,
};

/// The types. Each comes after the types of its fields.
pub(super) const TYPES: &[&str] = &[
    "nova3_call",
    "nova3_new_item",
    "nova3_new_part",
    "nova3_new_step",
    "nova3_settlement",
    "nova3_plan_settlement",
    "nova3_left",
];

/// A row of a composite type of the schema.
pub(super) trait CompositeRow: ToSql + Sync {
    /// Its name in the schema.
    const TYPE: &'static str;
}

/// A call on its way into the ledger.
#[derive(Debug, ToSql)]
#[postgres(name = "nova3_call")]
struct CallRow {
    route: String,
    model: String,
    cause: Option<String>,
    used: bool,
    status: Option<i32>,
    input: i64,
    cached: i64,
    written: i64,
    output: i64,
    cost: Option<i64>,
    uncertain: i64,
    started: i64,
    duration: i64,
    first: Option<i64>,
    lane: String,
}

impl CallRow {
    fn all(attempts: &[Attempt]) -> Vec<Self> {
        attempts.iter().map(Self::of).collect()
    }

    fn of(attempt: &Attempt) -> Self {
        Self {
            route: text(&attempt.route),
            model: text(&attempt.model),
            cause: attempt.end.cause().map(str::to_owned),
            used: attempt.used,
            status: attempt.status_code.map(i32::from),
            input: int(attempt.usage.input_tokens),
            cached: int(attempt.usage.cached_input_tokens),
            written: int(attempt.usage.cache_write_tokens),
            output: int(attempt.usage.output_tokens),
            cost: attempt.cost.map(|cost| int(cost.0)),
            uncertain: int(attempt.uncertain.0),
            started: attempt.started_at,
            duration: int(attempt.duration_ms),
            first: attempt.first_token_ms.map(int),
            lane: attempt.lane.as_str().to_owned(),
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "nova3_new_item")]
struct ItemRow<'a> {
    kind: &'a str,
    body: String,
}

#[derive(Debug, ToSql)]
#[postgres(name = "nova3_new_part")]
struct PartRow {
    kind: &'static str,
    subject: Option<String>,
    description: String,
    input: String,
}

impl PartRow {
    fn of(part: &NewPart) -> Self {
        Self {
            kind: TaskKind::Call.as_str(),
            subject: part.subject.as_deref().map(text),
            description: text(&part.description),
            input: text(&part.input),
        }
    }

    const fn search() -> Self {
        Self {
            kind: TaskKind::Search.as_str(),
            subject: None,
            description: String::new(),
            input: String::new(),
        }
    }
}

#[derive(Debug, ToSql)]
#[postgres(name = "nova3_new_step")]
struct PlanStepRow {
    action: String,
    description: String,
    input: String,
}

impl PlanStepRow {
    fn of(planned: &Planned) -> Self {
        Self {
            action: text(&planned.action),
            description: text(&planned.description),
            input: text(&planned.input),
        }
    }
}

/// The outcome of a task.
#[derive(Debug, ToSql)]
#[postgres(name = "nova3_settlement")]
pub(super) struct SettlementRow<'a> {
    queue_id: i64,
    fence: i64,
    task: i32,
    ticket: i64,
    how: &'static str,
    /// Whether the queue fails if one of its tasks has failed.
    strict: bool,
    handle: Option<String>,
    /// Borrowed, because a response can be large.
    response: Option<Cow<'a, str>>,
    making: String,
    error: Option<String>,
    /// The failure to note on the queue: the task's own, or that of a part that the task continues without. `error` has
    /// only the task's own.
    noted: Option<String>,
    class: Option<&'static str>,
    items: Vec<ItemRow<'a>>,
    parts: Vec<PartRow>,
    calls: Vec<CallRow>,
}

impl CompositeRow for SettlementRow<'_> {
    const TYPE: &'static str = "nova3_settlement";
}

impl<'a> SettlementRow<'a> {
    /// Converts a settlement. An error concerns this settlement only.
    pub(super) fn of(settlement: &'a Settlement, ticket: i64) -> Result<Self, JobFault> {
        let task = settlement.task;
        let mut parts = Vec::new();
        let (how, product, failure) = match &settlement.end {
            SettlementEnd::Completed(product, Then::GoOn) => ("go_on", Some(product), None),
            SettlementEnd::Completed(product, Then::Pause) => ("pause", Some(product), None),
            SettlementEnd::Failed(failure, response) => match settlement.on_failure {
                OnFailure::Fail => ("fail", response.as_ref(), Some(failure)),
                OnFailure::Continue => ("fail_on", response.as_ref(), Some(failure)),
            },
            SettlementEnd::FannedOut(new) => {
                let can_split = task.index().is_some() && !task.is_subtask();
                if !can_split || !(1..=TaskNo::MOST_PARTS).contains(&new.len()) {
                    return Err(JobFault::Row(format!("{task} cannot have {} parts", new.len())));
                }
                parts = new.iter().map(PartRow::of).collect();
                ("fan_out", None, None)
            }
            SettlementEnd::Skipped => ("skip", None, None),
            SettlementEnd::Searches => {
                if task.index().is_none() || task.is_subtask() {
                    return Err(JobFault::Row(format!("{task} cannot have a search")));
                }
                parts = vec![PartRow::search()];
                ("fan_out", None, None)
            }
        };
        let (response, items) = result(task, product)?;
        let noted = failure.or(settlement.flaw.as_ref());
        Ok(Self {
            queue_id: settlement.lease.queue_id,
            fence: settlement.lease.fence,
            task: task.0,
            ticket,
            how,
            strict: settlement.on_failure == OnFailure::Fail,
            handle: settlement.handle.as_deref().map(text),
            response,
            making: serde_json::to_string(&settlement.making)?,
            error: failure.map(serde_json::to_string).transpose()?,
            noted: noted.map(serde_json::to_string).transpose()?,
            class: noted.map(|failure| failure.class.as_str()),
            items,
            parts,
            calls: CallRow::all(&settlement.attempts),
        })
    }
}

/// Returns the result of a task and its new items. The database numbers the items of a planned task, and their array
/// replaces the response. The items of a part are stored without numbers; its join numbers them.
fn result(
    task: TaskNo,
    product: Option<&Product>,
) -> Result<(Option<Cow<'_, str>>, Vec<ItemRow<'_>>), JobFault> {
    match product {
        None => Ok((None, Vec::new())),
        Some(product) if task.is_subtask() => Ok((
            Some(Cow::Owned(text(
                &subtask_result(task, product).map_err(JobFault::Row)?,
            ))),
            Vec::new(),
        )),
        Some(Product::Response(raw)) => Ok((Some(Cow::Borrowed(raw.get())), Vec::new())),
        Some(Product::Search(_)) => {
            let reason = "a planned task has no search as its result";
            Err(JobFault::Row(reason.to_owned()))
        }
        Some(Product::Items(items)) => {
            let mut numbered = Vec::with_capacity(items.len());
            for item in items {
                let body = readable(&item.body)?;
                numbered.push(ItemRow {
                    kind: &item.kind,
                    body,
                });
            }
            Ok((Some(Cow::Borrowed("[]")), numbered))
        }
    }
}

/// The outcome of planning.
#[derive(Debug, ToSql)]
#[postgres(name = "nova3_plan_settlement")]
pub(super) struct PlanSettlementRow {
    queue_id: i64,
    fence: i64,
    ticket: i64,
    origin: Option<&'static str>,
    making: String,
    error: Option<String>,
    class: Option<&'static str>,
    body: Option<String>,
    steps: Vec<PlanStepRow>,
    calls: Vec<CallRow>,
}

impl CompositeRow for PlanSettlementRow {
    const TYPE: &'static str = "nova3_plan_settlement";
}

impl PlanSettlementRow {
    /// Converts a plan settlement. An error concerns this plan only.
    pub(super) fn of(settlement: &PlanSettlement, ticket: i64) -> Result<Self, JobFault> {
        let (origin, planned, failure) = match &settlement.end {
            PlanEnd::Planned(origin, planned) => (Some(*origin), Some(planned), None),
            PlanEnd::Failed(failure) => (None, None, Some(failure)),
        };
        Ok(Self {
            queue_id: settlement.lease.queue_id,
            fence: settlement.lease.fence,
            ticket,
            origin: origin.map(PlanOrigin::as_str),
            making: serde_json::to_string(&settlement.making)?,
            error: failure.map(serde_json::to_string).transpose()?,
            class: failure.map(|failure| failure.class.as_str()),
            body: planned.map(serde_json::to_string).transpose()?,
            steps: planned.into_iter().flatten().map(PlanStepRow::of).collect(),
            calls: CallRow::all(&settlement.attempts),
        })
    }
}

/// A released task.
#[derive(Debug, ToSql)]
#[postgres(name = "nova3_left")]
pub(super) struct ReleaseRow {
    queue_id: i64,
    fence: i64,
    task: i32,
    ticket: i64,
    snooze: i64,
    calls: Vec<CallRow>,
}

impl CompositeRow for ReleaseRow {
    const TYPE: &'static str = "nova3_left";
}

impl ReleaseRow {
    pub(super) fn of(left: &ReleasedLease, ticket: i64) -> Self {
        Self {
            queue_id: left.lease.queue_id,
            fence: left.lease.fence,
            task: left.task.0,
            ticket,
            snooze: left.snooze_ms(),
            calls: CallRow::all(&left.attempts),
        }
    }
}

/// A call of a function that takes the run's number, rows, and in one case a text.
pub(super) struct FunctionCall<'a> {
    pub(super) database: &'a Database,
    pub(super) connection: &'a mut Connection,
    pub(super) sql: &'static str,
    pub(super) run: i64,
}

impl FunctionCall<'_> {
    /// Calls it with an array of rows.
    pub(super) async fn with_all<T: CompositeRow>(self, rows: &Vec<T>) -> Result<Vec<Row>, JobFault> {
        let types = self.database.composites(self.connection, TYPES).await?;
        let many = types.many(T::TYPE)?;
        self.rows(&[(rows, many)]).await
    }

    /// Calls it with one row and a text.
    pub(super) async fn with_one<T: CompositeRow>(
        self,
        row: &T,
        besides: &str,
    ) -> Result<Vec<Row>, JobFault> {
        let types = self.database.composites(self.connection, TYPES).await?;
        let one = types.one(T::TYPE)?;
        self.rows(&[(row, one), besides.sent()]).await
    }

    async fn rows(self, params: &[SentParam<'_>]) -> Result<Vec<Row>, JobFault> {
        let run = self.run.sent();
        let params: Vec<SentParam<'_>> = std::iter::once(run).chain(params.iter().cloned()).collect();
        self.connection.rows(self.sql, &params).await.map_err(|fault| {
            if fault.is_about_a_name() {
                self.database.forget_composites();
                return JobFault::Renumbered(fault);
            }
            fault.into()
        })
    }
}
