//! The warnings of a route for people, each text once.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of warnings of a route in one process. Their texts may quote a server.
const MOST: usize = 50;

/// The warnings of one route. A display takes them from time to time.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<WarningState>);

#[derive(Debug, Default)]
struct WarningState {
    known: HashSet<String>,
    waiting: Vec<String>,
}

impl Warnings {
    /// Adds a warning, unless the same text was added before.
    pub(super) fn add(&self, warning: String) {
        let mut state = self.state();
        if state.known.len() < MOST && state.known.insert(warning.clone()) {
            state.waiting.push(warning);
        }
    }

    /// Returns the warnings that were added since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state().waiting)
    }

    fn state(&self) -> MutexGuard<'_, WarningState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once_and_their_number_is_bounded() {
        let warnings = Warnings::default();
        warnings.add("one".to_owned());
        warnings.add("one".to_owned());
        assert_eq!(warnings.take(), ["one"]);
        for nth in 0..2 * MOST {
            warnings.add(nth.to_string());
        }
        warnings.add("one".to_owned());
        assert_eq!(warnings.take().len(), MOST - 1);
    }
}
