//! Inputs of requests with three tasks each, every task of them with a mark of its own in its prompt.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Tasks of each request.
pub(crate) const TASKS: usize = 3;

/// What the requests do, by turns. Each kind of item has a counter of its own in a session.
const PLANS: [[&str; TASKS]; 4] = [
    ["insight", "profile", "answer"],
    ["answer", "answer", "answer"],
    ["insight", "insight", "answer"],
    ["profile", "answer", "insight"],
];

/// Lines whose order is mixed: those of a session lie near each other, so that they wait for each other.
const NEAR: usize = 60;

/// Where items are numbered and order is kept: a session of a user, or a request that is alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Alone(usize),
    Session { user: String, session: String },
}

impl Place {
    fn of_session(number: usize) -> Self {
        // Each name of a session is used by two users: sessions are told apart by both.
        Self::Session {
            user: format!("u{}", number % 2),
            session: format!("s{}", number / 2),
        }
    }
}

/// The lines of an input: the place of each.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) places: Vec<Place>,
}

impl Work {
    /// So many requests; about three of five are in sessions of two to five lines.
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

    /// Calls that are needed.
    pub(crate) fn tasks(&self) -> usize {
        self.requests() * TASKS
    }

    /// The requests of each place in the order of their lines.
    pub(crate) fn by_place(&self) -> BTreeMap<&Place, Vec<usize>> {
        let mut places: BTreeMap<&Place, Vec<usize>> = BTreeMap::new();
        for (request, place) in self.places.iter().enumerate() {
            places.entry(place).or_default().push(request);
        }
        places
    }

    /// The place of each request.
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
