//! Settlements of tasks and of plans, as the database takes them.

use async_trait::async_trait;

use super::PostgresStore;
use super::batch::{Entry, settled};
use super::calls::Calls;
use super::fault::Fault;
use crate::domain::conditions::OnFailure;
use crate::domain::failure::Failure;
use crate::domain::outcome::{PlanOrigin, Product};
use crate::domain::task::TaskNo;
use crate::postgres::{Database, Param, Within, text};
use crate::store::items::readable;
use crate::store::{
    Lease, NewPart, PartOutcome, PlanEnd, PlanSettlement, Settled, Settlement, StoreError, TakeOver, TaskEnd,
    Tasks, Then,
};

#[async_trait]
impl Tasks for PostgresStore {
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.tasks.write(settlement).await
    }

    async fn parts(&self, queue: i64, task: usize) -> Result<Vec<PartOutcome>, StoreError> {
        job!(self, |c| super::context::parts(c, queue, task))
    }

    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError> {
        self.plans.write(settlement).await
    }

    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError> {
        let ticket = super::batch::ticket();
        job!(self, |c| super::leases::take_over(c, lease, ticket))
    }
}

const TASKS: &str = "SELECT outcome FROM nova3_settle($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,\
     $20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30,$31,$32,$33) ORDER BY ord";

const PLANS: &str = "SELECT outcome FROM nova3_settle_plans($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,\
     $19,$20,$21,$22,$23,$24,$25,$26,$27) ORDER BY ord";

/// Why requests failed, column by column.
#[derive(Default)]
struct Failures {
    errors: Vec<Option<String>>,
    classes: Vec<Option<&'static str>>,
}

impl Failures {
    fn push(&mut self, failure: Option<&Failure>) -> Result<(), Fault> {
        self.errors.push(failure.map(serde_json::to_string).transpose()?);
        self.classes.push(failure.map(|failure| failure.class.as_str()));
        Ok(())
    }
}

/// What tasks made, column by column.
#[derive(Default)]
struct Results<'a> {
    /// Not copied: they can be large.
    responses: Vec<Option<&'a str>>,
    item_of: Vec<i32>,
    kinds: Vec<&'a str>,
    bodies: Vec<String>,
}

/// The items of a part as its row keeps them, without numbers: its join gives them.
fn items_of_part(settlement: &Settlement) -> Result<Option<String>, Fault> {
    match &settlement.end {
        TaskEnd::Completed(Product::Items(items), _) if settlement.task.is_part() => {
            Ok(Some(serde_json::to_string(items)?))
        }
        _ => Ok(None),
    }
}

impl<'a> Results<'a> {
    /// The items of a planned task get their numbers in the database.
    fn add(
        &mut self,
        of: i32,
        task: TaskNo,
        product: Option<&'a Product>,
        of_part: Option<&'a str>,
    ) -> Result<(), Fault> {
        let response = match product {
            None => None,
            Some(Product::Response(_)) if task.is_part() => {
                return Err(Fault::Row("a part has items or a failure".to_owned()));
            }
            Some(Product::Response(raw)) => Some(raw.get()),
            Some(Product::Items(_)) if task.is_part() => of_part,
            // Where there are items, their array takes its place.
            Some(Product::Items(items)) => {
                for item in items {
                    self.item_of.push(of);
                    self.kinds.push(&item.kind);
                    self.bodies.push(readable(&item.body)?);
                }
                Some("[]")
            }
        };
        self.responses.push(response);
        Ok(())
    }
}

/// New parts, column by column.
#[derive(Default)]
struct Parts {
    of: Vec<i32>,
    subject: Vec<Option<String>>,
    description: Vec<String>,
    input: Vec<String>,
}

impl Parts {
    fn add(&mut self, of: i32, task: TaskNo, parts: &[NewPart]) -> Result<(), Fault> {
        let can_split = task.index().is_some() && !task.is_part();
        if !can_split || !(1..=TaskNo::MOST_PARTS).contains(&parts.len()) {
            return Err(Fault::Row(format!("{task} cannot have {} parts", parts.len())));
        }
        for part in parts {
            self.of.push(of);
            self.subject.push(part.subject.as_deref().map(text));
            self.description.push(text(&part.description));
            self.input.push(text(&part.input));
        }
        Ok(())
    }
}

#[async_trait]
impl Entry for Settlement {
    type Answer = Settled;

