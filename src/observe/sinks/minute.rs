//! A line a minute for everything that is no terminal: a sink that shows a run's snapshots.

use std::time::Duration;

use crate::domain::printable::{counted, printable};
use crate::observe::amounts::{percent, seconds};
use crate::observe::dashboard::{per_second, work};
use crate::observe::event::{Event, RunEvent, Snapshot};
use crate::observe::event_bus::EventSink;
use crate::observe::message::MESSAGE;
use crate::observe::rate::MovingRate;

/// The time between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// Writes a line for each minute of a run. A run of less than a minute has none.
#[derive(Default)]
pub(in crate::observe) struct MinuteSink {
    run: String,
    rate: MovingRate,
    /// The time of the run at which the next line is due.
    due: Duration,
}

impl EventSink for MinuteSink {
    fn name(&self) -> &'static str {
        "minute"
    }

    fn takes_tasks(&self) -> bool {
        false
    }

    fn receive(&mut self, event: &Event) {
        match event {
            Event::Run(RunEvent::Opened { run } | RunEvent::Joined { run }) => {
                *self = Self {
                    run: run.clone(),
                    due: PERIOD,
                    ..Self::default()
                };
            }
            Event::Run(RunEvent::Progressed(snapshot)) => {
                self.rate.take(snapshot);
                if snapshot.elapsed >= self.due {
                    self.due = snapshot.elapsed + PERIOD;
                    self.tell(snapshot);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self) {}
}

impl MinuteSink {
    /// Writes the line, and its figures as fields for programs that read the log.
    fn tell(&self, snapshot: &Snapshot) {
        let left = self.left(snapshot);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: MESSAGE,
            {
                run.name = self.run,
                requests.total = snapshot.total_known.then_some(snapshot.total),
                requests.finished = snapshot.finished,
                requests.failed = snapshot.failed,
                calls = snapshot.running,
                steps = snapshot.tasks,
                per_second = self.rate.per_second(),
                left_min_ms = left.map(|left| millis(left.least)),
                left_max_ms = left.and_then(|left| left.most).map(millis),
                tokens = snapshot.usage.total(),
                cost_usd = snapshot.cost.usd(),
                elapsed_ms = millis(snapshot.elapsed)
            },
            "{}",
            printable(&self.line(snapshot)).replace('\n', " ")
        );
    }

    fn left(&self, snapshot: &Snapshot) -> Option<crate::observe::rate::TimeLeft> {
        let left = snapshot.total.saturating_sub(snapshot.finished);
        self.rate.left(left).filter(|_| snapshot.total_known)
    }

    fn line(&self, snapshot: &Snapshot) -> String {
        let mut parts = vec![if snapshot.total_known && snapshot.total > 0 {
            let share = percent(snapshot.finished, snapshot.total);
            format!("{} of {} done ({share}%)", snapshot.finished, snapshot.total)
        } else {
            format!("{} done", counted(snapshot.finished, "request"))
        }];
        if snapshot.failed > 0 {
            parts.push(format!("{} failed", snapshot.failed));
        }
        parts.push(per_second(self.rate.per_second()));
        if let Some(left) = self.left(snapshot) {
            parts.push(format!("{} left", left.shown()));
        }
        parts.push(work(snapshot));
        let waits = snapshot.routes.iter().filter_map(|route| {
            let wait = route.wait.as_ref()?;
            Some(format!("route `{}`: {wait}", route.route))
        });
        parts.extend(waits.chain(snapshot.waits.iter().cloned()));
        format!(
            "run `{}`: {}: {}",
            self.run,
            seconds(snapshot.elapsed),
            parts.join(" · ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::observe::event::RouteTraffic;

    /// Collects the log lines.
    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The JSON log lines of a run with a snapshot at each of these seconds.
    fn lines(snapshots: &[u64]) -> Vec<serde_json::Value> {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            let mut sink = MinuteSink::default();
            let run = "r".to_owned();
            sink.receive(&Event::Run(RunEvent::Opened { run }));
            for second in snapshots {
                sink.receive(&Event::Run(RunEvent::Progressed(Box::new(snapshot(*second)))));
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn snapshot(second: u64) -> Snapshot {
        Snapshot {
            total: 1_000,
            total_known: true,
            finished: second,
            finished_now: second,
            failed: 1,
            running: 4,
            elapsed: Duration::from_secs(second),
            routes: vec![RouteTraffic {
                route: "primary".to_owned(),
                in_flight: 4,
                requests: 60,
                rpm: None,
                tokens: 0,
                tpm: None,
                answered: second,
                p50: None,
                p95: None,
                slowest: None,
                state: "paused",
                wait: Some("asked for a pause, 9 s left: slow down".to_owned()),
            }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_minute_has_one_line_with_its_figures() {
        let seconds: Vec<u64> = (1..=130).collect();
        let lines = lines(&seconds);
        let fields: Vec<_> = lines.iter().map(|line| &line["fields"]).collect();
        assert_eq!(fields.len(), 2, "{lines:#?}");
        assert_eq!(
            fields[0]["message"],
            "run `r`: 1 min 0 s: 60 of 1000 done (6%) · 1 failed · 1.0/s · 12–20 min left · 4 running · 0 tokens · $0.0000 · \
             route `primary`: asked for a pause, 9 s left: slow down"
        );
        assert_eq!(
            (&fields[1]["requests.finished"], &fields[1]["requests.total"]),
            (&120.into(), &1_000.into())
        );
        assert_eq!(fields[1]["elapsed_ms"], 120_000);
    }

    #[test]
    fn a_short_run_has_no_line() {
        assert_eq!(lines(&[1, 30, 59]), Vec::<serde_json::Value>::new());
    }
}
