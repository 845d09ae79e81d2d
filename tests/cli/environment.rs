//! Environment variables, and environments that lack usual parts.

use nova3::mock::MockConfig;

use crate::cli::harness::{lines, setup, setup_with};

#[test]
fn variables_stand_for_flags() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    let harness = harness
        .with("NOVA3_OUTPUT", "out.jsonl")
        .with("NOVA3_STORE", "env.db")
        .with("NOVA3_RUN", "named")
        .with("NOVA3_KEEP_ORDER", "1")
        .with("NOVA3_QUIET", "yes")
        .with("NOVA3_MODEL", "from-env");
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    let results = harness.results("out.jsonl");
    assert_eq!(
        (&results[0]["run"], &results[0]["index"]),
        (&"named".into(), &0.into())
    );
    assert_eq!(results[0]["tasks"][0]["model"], "from-env");
    // A flag overrides a variable.
    assert_eq!(
        lines(&harness.nova3(&["run", "in.jsonl", "-o", "-"]).out).len(),
        3
    );
    assert_eq!(provider.calls(), 3);
}

#[test]
fn an_empty_variable_is_none_and_a_switch_takes_any_yes_or_no() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let mut harness = harness;
    for name in [
        "CONFIG",
        "QUIET",
        "VERBOSE",
        "LOG_FORMAT",
        "COLOR",
        "OUTPUT",
        "STORE",
        "RUN",
        "CONCURRENCY",
        "MOCK",
        "TASKS",
        "RPM",
    ] {
        harness = harness.with(&format!("NOVA3_{name}"), "");
    }
    let ran = harness.nova3(&["run", "in.jsonl"]);
    let closing = "run `in.jsonl`: finished; 1 of 1 done; 1 call in TIME, no price configured\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), closing));
    for (value, quiet) in [
        ("1", true),
        ("yes", true),
        ("true", true),
        ("on", true),
        ("0", false),
        ("no", false),
        ("false", false),
    ] {
        harness = harness.with("NOVA3_QUIET", value);
        assert_eq!(
            harness.nova3(&["run", "in.jsonl"]).err.is_empty(),
            quiet,
            "{value}"
        );
    }
    let ran = harness.with("NOVA3_QUIET", "perhaps").nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn wrong_values_end_with_code_2_and_name_the_setting() {
    let harness = setup().with("OPENAI_BASE_URL", "http://127.0.0.1:1");
    harness.write_questions("in.jsonl", 1);
    for (args, message) in [
        (
            ["--idle-timeout", "soon"],
            "`timeouts.idle` is `soon`: expected a duration such as `30s`, `2m` or `1h 30m`",
        ),
        (["-j", "0"], "`run.concurrency` is `0`: expected 1 to 100000"),
        (["--rpm", "0"], "`routes.default.rpm` is `0`: expected 1 or more"),
        (
            ["--run", ""],
            "`--run` is 1 to 200 characters without control characters",
        ),
        (["--tasks", "insight,nonsense"], ""),
        (
            ["-c", "none.toml"],
            "settings file `none.toml`: there is no such file",
        ),
    ] {
        let ran = harness.nova3(&["run", "in.jsonl", args[0], args[1]]);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(
            message.is_empty() || ran.err == format!("nova3: {message}\n"),
            "{args:?}: {}",
            ran.err
        );
    }
    assert_eq!(setup().nova3(&["run", "x"]).code, Some(3));
    assert_eq!(setup().nova3(&["fly"]).code, Some(2));
    let harness = setup();
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    let message = "nova3: route `default` has no key (set the variable `OPENAI_API_KEY`, or `api_key_file`, or `no_key = true`; \
                   or rehearse with `--mock`)\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), message));
}

#[test]
fn neither_home_nor_language_is_needed() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"好\",\"query\":\"敏感肌防晒\",\"tasks\":[\"answer\"]}\n",
    );
    let ran = harness.shell("unset HOME; LANG=C LC_ALL=C nova3 run in.jsonl");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out)[0]["custom_id"], "好");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    for args in [
        &["run", "in.jsonl", "-vvv"][..],
        &["run", "in.jsonl", "--color", "never"],
        &["status"],
        &["run", "--help"],
    ] {
        let ran = harness.nova3(args);
        assert!(
            !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'),
            "{args:?}"
        );
    }
    let harness = harness.with("NO_COLOR", "1");
    let ran = harness.nova3(&["run", "in.jsonl", "-vvv"]);
    assert!(!ran.err.contains('\u{1b}'));
}

#[test]
fn quiet_says_nothing_when_all_is_good_and_something_when_not() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", crate::cli::harness::questions(2));
    for flags in [&["-q"][..], &["--progress", "none"]] {
        let ran = harness.nova3(&[&["run", "in.jsonl", "-o", "out.jsonl"], flags].concat());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""));
    }
    harness.write("in.jsonl", "bad\n");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-q"]);
    let closing = "run `in.jsonl`: finished; 0 of 1 done, 1 failed; 0 calls in TIME, no price configured\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(100), closing));
}