    fn queue(&self) -> i64 {
        self.lease.queue_id
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    async fn write(
        database: &Database,
        run: i64,
        group: &[&Self],
        tickets: &[i64],
        within: Within,
    ) -> Result<Vec<Settled>, Fault> {
        let queues: Vec<i64> = group.iter().map(|one| one.lease.queue_id).collect();
        let fences: Vec<i64> = group.iter().map(|one| one.lease.fence).collect();
        let tasks: Vec<i32> = group.iter().map(|one| one.task.0).collect();
        let handles: Vec<Option<String>> = group.iter().map(|one| one.handle.as_deref().map(text)).collect();
        let (mut ends, mut makings, mut results) = (Vec::new(), Vec::new(), Results::default());
        // A queue keeps the failure of a part that its task goes on without. The task has none.
        let (mut errors, mut noted) = (Vec::new(), Failures::default());
        let (mut calls, mut parts) = (Calls::default(), Parts::default());
        let of_parts: Vec<Option<String>> = group
            .iter()
            .map(|one| items_of_part(one))
            .collect::<Result<_, _>>()?;
        for ((of, one), of_part) in (1..).zip(group).zip(&of_parts) {
            let (end, product, failure) = match &one.end {
                TaskEnd::Completed(product, Then::GoOn) => ("go_on", Some(product), None),
                TaskEnd::Completed(product, Then::Pause) => ("pause", Some(product), None),
                TaskEnd::Failed(failure, response) => match one.on_failure {
                    OnFailure::Fail => ("fail", response.as_ref(), Some(failure)),
                    OnFailure::Continue => ("fail_on", response.as_ref(), Some(failure)),
                },
                TaskEnd::FannedOut(new) => {
                    parts.add(of, one.task, new)?;
                    ("fan_out", None, None)
                }
            };
            ends.push(end);
            errors.push(failure.map(serde_json::to_string).transpose()?);
            noted.push(failure.or(one.flaw.as_ref()))?;
            makings.push(serde_json::to_string(&one.making)?);
            calls.add(of, &one.attempts);
            results.add(of, one.task, product, of_part.as_deref())?;
        }
        let mut params = vec![
            run.sent(),
            queues.sent(),
            fences.sent(),
            tasks.sent(),
            tickets.sent(),
            ends.sent(),
            handles.sent(),
            results.responses.sent(),
            makings.sent(),
            errors.sent(),
            noted.errors.sent(),
            noted.classes.sent(),
            results.item_of.sent(),
            results.kinds.sent(),
            results.bodies.sent(),
            parts.of.sent(),
            parts.subject.sent(),
            parts.description.sent(),
            parts.input.sent(),
        ];
        params.extend(calls.sent());
        let bytes = group.iter().map(|one| Entry::bytes(*one)).sum();
        outcomes(database, TASKS, &params, within, bytes).await
    }
}

#[async_trait]
impl Entry for PlanSettlement {
    type Answer = Settled;

    fn queue(&self) -> i64 {
        self.lease.queue_id
    }

    fn bytes(&self) -> usize {
        match &self.end {
            PlanEnd::Planned(_, steps) => steps.iter().map(|step| step.input.len()).sum(),
            PlanEnd::Failed(_) => 0,
        }
    }

    async fn write(
        database: &Database,
        run: i64,
        group: &[&Self],
        tickets: &[i64],
        within: Within,
    ) -> Result<Vec<Settled>, Fault> {
        let queues: Vec<i64> = group.iter().map(|one| one.lease.queue_id).collect();
        let fences: Vec<i64> = group.iter().map(|one| one.lease.fence).collect();
        let (mut origins, mut makings, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut step_of, mut actions, mut descriptions, mut inputs) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut failures, mut calls) = (Failures::default(), Calls::default());
        for (of, one) in (1..).zip(group) {
            makings.push(serde_json::to_string(&one.making)?);
            calls.add(of, &one.attempts);
            match &one.end {
                PlanEnd::Planned(origin, planned) => {
                    origins.push(Some(PlanOrigin::as_str(*origin)));
                    failures.push(None)?;
                    steps.push(Some(serde_json::to_string(planned)?));
                    for step in planned {
                        step_of.push(of);
                        actions.push(text(&step.action));
                        descriptions.push(text(&step.description));
                        inputs.push(text(&step.input));
                    }
                }
                PlanEnd::Failed(failure) => {
                    origins.push(None);
                    failures.push(Some(failure))?;
                    steps.push(None);
                }
            }
        }
        let mut params = vec![
            run.sent(),
            queues.sent(),
            fences.sent(),
            tickets.sent(),
            origins.sent(),
            makings.sent(),
            failures.errors.sent(),
            failures.classes.sent(),
            steps.sent(),
            step_of.sent(),
            actions.sent(),
            descriptions.sent(),
            inputs.sent(),
        ];
        params.extend(calls.sent());
        outcomes(database, PLANS, &params, within, 0).await
    }
}

async fn outcomes(
    database: &Database,
    sql: &str,
    params: &[crate::postgres::Sent<'_>],
    within: Within,
    bytes: usize,
) -> Result<Vec<Settled>, Fault> {
    let mut connection = database.connect_within(within).await?;
    connection.carries(bytes);
    let rows = connection.rows(sql, params).await?;
    connection.end_within().await?;
    rows.iter().map(|row| settled(row.get(0))).collect()
}
