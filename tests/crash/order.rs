//! The order inside sessions.

use super::form::Form;
use super::harness::Scenario;
use super::input::{self, Line, Shape};
use super::oracle;

/// Latencies from a few milliseconds to ten times that.
const UNEVEN: [&str; 4] = ["--latency", "12ms", "--tail", "0.3"];

const LONG: usize = 50;

/// A session of 50 lines among 8 others and lines without a session, shuffled. Identities count from `first`.
fn mixed(rng: &mut fastrand::Rng, first: usize) -> Vec<Line> {
    let mut sessions: Vec<Option<String>> = vec![Some("long".to_owned()); LONG];
    for other in 0..8 {
        sessions.extend(vec![Some(format!("other{other}")); rng.usize(3..12)]);
    }
    sessions.extend(vec![None; 60]);
    rng.shuffle(&mut sessions);
    let line = |(index, session)| Line {
        id: first + index,
        version: 1,
        form: Shape::Flat(session),
    };
    sessions.into_iter().enumerate().map(line).collect()
}

/// Returns the markers of each session in the order of the lines.
fn sessions(lines: &[Line]) -> Vec<Vec<String>> {
    let mut names: Vec<&String> = lines
        .iter()
        .filter_map(|line| {
            if let Shape::Flat(Some(name)) = &line.form {
                Some(name)
            } else {
                None
            }
        })
        .collect();
    names.sort();
    names.dedup();
    let of = |name: &String| {
        let ours = lines
            .iter()
            .filter(|line| matches!(&line.form, Shape::Flat(Some(session)) if session == name));
        ours.map(Line::marker).collect()
    };
    names.into_iter().map(of).collect()
}

#[test]
fn a_session_never_overlaps_and_keeps_its_order() {
    let form = Form::get();
    let run = ["run", "in.jsonl", "-o", "out.jsonl"];
    let mut scenario = Scenario::with("order", form, &UNEVEN);
    let lines = mixed(&mut form.rng("lines"), 0);
    scenario.input(&lines);
    scenario.grind(&run, lines.len(), form.kills);
    scenario.finish(&run, "out.jsonl", &lines, false);
    let calls = scenario.mock.calls();
    for markers in sessions(&lines) {
        oracle::session(&calls, &markers, &scenario.account.cuts);
    }
    scenario.report(lines.len());
}

#[test]
fn a_session_never_overlaps_across_two_runs() {
    let form = Form::get();
    let mut scenario = Scenario::with("order, two runs", form, &UNEVEN);
    let mut rng = form.rng("two inputs");
    let (first, second) = (mixed(&mut rng, 0), mixed(&mut rng, 10_000));
    input::store(&scenario.path("a.jsonl"), &first);
    input::store(&scenario.path("b.jsonl"), &second);
    let a = ["run", "a.jsonl", "-o", "out.jsonl"];
    let b = ["run", "b.jsonl", "-o", "b-out.jsonl"];
    scenario.grind(&a, first.len() / 2, 1);
    scenario.grind(&b, second.len() / 2, 1);
    scenario.grind(&a, first.len(), 1);
    // The unfinished queues of an idle run block no other run: B finishes before A does.
    scenario.finish(&b, "b-out.jsonl", &second, false);
    scenario.finish(&a, "out.jsonl", &first, false);
    let calls = scenario.mock.calls();
    for markers in sessions(&first).into_iter().chain(sessions(&second)) {
        oracle::session(&calls, &markers, &scenario.account.cuts);
    }
    let both: Vec<Line> = first.iter().chain(&second).cloned().collect();
    for markers in sessions(&both) {
        oracle::overlap(&calls, &markers, &scenario.account.cuts);
    }
    scenario.report(both.len());
}
