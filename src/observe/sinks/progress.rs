//! The progress bar of a terminal: a sink that shows a run's snapshots.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::seconds;
use crate::domain::ids::shortened;
use crate::observe::event::{Event, RunEvent, Snapshot};
use crate::observe::event_bus::EventSink;
use crate::observe::screen::Screen;

/// The longest run name that the bar shows, in characters.
const NAME: usize = 24;

/// Two lines, so that a narrow terminal cuts only the end of the second one. The first line shows the progress, the
/// second the details.
const COUNTING: &str = "{prefix} {spinner} {pos} done\n{wide_msg}";
const KNOWN: &str = "{prefix} [{wide_bar}] {pos}/{len}\n{wide_msg}";

/// Shows the progress of a run from its opening to its end.
pub(in crate::observe) struct ProgressSink {
    screen: Screen,
    bar: Option<ProgressBar>,
}

impl ProgressSink {
    pub(in crate::observe) const fn new(screen: Screen) -> Self {
        Self { screen, bar: None }
    }

    fn open(&mut self, run: &str) {
        self.close();
        // Hidden until it has its style, because every setter draws the bar.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(COUNTING));
        bar.set_prefix(shortened(run, NAME));
        self.bar = Some(self.screen.add(bar));
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            self.screen.remove(&bar);
        }
    }
}

impl EventSink for ProgressSink {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn takes_tasks(&self) -> bool {
        false
    }

    fn receive(&mut self, event: &Event) {
        match event {
            Event::Run(RunEvent::Opened { run } | RunEvent::Joined { run }) => self.open(run),
            Event::Run(RunEvent::Progressed(snapshot)) => {
                if let Some(bar) = &self.bar {
                    show(bar, snapshot);
                }
            }
            Event::Run(RunEvent::Left { .. } | RunEvent::Ended(_)) => self.close(),
            _ => {}
        }
    }

    fn finish(&mut self) {
        self.close();
    }
}

fn show(bar: &ProgressBar, snapshot: &Snapshot) {
    if snapshot.total_known && bar.length() != Some(snapshot.total) {
        bar.set_length(snapshot.total);
        bar.set_style(style(KNOWN));
    }
    bar.set_position(snapshot.finished);
    bar.set_message(message(snapshot));
    bar.tick();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// The second line. Waits come before tokens and money, because they explain a standstill.
fn message(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{} running", snapshot.running)];
    // Tasks of a queue with several tasks are settled long before the request is finished.
    if snapshot.tasks > snapshot.finished_now {
        parts.push(format!("{} steps done", snapshot.tasks));
    }
    if snapshot.failed > 0 {
        parts.push(format!("{} failed", snapshot.failed));
    }
    parts.extend(snapshot.waits.iter().cloned());
    let rate = rate(snapshot);
    if rate > 0.0 {
        parts.push(format!("{rate:.1}/s"));
    }
    if let Some(left) = time_left(snapshot, rate) {
        parts.push(format!("{} left", seconds(left)));
    }
    parts.push(format!("{} tokens", thousands(snapshot.usage.total())));
    parts.push(format!("${:.4}", snapshot.cost.usd()));
    parts.join(" · ")
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(snapshot: &Snapshot) -> f64 {
    let elapsed = snapshot.elapsed.as_secs_f64();
    if elapsed > 0.0 {
        snapshot.finished_now as f64 / elapsed
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn time_left(snapshot: &Snapshot, rate: f64) -> Option<Duration> {
    let left = snapshot.total.saturating_sub(snapshot.finished);
    if !snapshot.total_known || rate <= 0.0 || left == 0 {
        return None;
    }
    Duration::try_from_secs_f64(left as f64 / rate).ok()
}

fn thousands(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..10_000_000 => format!("{}k", n / 1000),
        _ => format!("{}M", n / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::{Cost, Usage};

    #[test]
    fn says_how_it_goes_and_what_is_waited_for() {
        let moving = Snapshot {
            total: 80,
            total_known: true,
            finished: 20,
            failed: 1,
            finished_now: 20,
            tasks: 57,
            running: 4,
            usage: Usage {
                input_tokens: 12_000,
                ..Usage::default()
            },
            cost: Cost(1_000_000_000_000),
            elapsed: Duration::from_secs(10),
            waits: Vec::new(),
        };
        assert_eq!(
            message(&moving),
            "4 running · 57 steps done · 1 failed · 2.0/s · 30.0 s left · 12k tokens · $1.0000"
        );
        let waiting = Snapshot {
            running: 1,
            finished_now: 0,
            tasks: 0,
            waits: vec!["`primary` asked for a pause, 9 s left".to_owned()],
            ..moving
        };
        assert_eq!(
            message(&waiting),
            "1 running · 1 failed · `primary` asked for a pause, 9 s left · 12k tokens · $1.0000"
        );
    }
}
