//! `nova3 session`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::args::{ExportFormat, Global, SessionArgs, SessionCommand, WhichSession};
use super::exit::{Exit, decided};
use super::{print, setup, stores};
use crate::clock;
use crate::domain::ids::{SessionId, UserId, shortened};
use crate::domain::printable::counted;
use crate::observe::tell;
use crate::report;
use crate::store::{SessionRecord, Store, StoredItem};

/// At most this many sessions are listed.
const LISTED: usize = 1000;

pub(super) fn main(args: &SessionArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        match &args.what {
            SessionCommand::List { store, json } => {
                let store = stores::to_read(store.as_ref(), global).await?;
                list(&*store, *json).await
            }
            SessionCommand::Show { which, trace, json } => match trace {
                Some(what) => show_trace(which, what, *json, global).await,
                None => show(which, *json, global).await,
            },
            SessionCommand::Export { which, format, items } => export(which, *format, items, global).await,
            SessionCommand::Clear { which, wait_lock } => clear(which, wait_lock.as_deref(), global).await,
        }
    })
}

async fn list(store: &dyn Store, as_json: bool) -> Result<Exit> {
    let sessions = store.list_sessions(LISTED).await?;
    if sessions.is_empty() {
        return Err(decided(Exit::Nothing, "the store holds no session yet"));
    }
    let mut text = String::new();
    for entry in &sessions {
        let used = clock::rfc3339(entry.last_accessed).unwrap_or_default();
        if as_json {
            let entry = json!({
                "user_id": entry.user_id, "session_id": entry.session_id, "rounds": entry.rounds,
                "items": entry.items, "last_accessed": used,
            });
            text += &format!("{entry}\n");
        } else {
            text += &format!(
                "{}/{}  {}, {}, last used {used}\n",
                entry.user_id,
                entry.session_id,
                counted(entry.rounds, "round"),
                counted(entry.items, "item")
            );
        }
    }
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

async fn show(which: &WhichSession, as_json: bool, global: &Global) -> Result<Exit> {
    let (user, session, record) = read(which, global).await?;
    let text = if as_json {
        format!(
            "{}\n",
            report::session_json(user.as_str(), session.as_str(), &record)
        )
    } else {
        report::session_text(&record)
    };
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

/// Prints what items rest on.
async fn show_trace(which: &WhichSession, what: &str, as_json: bool, global: &Global) -> Result<Exit> {
    let (_, _, record) = read(which, global).await?;
    let from = report::traced(&record.items, what);
    if from.is_empty() {
        let what = shortened(what, 60);
        let message =
            format!("`--trace`: no item of the session is called `{what}`, and none holds these words");
        return Err(decided(Exit::Nothing, message));
    }
    let shown = |item: &&StoredItem| {
        if as_json {
            format!("{}\n", report::trace_json(&record.items, item))
        } else {
            report::trace_text(&record.items, item)
        }
    };
    let text: String = from.iter().map(shown).collect();
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

async fn export(
    which: &WhichSession,
    format: ExportFormat,
    wanted: &[String],
    global: &Global,
) -> Result<Exit> {
    let (_, _, record) = read(which, global).await?;
    let items = chosen(&record, wanted)?;
    let text = match format {
        ExportFormat::Text => report::items_text(&items).into_bytes(),
        ExportFormat::Json => {
            let list = serde_json::to_string(&report::items_json(&items)).context("failed to write JSON")?;
            format!("{list}\n").into_bytes()
        }
        ExportFormat::Csv => report::csv(&items).context("failed to write CSV")?,
    };
    print(&text)?;
    Ok(Exit::Good)
}

fn chosen(record: &SessionRecord, wanted: &[String]) -> Result<Vec<StoredItem>> {
    if wanted.is_empty() {
        return Ok(record.items.clone());
    }
    wanted
        .iter()
        .map(|id| {
            let id = id.trim().trim_start_matches('@');
            record
                .items
                .iter()
                .find(|item| item.id == id)
                .cloned()
                .ok_or_else(|| decided(Exit::Nothing, format!("the session has no item `{id}`")))
        })
        .collect()
}

async fn read(which: &WhichSession, global: &Global) -> Result<(UserId, SessionId, SessionRecord)> {
    let (user, session) = setup::session(&which.user, &which.session)?;
    let store = stores::to_read(which.store.as_ref(), global).await?;
    match store.session(&user, &session).await? {
        Some(record) => Ok((user, session, record)),
        None => Err(setup::no_session(&user, &session)),
    }
}

async fn clear(which: &WhichSession, wait_lock: Option<&str>, global: &Global) -> Result<Exit> {
    let (user, session) = setup::session(&which.user, &which.session)?;
    let wait = match wait_lock {
        Some(text) => setup::duration("--wait-lock", text)?,
        None => Duration::ZERO,
    };
    // Read the session first, so that a mistyped name is reported.
    drop(read(which, global).await?);
    let store = stores::to_change(which.store.as_ref(), global, wait).await?;
    let cleared = store.clear_session(&user, &session).await?;
    store.close().await?;
    if !global.quiet {
        tell(&format!(
            "session `{}` of user `{}`: deleted {}, {} and {}; results stay with their runs",
            session.as_str(),
            user.as_str(),
            counted(cleared.rounds, "round"),
            counted(cleared.items, "item"),
            counted(cleared.pending, "pending task")
        ));
    }
    Ok(Exit::Good)
}
