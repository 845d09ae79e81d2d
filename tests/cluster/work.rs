//! The inputs of two runs that share sessions. Every task has its own mark in its prompt.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use super::form::Form;

/// The tasks of the requests, by turns. Each kind of item has its own counter in a session.
const PLANS: [[&str; 2]; 4] = [
    ["insight", "answer"],
    ["answer", "answer"],
    ["profile", "insight"],
    ["answer", "profile"],
];

/// The range in which lines are shuffled. Lines of a session stay near each other, so that they wait for each other.
const NEAR: usize = 60;

/// One session for each `HOT` requests has `HOT_LINES` lines, so that it lasts for most of a run.
const HOT: usize = 400;
const HOT_LINES: usize = 20;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its line gives its tasks.
    Given,
    /// A model plans its tasks.
    Planned,
    /// It runs on a route with a limit that binds.
    Limited,
    /// It is too long for every model and fails without a call.
    TooLong,
}

/// The number of a user's session. A request without one is `None`.
pub(crate) type Session = Option<usize>;

/// The requests of both runs, those of the first one first.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    sessions: Vec<Session>,
    kinds: Vec<Kind>,
    first: usize,
}

impl Work {
    pub(crate) fn mixed(form: Form, rng: &mut fastrand::Rng) -> Self {
        let hot = form.requests / HOT;
        let mut session = hot;
        let mut slots: Vec<Session> = (0..hot).flat_map(|hot| vec![Some(hot); HOT_LINES]).collect();
        rng.shuffle(&mut slots);
        while slots.len() < form.requests {
            if rng.u8(..10) < 2 {
                let lines = rng.usize(2..=5).min(form.requests - slots.len());
                slots.extend(vec![Some(session); lines]);
                session += 1;
            } else {
                slots.push(None);
            }
        }
        let behind = (hot * HOT_LINES).min(slots.len());
        for near in slots[behind..].chunks_mut(NEAR) {
            rng.shuffle(near);
        }
        // The second run uses the same sessions: the hot ones, and the first of the others.
        for number in 0..form.second {
            slots.push(if number % 3 == 0 && hot > 0 {
                Some(rng.usize(..hot))
            } else {
                Some(hot + number % (session - hot).max(1))
            });
        }
        let kind = |session: &Session| match rng.u16(..1000) {
            0..10 => Kind::TooLong,
            10..30 => Kind::Planned,
            // Their session would wait for the limit as well.
            30..36 if form.long && session.is_none() => Kind::Limited,
            _ => Kind::Given,
        };
        Self {
            kinds: slots.iter().map(kind).collect(),
            sessions: slots,
            first: form.requests,
        }
    }

    /// Requests of the first run that wait for a limit, one call each. The second run has none.
    pub(crate) fn limited(requests: usize) -> Self {
        Self {
            sessions: vec![None; requests],
            kinds: vec![Kind::Limited; requests],
            first: requests,
        }
    }

    /// The requests of the runs, by the number of the run.
    pub(crate) fn run(&self, run: usize) -> Range<usize> {
        if run == 0 {
            0..self.first
        } else {
            self.first..self.kinds.len()
        }
    }

    /// Returns the run of a request.
    pub(crate) fn run_of(&self, request: usize) -> usize {
        usize::from(request >= self.first)
    }

    pub(crate) fn kind(&self, request: usize) -> Kind {
        self.kinds[request]
    }

    pub(crate) fn session(&self, request: usize) -> Session {
        self.sessions[request]
    }

    pub(crate) fn requests(&self) -> usize {
        self.kinds.len()
    }

    /// Returns how many requests of a run fail, as expected.
    pub(crate) fn failing(&self, run: usize) -> usize {
        self.run(run)
            .filter(|request| self.kinds[*request] == Kind::TooLong)
            .count()
    }

    /// Writes the input of a run.
    pub(crate) fn store(&self, run: usize, path: &Path) {
        let mut text = String::new();
        for request in self.run(run) {
            writeln!(text, "{{{}}}", self.line(request)).expect("a string takes everything");
        }
        std::fs::write(path, text).expect("the input can be written");
    }

    fn line(&self, request: usize) -> String {
        let mut line = format!(r#""custom_id":"{}""#, custom_id(request));
        // Two users use each session name, because a session is identified by both.
        if let Some(number) = self.sessions[request] {
            let (user, session) = (number % 2, number / 2);
            line += &format!(r#","user_id":"u{user}","session_id":"s{session}""#);
        }
        let task = |(task, action): (usize, &&str)| {
            format!(r#"{{"action":"{action}","input":"<{request}.{task}> Subject {request}, step {task}"}}"#)
        };
        line + &match self.kinds[request] {
            Kind::Given => {
                let tasks: Vec<String> = PLANS[request % PLANS.len()]
                    .iter()
                    .enumerate()
                    .map(task)
                    .collect();
                format!(r#","query":"Subject {request}","tasks":[{}]"#, tasks.join(","))
            }
            Kind::TooLong => {
                let task = task((0, &"answer"));
                format!(r#","model":"tiny","query":"Subject {request}","tasks":[{task}]"#)
            }
            Kind::Limited => {
                let task = task((0, &"answer"));
                format!(r#","model":"limited","query":"Subject {request}","tasks":[{task}]"#)
            }
            Kind::Planned => format!(r#","query":"<{request}.0> Subject {request}""#),
        }
    }
}

/// A request's `custom_id`.
pub(crate) fn custom_id(request: usize) -> String {
    format!("r{request:05}")
}

/// The request of a `custom_id`.
pub(crate) fn request(custom_id: &str) -> Option<usize> {
    custom_id.strip_prefix('r')?.parse().ok()
}
