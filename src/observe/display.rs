//! The thread that shows events, and the way to it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::event::{Ending, Report, RunEvent};
use super::message::{MESSAGE, tell};
use super::progress::Bar;
use super::screen::Screen;
use super::summary::{change_line, closing_line, told_otherwise};
use crate::domain::printable::{counted, printable};
use crate::domain::tally::RouteState;

/// What of a run is shown on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar, then the closing line.
    Bar,
    /// What a person must know, then the closing line.
    Plain,
    /// The closing line of a run that is not good.
    Silent,
}

/// Events that may wait to be shown: enough for a slow terminal, too few to matter in memory.
const WAITING: usize = 256;

/// How long the end of a run waits for a terminal that does not take its last line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes events for the display; never blocks.
#[derive(Debug)]
pub struct Announcer {
    sender: SyncSender<RunEvent>,
    screen: Screen,
    dropped: AtomicU64,
    gone: Receiver<()>,
}

impl Announcer {
    /// Starts the display.
    pub fn start(style: Style) -> std::io::Result<Self> {
        let (sender, events) = sync_channel(WAITING);
        let (alive, gone) = channel::<()>();
        let screen = Screen::new();
        let shown = screen.clone();
        std::thread::Builder::new()
            .name("display".to_owned())
            .spawn(move || {
                show_all(&events, style, &shown);
                drop(alive);
            })?;
        Ok(Self {
            sender,
            screen,
            dropped: AtomicU64::new(0),
            gone,
        })
    }

    /// Shows the event, unless the display is too slow for it.
    pub fn announce(&self, event: RunEvent) {
        if self.sender.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The terminal that the display draws on.
    pub fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// Ends the display after its last event; answers how many were dropped.
    pub fn close(self) -> u64 {
        drop(self.sender);
        // An error means that the thread is gone, which is what is waited for.
        self.gone.recv_timeout(PATIENCE).unwrap_or_default();
        self.dropped.into_inner()
    }
}

fn show_all(events: &Receiver<RunEvent>, style: Style, screen: &Screen) {
    let print = |bar: Option<&Bar>, line: &str| match bar {
        Some(_) => screen.print(&printable(line)),
        None => tell(line),
    };
    let mut bar: Option<Bar> = None;
    let mut down = HashSet::new();
    while let Ok(event) = events.recv() {
        match event {
            RunEvent::Ended(report) if style == Style::Silent => {
                if !is_good(&report) {
                    tell_end(&report);
                }
            }
            _ if style == Style::Silent => {}
            RunEvent::Opened { run } => {
                if style == Style::Bar {
                    bar = Some(Bar::new(screen, &run));
                }
            }
            RunEvent::Joined { run } => {
                if style == Style::Bar {
                    bar = Some(Bar::new(screen, &run));
                } else {
                    print(None, &format!("run `{run}`: joined"));
                }
            }
            RunEvent::Left { run, requests, steps } => {
                if let Some(bar) = bar.take() {
                    bar.clear();
                }
                let (requests, steps) = (counted(requests, "request"), counted(steps, "step"));
                print(None, &format!("run `{run}`: left after {requests} and {steps}"));
            }
            RunEvent::Waiting { only } => match only {
                Some(run) => print(None, &format!("waiting for something to do in run `{run}`")),
                None => print(None, "waiting for a run to work on"),
            },
            RunEvent::NothingLeft { only } => match only {
                Some(run) => print(
                    None,
                    &format!("nothing is left to do in run `{run}`, if it is there at all"),
                ),
                None => print(None, "nothing is left to do"),
            },
            RunEvent::Refused { reason } => print(bar.as_ref(), &reason),
            RunEvent::Progressed(snapshot) => {
                if let Some(bar) = &bar {
                    bar.show(&snapshot);
                }
            }
            RunEvent::RouteWarned { route, warning } => {
                print(bar.as_ref(), &format!("route `{route}` {warning}"));
            }
            RunEvent::InputChanged { run, change } => {
                if let Some(line) = change_line(&run, change) {
                    print(bar.as_ref(), &line);
                }
            }
            RunEvent::RecipeChanged => print(
                bar.as_ref(),
                "models, prompts or settings have changed since this run was begun: what is settled stands, the rest uses the new ones",
            ),
            RunEvent::RouteChanged(route) => {
                if let Some(line) = route_line(&route, &mut down) {
                    print(bar.as_ref(), &line);
                }
            }
            RunEvent::Draining { cause, calls } => {
                let plural = if calls == 1 { "call" } else { "calls" };
                let line = format!("{cause}: waiting for {calls} {plural} on the way (Ctrl-C gives them up)");
                print(bar.as_ref(), &line);
            }
            // A bar shows it all the time.
            RunEvent::OutOfReach { trouble } if bar.is_none() => {
                print(None, &format!("waiting: {trouble}"));
            }
            RunEvent::InReach if bar.is_none() => print(None, "the database answers again"),
            RunEvent::OutOfReach { .. } | RunEvent::InReach => {}
            RunEvent::Cancelled => print(bar.as_ref(), "giving up the calls on the way"),
            RunEvent::Ended(report) => {
                if let Some(bar) = bar.take() {
                    bar.clear();
                }
                for line in told_otherwise(&report.counts) {
                    print(None, &format!("run `{}`: {line}", report.run));
                }
                tell_end(&report);
            }
        }
    }
    if let Some(bar) = bar {
        bar.clear();
    }
}

/// What a person must know of a route: that it is down, once, and that it is back. Pauses and tries come and go; the bar
/// shows them.
fn route_line(route: &RouteState, down: &mut HashSet<String>) -> Option<String> {
    let name = &route.route;
    let reason = route.reason.as_deref().unwrap_or_default();
    match route.state {
        "closed" => down.remove(name).then(|| format!("route `{name}` answers again")),
        "open" => down
            .insert(name.clone())
            .then(|| format!("route `{name}` is down, its calls wait or go elsewhere: {reason}")),
        "latched" => Some(format!("route `{name}` is dead for this run: {reason}")),
        _ => None,
    }
}

/// The closing line, and its figures as fields for programs that read the log.
fn tell_end(report: &Report) {
    let counts = &report.counts;
    tracing::info!(
        target: MESSAGE,
        {
            run.name = report.run,
            run.ending = report.ending.name(),
            requests.total = counts.total,
            requests.done = counts.done,
            requests.partial = counts.partial,
            requests.failed = counts.failed,
            requests.paused = counts.paused,
            requests.left = counts.unfinished(),
            calls = report.calls_now,
            cost_usd = report.cost_now.usd(),
            duration_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX)
        },
        "{}",
        printable(&closing_line(report))
    );
}

fn is_good(report: &Report) -> bool {
    matches!(
        report.ending,
        Ending::Finished | Ending::ClosedPipe | Ending::Limit
    ) && report.counts.bad() == 0
}
