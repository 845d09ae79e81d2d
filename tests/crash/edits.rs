//! The input changes between kills.

use super::form::Form;
use super::harness::{Moment, Scenario};
use super::input::{self, Line};

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// An input with random edits.
struct Editor {
    rng: fastrand::Rng,
    lines: Vec<Line>,
    removed: Vec<Line>,
    next: usize,
}

impl Editor {
    fn new(rng: fastrand::Rng, count: usize) -> Self {
        Self {
            rng,
            lines: input::batch(count),
            removed: Vec::new(),
            next: count,
        }
    }

    /// Edits about a tenth of the lines.
    fn edit(&mut self) {
        for _ in 0..self.lines.len().div_ceil(10) {
            let place = self.rng.usize(..self.lines.len());
            match self.rng.u8(..6) {
                0 => self.removed.push(self.lines.remove(place)),
                1 => {
                    self.lines.insert(place, Line::batch(self.next));
                    self.next += 1;
                }
                2 => self.lines[place].version += 1,
                // This undoes an edit, and the answer may be known.
                3 => self.lines[place].version = 1,
                4 => {
                    if let Some(line) = self.removed.pop() {
                        self.lines.insert(place, line);
                    }
                }
                _ => {
                    let line = self.lines.remove(place);
                    let there = self.rng.usize(..=self.lines.len());
                    self.lines.insert(there, line);
                }
            }
        }
    }
}

fn edited(name: &'static str, flags: &[&str], in_order: bool) {
    let form = Form::get().smaller();
    edited_in(&mut Scenario::new(name, form), form, name, flags, in_order);
}

fn edited_in(scenario: &mut Scenario, form: Form, name: &'static str, flags: &[&str], in_order: bool) {
    let mut editor = Editor::new(form.rng(name), form.requests);
    let args = [&RUN[..], flags].concat();
    for kill in 0..2 * form.kills {
        scenario.input(&editor.lines);
        let share = (form.requests / form.kills).max(1);
        let moment = if kill % 3 == 2 {
            // A file that is rewritten in place is short for a while.
            Moment::Replacing(scenario.length("out.jsonl"))
        } else {
            scenario.moment(share)
        };
        scenario.life(&args, moment, share);
        if kill % 4 == 3 {
            scenario.finish(&args, "out.jsonl", &editor.lines, in_order);
        }
        editor.edit();
    }
    scenario.input(&editor.lines);
    scenario.finish(&args, "out.jsonl", &editor.lines, in_order);
    println!(
        "crash-test: {name}: {} lines at the end, {} kills, {} calls, {} in flight at kills",
        editor.lines.len(),
        scenario.account.kills,
        scenario.account.calls,
        scenario.account.lost
    );
}

#[test]
fn an_edited_input_pays_for_its_changes_alone() {
    edited("edit", &[], false);
}

#[test]
fn an_edited_input_pays_for_its_changes_alone_in_its_order() {
    edited("edit, --keep-order", &["--keep-order"], true);
}

#[test]
fn a_file_with_a_second_name_is_edited_where_it_stands() {
    let name = "edit, in place";
    let form = Form::get().smaller();
    let mut scenario = Scenario::new(name, form);
    let (one, other) = (scenario.path("out.jsonl"), scenario.path("second.jsonl"));
    std::fs::write(&one, "").unwrap();
    std::fs::hard_link(&one, &other).unwrap();
    edited_in(&mut scenario, form, name, &[], false);
    assert_eq!(
        scenario.bytes("second.jsonl"),
        scenario.bytes("out.jsonl"),
        "oracle `both names`"
    );
}

#[test]
fn undoing_an_edit_costs_nothing() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("undo", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    let mut changed = lines.clone();
    changed.iter_mut().step_by(3).for_each(|line| line.version = 2);
    scenario.input(&changed);
    scenario.finish(&RUN, "out.jsonl", &changed, false);
    let before = scenario.account.calls;
    assert_eq!(
        before,
        form.requests + form.requests.div_ceil(3),
        "oracle `edit`: a changed line is called once"
    );
    for kill in 0..form.kills {
        scenario.input(if kill % 2 == 0 { &lines } else { &changed });
        let moment = if kill % 2 == 0 {
            Moment::Replacing(scenario.length("out.jsonl"))
        } else {
            scenario.moment(20)
        };
        scenario.life(&RUN, moment, 1);
    }
    scenario.input(&lines);
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    assert_eq!(
        scenario.account.calls, before,
        "oracle `free`: undoing an edit was paid for"
    );
    println!(
        "crash-test: undo: {} requests, {} kills, no call for an undone edit",
        form.requests, scenario.account.kills
    );
}
