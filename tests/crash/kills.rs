//! The same command, killed repeatedly.

use super::form::Form;
use super::harness::Scenario;
use super::input;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

#[test]
fn killed_at_random_moments_every_answer_stands_once() {
    let form = Form::get();
    let mut scenario = Scenario::new("kill", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    scenario.grind(&RUN, form.requests, form.kills);
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    scenario.report(form.requests);
}

#[test]
fn killed_at_random_moments_lines_keep_the_order_of_the_input() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("kill, --keep-order", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    let args = [&RUN[..], &["--keep-order"]].concat();
    scenario.grind(&args, form.requests, form.kills);
    scenario.finish(&args, "out.jsonl", &lines, true);
    scenario.report(form.requests);
}

#[test]
fn killed_between_two_orders_the_file_has_the_last_one() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("kill, order changed", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    let ordered = [&RUN[..], &["--keep-order"]].concat();
    for kill in 0..form.kills {
        let args = if kill % 2 == 0 { &RUN[..] } else { &ordered };
        scenario.grind(args, form.requests / form.kills * (kill + 1), 1);
    }
    scenario.finish(&ordered, "out.jsonl", &lines, true);
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    scenario.report(form.requests);
}
