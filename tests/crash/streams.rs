//! Standard output and standard input.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use super::form::Form;
use super::harness::Scenario;
use super::input;
use super::oracle;
use super::process::until;

#[test]
fn every_invocation_prints_all_finished_lines_once() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("stdout", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    let run = ["run", "in.jsonl"];
    for _ in 0..form.kills {
        let share = form.requests / form.kills;
        let moment = scenario.moment(share);
        let running = scenario.start(&run);
        let stdout = running.stdout.clone().expect("a file");
        drop(scenario.kill_at(running, moment, share));
        let printed = std::fs::read(stdout).unwrap();
        let end = printed
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let found = oracle::whole_lines(&printed[..end]);
        let ids: BTreeSet<&String> = found.iter().map(|(id, _)| id).collect();
        assert_eq!(
            ids.len(),
            found.len(),
            "oracle `once`: an invocation printed a line twice"
        );
    }
    for flags in [&[][..], &["--keep-order"], &[]] {
        let ended = scenario.nova3(&[&run[..], flags].concat());
        assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
        scenario.settle(&[], false);
        oracle::once(
            &ended.stdout,
            &lines,
            &scenario.account.digests,
            !flags.is_empty(),
        );
    }
    // After an edit the known lines come first, then the new ones. Removed lines are not printed.
    let mut edited = lines.clone();
    edited.remove(7);
    edited[3].version = 2;
    edited.push(input::Line::batch(form.requests));
    scenario.input(&edited);
    let ended = scenario.nova3(&run);
    let new = scenario.settle(&[], false);
    assert_eq!(
        new.len(),
        2,
        "oracle `edit`: a changed and a new line are called once each"
    );
    oracle::once(&ended.stdout, &edited, &scenario.account.digests, false);
    scenario.report(form.requests + 2);
}

#[test]
fn standard_input_with_a_name_is_resumed() {
    let form = Form::get().smaller();
    let mut scenario = Scenario::new("stdin", form);
    let lines = input::batch(form.requests);
    scenario.input(&lines);
    let run = ["run", "-", "--run", "piped", "-o", "out.jsonl"];
    for _ in 0..form.kills {
        let share = form.requests / form.kills;
        let moment = scenario.moment(share);
        let stdin = File::open(scenario.path("in.jsonl")).unwrap();
        let running = scenario.start_with(&run, stdin.into());
        drop(scenario.kill_at(running, moment, share));
    }
    // The pipe is still being written. The lines that came in are answered, and then the process is killed.
    let mut running = scenario.start_with(&run, Stdio::piped());
    let mut pipe = running.child.stdin.take().unwrap();
    let text = input::text(&lines);
    let half = text.len() / 2;
    pipe.write_all(&text.as_bytes()[..half]).unwrap();
    let came = text[..half].lines().count() - 1;
    until("the first half to be answered", || {
        let bytes = std::fs::read(scenario.path("out.jsonl")).unwrap_or_default();
        (bytes.split(|byte| *byte == b'\n').count() > came).then_some(())
    });
    assert!(
        running.kill().is_none(),
        "oracle `stream`: it did not wait for the rest of its input"
    );
    scenario.settle(&["out.jsonl"], true);
    let stdin = File::open(scenario.path("in.jsonl")).unwrap();
    let ended = scenario.start_with(&run, stdin.into()).wait();
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    oracle::once(
        &scenario.bytes("out.jsonl"),
        &lines,
        &scenario.account.digests,
        false,
    );
    scenario.report(form.requests);
}
