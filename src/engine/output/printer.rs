//! Prints finished lines to standard output. Every invocation prints all lines of its input.
//!
//! Lines that earlier invocations finished come first. Which of them belong to the present input is known as the input
//! is read. A file is read quickly, so new lines wait for its end. For a pipe, known lines are printed as ingest meets
//! them.

use std::io::{ErrorKind, Write};

use tokio::sync::mpsc;

use crate::engine::RunError;
use crate::engine::job::{ExportPorts, Exported, Input, InputProgress, Job};
use crate::engine::output::pages::{Rendered, render, render_events, render_text};
use crate::observe::Screen;
use crate::sink::check_stdout;
use crate::store::{Feed, FinishedPage, Order, RowMark, Run, RunId, StoreError};

/// Lines of one write at most.
const ROWS: usize = 512;

pub(in crate::engine) struct Printer {
    ports: ExportPorts,
    run: RunId,
    run_name: String,
    feed: Feed,
    order: Order,
    /// The last row printed, in the order of printing.
    after: i64,
    /// Earlier invocations gave the numbers up to this one, to finished requests or to events.
    earlier: i64,
    /// Known requests that ingest meets, by queue number.
    seen: mpsc::Receiver<Vec<i64>>,
    /// The newest row printed, and the lines epoch that was read after it.
    printed: Option<(RowMark, i64)>,
    /// Whether new lines wait for the end of the input, because known ones may still come.
    patient: bool,
    /// The terminal, if standard output is one.
    terminal: Option<Screen>,
}

impl Printer {
    pub(in crate::engine) fn new(
        ports: ExportPorts,
        job: &Job,
        run: &Run,
        feed: Feed,
        seen: mpsc::Receiver<Vec<i64>>,
        terminal: Option<Screen>,
    ) -> Self {
        let (order, earlier) = match feed {
            Feed::Results => (job.order, run.finished),
            Feed::Events => (Order::Completion, run.events),
        };
        Self {
            ports,
            run: run.id,
            run_name: run.name.clone(),
            feed,
            order,
            after: 0,
            earlier,
            seen,
            printed: None,
            patient: earlier > 0 && job.input != Input::Stdin,
            terminal,
        }
    }

    pub(in crate::engine) async fn run(mut self) -> Result<Exported, RunError> {
        // An error means that ingest ended before it reported anything. The loop then finds no rows.
        let reading = self
            .ports
            .reading
            .wait_for(|reading| *reading != InputProgress::Unknown)
            .await
            .map(|reading| *reading);
        self.after = match (self.order, reading) {
            (Order::Input, _) => -1,
            (Order::Completion, Ok(InputProgress::Unchanged(_))) => 0,
            (Order::Completion, _) if failpoint!("known-lines-printed-twice") => 0,
            (Order::Completion, _) => self.earlier,
        };
        loop {
            let finishing = *self.ports.finishing.borrow();
            match self.step().await? {
                PrintStep::Wrote => continue,
                PrintStep::Closed => return Ok(Exported::Closed),
                PrintStep::Nothing if finishing => {
                    self.refuse_return().await?;
                    return match check_stdout() {
                        Ok(()) => Ok(Exported::All),
                        Err(source) => Err(RunError::Stdout { source }),
                    };
                }
                PrintStep::Nothing => {}
            }
            tokio::select! {
                () = self.ports.wake.notified() => {}
                Some(queues) = self.seen.recv() => {
                    if self.known(queues).await? == PrintStep::Closed {
                        return Ok(Exported::Closed);
                    }
                }
            }
        }
    }

    async fn step(&mut self) -> Result<PrintStep, RunError> {
        if let Ok(queues) = self.seen.try_recv() {
            return Ok(match self.known(queues).await? {
                PrintStep::Closed => PrintStep::Closed,
                PrintStep::Wrote | PrintStep::Nothing => PrintStep::Wrote,
            });
        }
        if self.patient && self.order == Order::Completion && !self.ports.reading.borrow().is_over() {
            return Ok(PrintStep::Nothing);
        }
        let store = &self.ports.store;
        let page = match self.feed {
            Feed::Results => {
                let mut page = store
                    .finished(self.run, self.order, None, self.after, ROWS)
                    .await?;
                without_redone(&mut page, self.order);
                self.results(&page)?
            }
            Feed::Events => render_events(
                &self.run_name,
                &store.events(self.run, true, self.after, ROWS).await?,
            )?,
        };
        let went_on = page.after != self.after;
        self.after = page.after;
        if page.rows > 0 {
            self.refuse_return().await?;
            let epoch = self.ports.store.lines_epoch(self.run).await?;
            self.printed = page.newest.map(|newest| (newest, epoch)).or(self.printed);
        }
        Ok(match self.print(page).await? {
            // The page had only requests that are being redone.
            PrintStep::Nothing if went_on => PrintStep::Wrote,
            step => step,
        })
    }

