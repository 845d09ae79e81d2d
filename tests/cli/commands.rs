//! Commands that show a run, put requests back and prepare a folder.

use nova3::mock::{Faults, MockConfig};

use crate::cli::harness::{Provider, errors, ids, lines, question, setup, setup_with, sorted_ids};
use crate::cli::provider::{Say, Scripted};

#[test]
fn status_of_a_finished_run() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", question("a", "one") + "bad\n");
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(100)
    );
    let ran = harness.nova3(&["status"]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let shown = ran
        .out
        .replace(harness.path("").to_str().unwrap(), "DIR/")
        .replace(&format!("({host})"), "(HOST)");
    // The actions have times and process numbers, which `cli::actions` looks at.
    let (shown, actions) = shown.split_once("\n began").unwrap();
    assert!(actions.contains("finished"), "{actions}");
    insta::assert_snapshot!(shown);
    let status = harness.status(&["in.jsonl"]);
    let keys: Vec<&String> = status.as_object().unwrap().keys().collect();
    insta::assert_debug_snapshot!(keys);
    assert_eq!(
        (&status["done"], &status["failed"], &status["left"]),
        (&1.into(), &1.into(), &0.into())
    );
    let ran = harness.nova3(&["status", "other"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(4),
            "nova3: the store holds no run `other` (there are: `in.jsonl`)\n"
        )
    );
}

#[test]
fn a_store_is_found_where_the_settings_put_it() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let none = "nova3: there is no store `nova3.db` (start a run first, or name its store with `--store`)\n";
    for command in ["status", "results", "verify", "retry"] {
        let ran = harness.nova3(&[command]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(4), none), "{command}");
    }
    assert!(!harness.path("nova3.db").exists());
    harness.write("nova3.toml", "[run]\nstore = \"kept.db\"\n");
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert!(harness.path("kept.db").exists());
    for command in ["status", "results", "verify"] {
        assert_eq!(harness.nova3(&[command]).code, Some(0), "{command}");
    }
    harness.write("nova3.toml", "");
    assert_eq!(harness.nova3(&["run", "in.jsonl", "--mock", "-q"]).code, Some(0));
    let ran = harness.nova3(&["status"]);
    assert_eq!(
        ran.err,
        "nova3: there is no store `nova3.db` (rehearsals are in `--store nova3-mock.db`)\n"
    );
    let harness = harness.with("NOVA3_STORE", "nova3-mock.db");
    assert_eq!(harness.nova3(&["status"]).code, Some(0));
}

#[test]
fn a_rehearsal_never_mixes_with_a_real_run() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    assert_eq!(harness.nova3(&["run", "in.jsonl", "--mock"]).code, Some(0));
    assert_eq!(provider.calls(), 0);
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    assert_eq!(provider.calls(), 2);
}

#[test]
fn results_are_filtered() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", question("a", "one") + &question("b", "two") + "bad\n");
    let printed = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    let results = |args: &[&str]| harness.nova3(&[&["results"], args].concat());
    assert_eq!(results(&["--order", "input"]).out, printed.out);
    assert_eq!(
        sorted_ids(&lines(&results(&["--status", "completed"]).out)),
        ["a", "b"]
    );
    assert_eq!(errors(&lines(&results(&["--status", "failed"]).out)).len(), 1);
    assert_eq!(ids(&lines(&results(&["--id", "b", "--id", "none"]).out)), ["b"]);
    assert_eq!(ids(&lines(&results(&["--id", "none, b"]).out)), ["b"]);
    for nothing in [&["--status", "paused"][..], &["--id", "none"]] {
        let ran = results(nothing);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(4), "", ""));
    }
    insta::assert_snapshot!(results(&["--format", "text", "--order", "input"]).out);
}

