//! Renders a page of rows as the lines that are written.

use crate::clock;
use crate::domain::{result_line, result_text, stream_event};
use crate::engine::RunError;
use crate::store::{Cursor, EventPage, Feed, FinishedPage, Order, Results, RowMark, RunId};

/// The position before the first row, in each order.
pub(in crate::engine) const fn beginning(order: Order) -> i64 {
    match order {
        Order::Completion => 0,
        Order::Input => -1,
    }
}

/// A rendered page.
pub(in crate::engine) struct Rendered {
    pub(in crate::engine) lines: Vec<u8>,
    /// Rows of the store that the lines were made from.
    pub(in crate::engine) rows: usize,
    /// The position of the next page.
    pub(in crate::engine) after: i64,
    /// The row that was settled last.
    pub(in crate::engine) newest: Option<RowMark>,
}

/// The rendered page of a file after the position `after`, by the rules of its cursor.
pub(in crate::engine) async fn page(
    store: &dyn Results,
    run: RunId,
    name: &str,
    cursor: &Cursor,
    after: i64,
    rows: usize,
) -> Result<Rendered, RunError> {
    match cursor.feed {
        Feed::Results => {
            let page = store
                .finished(run, cursor.order, cursor.since, after, rows)
                .await?;
            render(name, &page)
        }
        Feed::Events => render_events(name, &store.events(run, false, after, rows).await?),
    }
}

/// The lines of finished requests.
pub(in crate::engine) fn render(run: &str, page: &FinishedPage) -> Result<Rendered, RunError> {
    let mut lines = Vec::new();
    for finished in &page.rows {
        result_line::write(run, finished, clock::rfc3339, &mut lines).map_err(|error| unwritable(&error))?;
    }
    Ok(Rendered {
        lines,
        rows: page.rows.len(),
        after: page.after,
        newest: page.newest(),
    })
}

/// Finished requests as text for people.
pub(in crate::engine) fn render_text(page: &FinishedPage) -> Rendered {
    let text: String = page.rows.iter().map(result_text::render).collect();
    Rendered {
        lines: text.into_bytes(),
        rows: page.rows.len(),
        after: page.after,
        newest: page.newest(),
    }
}

/// The lines of events.
pub(in crate::engine) fn render_events(run: &str, page: &EventPage) -> Result<Rendered, RunError> {
    let mut lines = Vec::new();
    for event in &page.rows {
        stream_event::write(run, event, clock::rfc3339, &mut lines).map_err(|error| unwritable(&error))?;
    }
    Ok(Rendered {
        lines,
        rows: page.rows.len(),
        after: page.after,
        newest: page.newest(),
    })
}

pub(in crate::engine) fn unwritable(error: &serde_json::Error) -> RunError {
    RunError::Broken {
        part: format!("rendering a line: {error}"),
    }
}
