//! `nova3 status`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{Global, StatusArgs};
use super::exit::Exit;
use super::{print, setup, stores, terminal};
use crate::observe::WatchedText;
use crate::report::{self, RunStatus};

/// At most this many actions are shown.
const ACTIONS: usize = 20;

/// At most this many sessions are shown.
const SESSIONS: usize = 20;

pub(super) fn main(args: &StatusArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(async {
        if let Some(session) = &args.session {
            return of_session(args, session, global).await;
        }
        let mut watched = WatchedStatus::new(args);
        loop {
            let standing = standing(args, global).await?;
            let text = if args.json {
                format!(
                    "{}\n",
                    serde_json::to_string(&standing).context("failed to write JSON")?
                )
            } else {
                report::table(&standing)
            };
            let is_over = !args.watch || standing.left() == 0;
            if !watched.print(&text, is_over)? || is_over {
                return Ok(Exit::Good);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Prints a status again and again: in place on a terminal, else one below the other.
struct WatchedStatus(Option<WatchedText>);

impl WatchedStatus {
    fn new(args: &StatusArgs) -> Self {
        let in_place = args.watch && !args.json && std::io::stdout().is_terminal();
        Self(in_place.then(|| WatchedText::new(terminal::without_colours())))
    }

    /// The last status stays on the terminal as a whole. Returns false if the reader has gone.
    fn print(&mut self, text: &str, is_last: bool) -> Result<bool> {
        match &mut self.0 {
            Some(shown) if is_last => print((shown.remove() + text).as_bytes()),
            Some(shown) => print(shown.replace(text).as_bytes()),
            None => print(text.as_bytes()),
        }
    }
}

/// Prints the running or paused queue of a session, else its last queue.
async fn of_session(args: &StatusArgs, session: &str, global: &Global) -> Result<Exit> {
    let (user, session) = setup::session(&args.user, session)?;
    let store = stores::to_read(args.which.store.as_ref(), global).await?;
    let record = store.session(&user, &session).await?;
    let Some(queue) = record.and_then(|record| record.queue) else {
        return Err(setup::no_session(&user, &session));
    };
    let text = if args.json {
        format!("{}\n", report::queue_json(&queue))
    } else {
        report::queue_text(&queue)
    };
    print(text.as_bytes())?;
    Ok(Exit::Good)
}

/// Opens the store again each time. A reader that stays open would block the checkpoint of the write-ahead log.
async fn standing(args: &StatusArgs, global: &Global) -> Result<RunStatus> {
    let store = stores::to_read(args.which.store.as_ref(), global).await?;
    let run = setup::find_run(&*store, args.which.run.as_deref()).await?;
    Ok(RunStatus {
        counts: store.counts(run.id).await?,
        summary: store.summary(run.id).await?,
        waste: store.waste(run.id).await?,
        routes: store.routes(run.id).await?,
        workers: store.workers(run.id).await?,
        actions: store.actions(run.id, ACTIONS).await?,
        sessions: store.sessions(run.id, SESSIONS).await?,
        files: store
            .cursors(run.id)
            .await?
            .into_iter()
            .map(|(key, _)| key)
            .collect(),
        run,
    })
}
