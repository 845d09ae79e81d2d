//! `nova3 status`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{Global, StatusArgs};
use super::exit::Exit;
use super::stores::ReadStore;
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
        let mut from = stores::to_read_from(&args.which.from, global).await?;
        loop {
            let standing = standing(args, from).await?;
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
            from = stores::to_read_again(&args.which.from, global).await?;
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
    let store = stores::to_read_from(&args.which.from, global).await?.store;
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

/// Reads the status, and closes the store: a reader that stays open would block the checkpoint of the write-ahead log.
async fn standing(args: &StatusArgs, from: ReadStore) -> Result<RunStatus> {
    let store = &*from.store;
    let run = setup::find_run(store, args.which.run.as_deref()).await?;
    // The first two take the longest, because they count every request of the run. A database works on them side by side.
    let small = async {
        let spent = (store.summary(run.id).await?, store.waste(run.id).await?);
        let routes = store.routes(run.id).await?;
        let workers = store.workers(run.id).await?;
        let files = store.cursors(run.id).await?;
        let actions = store.actions(run.id, ACTIONS).await?;
        Ok((spent, routes, workers, files, actions))
    };
    let (counts, sessions, ((summary, waste), routes, workers, files, actions)) =
        tokio::try_join!(store.counts(run.id), store.sessions(run.id, SESSIONS), small)?;
    Ok(RunStatus {
        counts,
        summary,
        waste,
        routes,
        workers,
        actions,
        sessions,
        files: files.into_iter().map(|(key, _)| key).collect(),
        replica_age: from.age,
        run,
    })
}
