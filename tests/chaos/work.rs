//! Inputs of requests with three tasks each. Every task has its own mark in its prompt.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Tasks of each request.
pub(crate) const TASKS: usize = 3;

/// The tasks of the requests, by turns. Each kind of item has its own counter in a session.
const PLANS: [[&str; TASKS]; 4] = [
    ["insight", "profile", "answer"],
    ["answer", "answer", "answer"],
    ["insight", "insight", "answer"],
    ["profile", "answer", "insight"],
];

/// The range in which lines are shuffled. Lines of a session stay near each other, so that they wait for each other.
const NEAR: usize = 60;

/// The scope of item numbers and of order: a session of a user, or a request without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Alone(usize),
    Session { user: String, session: String },
}

impl Place {
    fn of_session(number: usize) -> Self {
        // Two users use each session name, because a session is identified by both.
        Self::Session {
            user: format!("u{}", number % 2),
            session: format!("s{}", number / 2),
        }
    }
}

/// The lines of an input, by their places.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) places: Vec<Place>,
}

impl Work {
    /// A mix of requests; about three of five are in sessions of two to five lines.
    pub(crate) fn mixed(requests: usize, rng: &mut fastrand::Rng) -> Self {
        let mut slots: Vec<Option<usize>> = Vec::with_capacity(requests);
        let mut session = 0;
        while slots.len() < requests {
            if rng.u8(..10) < 3 {
                let lines = rng.usize(2..=5).min(requests - slots.len());
                slots.extend(vec![Some(session); lines]);
                session += 1;
            } else {
                slots.push(None);
                slots.extend((slots.len() < requests && rng.bool()).then_some(None));
            }
        }
        for near in slots.chunks_mut(NEAR) {
            rng.shuffle(near);
        }
        let place =
            |(index, slot): (usize, Option<usize>)| slot.map_or(Place::Alone(index), Place::of_session);
        Self {
            places: slots.into_iter().enumerate().map(place).collect(),
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.places.len()
    }

    /// Returns the number of needed calls.
    pub(crate) fn tasks(&self) -> usize {
        self.requests() * TASKS
    }

    /// Returns the requests of each place in the order of their lines.
    pub(crate) fn by_place(&self) -> BTreeMap<&Place, Vec<usize>> {
        let mut places: BTreeMap<&Place, Vec<usize>> = BTreeMap::new();
        for (request, place) in self.places.iter().enumerate() {
            places.entry(place).or_default().push(request);
        }
        places
    }

    /// Returns the place of a request.
    pub(crate) fn place(&self, request: usize) -> &Place {
        &self.places[request]
    }

    /// Writes the input.
    pub(crate) fn store(&self, path: &Path) {
        let mut text = String::new();
        for (request, place) in self.places.iter().enumerate() {
            let id = custom_id(request);
            let task = |(task, action): (usize, &&str)| {
                format!(
                    r#"{{"action":"{action}","input":"<{request}.{task}> Subject {request}, step {task}"}}"#
                )
            };
            let tasks: Vec<String> = plan(request).iter().enumerate().map(task).collect();
            let session = match place {
                Place::Alone(_) => String::new(),
                Place::Session { user, session } => {
                    format!(r#","user_id":"{user}","session_id":"{session}""#)
                }
            };
            let tasks = tasks.join(",");
            writeln!(
                text,
                r#"{{"custom_id":"{id}","query":"Subject {request}","tasks":[{tasks}]{session}}}"#
            )
            .expect("a string takes everything");
        }
        std::fs::write(path, text).expect("the input can be written");
    }
}

/// The actions of a request's tasks.
pub(crate) fn plan(request: usize) -> &'static [&'static str; TASKS] {
    &PLANS[request % PLANS.len()]
}

/// A request's `custom_id`.
pub(crate) fn custom_id(request: usize) -> String {
    format!("r{request:05}")
}

/// The request of a `custom_id`.
pub(crate) fn request(custom_id: &str) -> Option<usize> {
    custom_id.strip_prefix('r')?.parse().ok()
}
