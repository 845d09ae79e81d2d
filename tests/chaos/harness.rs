//! A folder and the program in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::form::Form;
use super::mock::Mock;
use super::process::{self, Ended, Running};

/// The place of a scenario. It is removed when the scenario ends.
#[derive(Debug)]
pub(crate) struct Scenario {
    folder: tempfile::TempDir,
    form: Form,
    starts: usize,
}

/// The command of every process.
pub(crate) const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// The longest answer that is requested, in tokens. The mock's answers are shorter, but a cost cap reserves this much
/// for each call.
const LONGEST: u32 = 400;

/// US dollars per million tokens, of prompts and of answers.
pub(crate) const PRICES: (f64, f64) = (1.0, 4.0);

impl Scenario {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            form,
            starts: 0,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes settings with these routes, the first one first, and more.
    pub(crate) fn settings(&self, routes: &[(&str, &Mock)], more: &str) {
        let (input, output) = PRICES;
        let idle = self.form.concurrency;
        // Waits are in proportion to answers that take a tenth of a real model's time. This number of retries is never
        // used up: with the faults of the storm, about one call in a hundred million fails nine times in a row.
        let mut text = format!(
            "[retry]\nretries = 8\nbase = \"100ms\"\n\
             [timeouts]\nidle = \"2s\"\nfirst_token = \"8s\"\n\
             [context]\nrounds = 1\n[agents]\nmax_results = 2\n\
             [http]\nidle_connections = {idle}\n{more}\n"
        );
        for (name, mock) in routes {
            text += &format!(
                "[routes.{name}]\nbase_url = \"http://{}/v1\"\nmodel = \"m\"\nno_key = true\n\
                 max_tokens = {LONGEST}\ninput_usd_per_million = {input:?}\noutput_usd_per_million = {output:?}\n",
                mock.address
            );
        }
        std::fs::write(self.path("nova3.toml"), text).expect("the settings can be written");
    }

    /// Starts nova3 with these arguments.
    pub(crate) fn start(&mut self, args: &[&str]) -> Running {
        self.starts += 1;
        let stderr = self.path(&format!("stderr-{}", self.starts));
        let child = self
            .command(args)
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).expect("a file can be made"))
            .spawn()
            .expect("nova3 starts");
        Running {
            child,
            stdout: None,
            stderr,
        }
    }

    /// Runs a command that only reads, to its end.
    pub(crate) fn nova3(&self, args: &[&str]) -> Ended {
        let out = self.command(args).output().expect("nova3 starts");
        out.into()
    }

    /// Returns the output of `nova3 status`.
    pub(crate) fn status(&self) -> Value {
        let status = self.nova3(&["status", "--json"]);
        serde_json::from_str(&status.text()).unwrap_or_else(|fault| {
            panic!(
                "oracle `finished`: `status --json` gave no JSON ({fault}): {}",
                status.stderr
            )
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = process::nova3(args);
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("NOVA3_CONCURRENCY", self.form.concurrency.to_string())
            .stdin(Stdio::null());
        command
    }
}
