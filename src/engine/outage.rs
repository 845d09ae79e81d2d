//! Saying that the database is waited for: at once, and every half minute while it lasts.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::World;
use crate::observe::RunEvent;

/// So often it is said again.
const EVERY: Duration = Duration::from_secs(30);

/// A hiccup is not told.
const HICCUP: Duration = Duration::from_secs(2);

/// How often a part of the run that has no other clock looks.
const LOOK: Duration = Duration::from_millis(500);

/// What is known of a database that does not answer.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    /// When it was told last.
    told: Option<Instant>,
}

impl Outage {
    /// Looks at the store; what there is to tell is announced.
    pub(super) fn look(&mut self, world: &World) {
        if let Some(event) = self.event(world.store.trouble(), Instant::now()) {
            world.announcer.announce(event);
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

/// Does it, and says meanwhile if the database is what it waits for.
pub(super) async fn telling<T>(world: &World, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let (mut outage, mut looks) = (Outage::default(), interval(LOOK));
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = looks.tick() => outage.look(world),
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
