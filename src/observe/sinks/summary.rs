//! The closing line, and the block below it: a sink of a run's end.

use std::time::Duration;

use crate::domain::ids::shortened;
use crate::domain::printable::{counted, printable};
use crate::domain::tally::Counts;
use crate::domain::usage::Cost;
use crate::observe::amounts::{money, seconds};
use crate::observe::closing::{ClosingPart, closing_parts, next_command, wrapped};
use crate::observe::event::{Event, Report, RunEnding, RunEvent};
use crate::observe::event_bus::EventSink;
use crate::observe::message::{MESSAGE, tell};
use crate::observe::screen::stderr_size;

/// Writes the closing block after all other sinks have finished.
pub(in crate::observe) struct SummarySink {
    extent: SummaryExtent,
    /// The store that the next command has to name.
    store: Option<String>,
    report: Option<Box<Report>>,
}

/// How much the closing block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::observe) enum SummaryExtent {
    /// For a person at a terminal: every part that has something to say.
    Whole,
    /// For a mail or a log: only the closing line, if the run was good and took less than a minute.
    Short,
    /// The closing line alone, and only if the run did not end well.
    Quiet,
}

/// A good run of this duration gets the whole block, also in a log.
const LONG: Duration = Duration::from_secs(60);

impl SummarySink {
    pub(in crate::observe) const fn new(extent: SummaryExtent, store: Option<String>) -> Self {
        Self {
            extent,
            store,
            report: None,
        }
    }

    /// The lines below the closing line.
    fn below(&self, report: &Report) -> Vec<ClosingPart> {
        let is_dull = is_good(report) && report.elapsed < LONG;
        match self.extent {
            SummaryExtent::Quiet => Vec::new(),
            SummaryExtent::Short if is_dull => Vec::new(),
            SummaryExtent::Short | SummaryExtent::Whole => closing_parts(report, self.store.as_deref()),
        }
    }
}

impl EventSink for SummarySink {
    fn name(&self) -> &'static str {
        "summary"
    }

    fn takes_tasks(&self) -> bool {
        false
    }

    fn receive(&mut self, event: &Event) {
        if let Event::Run(RunEvent::Ended(report)) = event {
            self.report = Some(report.clone());
        }
    }

    fn finish(&mut self) {
        let Some(report) = self.report.take() else { return };
        if self.extent == SummaryExtent::Quiet && is_good(&report) {
            return;
        }
        if self.extent != SummaryExtent::Quiet {
            for line in told_otherwise(&report.counts) {
                tell(&format!("run `{}`: {line}", report.run));
            }
        }
        let parts = self.below(&report);
        let line = closing_line(&report).replace('\n', " ");
        // A terminal gets lines that are broken between words. A log gets each part as one line.
        let lines: Vec<String> = if self.extent == SummaryExtent::Whole {
            let columns = stderr_size().columns;
            let parts = parts.iter().flat_map(|part| part.wrapped(columns));
            wrapped(&line, 2, columns).into_iter().chain(parts).collect()
        } else {
            let parts = parts.iter().map(ClosingPart::line);
            std::iter::once(line).chain(parts).collect()
        };
        tell_end(&report, self.store.as_deref(), &lines.join("\n"));
    }
}

/// One line with the run's outcome and its cost.
pub fn closing_line(report: &Report) -> String {
    let counts = &report.counts;
    let ending = match &report.ending {
        RunEnding::Finished | RunEnding::NoRequests => "finished".to_owned(),
        RunEnding::Signal(_) => "stopped by a signal".to_owned(),
        RunEnding::ClosedPipe => "output closed by its reader".to_owned(),
        RunEnding::NoRoute { reason } => format!("stopped, no usable route ({reason})"),
        RunEnding::Failures { failed } => format!(
            "stopped, {} failed (`--max-failures`)",
            counted(*failed, "request")
        ),
        RunEnding::Budget { cap } => format!("stopped below its cost cap of {} (`--max-cost`)", money(*cap)),
        RunEnding::Deadline => "stopped at its deadline".to_owned(),
        RunEnding::Limit => "stopped after as many requests as it was to do (`--limit`)".to_owned(),
    };
    if report.ending == RunEnding::NoRequests || (counts.total == 0 && report.ending == RunEnding::Finished) {
        return format!("run `{}`: the input holds no requests", report.run);
    }
    let mut standing = format!("{} of {} done", counts.done, counts.total);
    for (count, what) in [
        (counts.partial, "of them in part"),
        (counts.failed, "failed"),
        (counts.paused, "paused"),
        (counts.continued, "continued"),
    ] {
        if count > 0 {
            standing += &format!(", {count} {what}");
        }
        if what == "failed" {
            standing += &reason(report);
        }
    }
    if counts.unfinished() > 0 {
        standing += &format!(
            ", {} left (run the same command again to go on)",
            counts.unfinished()
        );
    }
    let mut used = format!(
        "{} in {}",
        counted(report.calls_now, "call"),
        seconds(report.elapsed)
    );
    used += &format!(", {}", known_cost(report));
    if report.summary.cost > report.cost_now {
        used += &format!(" ({} in all)", money(report.summary.cost));
    }
    if report.summary.uncertain > Cost::ZERO {
        used += &format!(
            ", up to {} more for {}",
            money(report.summary.uncertain),
            // A call without a token count was answered, so its answer is not lost.
            if report.summary.unpriced == 0 {
                "lost answers"
            } else {
                "what is not known"
            }
        );
    }
    if report.summary.wasted > Cost::ZERO {
        used += &format!(", {} of it for nothing", money(report.summary.wasted));
    }
    format!("run `{}`: {ending}; {standing}; {used}", report.run)
}

