//! A missing model, route or folder would fail every line. It stops the run before the first call.

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, lines, question, setup, setup_with};
use crate::cli::provider::{Say, Scripted};

const NO_MODEL: &str = "route `default` names no model (set `OPENAI_MODEL`, `-m`, or `model` of the route)";

fn batch(id: &str) -> String {
    format!(
        "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"own\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}}}\n"
    )
}

fn without_model() -> (Harness, crate::cli::harness::Provider) {
    let (harness, provider) = setup_with(MockConfig::default());
    (harness.with("OPENAI_MODEL", ""), provider)
}

#[test]
fn a_forgotten_model_touches_no_request() {
    let (harness, provider) = without_model();
    harness.write(
        "in.jsonl",
        batch("b1") + &question("q1", "hello") + &question("q2", "hello"),
    );
    for args in [
        &["run", "in.jsonl"][..],
        &["run", "in.jsonl", "--strict"],
        &["check", "in.jsonl"],
        &["plan", "--call", "in.jsonl"],
    ] {
        let ran = harness.nova3(args);
        let message = format!("nova3: line 2: {NO_MODEL}\n");
        assert_eq!((ran.code, ran.err), (Some(2), message), "{args:?}");
        assert!(!harness.path("nova3.db").exists(), "{args:?}");
    }
    let ran = harness.nova3_reading(&["run", "-", "--run", "a"], question("q1", "hello"));
    assert_eq!(
        (ran.code, ran.err),
        (Some(2), format!("nova3: line 1: {NO_MODEL}\n"))
    );
    assert_eq!(provider.calls(), 0);
    let ran = harness.nova3(&["run", "in.jsonl", "-m", "m"]);
    assert_eq!((ran.code, provider.calls()), (Some(0), 3), "{}", ran.err);
    // A run without a model stops even if all requests are finished, and changes nothing.
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(2));
    assert_eq!(harness.nova3(&["run", "in.jsonl", "-m", "m"]).code, Some(0));
}

#[test]
fn batch_lines_name_their_own_model() {
    let (harness, _provider) = without_model();
    harness.write("in.jsonl", batch("b1") + &batch("b2"));
    for args in [&["check", "in.jsonl"][..], &["run", "in.jsonl"]] {
        assert_eq!(harness.nova3(args).code, Some(0), "{args:?}");
    }
    let ran = harness.nova3_reading(&["run", "-", "--run", "a"], batch("b1"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_request_that_comes_late_without_a_model_is_left_and_not_failed() {
    let (harness, _provider) = without_model();
    // The first line needs no model, and the rest of a pipe is not known when the run begins.
    let ran = harness.nova3_reading(
        &["run", "-", "--run", "a"],
        batch("b1") + &question("q1", "hello"),
    );
    assert_eq!(ran.code, Some(105), "{}", ran.err);
    assert!(ran.err.contains("names no model"), "{}", ran.err);
    let ran = harness.nova3_reading(
        &["run", "-", "--run", "a", "-m", "m"],
        batch("b1") + &question("q1", "hello"),
    );
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(0), 2), "{}", ran.err);
}

#[test]
fn a_route_without_a_model_is_passed_over() {
    let model = Scripted::start(|_| crate::cli::model::says("an answer"));
    let harness = setup();
    let route =
        |name: &str, more: &str| format!("[routes.{name}]\nbase_url = \"{}\"\n{more}\n", model.base_url());
    let settings = route("a", "") + &route("b", "model = \"m\"") + "[chains]\nboth = [\"a\", \"b\"]\n";
    harness.write("nova3.toml", settings);
    harness.write("in.jsonl", question("q1", "hello"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out)[0]["tasks"][0]["route"], "b");
}

#[test]
fn an_agent_whose_route_has_no_model_is_refused() {
    let (harness, provider) = setup_with(MockConfig::default());
    let route = |name: &str, more: &str| {
        format!(
            "[routes.{name}]\nbase_url = \"{}\"\n{more}\n",
            provider.base_url()
        )
    };
    let settings = "[run]\nmodel = \"a\"\n[agents]\nfolder = \"mine\"\n".to_owned()
        + &route("a", "model = \"m\"")
        + &route("b", "");
    harness.write("nova3.toml", settings);
    std::fs::create_dir(harness.path("mine")).unwrap();
    let built_in = include_str!("../../agents/answer.toml");
    harness.write("mine/answer.toml", format!("model = \"b\"\n{built_in}"));
    harness.write("in.jsonl", question("q1", "hello"));
    for command in ["run", "check"] {
        let ran = harness.nova3(&[command, "in.jsonl"]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(
            ran.err.contains("answer.toml`: `b` names no model"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn an_unknown_route_and_a_missing_folder_stop_the_run_too() {
    let said = |_: &str| Say {
        status: 400,
        headers: "",
        body: String::new(),
    };
    let model = Scripted::start(said);
    let harness = setup();
    let route = |name: &str| {
        format!(
            "[routes.{name}]\nbase_url = \"{}\"\nmodel = \"m\"\n",
            model.base_url()
        )
    };
    harness.write("in.jsonl", question("q1", "hello"));
    for (settings, flags, message) in [
        (
            route("a") + &route("b"),
            &["-m", "c"][..],
            "`run.model` is `c`: expected a route or a chain: one of `a`, `b`",
        ),
        (route("a") + &route("b"), &[], "`run.model` is missing"),
        (
            route("a") + "[chains]\nx = [\"a\", \"nope\"]\n",
            &[],
            "`chains.x` is `nope`",
        ),
        (route("a") + "[agents]\nfolder = \"nowhere\"\n", &[], "nowhere"),
    ] {
        harness.write("nova3.toml", settings);
        for command in [&["run"][..], &["check"], &["plan", "--call"], &["worker"]] {
            let input = if command == ["worker"] {
                &[][..]
            } else {
                &["in.jsonl"]
            };
            let ran = harness.nova3(&[command, input, flags].concat());
            assert_eq!(ran.code, Some(2), "{command:?} {message}: {}", ran.err);
            let reaches_agents = command != ["worker"] || message != "nowhere";
            assert!(
                !reaches_agents || ran.err.contains(message),
                "{command:?}: {}",
                ran.err
            );
            assert!(!harness.path("nova3.db").exists());
        }
    }
    assert!(model.bodies().is_empty());
}
