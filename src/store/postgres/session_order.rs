//! The order inside sessions, which `schema/postgres/functions/sessions.sql` keeps.

use std::collections::BTreeSet;

use super::fault::JobFault;
use crate::domain::ids::SessionId;
use crate::postgres::{Connection, Param};
use crate::store::versions::Version;
use crate::store::{NewLine, NewRequest, RunId};

/// Sessions by user and name.
pub(super) type SessionKeys = BTreeSet<(String, String)>;

/// Collects the sessions of the lines and of their requests' versions.
pub(super) fn sessions<'a>(lines: &[NewLine], versions: impl Iterator<Item = &'a Version>) -> SessionKeys {
    let of_line = |line: &NewLine| match &line.content {
        NewRequest::Good { request, .. } => {
            let session = SessionId::as_str(request.session.as_ref()?).to_owned();
            Some((request.user.as_str().to_owned(), session))
        }
        NewRequest::Bad { .. } => None,
    };
    let of_version = |version: &Version| Some((version.user.clone(), version.session.clone()?));
    let of_lines = lines.iter().filter_map(of_line);
    of_lines.chain(versions.filter_map(of_version)).collect()
}

/// Makes the heads of sessions that are new in the run, and locks all of them until the end of the transaction.
pub(super) async fn add_heads(
    c: &mut Connection,
    run: RunId,
    sessions: &SessionKeys,
) -> Result<(), JobFault> {
    on_each(c, "SELECT nova3_add_sessions($1, $2, $3)", run, sessions).await
}

/// Locks the heads of these sessions until the end of the transaction.
pub(super) async fn lock_heads(
    c: &mut Connection,
    run: RunId,
    sessions: &SessionKeys,
) -> Result<(), JobFault> {
    on_each(c, "SELECT nova3_lock_sessions($1, $2, $3)", run, sessions).await
}

/// Promotes the next queue of each of these sessions. Their heads are locked.
pub(super) async fn promote(c: &mut Connection, run: RunId, sessions: &SessionKeys) -> Result<(), JobFault> {
    on_each(c, "SELECT nova3_promote($1, $2, $3)", run, sessions).await
}

async fn on_each(c: &mut Connection, sql: &str, run: RunId, sessions: &SessionKeys) -> Result<(), JobFault> {
    if sessions.is_empty() {
        return Ok(());
    }
    let (users, names): (Vec<String>, Vec<String>) = sessions.iter().cloned().unzip();
    c.rows(sql, &[run.0.sent(), users.sent(), names.sent()]).await?;
    Ok(())
}
