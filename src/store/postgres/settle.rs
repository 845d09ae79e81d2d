//! Settlements of tasks and of plans, as the database takes them.

use async_trait::async_trait;

use super::batch::{Entry, settled};
use super::calls::{Calls, small};
use super::fault::Fault;
use crate::domain::failure::Failure;
use crate::domain::outcome::{PlanOrigin, Product};
use crate::postgres::{Database, Param, Within, text};
use crate::store::items::readable;
use crate::store::{PlanEnd, PlanSettlement, Settled, Settlement, TaskEnd, Then};

const TASKS: &str = "SELECT outcome FROM nova3_settle($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,\
     $20,$21,$22,$23,$24,$25,$26,$27) ORDER BY ord";

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
        let tasks: Vec<i32> = group.iter().map(|one| small(one.task)).collect();
        let (mut ends, mut responses, mut makings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut item_of, mut kinds, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        let (mut failures, mut calls) = (Failures::default(), Calls::default());
        for (of, one) in (1..).zip(group) {
            let (end, product, failure) = match &one.end {
                TaskEnd::Completed(product, Then::GoOn) => ("go_on", Some(product), None),
                TaskEnd::Completed(product, Then::Pause) => ("pause", Some(product), None),
                TaskEnd::Failed(failure, response) => ("fail", response.as_ref(), Some(failure)),
            };
            ends.push(end);
            failures.push(failure)?;
            makings.push(serde_json::to_string(&one.making)?);
            calls.add(of, &one.attempts);
            responses.push(match product {
                Some(Product::Response(raw)) => Some(raw.get()),
                // Where there are items, their array takes its place.
                Some(Product::Items(items)) => {
                    for item in items {
                        item_of.push(of);
                        kinds.push(item.kind.as_str());
                        bodies.push(readable(&item.body)?);
                    }
                    Some("[]")
                }
                None => None,
            });
        }
        let mut params = vec![
            run.sent(),
            queues.sent(),
            fences.sent(),
            tasks.sent(),
            tickets.sent(),
            ends.sent(),
            responses.sent(),
            makings.sent(),
            failures.errors.sent(),
            failures.classes.sent(),
            item_of.sent(),
            kinds.sent(),
            bodies.sent(),
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
