//! The number of tasks that can be claimed now.

use super::fault::JobFault;
use crate::postgres::{Connection, Param};
use crate::store::MOST_COUNTED;

pub(super) async fn tasks(c: &mut Connection) -> Result<u64, JobFault> {
    let most = i64::from(MOST_COUNTED);
    let row = c.row("SELECT nova3_claimable_tasks($1)", &[most.sent()]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
