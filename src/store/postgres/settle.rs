//! Settlements of tasks and of plans.

use async_trait::async_trait;

use super::PostgresStore;
use super::batch::{BatchEntry, settled};
use super::composite_rows::{CompositeRow, FunctionCall, PlanSettlementRow, SettlementRow};
use super::fault::JobFault;
use crate::domain::failure::Failure;
use crate::domain::task_search::TaskSearch;
use crate::postgres::{Database, Within};
use crate::store::{
    Lease, PartOutcome, PlanEnd, PlanSettlement, Settled, Settlement, StoreError, TakeOver, Tasks,
};

#[async_trait]
impl Tasks for PostgresStore {
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        self.tasks.write(settlement).await
    }

    async fn parts(&self, queue: i64, task: usize) -> Result<Vec<PartOutcome>, StoreError> {
        job!(self, |c| super::context::parts(c, queue, task))
    }

    async fn task_search(
        &self,
        queue: i64,
        task: usize,
    ) -> Result<Option<Result<TaskSearch, Failure>>, StoreError> {
        job!(self, |c| super::context::task_search(c, queue, task))
    }

    async fn settle_plan(&self, settlement: PlanSettlement) -> Result<Settled, StoreError> {
        self.plans.write(settlement).await
    }

    async fn take_over(&self, lease: Lease) -> Result<TakeOver, StoreError> {
        let ticket = super::batch::ticket();
        job!(self, |c| super::leases::take_over(c, lease, ticket))
    }
}

const TASKS: &str = "SELECT outcome FROM nova3_settle($1, $2) ORDER BY ord";

const PLANS: &str = "SELECT outcome FROM nova3_settle_plans($1, $2) ORDER BY ord";

#[async_trait]
impl BatchEntry for Settlement {
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
    ) -> Result<Vec<Settled>, JobFault> {
        let rows = group.iter().zip(tickets);
        let rows = rows.map(|(one, ticket)| SettlementRow::of(one, *ticket));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let bytes = group.iter().map(|one| BatchEntry::bytes(*one)).sum();
        outcomes(database, TASKS, run, &rows, within, bytes).await
    }
}

#[async_trait]
impl BatchEntry for PlanSettlement {
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
    ) -> Result<Vec<Settled>, JobFault> {
        let rows = group.iter().zip(tickets);
        let rows = rows.map(|(one, ticket)| PlanSettlementRow::of(one, *ticket));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let bytes = group.iter().map(|one| BatchEntry::bytes(*one)).sum();
        outcomes(database, PLANS, run, &rows, within, bytes).await
    }
}

async fn outcomes<T: CompositeRow>(
    database: &Database,
    sql: &'static str,
    run: i64,
    rows: &Vec<T>,
    within: Within,
    bytes: usize,
) -> Result<Vec<Settled>, JobFault> {
    let connection = &mut database.connect_within(within).await?;
    connection.carries(bytes);
    let call = FunctionCall {
        database,
        connection: &mut *connection,
        sql,
        run,
    };
    let rows = call.with_all(rows).await?;
    connection.end_within().await?;
    rows.iter().map(|row| settled(row.get(0))).collect()
}
