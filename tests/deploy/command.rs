//! The real binary with the arguments, variables and settings that containers give it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use jiff::SignedDuration;
use serde_json::Value;

use super::harness::{Found, Memo};

const NOVA3: &str = env!("CARGO_BIN_EXE_nova3");

/// Variables of the environment.
pub(crate) type Variables = BTreeMap<String, String>;

/// The help of a command. `None` if the command does not exist.
fn help(command: &str) -> Option<String> {
    static KNOWN: Memo<Option<String>> = Memo::new();
    KNOWN.of(command.to_owned(), || asked_for_help(command))
}

fn asked_for_help(command: &str) -> Option<String> {
    let output = Command::new(NOVA3)
        .args([command, "--help"])
        .env_clear()
        .output()
        .ok()?;
    let known = output.status.success();
    known.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Flags and variables that the command does not know.
pub(crate) fn unknown(args: &[&str], variables: &Variables, place: &str) -> Vec<String> {
    let Some(command) = args.first() else {
        return vec![format!("{place}: no command")];
    };
    let Some(help) = help(command) else {
        return vec![format!("{place}: nova3 has no command `{command}`")];
    };
    let words: Vec<&str> = help
        .split(|c: char| c.is_whitespace() || c == ',' || c == ']')
        .collect();
    let flags = args
        .iter()
        .filter(|arg| arg.starts_with('-') && arg.len() > 1)
        .map(|arg| arg.split('=').next().unwrap_or(arg));
    let names = variables
        .keys()
        .map(String::as_str)
        .filter(|name| name.starts_with("NOVA3_"));
    flags
        .chain(names)
        .filter(|name| !words.contains(name))
        .map(|name| format!("{place}: `nova3 {command}` knows no `{name}`"))
        .collect()
}

fn run(args: &[&str], settings: &Path, variables: &Variables) -> Result<Vec<u8>, String> {
    static KNOWN: Memo<Result<Vec<u8>, String>> = Memo::new();
    let text = std::fs::read_to_string(settings).map_err(|error| error.to_string())?;
    KNOWN.of(format!("{args:?} {variables:?} {text}"), || {
        started(args, settings, variables)
    })
}

fn started(args: &[&str], settings: &Path, variables: &Variables) -> Result<Vec<u8>, String> {
    let output = Command::new(NOVA3)
        .args(args)
        .arg("-c")
        .arg(settings)
        .env_clear()
        .envs(variables)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err([output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat())
}

/// Settings that the binary accepts.
pub(crate) struct Settings {
    /// The settings in the file.
    pub(crate) written: toml::Table,
    in_force: Value,
}

impl Settings {
    pub(crate) fn accepted(text: &str, variables: &Variables, place: &str) -> Result<Self, String> {
        let said = |reason: String| format!("{place}: {reason}");
        let folder = tempfile::tempdir().map_err(|error| said(error.to_string()))?;
        let path = folder.path().join("nova3.toml");
        std::fs::write(&path, text).map_err(|error| said(error.to_string()))?;
        // Without `NOVA3_` variables: only the file and its keys count here.
        let keys = variables.iter().filter(|(name, _)| !name.starts_with("NOVA3_"));
        let keys = keys.map(|(name, value)| (name.clone(), value.clone())).collect();
        let shown = run(&["config", "--json"], &path, &keys).map_err(said)?;
        Ok(Self {
            written: text
                .parse()
                .map_err(|error: toml::de::Error| said(error.to_string()))?,
            in_force: serde_json::from_slice(&shown).map_err(|error| said(error.to_string()))?,
        })
    }

    fn value(&self, key: &str) -> &str {
        self.in_force[key]["value"].as_str().unwrap_or_default()
    }

    pub(crate) fn concurrency(&self) -> u64 {
        self.value("run.concurrency").parse().unwrap_or_default()
    }

    /// A fault if this many seconds are too few to drain and release the leases.
    pub(crate) fn drains_within(&self, seconds: u64, place: &str) -> Vec<String> {
        let grace = self.value("run.grace");
        let known: Option<SignedDuration> = grace.parse().ok();
        let known = known.and_then(|grace| u64::try_from(grace.as_secs()).ok());
        if known.is_some_and(|grace| seconds >= grace + 10) {
            return Vec::new();
        }
        vec![format!(
            "{place}: {seconds} s are too few to drain in (run.grace is `{grace}`, and leases are given back after it)"
        )]
    }
}

/// Faults that `nova3 check` finds in an input.
pub(crate) fn bad_lines(input: &str, settings: &str, variables: &Variables, place: &str) -> Found {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (path, file) = (
        folder.path().join("nova3.toml"),
        folder.path().join("requests.jsonl"),
    );
    std::fs::write(&path, settings)
        .and_then(|()| std::fs::write(&file, input))
        .map_err(|error| error.to_string())?;
    let checked = run(&["check", &file.to_string_lossy()], &path, variables);
    Ok(checked
        .err()
        .map(|said| format!("{place}: {said}"))
        .into_iter()
        .collect())
}
