//! Reports that the run waits for its database: after two seconds, and every half minute while the outage lasts.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::engine::job::Services;
use crate::observe::RunEvent;

/// The interval of repeated reports.
const EVERY: Duration = Duration::from_secs(30);

/// A shorter outage is not reported.
const HICCUP: Duration = Duration::from_secs(2);

/// How often a part of the run without its own ticks polls the store's state.
const LOOK: Duration = Duration::from_millis(500);

/// The outage of a database, if it does not answer.
#[derive(Debug, Default)]
pub(in crate::engine) struct Outage {
    since: Option<Instant>,
    /// The time of the last report.
    told: Option<Instant>,
}

impl Outage {
    /// Polls whether the store answers, and reports a change.
    pub(in crate::engine) fn look(&mut self, services: &Services) {
        if let Some(event) = self.event(services.store.trouble(), Instant::now()) {
            services.events.publish_run(event);
        }
    }

    fn event(&mut self, trouble: Option<String>, now: Instant) -> Option<RunEvent> {
        let Some(trouble) = trouble else {
            let ended = std::mem::take(self);
            return ended.told.map(|_| RunEvent::InReach);
        };
        let since = *self.since.get_or_insert(now);
        let is_due = self.told.is_none_or(|told| now - told >= EVERY);
        if !is_due || now - since < HICCUP {
            return None;
        }
        self.told = Some(now);
        Some(RunEvent::OutOfReach { trouble })
    }
}

/// Does the work, and reports meanwhile if the database does not answer.
pub(in crate::engine) async fn reporting_outage<T>(services: &Services, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let (mut outage, mut poll_backoff) = (Outage::default(), interval(LOOK));
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = poll_backoff.tick() => outage.look(services),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_soon_and_every_half_minute_and_its_end_once() {
        let (mut outage, began) = (Outage::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..70 {
            let trouble = (second < 65).then(|| "gone".to_owned());
            match outage.event(trouble, began + Duration::from_secs(second)) {
                Some(RunEvent::OutOfReach { trouble }) => told.push((second, trouble)),
                Some(_) => told.push((second, "back".to_owned())),
                None => {}
            }
        }
        let expected = [(2, "gone"), (32, "gone"), (62, "gone"), (65, "back")];
        assert_eq!(told, expected.map(|(second, what)| (second, what.to_owned())));
        assert!(outage.event(Some("a hiccup".to_owned()), began).is_none());
        assert!(outage.event(None, began + HICCUP / 2).is_none());
    }
}
