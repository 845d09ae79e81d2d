//! `nova3 results`.

use anyhow::{Context, Result};

use super::args::{Global, ResultFormat, ResultOrder, ResultsArgs, StatusFilter};
use super::exit::Exit;
use super::{print, setup, stores};
use crate::clock;
use crate::domain::outcome::Finished;
use crate::domain::state::Status;
use crate::domain::{result_line, result_text};
use crate::store::Order;

/// Requests in one page of the store.
const ROWS: usize = 512;

pub(super) fn main(args: &ResultsArgs, global: &Global) -> Result<Exit> {
    super::runtime()?.block_on(results(args, global))
}

async fn results(args: &ResultsArgs, global: &Global) -> Result<Exit> {
    let store = stores::to_read(args.which.store.as_ref(), global).await?;
    let run = setup::find_run(&*store, &args.which).await?;
    let (order, mut after) = match args.order {
        ResultOrder::Completion => (Order::Completion, 0),
        ResultOrder::Input => (Order::Input, -1),
    };
    let ids = setup::ids(&args.id);
    let mut printed = 0_u64;
    loop {
        let page = store.finished(run.id, order, None, after, ROWS).await?;
        if page.rows.is_empty() {
            break;
        }
        after = page.after;
        let mut text = Vec::new();
        for finished in page.rows.iter().filter(|finished| wanted(args, &ids, finished)) {
            printed += 1;
            match args.format {
                ResultFormat::Jsonl => result_line::write(&run.name, finished, clock::rfc3339, &mut text)
                    .context("failed to render a result line")?,
                ResultFormat::Text => text.extend_from_slice(result_text::render(finished).as_bytes()),
            }
        }
        if !print(&text)? {
            return Ok(Exit::Good);
        }
    }
    Ok(if printed == 0 { Exit::Nothing } else { Exit::Good })
}

fn wanted(args: &ResultsArgs, ids: &[String], finished: &Finished) -> bool {
    let status = args.status.is_none_or(|filter| {
        finished.status
            == match filter {
                StatusFilter::Completed => Status::Completed,
                StatusFilter::Partial => Status::Partial,
                StatusFilter::Failed => Status::Failed,
                StatusFilter::Paused => Status::Paused,
                StatusFilter::Continued => Status::Continued,
            }
    });
    let id = ids.is_empty() || finished.custom_id.as_ref().is_some_and(|id| ids.contains(id));
    status && id
}