    /// Ends the printing with an error if the store went back in time: printed lines cannot be taken back, and the
    /// store gives their numbers again.
    async fn refuse_return(&self) -> Result<(), RunError> {
        let Some((newest, epoch)) = self.printed else {
            return Ok(());
        };
        let store = &self.ports.store;
        if store.has_rows(self.run, self.feed, vec![newest]).await? {
            return Ok(());
        }
        // A result that was put back or replaced raises the epoch. Then the missing row is no fault.
        if self.feed == Feed::Results && store.lines_epoch(self.run).await? > epoch {
            return Ok(());
        }
        let reason = "it has lost results that were printed".to_owned();
        Err(StoreError::WentBack { reason }.into())
    }

    async fn known(&mut self, queues: Vec<i64>) -> Result<PrintStep, RunError> {
        if self.order == Order::Input {
            return Ok(PrintStep::Nothing);
        }
        let mut left = queues;
        let mut step = PrintStep::Nothing;
        while !left.is_empty() {
            let page = self.page_of(left.clone()).await?;
            let answered = usize::try_from(page.after).unwrap_or(0).clamp(1, left.len());
            left.drain(..answered);
            match self.print(page).await? {
                PrintStep::Closed => return Ok(PrintStep::Closed),
                PrintStep::Wrote => step = PrintStep::Wrote,
                PrintStep::Nothing => {}
            }
        }
        Ok(step)
    }

    /// The rendered rows of the first of these queues that were finished before this invocation.
    async fn page_of(&self, queues: Vec<i64>) -> Result<Rendered, RunError> {
        let store = &self.ports.store;
        match self.feed {
            Feed::Results => {
                let mut page = store.finished_by_id(self.run, queues).await?;
                page.rows
                    .retain(|row| row.finish_no <= self.earlier && !row.is_redone);
                self.results(&page)
            }
            Feed::Events => render_events(
                &self.run_name,
                &store.events_of(self.run, queues, self.earlier).await?,
            ),
        }
    }

    /// Renders finished requests: as text on a terminal, otherwise as lines.
    fn results(&self, page: &FinishedPage) -> Result<Rendered, RunError> {
        if self.terminal.is_none() {
            return render(&self.run_name, page);
        }
        Ok(render_text(page))
    }

    async fn print(&self, page: Rendered) -> Result<PrintStep, RunError> {
        if page.rows == 0 {
            return Ok(PrintStep::Nothing);
        }
        let (lines, terminal) = (page.lines, self.terminal.clone());
        let written = tokio::task::spawn_blocking(move || {
            if let Some(screen) = terminal {
                return screen.write(&lines);
            }
            check_stdout()?;
            let mut out = std::io::stdout().lock();
            out.write_all(&lines).and_then(|()| out.flush())
        })
        .await
        .map_err(|_| RunError::Broken {
            part: "the output thread".to_owned(),
        })?;
        match written {
            Ok(()) => Ok(PrintStep::Wrote),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(PrintStep::Closed),
            Err(source) => Err(RunError::Stdout { source }),
        }
    }
}

/// Leaves out requests that are being redone: each is printed once, when its redo has ended. In input order the page
/// ends before the first of them.
fn without_redone(page: &mut FinishedPage, order: Order) {
    match order {
        Order::Completion => page.rows.retain(|row| !row.is_redone),
        Order::Input => {
            let Some(first) = page.rows.iter().position(|row| row.is_redone) else {
                return;
            };
            let before = page.rows[first].index.cast_signed() - 1;
            page.rows.truncate(first);
            page.after = before;
        }
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrintStep {
    Wrote,
    Nothing,
    Closed,
}
