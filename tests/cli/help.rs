//! The help texts: they equal their snapshots, they are complete, and they name a variable for each flag of `run`.

use crate::cli::harness::setup;

const COMMANDS: [&str; 21] = [
    "run",
    "worker",
    "check",
    "plan",
    "search",
    "agents",
    "session",
    "status",
    "runs",
    "usage",
    "results",
    "report",
    "retry",
    "redo",
    "verify",
    "mock",
    "config",
    "init",
    "explain",
    "completions",
    "man",
];

#[test]
fn help_of_every_command() {
    let harness = setup().with("NOVA3_STORE", "shown-nowhere");
    let top = harness.nova3(&["--help"]);
    assert_eq!((top.code, top.err.as_str()), (Some(0), ""));
    let listed: Vec<&str> = top
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    let listed: Vec<&str> = listed
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, COMMANDS);
    insta::assert_snapshot!("help", top.out);
    for command in COMMANDS {
        let ran = harness.nova3(&[command, "--help"]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(!ran.out.contains("shown-nowhere"));
        insta::assert_snapshot!(format!("help_{command}"), ran.out);
    }
}

#[test]
fn each_flag_of_run_has_a_variable_named_after_it() {
    let help = setup().nova3(&["run", "--help"]).out;
    let mut flags = 0;
    let blocks: Vec<&str> = help
        .split("\n  -")
        .map(|block| block.split("\n      --").collect::<Vec<_>>())
        .collect::<Vec<_>>()
        .concat();
    for block in blocks {
        let head = block.lines().next().unwrap_or_default();
        let Some(name) = head
            .split_whitespace()
            .map(|word| word.trim_end_matches(['.', ',']))
            .find(|word| word.trim_start_matches('-').len() > 2)
        else {
            continue;
        };
        let name = name.trim_start_matches('-');
        if !block.contains("\n          ")
            || ["help", "version"].contains(&name)
            || block.starts_with("Run unfinished")
        {
            continue;
        }
        let variable = format!("[env: NOVA3_{}]", name.to_uppercase().replace('-', "_"));
        assert!(block.contains(&variable), "`{name}` has no {variable}:\n{block}");
        flags += 1;
    }
    assert!(flags >= 25, "only {flags} flags were found");
}

#[test]
fn completions_for_each_shell() {
    let harness = setup();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = harness.nova3(&["completions", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(
            COMMANDS.iter().all(|command| ran.out.contains(command)),
            "{shell}"
        );
        assert!(ran.out.contains("retry-failed"), "{shell}");
    }
    assert_eq!(harness.nova3(&["completions", "cmd"]).code, Some(2));
    let ran =
        harness.shell("nova3 completions bash > script && bash -n script && . ./script && complete -p nova3");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn version_is_on_stdout() {
    let ran = setup().nova3(&["--version"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), concat!("nova3 ", env!("CARGO_PKG_VERSION"), "\n"), "")
    );
}
