//! The page on operations: nova3 knows every command and flag in it.

use super::command::{Variables, unknown};
use super::harness::{Found, Tree};

const PAGE: &str = "docs/operations.md";

pub(crate) fn faults(tree: &Tree) -> Found {
    let text = tree.text(PAGE)?;
    let mut fenced = false;
    let blocks = text.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        fenced || line.starts_with("    ")
    });
    let commands = blocks.map(|line| line.split(['|', '#']).next().unwrap_or_default());
    let inline = text.split('`').skip(1).step_by(2);
    let typed = inline.chain(commands).map(str::trim);
    let mut faults = Vec::new();
    for command in typed.filter_map(|line| line.strip_prefix("nova3 ")) {
        let args: Vec<&str> = command.split_whitespace().collect();
        faults.extend(unknown(
            &args,
            &Variables::new(),
            &format!("{PAGE}: `nova3 {command}`"),
        ));
    }
    // A flag without a command is checked against `run`, which has most flags.
    let alone = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("--"));
    for flag in alone {
        let flag = flag.split_whitespace().next().unwrap_or_default();
        faults.extend(unknown(&["run", flag], &Variables::new(), PAGE));
    }
    Ok(faults)
}
