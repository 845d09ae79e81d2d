//! Foreign result files, several files of one run, and none.

use super::form::Form;
use super::harness::Scenario;
use super::input;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// The foreign content of the file. Its last line has no end.
const FOREIGN: &[u8] = b"{\"kept\":1}\nnot ours";

#[test]
fn a_file_of_others_is_refused_kept_or_replaced() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("foreign file", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    std::fs::write(scenario.path("out.jsonl"), FOREIGN).unwrap();
    let refused = scenario.nova3(&RUN);
    assert_eq!(refused.code, Some(110), "oracle `exit`: {}", refused.stderr);
    assert_eq!(scenario.bytes("out.jsonl"), FOREIGN, "oracle `untouched`");
    assert!(scenario.settle(&[], false).is_empty(), "oracle `nothing spent`");

    let append = [&RUN[..], &["--append"]].concat();
    scenario.grind(&append, form.requests / 2, form.kills);
    scenario.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    assert!(
        scenario
            .bytes("out.jsonl")
            .starts_with(&[FOREIGN, b"\n"].concat()),
        "oracle `prefix`"
    );

    // A removed line stays while the file is kept by `--append`, and no longer.
    let mut fewer = lines.clone();
    fewer.remove(5);
    scenario.input(&fewer);
    scenario.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    scenario.complete(&RUN, "out.jsonl", &fewer, false, FOREIGN.len() + 1);
    scenario.input(&lines);
    scenario.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    assert!(
        scenario
            .bytes("out.jsonl")
            .starts_with(&[FOREIGN, b"\n"].concat()),
        "oracle `prefix`"
    );

    // Another program writes behind our lines, so the file is no longer ours alone.
    let mut spoiled = scenario.bytes("out.jsonl");
    spoiled.extend_from_slice(b"{\"theirs\":1}\n");
    std::fs::write(scenario.path("out.jsonl"), &spoiled).unwrap();
    let refused = scenario.nova3(&RUN);
    assert_eq!(refused.code, Some(110), "oracle `exit`: {}", refused.stderr);
    assert_eq!(scenario.bytes("out.jsonl"), spoiled, "oracle `untouched`");

    let overwrite = [&RUN[..], &["--overwrite"]].concat();
    scenario.finish(&overwrite, "out.jsonl", &lines, false);
    scenario.report(form.requests);
}

#[test]
fn a_file_of_others_is_overwritten_while_being_killed() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("overwrite", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    std::fs::write(scenario.path("out.jsonl"), FOREIGN).unwrap();
    let overwrite = [&RUN[..], &["--overwrite"]].concat();
    scenario.grind(&overwrite, form.requests, form.kills);
    scenario.finish(&overwrite, "out.jsonl", &lines, false);
    scenario.report(form.requests);
}

#[test]
fn a_second_file_gets_everything_and_an_absent_one_is_rebuilt() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("second and absent file", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    let second = ["run", "in.jsonl", "-o", "second.jsonl"];
    scenario.grind(&RUN, form.requests / 2, form.kills.div_ceil(2));
    scenario.grind(&second, form.requests, form.kills.div_ceil(2));
    drop(std::fs::remove_file(scenario.path("out.jsonl")));
    scenario.grind(&RUN, form.requests, 1);
    scenario.finish(&second, "second.jsonl", &lines, false);
    let before = scenario.account.calls;
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    std::fs::remove_file(scenario.path("out.jsonl")).unwrap();
    scenario.finish(&RUN, "out.jsonl", &lines, false);
    assert_eq!(
        scenario.account.calls, before,
        "oracle `free`: another file cost calls"
    );
    assert!(
        scenario.bytes("out.jsonl") == scenario.bytes("second.jsonl"),
        "oracle `once`: two files differ"
    );
    scenario.report(form.requests);
}
