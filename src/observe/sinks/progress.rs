//! The panel of a terminal: a sink that shows a run's snapshots.

use crate::observe::dashboard::dashboard;
use crate::observe::event::{Event, RunEvent};
use crate::observe::event_bus::EventSink;
use crate::observe::rate::MovingRate;
use crate::observe::screen::{Screen, stderr_size};

/// Shows the progress of a run from its opening to its end.
pub(in crate::observe) struct ProgressSink {
    screen: Screen,
    run: Option<ShownRun>,
}

/// The run that is shown.
struct ShownRun {
    name: String,
    rate: MovingRate,
}

impl ProgressSink {
    pub(in crate::observe) const fn new(screen: Screen) -> Self {
        Self { screen, run: None }
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
            Event::Run(RunEvent::Opened { run } | RunEvent::Joined { run }) => {
                self.run = Some(ShownRun {
                    name: run.clone(),
                    rate: MovingRate::default(),
                });
            }
            Event::Run(RunEvent::Progressed(snapshot)) => {
                if let Some(run) = &mut self.run {
                    run.rate.take(snapshot);
                    let columns = stderr_size().columns;
                    self.screen
                        .show(dashboard(&run.name, snapshot, &run.rate, columns));
                }
            }
            Event::Run(RunEvent::Left { .. } | RunEvent::Ended(_)) => self.finish(),
            _ => {}
        }
    }

    fn finish(&mut self) {
        self.run = None;
        self.screen.remove();
    }
}