#[test]
fn failures_are_put_back_by_class_and_id() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", question("a", "one") + &question("b", "two") + "bad\n");
    let cutting = Provider::start(MockConfig {
        faults: Faults {
            disconnect: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write("nova3.toml", "[retry]\nretries = 0\n");
    let harness = harness.with("OPENAI_BASE_URL", &cutting.base_url());
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(100));
    let none = "nova3: run `in.jsonl` has no such failed request\n";
    for nothing in [
        &["--class", "server,auth"][..],
        &["--id", "c"],
        &["--class", "server", "--id", "a"],
    ] {
        let ran = harness.nova3(&[&["retry"], nothing].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(4), none), "{nothing:?}");
    }
    let ran = harness.nova3(&["retry", "--class", "network", "--id", "none,a"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(0),
            "run `in.jsonl`: 1 failed request put back; `nova3 run` runs them again\n"
        )
    );
    let harness = harness.with("OPENAI_BASE_URL", &provider.base_url());
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!((ran.code, provider.calls()), (Some(100), 1));
    assert_eq!(
        lines(&ran.out)
            .iter()
            .map(|line| line["ok"].as_bool().unwrap())
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    let ran = harness.nova3(&["retry", "--class", "nonsense"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .starts_with("nova3: `--class`: `nonsense` is no error class (known: bad_request, auth,"),
        "{}",
        ran.err
    );
}

#[test]
fn what_a_model_says_cannot_steer_a_terminal() {
    let steering = "\u{1b}]0;title\u{7}\u{1b}[2Jred\u{9b}31m\r\u{8}over";
    let body = serde_json::json!({"choices": [{"message": {"role": "assistant", "content": steering}, "finish_reason": "stop"}]});
    let provider = Scripted::start(move |_| Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: body.to_string(),
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", question("a", "\u{1b}[31mone"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(lines(&ran.out)[0]["output"][0]["content"], steering);
    assert_eq!(
        harness.nova3(&["results", "--format", "text"]).out,
        "## a\n\n]0;title[2Jred31mover\n\n"
    );
}

#[test]
fn settings_are_shown_with_their_source_and_without_keys() {
    let harness = setup()
        .with("OPENAI_API_KEY", "sk-planted-1")
        .with("NOVA3_CONCURRENCY", "7")
        .with("NOVA3_STORE", "s.db");
    harness.write("planted", "sk-planted-2\n");
    harness.write("nova3.toml", "[run]\ngrace = \"5s\"\n[routes.a]\nbase_url = \"https://h/v1?key=sk-planted-3\"\nmodel = \"m\"\napi_key_file = \"planted\"\n");
    let ran = harness.nova3(&["config", "--rpm", "9", "--json"]);
    let settings: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let of = |key: &str| {
        format!(
            "{}, {}",
            settings[key]["value"].as_str().unwrap(),
            settings[key]["source"].as_str().unwrap()
        )
    };
    assert_eq!(of("run.concurrency"), "7, environment NOVA3_CONCURRENCY");
    assert_eq!(of("run.store"), "s.db, environment NOVA3_STORE");
    assert_eq!(of("run.grace"), "5s, file nova3.toml");
    assert_eq!(of("timeouts.idle"), "30s, default");
    assert_eq!(of("routes.a.rpm"), "9, flag --rpm");
    assert_eq!(of("routes.a.base_url"), "https://h/v1, file nova3.toml");
    assert_eq!(of("routes.a.key"), "(set), file planted");
    assert!(!ran.out.contains("sk-planted"), "{}", ran.out);
    insta::assert_snapshot!(harness.nova3(&["config"]).out);
}

#[test]
fn init_writes_both_files_or_none() {
    let harness = setup();
    let ran = harness.nova3(&["init", "new"]);
    let done = "wrote nova3.toml and requests.jsonl; try `nova3 run requests.jsonl --mock`\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), done));
    let keyed = setup().with("OPENAI_API_KEY", "k").with("OPENAI_MODEL", "m");
    let (settings, requests) = (harness.path("new/nova3.toml"), harness.path("new/requests.jsonl"));
    let ran = keyed.nova3(&[
        "check",
        "-c",
        settings.to_str().unwrap(),
        requests.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = harness.nova3(&["init", "new"]);
    let there = |file| format!("nova3: `{file}` already exists (remove it, or give another folder)\n");
    assert_eq!((ran.code, ran.err), (Some(2), there("new/nova3.toml")));
    std::fs::remove_file(harness.path("new/nova3.toml")).unwrap();
    let ran = harness.nova3(&["init", "new"]);
    assert_eq!((ran.code, ran.err), (Some(2), there("new/requests.jsonl")));
    assert!(!harness.path("new/nova3.toml").exists());
}

#[test]
fn a_mock_that_cannot_be_is_refused() {
    let harness = setup();
    for (args, message) in [
        (
            ["--faults", "nonsense"],
            "`--faults`: `nonsense`: expected NAME=SHARE",
        ),
        (
            ["--faults", "500=2"],
            "`--faults` is `2`: expected a share between 0 and 1",
        ),
        (
            ["--faults", "500=nan"],
            "`--faults` is `NaN`: expected a share between 0 and 1",
        ),
        (
            ["--faults", "fire=0.1"],
            "`--faults`: `fire` is none of 429, 500, disconnect, truncate, stall, garbage, error, 529",
        ),
        (
            ["--latency", "soon"],
            "`--latency` is `soon`: expected a duration such as `30s` or `2m`",
        ),
        (
            ["--tail", "-1"],
            "`--tail` is `-1`: expected a share between 0 and 1",
        ),
        (["--key-env", "UNSET"], "`--key-env`: variable `UNSET` is not set"),
    ] {
        let ran = harness.nova3(&[
            "mock",
            "--listen",
            "127.0.0.1:0",
            &format!("{}={}", args[0], args[1]),
        ]);
        assert_eq!((ran.code, ran.err), (Some(2), format!("nova3: {message}\n")));
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = harness.nova3(&["mock", "--listen", &address.to_string()]);
    let message = format!(
        "nova3: failed to listen on `{address}` (choose another with `--listen`): Address already in use (os error 98)\n"
    );
    assert_eq!((ran.code, ran.err), (Some(1), message));
}
