//! Result files of others, several of ours, and none.

use super::bench::Bench;
use super::form::Form;
use super::input;

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// What someone else has in the file; its last line has no end.
const FOREIGN: &[u8] = b"{\"kept\":1}\nnot ours";

#[test]
fn a_file_of_others_is_refused_kept_or_replaced() {
    let form = Form::get().smaller();
    let mut bench = Bench::new("foreign file", form);
    let lines = input::batch(form.requests);
    bench.input(&lines);
    std::fs::write(bench.path("out.jsonl"), FOREIGN).unwrap();
    let refused = bench.nova3(&RUN);
    assert_eq!(refused.code, Some(110), "oracle `exit`: {}", refused.stderr);
    assert_eq!(bench.bytes("out.jsonl"), FOREIGN, "oracle `untouched`");
    assert!(bench.settle(&[], false).is_empty(), "oracle `nothing spent`");

    let append = [&RUN[..], &["--append"]].concat();
    bench.grind(&append, form.requests / 2, form.kills);
    bench.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    assert!(
        bench.bytes("out.jsonl").starts_with(&[FOREIGN, b"\n"].concat()),
        "oracle `prefix`"
    );

    // A removed line stays as long as the file is kept by `--append`, and no longer.
    let mut fewer = lines.clone();
    fewer.remove(5);
    bench.input(&fewer);
    bench.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    bench.complete(&RUN, "out.jsonl", &fewer, false, FOREIGN.len() + 1);
    bench.input(&lines);
    bench.complete(&append, "out.jsonl", &lines, false, FOREIGN.len() + 1);
    assert!(
        bench.bytes("out.jsonl").starts_with(&[FOREIGN, b"\n"].concat()),
        "oracle `prefix`"
    );

    // Someone writes behind our lines: ours are not there alone any more.
    let mut spoiled = bench.bytes("out.jsonl");
    spoiled.extend_from_slice(b"{\"theirs\":1}\n");
    std::fs::write(bench.path("out.jsonl"), &spoiled).unwrap();
    let refused = bench.nova3(&RUN);
    assert_eq!(refused.code, Some(110), "oracle `exit`: {}", refused.stderr);
    assert_eq!(bench.bytes("out.jsonl"), spoiled, "oracle `untouched`");

    let overwrite = [&RUN[..], &["--overwrite"]].concat();
    bench.finish(&overwrite, "out.jsonl", &lines, false);
    bench.report(form.requests);
}

#[test]
fn a_file_of_others_is_overwritten_while_being_killed() {
    let form = Form::get().smaller();
    let mut bench = Bench::new("overwrite", form);
    let lines = input::batch(form.requests);
    bench.input(&lines);
    std::fs::write(bench.path("out.jsonl"), FOREIGN).unwrap();
    let overwrite = [&RUN[..], &["--overwrite"]].concat();
    bench.grind(&overwrite, form.requests, form.kills);
    bench.finish(&overwrite, "out.jsonl", &lines, false);
    bench.report(form.requests);
}

#[test]
fn a_second_file_gets_everything_and_an_absent_one_is_rebuilt() {
    let form = Form::get().smaller();
    let mut bench = Bench::new("second and absent file", form);
    let lines = input::batch(form.requests);
    bench.input(&lines);
    let second = ["run", "in.jsonl", "-o", "second.jsonl"];
    bench.grind(&RUN, form.requests / 2, form.kills.div_ceil(2));
    bench.grind(&second, form.requests, form.kills.div_ceil(2));
    drop(std::fs::remove_file(bench.path("out.jsonl")));
    bench.grind(&RUN, form.requests, 1);
    bench.finish(&second, "second.jsonl", &lines, false);
    let before = bench.account.calls;
    bench.finish(&RUN, "out.jsonl", &lines, false);
    std::fs::remove_file(bench.path("out.jsonl")).unwrap();
    bench.finish(&RUN, "out.jsonl", &lines, false);
    assert_eq!(
        bench.account.calls, before,
        "oracle `free`: another file cost calls"
    );
    assert!(
        bench.bytes("out.jsonl") == bench.bytes("second.jsonl"),
        "oracle `once`: two files differ"
    );
    bench.report(form.requests);
}
