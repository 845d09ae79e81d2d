//! Parts of `docs/reference.md` and `docs/metrics.md` that are written from the code.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};
use nova3::cli::Exit;
use nova3::observe::METRICS;

use super::page::{read, root};

/// With this variable the generated parts are written instead of compared; `scripts/docs` sets it.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a test are no settings of the program"
)]
pub(super) fn is_update() -> bool {
    std::env::var("NOVA3_UPDATE_DOCS").is_ok_and(|value| value == "1")
}

fn exit_codes() -> String {
    let mut text = "| exit code | meaning |\n|---|---|\n".to_owned();
    for exit in Exit::ALL {
        writeln!(text, "| {} | {} |", exit.code(), exit.meaning()).unwrap();
    }
    text
}

fn described() -> Command {
    let mut command = nova3::cli::description();
    command.build();
    command
}

fn commands() -> String {
    let mut text = "| command | what it does |\n|---|---|\n".to_owned();
    for command in described().get_subcommands() {
        writeln!(text, "| `{}` | {} |", command.get_name(), about(command)).unwrap();
        for inner in command.get_subcommands() {
            let name = format!("{} {}", command.get_name(), inner.get_name());
            writeln!(text, "| `{name}` | {} |", about(inner)).unwrap();
        }
    }
    text
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn flags() -> String {
    let described = described();
    let mut text = "### Every command\n\n".to_owned();
    text += &rows(described.get_arguments().filter(|arg| arg.is_global_set()));
    for command in described.get_subcommands() {
        let mut leaves = vec![command];
        leaves.extend(command.get_subcommands());
        for leaf in leaves {
            let own: Vec<&Arg> = leaf.get_arguments().filter(|arg| !arg.is_global_set()).collect();
            let rows = rows(own.into_iter());
            if !rows.is_empty() {
                let name = leaf.get_bin_name().unwrap_or_else(|| leaf.get_name());
                write!(text, "\n### {name}\n\n{rows}").unwrap();
            }
        }
    }
    text
}

/// A table of arguments, or nothing if there are none.
fn rows<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = String::new();
    for arg in args.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        if text.is_empty() {
            text += "| flag | variable | meaning |\n|---|---|---|\n";
        }
        let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = format!("{help}{}", values(arg, &help)).replace('|', "\\|");
        let name = name(arg).replace('|', "\\|");
        writeln!(
            text,
            "| `{name}` | {} | {meaning} |",
            variable.unwrap_or_default()
        )
        .unwrap();
    }
    text
}

fn name(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .map_or_else(String::new, |names| names.join(" "));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flag = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    match arg.get_action() {
        ArgAction::SetTrue | ArgAction::Count => flag,
        _ if flag.is_empty() => value,
        _ => format!("{flag} {value}"),
    }
}

fn values(arg: &Arg, help: &str) -> String {
    let mut text = String::new();
    let takes_value = !matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count);
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value && !possible.is_empty() {
        write!(text, ": {}", possible.join(", ")).unwrap();
    }
    let default: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if takes_value
        && !default.concat().is_empty()
        && !help.contains("[default")
        && !arg.is_hide_default_value_set()
    {
        write!(text, " [default: {}]", default.join(" ")).unwrap();
    }
    text
}

fn settings() -> String {
    let text = std::fs::read_to_string(root().join("src/config/default.toml")).unwrap();
    format!("```toml\n{}\n```\n", text.trim_end())
}

/// The page with the text in the place between its marks.
fn with(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (
        format!("<!-- generated: {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no `{begin}`"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no `{end}`"));
    format!("{before}{begin}\n{text}\n{end}{after}")
}

/// The table of the metrics.
fn metrics() -> String {
    let mut text = "| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.label_names().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind.name(), labels.join(", "));
        writeln!(
            text,
            "| `{name}` | {kind} | {labels} | {} | {} |",
            metric.unit, metric.meaning
        )
        .unwrap();
    }
    text
}

#[test]
fn generated_parts_are_what_the_code_says() {
    for (page, parts) in [
        (
            "docs/reference.md",
            vec![
                ("exit codes", exit_codes()),
                ("commands", commands()),
                ("flags", flags()),
                ("settings", settings()),
            ],
        ),
        ("docs/metrics.md", vec![("metrics", metrics())]),
    ] {
        let written = read(page);
        let made = parts
            .iter()
            .fold(written.clone(), |made, (name, text)| with(&made, name, text));
        if is_update() {
            std::fs::write(root().join(page), &made).unwrap();
        } else {
            let mut lines = written.lines().zip(made.lines());
            let differs = lines.find(|(written, made)| written != made);
            assert!(
                written == made,
                "{page} is not what the code says, first at {differs:?} (scripts/docs writes it)"
            );
        }
    }
}
