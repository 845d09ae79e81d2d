//! The closing line: a sink of a run's end.

use std::time::Duration;

use crate::domain::ids::shortened;
use crate::domain::printable::{counted, printable};
use crate::domain::tally::Counts;
use crate::domain::usage::Cost;
use crate::observe::event::{Event, Report, RunEnding, RunEvent};
use crate::observe::event_bus::EventSink;
use crate::observe::message::{MESSAGE, tell};

/// Writes the closing line after all other sinks have finished.
pub(in crate::observe) struct SummarySink {
    /// Whether only runs that did not end well get a closing line, without the lines before it.
    quiet: bool,
    report: Option<Box<Report>>,
}

impl SummarySink {
    pub(in crate::observe) const fn new(quiet: bool) -> Self {
        Self { quiet, report: None }
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
        if self.quiet && is_good(&report) {
            return;
        }
        if !self.quiet {
            for line in told_otherwise(&report.counts) {
                tell(&format!("run `{}`: {line}", report.run));
            }
        }
        tell_end(&report);
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
    let finished = |count: u64, with: &str| {
        (count > 0).then(|| format!("{count} finished with {with}; they stay. Anew: --run NAME"))
    };
    let kept = (counts.kept > 0).then(|| {
        format!(
            "{} begun with other tasks; they go on with those. Anew: --run NAME",
            counts.kept
        )
    });
    [
        finished(counts.outdated, "other tasks or prompts"),
        finished(counts.other_models, "other models"),
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

fn money(cost: Cost) -> String {
    format!("${:.4}", cost.usd())
}

/// A duration for people.
pub(in crate::observe) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
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
        RunEnding::Finished | RunEnding::ClosedPipe | RunEnding::Limit
    ) && report.counts.bad() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tally::RunSummary;
    use crate::observe::Commonest;

    #[test]
    fn says_what_happened_and_what_it_cost() {
        let report = Report {
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
            commonest: Some(Commonest {
                message: "HTTP 400: no such model".to_owned(),
                requests: 1,
            }),
            calls_now: 40,
            cost_now: Cost(1_000_000_000_000),
            elapsed: Duration::from_millis(2340),
        };
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