/// The most frequent reason of failure in this invocation, if a request failed.
fn reason(report: &Report) -> String {
    const LONGEST: usize = 200;
    report.commonest.as_ref().map_or_else(String::new, |commonest| {
        let often = if commonest.requests < report.counts.bad() {
            "most often: "
        } else {
            ""
        };
        format!(" ({often}{})", shortened(&commonest.message, LONGEST))
    })
}

/// Lines about requests that were finished or begun with other tasks, prompts or models than this invocation's.
pub fn told_otherwise(counts: &Counts) -> Vec<String> {
    let finished = |count: u64, with: &str, anew: &str| {
        (count > 0).then(|| format!("{count} finished with {with}; they stay. Anew: {anew}"))
    };
    let kept = (counts.kept > 0).then(|| {
        format!(
            "{} begun with other tasks; they go on with those. Anew: --run NAME",
            counts.kept
        )
    });
    [
        finished(
            counts.outdated,
            "other tasks or prompts",
            "`nova3 redo --stale`, or --run NAME for other tasks",
        ),
        finished(counts.other_models, "other models", "`nova3 redo --stale`"),
        kept,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The known cost of this invocation.
fn known_cost(report: &Report) -> String {
    let summary = &report.summary;
    if summary.unpriced == 0 {
        return money(report.cost_now);
    }
    if summary.cost == Cost::ZERO && summary.uncertain == Cost::ZERO {
        return "no price configured".to_owned();
    }
    format!(
        "{} without {} of unknown cost",
        money(report.cost_now),
        counted(summary.unpriced, "call")
    )
}

/// The closing line, and its figures as fields for programs that read the log.
fn tell_end(report: &Report, store: Option<&str>, text: &str) {
    let counts = &report.counts;
    let change = report.change.unwrap_or_default();
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|failed| format!("{}={}", failed.class.as_str(), failed.requests))
        .collect();
    let files: Vec<String> = report
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
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
            requests.continued = counts.continued,
            requests.left = counts.unfinished(),
            failures = failures.join(","),
            input.new = change.new,
            input.changed = change.changed,
            input.removed = change.removed,
            input_tokens = report.usage_now.input_tokens,
            output_tokens = report.usage_now.output_tokens,
            wasted_usd = report.summary.wasted.usd(),
            files = files.join(","),
            next = next_command(report, store),
            calls = report.calls_now,
            cost_usd = report.cost_now.usd(),
            duration_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX)
        },
        "{}",
        printable(text)
    );
}

fn is_good(report: &Report) -> bool {
    matches!(
        report.ending,
        RunEnding::Finished | RunEnding::ClosedPipe | RunEnding::Limit
    ) && report.counts.bad() == 0
}

#[cfg(test)]
pub(in crate::observe) mod tests {
    use super::*;
    use crate::domain::tally::{FailedClass, RunSummary};
    use crate::domain::usage::Usage;
    use crate::observe::Commonest;

    /// A finished run with two failures.
    pub(in crate::observe) fn report() -> Report {
        Report {
            run: "q.jsonl".to_owned(),
            ending: RunEnding::Finished,
            counts: Counts {
                total: 80,
                done: 78,
                failed: 2,
                ..Counts::default()
            },
            summary: RunSummary {
                cost: Cost(3_000_000_000_000),
                wasted: Cost(500_000_000_000),
                ..RunSummary::default()
            },
            input_read: true,
            change: None,
            commonest: Some(Commonest {
                message: "HTTP 400: no such model".to_owned(),
                requests: 1,
            }),
            failures: Vec::new(),
            files: Vec::new(),
            finished_now: 20,
            calls_now: 40,
            usage_now: Usage::default(),
            cost_now: Cost(1_000_000_000_000),
            elapsed: Duration::from_millis(2340),
        }
    }

    #[test]
    fn a_log_gets_the_block_only_where_it_says_something() {
        let below = |extent, report: &Report| SummarySink::new(extent, None).below(report).len();
        let good = Report {
            counts: Counts {
                total: 80,
                done: 80,
                ..Counts::default()
            },
            summary: RunSummary::default(),
            ..report()
        };
        assert_eq!(below(SummaryExtent::Short, &good), 0);
        assert!(below(SummaryExtent::Whole, &good) > 0);
        let long = Report {
            elapsed: LONG,
            ..good
        };
        assert!(below(SummaryExtent::Short, &long) > 0);
        let failed = Report {
            failures: vec![FailedClass {
                class: crate::domain::failure::Class::Server,
                requests: 2,
                custom_id: None,
                line: None,
                message: String::new(),
            }],
            ..report()
        };
        assert!(below(SummaryExtent::Short, &failed) > 2);
        assert_eq!(below(SummaryExtent::Quiet, &failed), 0);
    }

    #[test]
    fn says_what_happened_and_what_it_cost() {
        let report = report();
        assert_eq!(
            closing_line(&report),
            "run `q.jsonl`: finished; 78 of 80 done, 2 failed (most often: HTTP 400: no such model); 40 calls in 2.3 s, $1.0000 ($3.0000 in all), $0.5000 of it for nothing"
        );
        let stopped = Report {
            ending: RunEnding::Signal(2),
            counts: Counts {
                total: 80,
                done: 30,
                running: 0,
                ..Counts::default()
            },
            summary: RunSummary {
                unpriced: 1,
                ..RunSummary::default()
            },
            commonest: None,
            calls_now: 1,
            cost_now: Cost::ZERO,
            ..report
        };
        assert_eq!(
            closing_line(&stopped),
            "run `q.jsonl`: stopped by a signal; 30 of 80 done, 50 left (run the same command again to go on); 1 call in 2.3 s, no price configured"
        );
    }
}
