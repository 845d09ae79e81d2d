//! An input that has changed: the change is reported before any work begins, and the result file is not emptied.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, Provider, Running, question, questions, setup, setup_with, until};
use crate::cli::provider::{Say, Scripted};

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

fn finished(count: usize) -> (Harness, Provider) {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", count);
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    (harness, provider)
}

#[test]
fn an_input_without_requests_leaves_the_result_file_as_it_is() {
    let (harness, provider) = finished(5);
    let good = harness.read("out.jsonl");
    for content in ["", "\n \r\n", "\u{feff}"] {
        harness.write("in.jsonl", content);
        for flags in [&[][..], &["--append"], &["--overwrite"], &["--retry-failed"]] {
            let ran = harness.nova3(&[&RUN[..], flags].concat());
            let message = "run `in.jsonl`: the input holds no requests\n";
            assert_eq!((ran.code, ran.err.as_str()), (Some(4), message), "{flags:?}");
            assert_eq!(harness.read("out.jsonl"), good, "{content:?} {flags:?}");
        }
    }
    std::fs::remove_file(harness.path("in.jsonl")).unwrap();
    let ran = harness.nova3(&[&RUN[..], &["--run", "other"]].concat());
    assert_eq!(ran.code, Some(3), "no run was made from it: {}", ran.err);
    harness.write_questions("in.jsonl", 5);
    assert_eq!(harness.nova3(&RUN).code, Some(0));
    std::fs::remove_file(harness.path("in.jsonl")).unwrap();
    let ran = harness.nova3(&RUN);
    let message = "nova3: input `DIR/in.jsonl` of run `in.jsonl` no longer exists (the results stay; put the file back to go on)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(4), message));
    assert_eq!((&harness.read("out.jsonl"), provider.calls()), (&good, 5));
    // A pipe without a request.
    let ran = harness.nova3_reading(&["run", "-", "--run", "in.jsonl", "-o", "out.jsonl"], "\n");
    assert_eq!(
        (ran.code, harness.read("out.jsonl")),
        (Some(4), good),
        "{}",
        ran.err
    );
    assert_eq!(harness.status(&[])["total"], 5);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn how_the_input_has_changed_is_told_before_anything_is_done() {
    let (harness, provider) = finished(6);
    let told = |err: &str| {
        let lines: Vec<&str> = err.lines().filter(|line| line.contains("has changed")).collect();
        lines.join("; ")
    };
    assert_eq!(told(&harness.nova3(&RUN).err), "", "nothing has changed");
    let mut edited = questions(2) + &question("q3", "else") + &question("q4", "other");
    for new in ["a", "b", "c"] {
        edited += &question(new, "new");
    }
    harness.write("in.jsonl", &edited);
    let ran = harness.nova3(&RUN);
    let line = "run `in.jsonl`: the input has changed: 3 new, 2 changed, 2 removed";
    assert_eq!(
        (ran.code, ran.err.lines().next()),
        (Some(0), Some(line)),
        "{}",
        ran.err
    );
    harness.write("in.jsonl", edited.clone() + "bad\n");
    assert_eq!(
        told(&harness.nova3(&RUN).err),
        "run `in.jsonl`: the input has changed: 1 new"
    );
    harness.write("in.jsonl", questions(1));
    assert_eq!(
        told(&harness.nova3(&RUN).err),
        "run `in.jsonl`: the input has changed: 7 removed"
    );
    assert_eq!((provider.calls(), harness.results("out.jsonl").len()), (11, 1));
    // Other metadata or another order of lines changes no result.
    harness.write("in.jsonl", edited);
    harness.nova3(&RUN);
    let swapped = question("q2", "question 2") + &questions(1);
    harness.write("in.jsonl", &swapped);
    assert_eq!(
        told(&harness.nova3(&RUN).err),
        "run `in.jsonl`: the input has changed: 5 removed"
    );
    harness.write("in.jsonl", questions(2));
    assert_eq!(told(&harness.nova3(&RUN).err), "");
    assert_eq!(provider.calls(), 11);
}

#[test]
fn nothing_is_called_before_a_changed_input_is_told() {
    let (harness, provider) = finished(3);
    let edited = (1..=400).fold(questions(3), |text, n| text + &question(&format!("r{n}"), "new"));
    harness.write("in.jsonl", edited);
    let mut run = Running::start(harness.command(&RUN));
    let mut err = std::io::BufReader::new(run.child().stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut err, &mut first).unwrap();
    assert_eq!(first, "run `in.jsonl`: the input has changed: 400 new\n");
    assert_eq!(run.output().status.code(), Some(0));
    assert_eq!(provider.calls(), 403);
}

#[test]
fn a_look_at_a_file_that_is_being_written_is_no_fault() {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let provider = Scripted::start(move |_| {
        wait.lock().unwrap().recv().unwrap_or_default();
        let body =
            r#"{"choices":[{"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}"#;
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: body.to_owned(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 60);
    let mut run = Running::start(harness.command(&[&RUN[..], &["-j", "1"]].concat()));
    let process = run.child().id();
    let file = harness.path("out.jsonl");
    let lines = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    let is_settled = |count: usize| {
        let ran = harness.nova3(&["verify"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        let said = format!(
            "{}: being written by process {process}; {count} lines so far, each finished request exactly once\n",
            file.display()
        );
        ran.out == said
    };
    for count in 1..=3 {
        go_on.send(()).unwrap();
        until("a line", || lines() == count);
        // The last line is announced at first, and settled a moment later.
        until("a settled line", || is_settled(count));
    }
    // A line that differs from the store is reported at once.
    let good = harness.read("out.jsonl");
    harness.write("out.jsonl", good.replacen("good", "evil", 1));
    let ran = harness.nova3(&["verify"]);
    assert_eq!(ran.code, Some(110));
    assert!(ran.out.contains("line 1 of this run differs"), "{}", ran.out);
    harness.write("out.jsonl", &good);
    // Verifies while lines are being appended.
    drop(go_on);
    while run.child().try_wait().unwrap().is_none() {
        let ran = harness.nova3(&["verify"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    }
    assert_eq!(run.output().status.code(), Some(0));
    let ran = harness.nova3(&["verify"]);
    let proof = format!(
        "{}: 60 lines, each finished request exactly once\n",
        file.display()
    );
    assert_eq!((ran.code, ran.out), (Some(0), proof));
}

#[test]
fn all_changed_lines_of_a_reading_cost_one_rewrite_of_the_file() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let input = |changed: usize| -> String {
        let query = |n: usize| if n % 200 < changed { "Why not?" } else { "Why?" };
        (0..1500).map(|n| question(&format!("q{n}"), query(n))).collect()
    };
    harness.write("in.jsonl", input(0));
    let run = [&RUN[..], &["-j", "50", "-v"]].concat();
    assert_eq!(harness.nova3(&run).code, Some(0));
    harness.write("in.jsonl", input(1));
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        ran.err.matches("the result file was written anew").count(),
        1,
        "{}",
        ran.err
    );
    assert_eq!(harness.results("out.jsonl").len(), 1500);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}
