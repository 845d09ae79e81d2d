//! A folder with two inputs, a database and the program.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::form::{Form, LEASE};
use super::mock::Mock;
use super::postgres::{SYNCED, Server};
use super::process::{self, Ended, Running};

/// The files of each run.
pub(crate) const INPUTS: [&str; 2] = ["first.jsonl", "second.jsonl"];
pub(crate) const OUTPUTS: [&str; 2] = ["first-out.jsonl", "second-out.jsonl"];

/// The variable with the key of a process. The key is the name of the process, so the mock's log names the caller.
const KEY: &str = "NOVA3_CLUSTER_KEY";

/// The place of the storm. It is removed at the end.
#[derive(Debug)]
pub(crate) struct Scenario {
    folder: tempfile::TempDir,
    pub(crate) server: Server,
}

impl Scenario {
    pub(crate) fn new() -> Self {
        let settings = [SYNCED, &["shared_buffers=128MB", "max_wal_size=2GB"]].concat();
        Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            server: Server::start(&settings),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A mock whose answers take 20 to 200 ms, most of them less than 60 ms.
    pub(crate) fn mock(&self, seed: u64) -> Mock {
        let seed = seed.to_string();
        let args = [
            "--seed",
            &seed,
            "--latency",
            "20ms",
            "--tail",
            "1",
            "--tokens",
            "8",
        ];
        Mock::start(self.folder.path(), "mock", &args.map(str::to_owned))
    }

    /// Writes the settings for every process. A process that starts while the database is down waits for it.
    pub(crate) fn settings(&self, form: Form, mock: &Mock) {
        let (concurrency, lease) = (form.concurrency, LEASE.as_secs());
        let mut text = format!(
            "[run]\nmodel = \"main\"\nconcurrency = {concurrency}\nlease = \"{lease}s\"\nwait_lock = \"60s\"\n\
             [context]\nrounds = 1\n[agents]\nmax_results = 2\n"
        );
        let limit = format!("rpm = {}\n", form.rpm);
        for (name, more) in [
            ("main", ""),
            ("tiny", "context_window = 1000\n"),
            ("limited", &limit),
        ] {
            text += &format!(
                "[routes.{name}]\nbase_url = \"http://{}/v1\"\nmodel = \"{name}\"\napi_key_env = \"{KEY}\"\n\
                 input_usd_per_million = 1.0\noutput_usd_per_million = 4.0\n{more}",
                mock.address
            );
        }
        std::fs::write(self.path("nova3.toml"), text).expect("the settings can be written");
    }

    /// Starts nova3 as a process of that name, which reaches the database through the URL.
    pub(crate) fn start(&self, who: &str, url: &str, args: &[&str]) -> Running {
        let stderr = self.path(&format!("{who}.stderr"));
        let child = self
            .command(who, url, args)
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
        let out = self.command("looker", self.server.url(), args).output();
        let out = out.expect("nova3 starts");
        out.into()
    }

    /// Returns the output of `nova3 status` for a run.
    pub(crate) fn status(&self, run: usize) -> Value {
        let status = self.nova3(&["status", "--json", INPUTS[run]]);
        serde_json::from_str(&status.text()).unwrap_or_default()
    }

    fn command(&self, who: &str, url: &str, args: &[&str]) -> Command {
        let mut command = process::nova3(args);
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("NOVA3_STORE", format!("{url}?application_name={who}"))
            .env(KEY, who)
            .stdin(Stdio::null());
        command
    }
}
